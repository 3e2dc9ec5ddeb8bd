//! Writes out what has changed since the trie was last written: each changed branch once, however often it changed.

use std::sync::Arc;

use alloy_primitives::B256;
use hansa_kv::SortedChanges;

use crate::cache::{Caches, Place};
use crate::node::{Branch, Child, Children, Leaf, TrieValue};
use crate::page;

/// A walk over the nodes made since some version.
pub(crate) struct Flush<'a> {
    /// The version that is in the store: what was born up to then is there.
    pub(crate) stored: u64,
    pub(crate) caches: &'a Caches,
    /// The pages by their keys. Those to be removed unless they are written are there from the start.
    pub(crate) pages: SortedChanges,
}

impl Flush<'_> {
    /// Writes a trie; gives it as stored.
    pub(crate) fn tree<V: TrieValue>(&mut self, owner: Option<&B256>, root: &Child<V>) -> Child<V> {
        match root {
            Child::Empty | Child::Stored(_) => root.clone(),
            Child::Branch(branch) => self.branch(owner, branch),
            Child::Leaf(leaf) => {
                let leaf = self.leaf(leaf);
                self.put(page::key(owner, &B256::ZERO, 0), page::of_leaf(&leaf));
                V::cache(self.caches).keep(Place::new(owner, &B256::ZERO, 0), &Child::Leaf(leaf));
                Child::stored(root.root_hash())
            }
        }
    }

    fn branch<V: TrieValue>(&mut self, owner: Option<&B256>, branch: &Arc<Branch<V>>) -> Child<V> {
        if branch.born > self.stored {
            let settled =
                if branch.children.are_settled() { Arc::clone(branch) } else { self.settled(owner, branch) };
            self.put(page::key(owner, &branch.path, branch.start), page::of_branch(&settled));
            let place = Place::new(owner, &branch.path, branch.start);
            V::cache(self.caches).keep(place, &Child::Branch(settled));
        }
        Child::Stored(branch.reference)
    }

    /// The branch with all below it written.
    fn settled<V: TrieValue>(&mut self, owner: Option<&B256>, branch: &Branch<V>) -> Arc<Branch<V>> {
        let mut children = Children::with_capacity(branch.children.len());
        for (at, child) in branch.children.iter() {
            children.push(at, self.child(owner, child));
        }
        let Branch { path, start, depth, born, reference, .. } = *branch;
        Arc::new(Branch { path, start, depth, born, reference, children })
    }

    fn child<V: TrieValue>(&mut self, owner: Option<&B256>, child: &Child<V>) -> Child<V> {
        match child {
            Child::Branch(branch) => self.branch(owner, branch),
            Child::Leaf(leaf) => Child::Leaf(self.leaf(leaf)),
            Child::Empty | Child::Stored(_) => child.clone(),
        }
    }

    /// The leaf, with what hangs below its value written.
    fn leaf<V: TrieValue>(&mut self, leaf: &Leaf<V>) -> Leaf<V> {
        match leaf.value.written(&leaf.key, self) {
            Some(value) => Leaf { value, ..*leaf },
            None => leaf.clone(),
        }
    }

    fn put(&mut self, key: Vec<u8>, page: Vec<u8>) {
        self.pages.insert(key, Some(page));
    }
}
