//! Proposes, verifies and finalises blocks; the only writer of state.
//!
//! The ledger decides whether a block follows the rules of the chain. Consensus decides which block is next, whether its consensus data
//! and `prevrandao` are genuine, and whether its timestamp is too far ahead. Blocks come from peers, so no block causes a panic. A
//! failed write is an error after which the node must stop.
//!
//! # Actors
//!
//! - [`Ledger`]: a cloneable handle on the finalised chain, its state, and the tree of executed blocks above its head.
//! - Consensus: the only caller of [`Ledger::propose`], [`Ledger::verify`] and [`Ledger::finalise`].
//! - The pool: pending transactions. The ledger attaches itself at opening, and tells it which accounts may send.
//! - Readers: calls, logs, receipts, proofs and subscriptions. They see finalised blocks only.
//!
//! # Tasks
//!
//! The crate has no task of its own; the state's store flushes in a thread (`hansa-trie`). All methods block: call them off async
//! executors. Finalisation is serialised. Proposals, verifications and reads run in parallel.
//!
//! # States
//!
//! A block is *executed* (by a proposal or a verification: an overlay in memory, possibly on several branches), then *final* (in the
//! store) or *dropped* (a rival is final). The state of an executed block is a view on the state trie.
//!
//! # What a crash loses
//!
//! Executed blocks that are not final. A final block is written in one atomic, durable batch with receipts, indices, head and the
//! change record of its state, so head and state always agree. Past states are in memory: a restart loses them.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use alloy_primitives::{Address, B256};
//! use hansa_contracts::draft_genesis;
//! use hansa_kv::MemoryStore;
//! use hansa_ledger::{Ledger, Proposal};
//! use hansa_types::{ClusterId, ConsensusData, Limits, MemberCard, NetworkKey};
//!
//! let founder = |number: u8| MemberCard {
//!     name: format!("Member {number}"),
//!     cluster: ClusterId(1),
//!     account: Address::repeat_byte(number),
//!     network_key: NetworkKey(B256::repeat_byte(number)),
//!     encryption_key: vec![number; 1_216].into(),
//!     consensus_endpoint: format!("127.0.0.1:{}", 4_000 + u16::from(number)),
//!     swarm_endpoint: format!("/ip4/127.0.0.1/tcp/{}", 5_000 + u16::from(number)),
//! };
//! let founders = (1..=4).map(founder).collect();
//! let genesis = draft_genesis(7_700, 1_800_000_000, Limits::default(), founders);
//! let open = || Ledger::open(Arc::new(MemoryStore::new()), &genesis);
//! let (leader, validator) = (open()?, open()?);
//!
//! let block = leader.propose(Proposal {
//!     parent: leader.head().hash(),
//!     timestamp: 1_800_000_001,
//!     prevrandao: B256::repeat_byte(7),
//!     beneficiary: Address::repeat_byte(1),
//!     consensus: ConsensusData::default(),
//!     filling_time: None,
//! })?;
//! validator.verify(&block)?;
//! validator.finalise(&block)?;
//! assert_eq!(validator.head().hash(), block.hash());
//! # Ok::<(), hansa_ledger::LedgerError>(())
//! ```
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
mod config;
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
mod quota;
mod records;
mod state;
mod stores;
mod upgrade;
mod verify;

use hansa_kv::Space;

pub use calls::{AccountProof, StorageProof};
pub use config::{LedgerConfig, LedgerSettings};
pub use error::{BlockFault, LedgerError};
pub use hansa_contracts::{Quota, SuiteState, Usage};
pub use hansa_evm::{
    Accessed, AccountOverride, AccountState, BlockEnvironment, BlockOverride, CALL_GAS_MAX, CallOutcome,
    CallRequest, Estimate, ExecutionError, InvalidReason, Overrides, Simulation, StateView,
};
pub use history::{BlockRef, PAST_STATES_BYTES_MAX};
pub use ledger::Ledger;
pub use logs::{LocatedLog, LogFilter, LogPage};
pub use members::Quotas;
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
