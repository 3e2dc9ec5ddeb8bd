//! Proposes, verifies and finalises blocks; the only writer of state.
//!
//! Keeps the finalised chain in a key-value store and, above its head, a tree of executed blocks that may still become
//! final. It decides whether a block follows the chain's rules; which block is next, whether its consensus data
//! and `prevrandao` are genuine, and whether its timestamp is too far ahead, is for consensus to say. Blocks come from
//! peers, so nothing in this crate panics on them; a store that fails is an error after which the node must stop.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod accounts;
mod calls;
mod certificates;
mod chain;
mod error;
mod execute;
mod finalise;
mod genesis;
mod header;
mod history;
mod ledger;
mod log_search;
mod logs;
mod members;
mod proofs;
mod propose;
mod query;
mod records;
mod state;
mod stores;
mod upgrade;
mod verify;

use hansa_kv::Space;

pub use calls::{AccountProof, StorageProof};
pub use error::{BlockFault, LedgerError};
pub use hansa_contracts::SuiteState;
pub use hansa_evm::{
    Accessed, AccountOverride, AccountState, BlockEnvironment, BlockOverride, CALL_GAS_MAX, CallOutcome,
    CallRequest, Estimate, ExecutionError, InvalidReason, Overrides, Simulation, StateView,
};
pub use history::{BlockRef, PAST_STATES_BYTES_MAX};
pub use ledger::{Ledger, LedgerConfig};
pub use logs::{LocatedLog, LogFilter, LogPage};
pub use propose::Proposal;
pub use query::{FinalisedBlock, LocatedTransaction, TransactionReceipt};
pub use stores::open_stores;

/// Encoded blocks by number.
pub(crate) const BLOCKS: Space = Space::new("ledger-blocks");
/// Block numbers by hash.
pub(crate) const HASHES: Space = Space::new("ledger-hashes");
/// A block's senders and receipts by number.
pub(crate) const RECEIPTS: Space = Space::new("ledger-receipts");
/// Place of a transaction in the chain by hash.
pub(crate) const TRANSACTIONS: Space = Space::new("ledger-transactions");
/// Blocks in which an address or topic occurs.
pub(crate) const LOGS: Space = Space::new("ledger-logs");
/// Certificates of finality by number.
pub(crate) const CERTIFICATES: Space = Space::new("ledger-certificates");
/// The head, the genesis hash, the members; members at the ends of epochs, where they differ from the epoch before.
pub(crate) const META: Space = Space::new("ledger-meta");
