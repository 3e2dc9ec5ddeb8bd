//! LRU cache of stored nodes.
//!
//! The cache holds one node for each path of a trie, the last one read or written. A lookup for another version of the node misses,
//! because hits are compared by hash; so no commit invalidates an entry. Cached nodes refer to other branches by hash only: evicting
//! a node frees its memory.

use std::mem::size_of;

use alloy_primitives::{B256, U256, map::DefaultHashBuilder};
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use crate::account::AccountLeaf;
use crate::key::truncated;
use crate::node::{Leaf, TrieValue};
use crate::nodes::Loaded;

/// Overhead of a cached node in bytes: the entry, its counters, the allocator's rounding.
const ENTRY_BYTES: usize = 96;

/// The caches of the account trie and of all storage tries.
pub(crate) struct Caches {
    pub(crate) accounts: NodeCache<AccountLeaf>,
    pub(crate) storage: NodeCache<U256>,
}

impl Caches {
    /// An eighth of the memory for accounts, which are few; the rest for their storage.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { accounts: NodeCache::new(bytes_max / 8), storage: NodeCache::new(bytes_max / 8 * 7) }
    }
}

/// A hash of a path in a trie. Colliding paths evict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey(u64);

impl CacheKey {
    /// The key of the node below `start` nibbles of `path`, in the storage trie of `owner` or in the account trie.
    pub(crate) fn new(owner: Option<&B256>, path: &B256, start: usize) -> Self {
        // Owner and path are keccak-256: any 8 bytes are uniform. Tries are rarely deeper than 16 nibbles.
        let word = |hash: &B256| hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let path = word(&truncated(path, start)).rotate_right(32) ^ (start as u64) << 56;
        Self(path ^ owner.map_or(0, word).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

/// Nodes of one kind, by path.
pub(crate) struct NodeCache<V>(Cache<CacheKey, Loaded<V>, Weight, DefaultHashBuilder>);

impl<V: TrieValue> NodeCache<V> {
    fn new(bytes_max: usize) -> Self {
        // A typical branch has two to five leaves.
        const TYPICAL_BYTES: usize = 512;
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        Self(Cache::with(bytes_max / TYPICAL_BYTES, bytes_max as u64, Weight, hasher, lifecycle))
    }

    /// The cached node with this hash below `start` nibbles of `path`.
    pub(crate) fn node(&self, key: CacheKey, hash: &B256, path: &B256, start: usize) -> Option<Loaded<V>> {
        let node = self.0.get(&key)?;
        (node.is_below(path, start) && node.reference().root_hash() == *hash).then_some(node)
    }

    /// Inserts a node.
    pub(crate) fn insert(&self, key: CacheKey, node: Loaded<V>) {
        self.0.insert(key, node);
    }
}

/// Approximate size of a node in bytes.
#[derive(Clone)]
struct Weight;

impl<V: TrieValue> Weighter<CacheKey, Loaded<V>> for Weight {
    fn weight(&self, _: &CacheKey, node: &Loaded<V>) -> u64 {
        let node = match node {
            Loaded::Branch(branch) => branch.get().size(),
            Loaded::Leaf(_) => size_of::<Leaf<V>>(),
        };
        (ENTRY_BYTES + node) as u64
    }
}
