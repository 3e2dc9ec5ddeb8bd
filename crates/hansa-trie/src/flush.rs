//! Writes out what has changed since the trie was last written: each changed branch once, however often it changed, in the order of
//! the pages' keys.

use alloy_primitives::B256;
use hansa_kv::{BulkWriter, KvError};

use crate::account::AccountLeaf;
use crate::arena::Layers;
use crate::branch::OwnedBranch;
use crate::cache::{Caches, Place};
use crate::node::{Child, Leaf, NodeId, TrieValue};
use crate::nodes::Loaded;
use crate::page;

/// Pages on their way to the store, and the keys of those that go unless they are written anew.
pub(crate) struct Pages<'a> {
    writer: &'a mut dyn BulkWriter,
    /// Greatest first.
    vacated: Vec<&'a [u8]>,
    key: Vec<u8>,
    page: Vec<u8>,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(writer: &'a mut dyn BulkWriter, mut vacated: Vec<&'a [u8]>) -> Self {
        vacated.sort_unstable_by(|a, b| b.cmp(a));
        vacated.dedup();
        Self { writer, vacated, key: Vec::new(), page: Vec::new() }
    }

    /// Writes a page; both are appended to what they are given. Keys ascend from one to the next.
    pub(crate) fn put(
        &mut self,
        key: impl FnOnce(&mut Vec<u8>),
        page: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), KvError> {
        self.key.clear();
        key(&mut self.key);
        self.page.clear();
        page(&mut self.page);
        while let Some(vacated) = self.vacated.pop_if(|vacated| **vacated <= *self.key) {
            if vacated != self.key {
                self.writer.remove(vacated)?;
            }
        }
        self.writer.put(&self.key, &self.page)
    }

    /// Removes what was vacated above the last key.
    pub(crate) fn finish(self) -> Result<(), KvError> {
        self.vacated.into_iter().rev().try_for_each(|vacated| self.writer.remove(vacated))
    }
}

/// A walk over the nodes made since some version.
#[derive(Clone, Copy)]
pub(crate) struct Flush<'a> {
    /// The version that is in the store: what was made up to then is there.
    pub(crate) stored: u64,
    /// Where what was made since is.
    pub(crate) layers: &'a Layers,
    pub(crate) caches: &'a Caches,
}

impl Flush<'_> {
    /// Writes the trie of all accounts and those of their storage.
    pub(crate) fn state(self, root: &Child<AccountLeaf>, pages: &mut Pages<'_>) -> Result<(), KvError> {
        let mut changed = Vec::new();
        self.tree(None, root, pages, &mut |leaf| changed.push((leaf.0, leaf.1.storage)))?;
        changed.sort_unstable_by_key(|(owner, _)| *owner);
        changed.iter().try_for_each(|(owner, root)| self.tree(Some(owner), root, pages, &mut |_| {}))
    }

    /// Writes a trie; `leaf` is given the leaves of all branches that are written.
    pub(crate) fn tree<V: TrieValue>(
        self,
        owner: Option<&B256>,
        root: &Child<V>,
        pages: &mut Pages<'_>,
        leaf: &mut impl FnMut((B256, V)),
    ) -> Result<(), KvError> {
        match root {
            Child::Empty | Child::Stored(_) => Ok(()),
            Child::Made(_, id) => self.branch(owner, *id, pages, leaf),
            Child::Leaf(only) => {
                leaf((only.key, only.value));
                pages
                    .put(|out| page::put_key(owner, &B256::ZERO, 0, out), |out| page::put_leaf(only, out))?;
                let stored = Leaf { value: only.value.stored(), ..*only };
                V::cache(self.caches).keep(Place::new(owner, &B256::ZERO, 0), Loaded::Leaf(Box::new(stored)));
                Ok(())
            }
        }
    }

    fn branch<V: TrieValue>(
        self,
        owner: Option<&B256>,
        id: NodeId,
        pages: &mut Pages<'_>,
        leaf: &mut impl FnMut((B256, V)),
    ) -> Result<(), KvError> {
        if id.version <= self.stored {
            return Ok(());
        }
        let branch = self.layers.branch::<V>(id);
        let (path, start) = (branch.path(), branch.start());
        pages.put(|out| page::put_key(owner, &path, start, out), |out| page::put_branch(branch, out))?;
        let place = Place::new(owner, &path, start);
        V::cache(self.caches).keep(place, Loaded::Branch(OwnedBranch::stored(branch, &mut pages.page)));
        branch.entries().for_each(|entry| leaf((entry.key, entry.value)));
        branch.ids().try_for_each(|id| self.branch(owner, id, pages, leaf))
    }
}
