//! Reads the chain in bounded portions.

use std::sync::Arc;

use alloy_primitives::B256;
use hansa_contracts::ContractEvent;
use hansa_kv::Space;
use hansa_ports::{Chain, Event, EventFilter};

use crate::{FeedBatch, FeedBlock, FeedError, FeedEvent, FeedFilter, batch::CursorEntry, cursor};

/// Bounds of one read of the chain. A batch holds the events of one portion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portion {
    /// Most heights; 0 counts as 1.
    pub blocks: u64,
    /// Most logs, unless a single block has more.
    pub logs: usize,
}

impl Default for Portion {
    /// 1,024 heights and 4,096 logs, which are a few MB in memory.
    fn default() -> Self {
        Self { blocks: 1024, logs: 4096 }
    }
}

/// Reads for one subscription.
pub(crate) struct Reader {
    pub(crate) chain: Arc<dyn Chain>,
    pub(crate) filter: FeedFilter,
    pub(crate) portion: Portion,
    pub(crate) space: Space,
    pub(crate) name: String,
    pub(crate) genesis: B256,
}

impl Reader {
    /// The portion that begins at `next`; waits until that height is final. Returns it with the height to continue at.
    pub(crate) async fn read(&self, next: u64) -> Result<(FeedBatch, u64), FeedError> {
        let head = self.chain.reached(next).await?.number;
        let last = next.saturating_add(self.portion.blocks.saturating_sub(1)).min(head);
        let FeedFilter { contracts, topics } = self.filter.clone();
        let filter = EventFilter { from: next, to: last, addresses: contracts, topics };
        let page = self.chain.event_page(filter, self.portion.logs).await?;
        let end = page.next.unwrap_or_else(|| last.saturating_add(1));
        if end <= next || !is_ordered(&page.events, next, end) {
            return Err(FeedError::Disordered(next));
        }
        let cursor = CursorEntry {
            space: self.space,
            key: cursor::key(&self.name),
            value: cursor::encode(end, self.genesis),
        };
        let batch = FeedBatch { blocks: blocks(page.events), through: end.saturating_sub(1), cursor };
        Ok((batch, end))
    }
}

/// Whether events are in the chain's order, each once, from height `from` on and below height `end`.
fn is_ordered(events: &[Event], from: u64, end: u64) -> bool {
    events.is_sorted_by(|a, b| (a.block, a.log_index) < (b.block, b.log_index))
        && events.iter().all(|event| (from..end).contains(&event.block))
}

/// The suite's events among some, by block.
fn blocks(events: Vec<Event>) -> Vec<FeedBlock> {
    let mut blocks: Vec<FeedBlock> = Vec::new();
    for found in events {
        let Some(event) = ContractEvent::decode(&found.log) else { continue };
        let event = FeedEvent {
            event,
            contract: found.log.address,
            transaction: found.transaction,
            transaction_index: found.transaction_index,
            log_index: found.log_index,
        };
        match blocks.last_mut().filter(|block| block.number == found.block) {
            Some(block) => block.events.push(event),
            None => blocks.push(FeedBlock {
                number: found.block,
                hash: found.block_hash,
                timestamp: found.timestamp,
                events: vec![event],
            }),
        }
    }
    blocks
}
