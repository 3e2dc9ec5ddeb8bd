//! Flush of dirty nodes: each dirty node of the newest view is written once, in ascending order of the pages' keys.

use alloy_primitives::B256;
use hansa_kv::{BulkWriter, KvError};

use crate::account::AccountLeaf;
use crate::arena::Layers;
use crate::branch::OwnedBranch;
use crate::cache::{CacheKey, Caches};
use crate::node::{Child, Leaf, NodeId, TrieValue};
use crate::nodes::Loaded;
use crate::page;

/// A stream of pages to the store, merged with the keys to delete. A key that is written again is not deleted.
pub(crate) struct Pages<'a> {
    writer: &'a mut dyn BulkWriter,
    /// Keys to delete, descending.
    deleted: Vec<&'a [u8]>,
    key: Vec<u8>,
    page: Vec<u8>,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(writer: &'a mut dyn BulkWriter, mut deleted: Vec<&'a [u8]>) -> Self {
        deleted.sort_unstable_by(|a, b| b.cmp(a));
        deleted.dedup();
        Self { writer, deleted, key: Vec::new(), page: Vec::new() }
    }

    /// Writes a page. `key` and `page` append to empty buffers. Keys ascend from call to call.
    pub(crate) fn put(
        &mut self,
        key: impl FnOnce(&mut Vec<u8>),
        page: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), KvError> {
        self.key.clear();
        key(&mut self.key);
        self.page.clear();
        page(&mut self.page);
        while let Some(deleted) = self.deleted.pop_if(|deleted| **deleted <= *self.key) {
            if deleted != self.key {
                self.writer.remove(deleted)?;
            }
        }
        self.writer.put(&self.key, &self.page)
    }

    /// Deletes the remaining keys.
    pub(crate) fn finish(self) -> Result<(), KvError> {
        self.deleted.into_iter().rev().try_for_each(|deleted| self.writer.remove(deleted))
    }
}

/// A walk over the nodes that are dirty since the flushed version.
#[derive(Clone, Copy)]
pub(crate) struct Flush<'a> {
    /// The flushed version. Nodes of later versions are dirty.
    pub(crate) stored: u64,
    /// The dirty nodes.
    pub(crate) layers: &'a Layers,
    pub(crate) caches: &'a Caches,
}

impl Flush<'_> {
    /// Writes the account trie and all dirty storage tries.
    pub(crate) fn state(self, root: &Child<AccountLeaf>, pages: &mut Pages<'_>) -> Result<(), KvError> {
        let mut changed = Vec::new();
        self.tree(None, root, pages, &mut |leaf| changed.push((leaf.0, leaf.1.storage)))?;
        changed.sort_unstable_by_key(|(owner, _)| *owner);
        changed.iter().try_for_each(|(owner, root)| self.tree(Some(owner), root, pages, &mut |_| {}))
    }

    /// Writes a trie and calls `leaf` for each leaf of a written branch.
    pub(crate) fn tree<V: TrieValue>(
        self,
        owner: Option<&B256>,
        root: &Child<V>,
        pages: &mut Pages<'_>,
        leaf: &mut impl FnMut((B256, V)),
    ) -> Result<(), KvError> {
        match root {
            Child::Empty | Child::Stored(_) => Ok(()),
            Child::Dirty(_, id) => self.branch(owner, *id, pages, leaf),
            Child::Leaf(only) => {
                leaf((only.key, only.value));
                pages
                    .put(|out| page::put_key(owner, &B256::ZERO, 0, out), |out| page::put_leaf(only, out))?;
                let stored = Leaf { value: only.value.stored(), ..*only };
                V::cache(self.caches)
                    .insert(CacheKey::new(owner, &B256::ZERO, 0), Loaded::Leaf(Box::new(stored)));
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
        let key = CacheKey::new(owner, &path, start);
        V::cache(self.caches).insert(key, Loaded::Branch(OwnedBranch::stored(branch, &mut pages.page)));
        branch.entries().for_each(|entry| leaf((entry.key, entry.value)));
        branch.ids().try_for_each(|id| self.branch(owner, id, pages, leaf))
    }
}
