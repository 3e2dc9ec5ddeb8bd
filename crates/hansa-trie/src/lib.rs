//! Keeps Ethereum's state trie over a key-value store.
//!
//! [`StateStore`] is the finalised state with its caches, [`StateView`] the state after one block: the finalised head, or
//! any number of blocks above it that are not final, in any number of branches. A view never changes; a block's changes
//! make a child view with the new root, in memory. Finalising is the caller's: it lets the view put what it needs into the
//! batch that makes the block the head.
//!
//! The trie is the only copy of the state. Nodes are kept by path, the leaves inside their branches; every node that is
//! read is checked against the hash by which its parent names it. Changed nodes are not written with every block: a short
//! record of the block's changes is, and the nodes behind it once some 500,000 have gathered, in their last form, to
//! a store of their own, so that no block waits for them. Opening reads the records again and compares the root. Older states
//! than the head cannot be opened.
//!
//! Readers and commits: a view carries a snapshot of the store as it was when the nodes were last written, and every node
//! changed since in memory, so readers take no lock and see one state for as long as they keep the view.

mod account;
mod arena;
mod branch;
mod bytes;
mod cache;
mod edit;
mod error;
mod flush;
mod key;
mod node;
mod nodes;
mod page;
mod proof;
mod rlp;
mod store;
mod update;
mod view;

#[cfg(test)]
mod tests;

use hansa_kv::{FjallOptions, Space};

pub use account::Account;
pub use error::TrieError;
pub use proof::{AccountProof, SlotProof};
pub use store::{StagedState, StateStore, StateStores, TrieConfig};
pub use update::{AccountUpdate, StateUpdate};
pub use view::StateView;

/// Entry points of the fuzz targets: stored pages and change records.
#[cfg(fuzzing)]
pub mod fuzzing {
    use alloy_primitives::{B256, U256};

    use crate::{account::AccountLeaf, page, update::Merged};

    /// A page of either kind of trie, below some nibbles.
    pub fn page(start: u8, bytes: &[u8]) {
        let start = usize::from(start % 64);
        let _ = page::decode::<U256>(bytes, &B256::ZERO, start);
        let _ = page::decode::<AccountLeaf>(bytes, &B256::ZERO, start);
    }

    /// The record of a block.
    pub fn record(bytes: &[u8]) {
        let _ = Merged::default().add(bytes);
    }
}

pub(crate) const NODES: Space = Space::new("state-nodes");
pub(crate) const RECORDS: Space = Space::new("state-records");
pub(crate) const CODE: Space = Space::new("state-code");

/// The spaces of [`StateStores::blocks`].
pub const BLOCK_SPACES: [Space; 2] = [RECORDS, CODE];

/// The space of [`StateStores::nodes`].
pub const NODE_SPACES: [Space; 1] = [NODES];

/// How a store on disk is best opened for [`StateStores::nodes`].
pub fn node_store_options() -> FjallOptions {
    FjallOptions {
        // Mostly hashes, which no compression shortens.
        incompressible: NODE_SPACES.to_vec(),
        // Each writing makes a table of nodes from all over the trie, so that a merge copies the whole of it: 3 s of processor at
        // three million slots. Nodes are mostly read from the cache, and a table that has not the page says so by its filter.
        uncompacted_tables_max: 40,
        ..FjallOptions::default()
    }
}
