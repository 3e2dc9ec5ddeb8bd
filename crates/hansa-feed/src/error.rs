//! Errors of the feed.

use alloy_primitives::B256;
use hansa_kv::KvError;
use hansa_ports::ChainError;

/// The reason for which a subscription could not be made, or ended.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The chain cannot be read. Subscribing again continues at the cursor.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The chain has no genesis block.
    #[error("the chain does not name its genesis block")]
    GenesisMissing,
    /// The events of a portion are not in the chain's order, or outside the heights that were read.
    #[error("the chain's events from height {0} on are out of order")]
    Disordered(u64),
    /// The store of cursors failed.
    #[error("the store of feed cursors failed")]
    Store(#[from] KvError),
    /// A stored cursor is not 40 bytes long.
    #[error("the feed cursor '{0}' is damaged; this consumer must read the chain from the beginning")]
    DamagedCursor(String),
    /// A stored cursor belongs to another chain.
    #[error("the feed cursor '{name}' belongs to the chain with genesis block {genesis}, not to this one")]
    OtherChain {
        /// The consumer.
        name: String,
        /// The cursor's genesis block.
        genesis: B256,
    },
}
