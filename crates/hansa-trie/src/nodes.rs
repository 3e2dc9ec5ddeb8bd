//! Finds nodes: in memory, in the cache, in the store as it was at one moment. Changes nothing.

use std::sync::Arc;

use alloy_primitives::B256;
use hansa_kv::KvSnapshot;

use crate::cache::{Caches, Place};
use crate::error::TrieError;
use crate::key::{nibble, shared_nibbles};
use crate::node::{Child, Forge, NodeRef, TrieValue};
use crate::{NODES, page};

/// The trie as it was last written out, and when that was.
pub(crate) struct Base {
    /// The store just after it was written.
    pub(crate) snapshot: Box<dyn KvSnapshot>,
    /// The version of the state that was written.
    pub(crate) version: u64,
    pub(crate) caches: Arc<Caches>,
}

impl Base {
    /// The node that is named `reference` by its parent, below `start` nibbles of `path`.
    pub(crate) fn load<V: TrieValue>(
        &self,
        owner: Option<&B256>,
        path: &B256,
        start: usize,
        reference: &NodeRef,
    ) -> Result<Child<V>, TrieError> {
        let hash = reference.root_hash();
        let place = Place::new(owner, path, start);
        if let Some(node) = V::cache(&self.caches).node(place, &hash, path, start) {
            return Ok(node);
        }
        let damaged = TrieError::Damaged { node: hash, depth: start };
        let Some(stored) = self.snapshot.get(NODES, &page::key(owner, path, start))? else {
            return Err(damaged);
        };
        let path = crate::key::truncated(path, start);
        match page::decode::<V>(&stored, &path, start, &mut Forge::default()) {
            Some(node) if node.root_hash() == hash => {
                V::cache(&self.caches).keep(place, &node);
                Ok(node)
            }
            _ => Err(damaged),
        }
    }

    /// The value of a key in the trie with this root.
    pub(crate) fn find<V: TrieValue>(
        &self,
        owner: Option<&B256>,
        root: &Child<V>,
        key: &B256,
    ) -> Result<Option<V>, TrieError> {
        let mut loaded;
        let mut node = root;
        let mut start = 0;
        loop {
            match node {
                Child::Empty => return Ok(None),
                Child::Leaf(leaf) => return Ok((leaf.key == *key).then(|| leaf.value.clone())),
                Child::Stored(reference) => {
                    loaded = self.load(owner, key, start, &{ *reference })?;
                    node = &loaded;
                }
                Child::Branch(branch) => {
                    if shared_nibbles(&branch.path, key) < branch.depth {
                        return Ok(None);
                    }
                    let Some(child) = branch.children.at(nibble(key, branch.depth)) else { return Ok(None) };
                    start = branch.depth + 1;
                    node = child;
                }
            }
        }
    }
}
