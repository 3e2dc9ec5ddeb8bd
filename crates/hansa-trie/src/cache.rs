//! Nodes read from the store or just written to it, most recently used kept.
//!
//! There is one node for each place in a trie, the one that was read or written there last; whoever looks for another that
//! was or will be there finds none. Nodes are told apart by hash, so what is found is right whatever has been committed or
//! dropped since. Cached nodes refer to other branches by name only, so that letting one go frees it.

use std::mem::size_of;

use alloy_primitives::{B256, U256, map::DefaultHashBuilder};
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use crate::account::AccountLeaf;
use crate::key::truncated;
use crate::node::{Leaf, TrieValue};
use crate::nodes::Loaded;

/// What a cached node takes besides itself: its entry, its counters, the allocator's rounding.
const ENTRY_BYTES: usize = 96;

/// The caches of both kinds of tries.
pub(crate) struct Caches {
    pub(crate) accounts: NodeCache<AccountLeaf>,
    pub(crate) storage: NodeCache<U256>,
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
}

/// Nodes of one kind, by place.
pub(crate) struct NodeCache<V>(Cache<Place, Loaded<V>, Weight, DefaultHashBuilder>);

impl<V: TrieValue> NodeCache<V> {
    fn new(bytes_max: usize) -> Self {
        // Most branches have two to five leaves.
        const TYPICAL_BYTES: usize = 512;
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        Self(Cache::with(bytes_max / TYPICAL_BYTES, bytes_max as u64, Weight, hasher, lifecycle))
    }

    /// The node with this hash, if it is cached, at the place that is below `start` nibbles of `path`.
    pub(crate) fn node(&self, place: Place, hash: &B256, path: &B256, start: usize) -> Option<Loaded<V>> {
        let node = self.0.get(&place)?;
        (node.is_below(path, start) && node.reference().root_hash() == *hash).then_some(node)
    }

    /// Keeps a node.
    pub(crate) fn keep(&self, place: Place, node: Loaded<V>) {
        self.0.insert(place, node);
    }
}

/// Roughly what a node takes in memory, in bytes.
#[derive(Clone)]
struct Weight;

impl<V: TrieValue> Weighter<Place, Loaded<V>> for Weight {
    fn weight(&self, _: &Place, node: &Loaded<V>) -> u64 {
        let node = match node {
            Loaded::Branch(branch) => branch.get().size(),
            Loaded::Leaf(_) => size_of::<Leaf<V>>(),
        };
        (ENTRY_BYTES + node) as u64
    }
}
