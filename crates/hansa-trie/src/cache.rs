//! Nodes read from the store or just written to it, most recently used kept.
//!
//! They are found by hash, so what is cached is right whatever has been committed or dropped since: there is nothing to
//! invalidate. Cached nodes refer to other branches by name only, so that letting one go frees it.

use std::mem::size_of;
use std::sync::Arc;

use alloy_primitives::{B256, map::FbBuildHasher};
use lru::LruCache;
use parking_lot::Mutex;

use crate::account::AccountLeaf;
use crate::key::shared_nibbles;
use crate::node::{Branch, Child, Leaf};

const SHARDS: usize = 16;

/// The caches of both kinds of tries.
pub(crate) struct Caches {
    pub(crate) accounts: NodeCache<AccountLeaf>,
    pub(crate) storage: NodeCache<alloy_primitives::U256>,
}

impl Caches {
    /// A quarter for accounts, the rest for storage.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { accounts: NodeCache::new(bytes_max / 4), storage: NodeCache::new(bytes_max / 4 * 3) }
    }
}

/// Nodes of one kind, by the hash that names them.
pub(crate) struct NodeCache<V> {
    shards: [Mutex<Shard<V>>; SHARDS],
    shard_bytes_max: usize,
}

struct Shard<V> {
    nodes: LruCache<B256, Cached<V>, FbBuildHasher<32>>,
    bytes: usize,
}

/// A node as it is cached.
enum Cached<V> {
    Branch(Arc<Branch<V>>),
    /// A trie of a single key.
    Leaf(Box<Leaf<V>>),
}

impl<V: Clone> NodeCache<V> {
    fn new(bytes_max: usize) -> Self {
        let shard = |_| {
            Mutex::new(Shard { nodes: LruCache::unbounded_with_hasher(FbBuildHasher::default()), bytes: 0 })
        };
        Self { shards: std::array::from_fn(shard), shard_bytes_max: bytes_max / SHARDS }
    }

    /// The node with this hash, if it is cached and lies below `start` nibbles of `path`.
    pub(crate) fn node(&self, hash: &B256, path: &B256, start: usize) -> Option<Child<V>> {
        let mut shard = self.shard(hash).lock();
        match shard.nodes.get(hash)? {
            Cached::Branch(branch) => {
                let is_here = branch.start == start && shared_nibbles(&branch.path, path) >= start;
                is_here.then(|| Child::Branch(Arc::clone(branch)))
            }
            Cached::Leaf(leaf) => {
                let is_here = shared_nibbles(&leaf.key, path) >= start;
                is_here.then(|| Child::Leaf(Leaf::clone(leaf)))
            }
        }
    }

    /// Keeps a node whose branches below it are all [`Child::Stored`].
    pub(crate) fn keep(&self, hash: B256, node: &Child<V>) {
        let node = match node {
            Child::Branch(branch) => Cached::Branch(Arc::clone(branch)),
            Child::Leaf(leaf) => Cached::Leaf(Box::new(leaf.clone())),
            Child::Empty | Child::Stored(_) => return,
        };
        let mut shard = self.shard(&hash).lock();
        shard.bytes += weight(&node);
        if let Some((_, replaced)) = shard.nodes.push(hash, node) {
            shard.bytes = shard.bytes.saturating_sub(weight(&replaced));
        }
        while shard.bytes > self.shard_bytes_max {
            let Some((_, evicted)) = shard.nodes.pop_lru() else { break };
            shard.bytes = shard.bytes.saturating_sub(weight(&evicted));
        }
    }

    fn shard(&self, hash: &B256) -> &Mutex<Shard<V>> {
        &self.shards[usize::from(hash[31]) % SHARDS]
    }
}

/// Roughly what a node takes, in bytes, with its place in the cache.
fn weight<V>(node: &Cached<V>) -> usize {
    const ENTRY: usize = 128;
    match node {
        Cached::Branch(branch) => {
            ENTRY + size_of::<Branch<V>>() + branch.children.capacity() * size_of::<Child<V>>()
        }
        Cached::Leaf(_) => ENTRY + size_of::<Leaf<V>>(),
    }
}
