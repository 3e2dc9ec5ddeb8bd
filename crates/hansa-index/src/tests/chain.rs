//! A chain in memory whose blocks hold any logs.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, Log};
use async_trait::async_trait;
use hansa_feed::{Feed, Portion};
use hansa_kv::{MemoryStore, Space};
use hansa_ports::{Chain, ChainError, ChainHead, ChainReceipt, Event, EventFilter, EventPage};
use hansa_types::Member;
use tokio::sync::watch;

pub(super) struct MemoryChain {
    name: u64,
    blocks: watch::Sender<Vec<Vec<Log>>>,
}

/// The time of a block.
pub(super) fn time(height: u64) -> u64 {
    1_800_000_000 + height
}

/// The transaction of a log; each has one of its own.
pub(super) fn transaction(height: u64, log_index: u64) -> B256 {
    B256::left_padding_from(&[height.to_be_bytes(), log_index.to_be_bytes()].concat())
}

impl MemoryChain {
    /// A chain with these blocks from the genesis block on. Chains with other names are other chains.
    pub(super) fn new(name: u64, blocks: Vec<Vec<Log>>) -> Arc<Self> {
        Arc::new(Self { name, blocks: watch::Sender::new(blocks) })
    }

    pub(super) fn push(&self, block: Vec<Log>) {
        self.blocks.send_modify(|blocks| blocks.push(block));
    }

    pub(super) fn hash(&self, height: u64) -> B256 {
        B256::left_padding_from(&[self.name.to_be_bytes(), height.to_be_bytes()].concat())
    }

    pub(super) fn genesis(&self) -> B256 {
        self.hash(0)
    }

    pub(super) fn head(&self) -> u64 {
        self.blocks.borrow().len() as u64 - 1
    }

    /// A feed of so many blocks and logs at once.
    pub(super) async fn feed(self: &Arc<Self>, (blocks, logs): (u64, usize)) -> Feed {
        let kv = Arc::<MemoryStore>::default();
        let feed = Feed::open(Arc::clone(self) as _, kv, Space::new("cursors")).await.unwrap();
        feed.in_portions(Portion { blocks, logs })
    }

    fn event(&self, height: u64, index: usize, log: &Log) -> Event {
        Event {
            log: log.clone(),
            block: height,
            block_hash: self.hash(height),
            timestamp: time(height),
            transaction: transaction(height, index as u64),
            transaction_index: index as u64,
            log_index: index as u64,
        }
    }
}

fn unused<T>() -> Result<T, ChainError> {
    Err(ChainError::Unavailable("the feed asks for events only".to_owned()))
}

#[async_trait]
impl Chain for MemoryChain {
    fn chain_id(&self) -> u64 {
        1
    }

    async fn block_hash(&self, number: u64) -> Result<Option<B256>, ChainError> {
        Ok((number <= self.head()).then(|| self.hash(number)))
    }

    async fn head(&self) -> Result<ChainHead, ChainError> {
        Ok(ChainHead { number: self.head(), timestamp: time(self.head()) })
    }

    async fn reached(&self, height: u64) -> Result<ChainHead, ChainError> {
        drop(self.blocks.subscribe().wait_for(|blocks| blocks.len() as u64 > height).await.unwrap());
        Chain::head(self).await
    }

    async fn members(&self) -> Result<Arc<Vec<Member>>, ChainError> {
        unused()
    }

    async fn call(&self, _: Address, _: Bytes) -> Result<Bytes, ChainError> {
        unused()
    }

    async fn submit(&self, _: Address, _: Bytes) -> Result<ChainReceipt, ChainError> {
        unused()
    }

    async fn events(&self, _: EventFilter) -> Result<Vec<Event>, ChainError> {
        unused()
    }

    async fn event_page(&self, filter: EventFilter, limit: usize) -> Result<EventPage, ChainError> {
        let mut events = Vec::new();
        for (height, block) in self.blocks.borrow().iter().enumerate() {
            let height = height as u64;
            if !(filter.from..=filter.to).contains(&height) {
                continue;
            }
            if !events.is_empty() && events.len() + block.len() > limit {
                return Ok(EventPage { events, next: Some(height) });
            }
            events.extend(block.iter().enumerate().map(|(index, log)| self.event(height, index, log)));
        }
        Ok(EventPage { events, next: None })
    }

    async fn last_events(&self, _: EventFilter) -> Result<Vec<Event>, ChainError> {
        unused()
    }
}
