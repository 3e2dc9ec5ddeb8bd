//! A chain in memory, the events on it, and a chain that lies about them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use alloy_primitives::{Address, B256, Bytes, Log};
use alloy_sol_types::SolEvent;
use async_trait::async_trait;
use hansa_contracts::{GOVERNANCE, SHARING, abi, data_store_of};
use hansa_kv::{MemoryStore, Space};
use hansa_ports::{Chain, ChainError, ChainHead, ChainReceipt, Event, EventFilter, EventPage};
use hansa_types::{DcId, Member};
use tokio::sync::watch;

use crate::{Feed, FeedBatch, FeedFilter, Portion};

pub(super) const SPACE: Space = Space::new("cursors");

/// Logs that a block can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An event of the sharing contract.
    Refused,
    /// An event of a member's store.
    Recorded,
    /// The sharing contract's event, emitted by another contract.
    Forged,
}

pub(super) fn contract(kind: Kind) -> Address {
    match kind {
        Kind::Refused => SHARING,
        Kind::Recorded => data_store_of(DcId::new(2).unwrap()),
        Kind::Forged => GOVERNANCE,
    }
}

fn log(kind: Kind) -> Log {
    let data = match kind {
        Kind::Refused | Kind::Forged => {
            let (owner, number, version) = (2, 7, 1);
            abi::Sharing::Refused { owner, number, dcId: 3, version, reason: 3, refusedBy: 0 }
                .encode_log_data()
        }
        Kind::Recorded => abi::DataStore::VersionRecorded {
            owner: 2,
            number: 7,
            version: 1,
            root: [1; 32].into(),
            commitment: [2; 32].into(),
            visibility: 0,
            keyEpoch: 1,
            sizeClass: 4096,
            createdAt: 1_800_000_000,
            validUntil: 0,
            actor: SHARING,
        }
        .encode_log_data(),
    };
    Log { address: contract(kind), data }
}

/// Only the events of stores.
pub(super) fn records() -> FeedFilter {
    let topics = [vec![abi::DataStore::VersionRecorded::SIGNATURE_HASH], vec![], vec![], vec![]];
    FeedFilter { contracts: vec![], topics }
}

/// Only the events of the sharing contract.
pub(super) fn refusals() -> FeedFilter {
    FeedFilter { contracts: vec![SHARING], topics: Default::default() }
}

/// A chain that answers from memory. Every log has a transaction of its own.
pub(super) struct MemoryChain {
    genesis: u8,
    blocks: watch::Sender<Vec<Vec<Kind>>>,
    /// Portions that were read.
    pub(super) pages: AtomicU64,
}

impl MemoryChain {
    /// A chain with these blocks from the genesis block on. Chains with other `genesis` are other chains.
    pub(super) fn new(genesis: u8, blocks: &[&[Kind]]) -> Arc<Self> {
        let blocks = blocks.iter().map(|block| block.to_vec()).collect();
        Arc::new(Self { genesis, blocks: watch::Sender::new(blocks), pages: AtomicU64::new(0) })
    }

    pub(super) fn push(&self, block: &[Kind]) {
        self.blocks.send_modify(|blocks| blocks.push(block.to_vec()));
    }

    pub(super) fn hash(&self, number: u64) -> B256 {
        B256::left_padding_from(&[&[self.genesis], number.to_be_bytes().as_slice()].concat())
    }

    fn event(&self, number: usize, index: usize, kind: Kind) -> Event {
        Event {
            log: log(kind),
            block: number as u64,
            block_hash: self.hash(number as u64),
            timestamp: 1_800_000_000 + number as u64,
            transaction: B256::repeat_byte(index as u8),
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
        let is_there = number < self.blocks.borrow().len() as u64;
        Ok(is_there.then(|| self.hash(number)))
    }

    async fn head(&self) -> Result<ChainHead, ChainError> {
        let number = self.blocks.borrow().len() as u64 - 1;
        Ok(ChainHead { number, timestamp: 1_800_000_000 + number })
    }

    async fn reached(&self, height: u64) -> Result<ChainHead, ChainError> {
        let mut blocks = self.blocks.subscribe();
        drop(blocks.wait_for(|blocks| blocks.len() as u64 > height).await.unwrap());
        self.head().await
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
        self.pages.fetch_add(1, Ordering::SeqCst);
        let matches = |log: &Log| {
            let [signature, ..] = &filter.topics;
            (filter.addresses.is_empty() || filter.addresses.contains(&log.address))
                && (signature.is_empty() || signature.contains(&log.topics()[0]))
        };
        let mut events = Vec::new();
        for (number, block) in self.blocks.borrow().iter().enumerate() {
            if !(filter.from..=filter.to).contains(&(number as u64)) {
                continue;
            }
            let found = block.iter().enumerate().map(|(index, kind)| self.event(number, index, *kind));
            let found: Vec<Event> = found.filter(|event| matches(&event.log)).collect();
            if !events.is_empty() && events.len() + found.len() > limit {
                return Ok(EventPage { events, next: Some(number as u64) });
            }
            events.extend(found);
        }
        Ok(EventPage { events, next: None })
    }

    async fn last_events(&self, _: EventFilter) -> Result<Vec<Event>, ChainError> {
        unused()
    }
}

/// Lies about a portion.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lie {
    Swapped,
    Repeated,
    BeforeTheRange,
    BehindTheRange,
    /// It says to continue where the portion began.
    Standing,
}

/// A chain whose portions are not what it was asked for.
pub(super) struct Liar(pub(super) Arc<MemoryChain>, pub(super) Lie);

#[async_trait]
impl Chain for Liar {
    fn chain_id(&self) -> u64 {
        self.0.chain_id()
    }

    async fn block_hash(&self, number: u64) -> Result<Option<B256>, ChainError> {
        self.0.block_hash(number).await
    }

    async fn head(&self) -> Result<ChainHead, ChainError> {
        self.0.head().await
    }

    async fn reached(&self, height: u64) -> Result<ChainHead, ChainError> {
        self.0.reached(height).await
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
        let (from, to) = (filter.from, filter.to);
        let mut page = self.0.event_page(filter, limit).await?;
        match self.1 {
            Lie::Swapped => page.events.reverse(),
            Lie::Repeated => page.events.insert(0, page.events[0].clone()),
            Lie::BeforeTheRange => page.events[0].block = from - 1,
            Lie::BehindTheRange => page.events.last_mut().unwrap().block = to + 1,
            Lie::Standing => page.next = Some(from),
        }
        Ok(page)
    }

    async fn last_events(&self, _: EventFilter) -> Result<Vec<Event>, ChainError> {
        unused()
    }
}

/// A feed over a chain, read in portions of so many blocks and logs.
pub(super) async fn feed(chain: Arc<dyn Chain>, kv: &Arc<MemoryStore>, (blocks, logs): (u64, usize)) -> Feed {
    let feed = Feed::open(chain, Arc::clone(kv) as _, SPACE).await.unwrap();
    feed.in_portions(Portion { blocks, logs })
}

/// Height and log index of each event.
pub(super) fn places(batch: &FeedBatch) -> Vec<(u64, u64)> {
    let of = |block: &crate::FeedBlock| {
        block.events.iter().map(|event| (block.number, event.log_index)).collect::<Vec<_>>()
    };
    batch.blocks.iter().flat_map(of).collect()
}
