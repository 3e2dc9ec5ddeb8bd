//! Nodes read from the store or just written to it, most recently used kept.
//!
//! There is one node for each place in a trie, the one that was read or written there last; whoever looks for another that
//! was or will be there finds none. Nodes are told apart by hash, so what is found is right whatever has been committed or
//! dropped since. Cached nodes refer to other branches by name only, so that letting one go frees it.

use std::mem::size_of;
use std::sync::Arc;

use alloy_primitives::{B256, map::DefaultHashBuilder};
use lru::LruCache;
use parking_lot::Mutex;

use crate::account::AccountLeaf;
use crate::key::{shared_nibbles, truncated};
use crate::node::{Branch, Child, Leaf};

const SHARDS: usize = 16;

/// The caches of both kinds of tries.
pub(crate) struct Caches {
    pub(crate) accounts: NodeCache<AccountLeaf>,
    pub(crate) storage: NodeCache<alloy_primitives::U256>,
}

impl Caches {
    /// An eighth for accounts, which are few, the rest for their storage.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { accounts: NodeCache::new(bytes_max / 8), storage: NodeCache::new(bytes_max / 8 * 7) }
    }
}

/// A place in a trie, shortened: two that are mistaken for one another only put one another out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place(u64);

impl Place {
    /// Below `start` nibbles of `path`, in the trie of `owner` or of all accounts.
    pub(crate) fn new(owner: Option<&B256>, path: &B256, start: usize) -> Self {
        // Both are keccak-256, so any 8 bytes of them do, and no trie is 16 nibbles deep for long.
        let word = |hash: &B256| hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let path = word(&truncated(path, start)).rotate_right(32) ^ (start as u64) << 56;
        Self(path ^ owner.map_or(0, word).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn shard(self) -> usize {
        (self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % SHARDS
    }
}

/// Nodes of one kind, by place.
pub(crate) struct NodeCache<V> {
    shards: [Mutex<Shard<V>>; SHARDS],
    shard_bytes_max: usize,
}

struct Shard<V> {
    nodes: LruCache<Place, Cached<V>, DefaultHashBuilder>,
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
            Mutex::new(Shard {
                nodes: LruCache::unbounded_with_hasher(DefaultHashBuilder::default()),
                bytes: 0,
            })
        };
        Self { shards: std::array::from_fn(shard), shard_bytes_max: bytes_max / SHARDS }
    }

    /// The node with this hash, if it is cached, at the place that is below `start` nibbles of `path`.
    pub(crate) fn node(&self, place: Place, hash: &B256, path: &B256, start: usize) -> Option<Child<V>> {
        let mut shard = self.shards[place.shard()].lock();
        match shard.nodes.get(&place)? {
            Cached::Branch(branch) => {
                let is_here = branch.start == start && shared_nibbles(&branch.path, path) >= start;
                let is_it = is_here && branch.reference.root_hash() == *hash;
                is_it.then(|| Child::Branch(Arc::clone(branch)))
            }
            Cached::Leaf(leaf) => {
                let is_here = shared_nibbles(&leaf.key, path) >= start;
                let is_it = is_here && leaf.reference.root_hash() == *hash;
                is_it.then(|| Child::Leaf(Leaf::clone(leaf)))
            }
        }
    }

    /// Keeps a node whose branches below it are all [`Child::Stored`].
    pub(crate) fn keep(&self, place: Place, node: &Child<V>) {
        let node = match node {
            Child::Branch(branch) => Cached::Branch(Arc::clone(branch)),
            Child::Leaf(leaf) => Cached::Leaf(Box::new(leaf.clone())),
            Child::Empty | Child::Stored(_) => return,
        };
        let mut shard = self.shards[place.shard()].lock();
        shard.bytes += weight(&node);
        if let Some((_, replaced)) = shard.nodes.push(place, node) {
            shard.bytes = shard.bytes.saturating_sub(weight(&replaced));
        }
        while shard.bytes > self.shard_bytes_max {
            let Some((_, evicted)) = shard.nodes.pop_lru() else { break };
            shard.bytes = shard.bytes.saturating_sub(weight(&evicted));
        }
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
