//! Lookup of nodes in memory, in the cache and in a snapshot of the store. Read-only.

use std::sync::Arc;

use alloy_primitives::B256;
use hansa_kv::KvSnapshot;

use crate::arena::Layers;
use crate::branch::{Branch, OwnedBranch};
use crate::cache::{CacheKey, Caches};
use crate::error::TrieError;
use crate::key::{nibble, shared_nibbles};
use crate::node::{Child, Leaf, NodeRef, TrieValue};
use crate::{NODES, page};

/// The flushed trie and its version.
pub(crate) struct Base {
    /// Snapshot of the store after the flush.
    pub(crate) snapshot: Box<dyn KvSnapshot>,
    /// The flushed version.
    pub(crate) version: u64,
    pub(crate) caches: Arc<Caches>,
}

/// A node read from the store.
#[derive(Clone)]
pub(crate) enum Loaded<V> {
    /// A branch whose children are all stored or leaves.
    Branch(OwnedBranch<V>),
    /// A trie of a single key.
    Leaf(Box<Leaf<V>>),
}

impl<V: TrieValue> Loaded<V> {
    /// The parent's reference to it.
    pub(crate) fn reference(&self) -> NodeRef {
        match self {
            Self::Branch(branch) => branch.get().reference(),
            Self::Leaf(leaf) => leaf.reference,
        }
    }

    /// Whether the node's path begins with `start` nibbles of `path`.
    pub(crate) fn is_below(&self, path: &B256, start: usize) -> bool {
        match self {
            Self::Branch(branch) => {
                let branch = branch.get();
                branch.start() == start && shared_nibbles(&branch.path(), path) >= start
            }
            Self::Leaf(leaf) => shared_nibbles(&leaf.key, path) >= start,
        }
    }
}

impl Base {
    /// The node with this reference below `start` nibbles of `path`.
    pub(crate) fn load<V: TrieValue>(
        &self,
        owner: Option<&B256>,
        path: &B256,
        start: usize,
        reference: &NodeRef,
    ) -> Result<Loaded<V>, TrieError> {
        let hash = reference.root_hash();
        let cache_key = CacheKey::new(owner, path, start);
        if let Some(node) = V::cache(&self.caches).node(cache_key, &hash, path, start) {
            return Ok(node);
        }
        let damaged = TrieError::Damaged { node: hash, depth: start };
        let Some(stored) = self.snapshot.get(NODES, &page::key(owner, path, start))? else {
            return Err(damaged);
        };
        let path = crate::key::truncated(path, start);
        match page::decode::<V>(&stored, &path, start) {
            Some(node) if node.reference().root_hash() == hash => {
                V::cache(&self.caches).insert(cache_key, node.clone());
                Ok(node)
            }
            _ => Err(damaged),
        }
    }
}

/// All nodes of a view: the flushed ones and the dirty ones.
#[derive(Clone, Copy)]
pub(crate) struct Nodes<'a> {
    pub(crate) base: &'a Base,
    pub(crate) layers: &'a Layers,
}

/// A node in memory.
pub(crate) enum Node<'a, V> {
    Empty,
    Leaf(Leaf<V>),
    Dirty(Branch<'a, V>),
    Loaded(OwnedBranch<V>),
}

impl<'a> Nodes<'a> {
    /// The node of `child` below `start` nibbles of `path`.
    pub(crate) fn open<V: TrieValue>(
        self,
        owner: Option<&B256>,
        path: &B256,
        start: usize,
        child: &Child<V>,
    ) -> Result<Node<'a, V>, TrieError> {
        let reference = match child {
            Child::Empty => return Ok(Node::Empty),
            Child::Leaf(leaf) => return Ok(Node::Leaf(*leaf)),
            Child::Dirty(_, id) if id.version > self.base.version => {
                return Ok(Node::Dirty(self.layers.branch(*id)));
            }
            Child::Dirty(reference, _) | Child::Stored(reference) => reference,
        };
        Ok(match self.base.load(owner, path, start, reference)? {
            Loaded::Branch(branch) => Node::Loaded(branch),
            Loaded::Leaf(leaf) => Node::Leaf(*leaf),
        })
    }

    /// The value of a key in the trie with this root.
    pub(crate) fn find<V: TrieValue>(
        self,
        owner: Option<&B256>,
        root: &Child<V>,
        key: &B256,
    ) -> Result<Option<V>, TrieError> {
        let mut child = *root;
        let mut start = 0;
        loop {
            let node = self.open(owner, key, start, &child)?;
            let branch = match &node {
                Node::Empty => return Ok(None),
                Node::Leaf(leaf) => return Ok((leaf.key == *key).then_some(leaf.value)),
                Node::Dirty(branch) => *branch,
                Node::Loaded(branch) => branch.get(),
            };
            let depth = branch.depth();
            if shared_nibbles(&branch.path(), key) < depth {
                return Ok(None);
            }
            child = branch.child(nibble(key, depth));
            start = depth + 1;
        }
    }
}
