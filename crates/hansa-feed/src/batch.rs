//! Batches of events, as consumers receive them.

use alloy_primitives::{Address, B256};
use hansa_contracts::ContractEvent;
use hansa_kv::{Batch, Space};

/// Events of consecutive final blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedBatch {
    /// Blocks with wanted events, lowest first. Empty where no block up to `through` has any.
    pub blocks: Vec<FeedBlock>,
    /// The last height that was read. This batch and those before it hold every wanted event up to here.
    pub through: u64,
    pub(crate) cursor: CursorEntry,
}

/// The stored form of the cursor behind a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CursorEntry {
    pub(crate) space: Space,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// A final block with wanted events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedBlock {
    /// Height.
    pub number: u64,
    /// Block hash.
    pub hash: B256,
    /// The block's time, Unix seconds.
    pub timestamp: u64,
    /// In the order of their logs; never empty.
    pub events: Vec<FeedEvent>,
}

/// An event of the contract suite and its place in the block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEvent {
    /// The decoded event.
    pub event: ContractEvent,
    /// The contract that emitted it.
    pub contract: Address,
    /// Hash of the transaction.
    pub transaction: B256,
    /// The transaction's index in the block.
    pub transaction_index: u64,
    /// The log's index in the block. Height and log index identify the event.
    pub log_index: u64,
}

impl FeedBatch {
    /// Adds the cursor behind this batch to a write of the store that the feed was opened with. Work and cursor in one write make
    /// delivery exactly once.
    pub fn add_cursor(&self, batch: &mut Batch) {
        batch.put(self.cursor.space, self.cursor.key.clone(), self.cursor.value.clone());
    }

    /// All events, in the chain's order.
    pub fn events(&self) -> impl Iterator<Item = &FeedEvent> {
        self.blocks.iter().flat_map(|block| &block.events)
    }
}
