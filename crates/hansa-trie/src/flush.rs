//! Writes out what has changed since the trie was last written: each changed branch once, however often it changed.

use std::array;
use std::collections::HashSet;
use std::sync::Arc;

use alloy_primitives::B256;
use hansa_kv::Batch;

use crate::cache::Caches;
use crate::node::{Branch, Child, Leaf, TrieValue};
use crate::{NODES, page};

/// A walk over the nodes made since some version.
pub(crate) struct Flush<'a> {
    /// The version that is in the store: what was born up to then is there.
    pub(crate) stored: u64,
    pub(crate) caches: &'a Caches,
    pub(crate) batch: &'a mut Batch,
    /// Pages to be removed unless they are written.
    pub(crate) vacated: HashSet<Vec<u8>>,
}

impl Flush<'_> {
    /// Writes a trie; gives it as stored.
    pub(crate) fn tree<V: TrieValue>(&mut self, owner: Option<&B256>, root: &Child<V>) -> Child<V> {
        match root {
            Child::Empty | Child::Stored(_) => root.clone(),
            Child::Branch(branch) => self.branch(owner, branch),
            Child::Leaf(leaf) => {
                if leaf.born > self.stored {
                    let leaf = self.leaf(leaf);
                    self.put(page::key(owner, &B256::ZERO, 0), page::of_leaf(&leaf));
                    V::cache(self.caches).keep(leaf.reference.root_hash(), Child::Leaf(leaf));
                }
                Child::stored(root.root_hash())
            }
        }
    }

    /// Removes what is vacated and has not been written.
    pub(crate) fn finish(self) {
        for key in self.vacated {
            self.batch.remove(NODES, key);
        }
    }

    fn branch<V: TrieValue>(&mut self, owner: Option<&B256>, branch: &Arc<Branch<V>>) -> Child<V> {
        if branch.born > self.stored {
            let children = array::from_fn(|at| match &branch.children[at] {
                Child::Branch(child) => self.branch(owner, child),
                Child::Leaf(leaf) => Child::Leaf(self.leaf(leaf)),
                child => child.clone(),
            });
            let Branch { path, start, depth, born, reference, .. } = **branch;
            let settled = Branch { path, start, depth, born, reference, children };
            self.put(page::key(owner, &path, start), page::of_branch(&settled));
            V::cache(self.caches).keep(reference.root_hash(), Child::Branch(Arc::new(settled)));
        }
        Child::Stored(branch.reference)
    }

    /// The leaf, with what hangs below its value written.
    fn leaf<V: TrieValue>(&mut self, leaf: &Arc<Leaf<V>>) -> Arc<Leaf<V>> {
        match leaf.value.written(&leaf.key, self) {
            None => Arc::clone(leaf),
            Some(value) => {
                Arc::new(Leaf { key: leaf.key, value, born: leaf.born, reference: leaf.reference })
            }
        }
    }

    fn put(&mut self, key: Vec<u8>, page: Vec<u8>) {
        self.vacated.remove(&key);
        self.batch.put(NODES, key, page);
    }
}
