//! Keeps Ethereum's state trie over a key-value store.
//!
//! The trie is the only copy of the state (ADR 0004). The crate does not execute transactions, choose the final branch, or open
//! states older than the head.
//!
//! # Actors
//!
//! - [`StateStore`]: the finalised state, its caches and the dirty nodes that are not flushed.
//! - [`StateView`]: the immutable state after one block. A view is the head, or any block above it that is not final, on any branch.
//!   A view has a snapshot of the store at the last flush and all later dirty nodes in memory, so readers take no lock.
//! - The caller: executes blocks, chooses the view to finalise, and writes the batch that makes a block the head.
//!
//! # Tasks
//!
//! The only thread of the crate flushes dirty nodes to a store of their own ([`StateStores::nodes`]), so that no block waits for
//! them. A flush begins when [`StateStore::adopt`] counts enough dirty nodes or blocks, and writes each changed node once. If the
//! next flush falls due before the last one has ended, [`StateStore::stage`] waits.
//!
//! # States
//!
//! A view is *applied* ([`StateView::apply`]: in memory, any number of siblings), *staged* ([`StateStore::stage`]: its change record
//! is in the caller's batch), *adopted* ([`StateStore::adopt`]: the head; the batch is durable), and at last *flushed*: its nodes are
//! stored, and its record is deleted. Nodes are keyed by path with their leaves inside. A node that is read is compared with the hash
//! in its parent.
//!
//! # What a crash loses
//!
//! Nothing that was adopted. Blocks become durable before the nodes of a flush, and nodes before the records that they make obsolete
//! are deleted. Opening replays the records above the flushed nodes and compares the root. Views that were not adopted are lost.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use alloy_primitives::{Address, U256};
//! use hansa_kv::{Batch, KvStore, MemoryStore};
//! use hansa_trie::{Account, AccountUpdate, StateStore, StateUpdate, TrieConfig};
//!
//! let store = Arc::new(MemoryStore::new());
//! let state = StateStore::open(Arc::clone(&store), TrieConfig::default())?;
//! let address = Address::repeat_byte(1);
//! let account = Account { nonce: 1, ..Account::default() };
//! let update = AccountUpdate { address, account: Some(account), storage: vec![(U256::ZERO, U256::from(7))] };
//! let view = state.head().apply(&StateUpdate { accounts: vec![update], ..StateUpdate::default() })?;
//!
//! let mut batch = Batch::new();
//! let staged = state.stage(&view, &mut batch)?;
//! store.write(batch)?;
//! state.adopt(staged);
//! assert_eq!(state.head().storage(address, U256::ZERO)?, U256::from(7));
//! # Ok::<(), hansa_trie::TrieError>(())
//! ```

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

    /// A page of either kind of trie below `start` nibbles.
    pub fn page(start: u8, bytes: &[u8]) {
        let start = usize::from(start % 64);
        let _ = page::decode::<U256>(bytes, &B256::ZERO, start);
        let _ = page::decode::<AccountLeaf>(bytes, &B256::ZERO, start);
    }

    /// The change record of a block.
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

/// Recommended options of a store on disk for [`StateStores::nodes`].
pub fn node_store_options() -> FjallOptions {
    FjallOptions {
        // Hashes do not compress.
        incompressible: NODE_SPACES.to_vec(),
        // Each flush makes a table with nodes of the whole key range, so a compaction copies the whole trie: 3 s of processor time
        // at three million slots. Most reads hit the cache, and the Bloom filter rules out tables without the key.
        uncompacted_tables_max: 40,
        ..FjallOptions::default()
    }
}
