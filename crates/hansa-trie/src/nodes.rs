//! Finds nodes: in memory, in the cache, in the store as it was at one moment. Changes nothing.

use std::sync::Arc;

use alloy_primitives::B256;
use hansa_kv::KvSnapshot;

use crate::arena::Layers;
use crate::branch::{Branch, OwnedBranch};
use crate::cache::{Caches, Place};
use crate::error::TrieError;
use crate::key::{nibble, shared_nibbles};
use crate::node::{Child, Leaf, NodeRef, TrieValue};
use crate::{NODES, page};

/// The trie as it was last written out, and when that was.
pub(crate) struct Base {
    /// The store just after it was written.
    pub(crate) snapshot: Box<dyn KvSnapshot>,
    /// The version of the state that was written.
    pub(crate) version: u64,
    pub(crate) caches: Arc<Caches>,
}

/// A node of the store.
#[derive(Clone)]
pub(crate) enum Loaded<V> {
    /// A branch that names all branches below it.
    Branch(OwnedBranch<V>),
    /// A trie of a single key.
    Leaf(Box<Leaf<V>>),
}

impl<V: TrieValue> Loaded<V> {
    /// How a parent names it.
    pub(crate) fn reference(&self) -> NodeRef {
        match self {
            Self::Branch(branch) => branch.get().name(),
            Self::Leaf(leaf) => leaf.reference,
        }
    }

    /// Whether it belongs below `start` nibbles of `path`.
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
    /// The node that is named `reference` by its parent, below `start` nibbles of `path`.
    pub(crate) fn load<V: TrieValue>(
        &self,
        owner: Option<&B256>,
        path: &B256,
        start: usize,
        reference: &NodeRef,
    ) -> Result<Loaded<V>, TrieError> {
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
        match page::decode::<V>(&stored, &path, start) {
            Some(node) if node.reference().root_hash() == hash => {
                V::cache(&self.caches).keep(place, node.clone());
                Ok(node)
            }
            _ => Err(damaged),
        }
    }
}

/// Where the nodes of a view are: those that are stored, and those made since.
#[derive(Clone, Copy)]
pub(crate) struct Nodes<'a> {
    pub(crate) base: &'a Base,
    pub(crate) layers: &'a Layers,
}

/// A node at hand.
pub(crate) enum Node<'a, V> {
    Empty,
    Leaf(Leaf<V>),
    Made(Branch<'a, V>),
    Loaded(OwnedBranch<V>),
}

impl<'a> Nodes<'a> {
    /// What is below `start` nibbles of `path`, where its parent has `child`.
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
            Child::Made(_, id) if id.version > self.base.version => {
                return Ok(Node::Made(self.layers.branch(*id)));
            }
            Child::Made(reference, _) | Child::Stored(reference) => reference,
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
                Node::Made(branch) => *branch,
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
