//! The consortium chain as the sharing service needs it: calls that become final, reads at the finalised head, events.
//!
//! Everything returned is final. The port knows no pending transactions.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, Log};
use async_trait::async_trait;
use hansa_types::Member;

/// The last finalised block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// Height.
    pub number: u64,
    /// The block's time, Unix seconds.
    pub timestamp: u64,
}

/// A transaction that succeeded and is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainReceipt {
    /// Its hash.
    pub transaction: B256,
    /// The block it is in.
    pub block: u64,
    /// That block's time, Unix seconds.
    pub timestamp: u64,
    /// What it recorded.
    pub logs: Vec<Log>,
}

/// A finalised log and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The log.
    pub log: Log,
    /// Its block.
    pub block: u64,
    /// That block's hash.
    pub block_hash: B256,
    /// That block's time, Unix seconds.
    pub timestamp: u64,
    /// Its transaction.
    pub transaction: B256,
    /// That transaction's index in the block.
    pub transaction_index: u64,
    /// The log's index in the block, from 0.
    pub log_index: u64,
}

/// Finalised logs of whole blocks, from the beginning of a filter's range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPage {
    /// Oldest first.
    pub events: Vec<Event>,
    /// The height to continue at; `None` if all events of the range are here.
    pub next: Option<u64>,
}

/// Which finalised logs are wanted. Empty lists match anything.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// First height.
    pub from: u64,
    /// Last height, included; beyond the head means the head.
    pub to: u64,
    /// Emitting contracts.
    pub addresses: Vec<Address>,
    /// Accepted values of each topic.
    pub topics: [Vec<B256>; 4],
}

/// Why the chain did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A contract refused. `data` is what it returned.
    #[error("{explanation}")]
    Reverted {
        /// ABI-encoded error.
        data: Bytes,
        /// The same in words, with what to do.
        explanation: String,
    },
    /// The node's pool did not take the transaction.
    #[error("the transaction was not accepted: {0}")]
    Refused(String),
    /// The node's pool takes no more for a moment.
    #[error("the chain did not take the transaction: {0}")]
    Busy(String),
    /// Accepted, but not final within the time allowed; it may still become final.
    #[error("transaction {transaction} is not final after {seconds} s; check later before doing it again")]
    NotFinal {
        /// The transaction.
        transaction: B256,
        /// How long was waited.
        seconds: u64,
    },
    /// The ledger cannot be read or answered nonsense.
    #[error("the ledger does not answer: {0}")]
    Unavailable(String),
}

/// The chain, for one member's account.
#[async_trait]
pub trait Chain: Send + Sync + 'static {
    /// EIP-155 chain id.
    fn chain_id(&self) -> u64;

    /// The hash of the finalised block at a height; `None` above the head.
    async fn block_hash(&self, number: u64) -> Result<Option<B256>, ChainError>;

    /// The last finalised block.
    async fn head(&self) -> Result<ChainHead, ChainError>;

    /// Waits until the finalised height is at least `height`; returns the head.
    async fn reached(&self, height: u64) -> Result<ChainHead, ChainError>;

    /// All members ever admitted, at the finalised head.
    async fn members(&self) -> Result<Arc<Vec<Member>>, ChainError>;

    /// Calls without a transaction, at the finalised head.
    async fn call(&self, to: Address, input: Bytes) -> Result<Bytes, ChainError>;

    /// Sends a transaction from this member's account and waits until it is final. A call that would be refused is not
    /// sent.
    async fn submit(&self, to: Address, input: Bytes) -> Result<ChainReceipt, ChainError>;

    /// Finalised logs, oldest first, all of them.
    async fn events(&self, filter: EventFilter) -> Result<Vec<Event>, ChainError>;

    /// Finalised logs, oldest first, of as many whole blocks as have at most `limit` together, and of one block with any in
    /// any case.
    async fn event_page(&self, filter: EventFilter, limit: usize) -> Result<EventPage, ChainError>;

    /// The finalised logs of the last block that has any, in order.
    async fn last_events(&self, filter: EventFilter) -> Result<Vec<Event>, ChainError>;
}
