//! Measures the index: events a second while it is built, and the time of pages.
//!
//! `cargo run --release -p hansa-index --example load [-- OBJECTS [POSTGRES_URL]]`: that many objects (1,000,000) of 8 members, one event
//! each. Every fourth one has a grant as well.
#![expect(clippy::print_stdout, reason = "a program whose purpose is to print figures")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256, Bytes, Log};
use alloy_sol_types::SolEvent;
use async_trait::async_trait;
use hansa_contracts::{SHARING, abi, data_store_of};
use hansa_feed::Feed;
use hansa_index::{Index, IndexSettings, Names, ObjectQuery, Sort};
use hansa_kv::{MemoryStore, Space};
use hansa_ports::{Chain, ChainError, ChainHead, ChainReceipt, Event, EventFilter, EventPage};
use hansa_types::{DcId, Member, Visibility};

const MEMBERS: u64 = 8;
const OBJECTS_PER_BLOCK: u64 = 1_000;
const PAGES: usize = 200;

/// A chain whose blocks are computed when they are asked for.
struct Computed {
    objects: u64,
}

impl Computed {
    fn last(&self) -> u64 {
        self.objects.div_ceil(OBJECTS_PER_BLOCK)
    }

    fn block(&self, height: u64) -> Vec<Event> {
        let first = (height - 1) * OBJECTS_PER_BLOCK;
        let numbers = (first..(first + OBJECTS_PER_BLOCK).min(self.objects)).map(|number| number + 1);
        let logs = numbers.flat_map(|number| [Some(recorded(number)), shared(number)].into_iter().flatten());
        logs.enumerate().map(|(index, log)| event(height, index as u64, log)).collect()
    }
}

fn owner(number: u64) -> u32 {
    u32::try_from(number % MEMBERS + 1).unwrap()
}

fn recorded(number: u64) -> Log {
    let event = abi::DataStore::VersionRecorded {
        owner: owner(number),
        number,
        version: 1,
        root: B256::from(alloy_primitives::U256::from(number)),
        commitment: B256::repeat_byte(2),
        visibility: if number.is_multiple_of(10) { 0 } else { 1 },
        keyEpoch: 1,
        sizeClass: 4096,
        createdAt: 1_800_000_000,
        validUntil: 0,
        actor: SHARING,
    };
    Log { address: data_store_of(DcId::new(owner(number)).unwrap()), data: event.encode_log_data() }
}

fn shared(number: u64) -> Option<Log> {
    let event = abi::Sharing::Shared {
        owner: owner(number),
        number,
        grantee: owner(number + 1),
        expiresAt: 0,
        maxOpenings: 0,
        keyEpoch: 1,
        deposited: false,
        actor: SHARING,
    };
    number.is_multiple_of(4).then(|| Log { address: SHARING, data: event.encode_log_data() })
}

fn event(block: u64, log_index: u64, log: Log) -> Event {
    Event {
        log,
        block,
        block_hash: hash(block),
        timestamp: 1_800_000_000 + block,
        transaction: alloy_primitives::keccak256([block.to_be_bytes(), log_index.to_be_bytes()].concat()),
        transaction_index: log_index,
        log_index,
    }
}

fn hash(block: u64) -> B256 {
    B256::left_padding_from(&block.to_be_bytes())
}

fn unused<T>() -> Result<T, ChainError> {
    Err(ChainError::Unavailable("the feed asks for events only".to_owned()))
}

#[async_trait]
impl Chain for Computed {
    fn chain_id(&self) -> u64 {
        1
    }

    async fn block_hash(&self, number: u64) -> Result<Option<B256>, ChainError> {
        Ok((number <= self.last()).then(|| hash(number)))
    }

    async fn head(&self) -> Result<ChainHead, ChainError> {
        Ok(ChainHead { number: self.last(), timestamp: 1_800_000_000 + self.last() })
    }

    async fn reached(&self, height: u64) -> Result<ChainHead, ChainError> {
        if height > self.last() {
            std::future::pending::<()>().await;
        }
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
        for height in filter.from.max(1)..=filter.to.min(self.last()) {
            let block = self.block(height);
            if !events.is_empty() && events.len() + block.len() > limit {
                return Ok(EventPage { events, next: Some(height) });
            }
            events.extend(block);
        }
        Ok(EventPage { events, next: None })
    }

    async fn last_events(&self, _: EventFilter) -> Result<Vec<Event>, ChainError> {
        unused()
    }
}

/// Times pages spread over a list: median and 99th percentile.
async fn pages(index: &Index, what: &str, query: ObjectQuery) {
    let mut times: Vec<Duration> = Vec::new();
    let mut query = ObjectQuery { limit: 100, ..query };
    while times.len() < PAGES {
        let start = Instant::now();
        let page = index.objects(&query, 0).await.unwrap();
        let ids: Vec<_> = page.objects.iter().map(|object| object.id).collect();
        index.grants(&ids).await.unwrap();
        times.push(start.elapsed());
        query.cursor = page.next;
    }
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    println!("page of 100, {what}: median {:.2?}, 99th percentile {:.2?}", at(50), at(99));
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let objects = arguments.first().map_or(1_000_000, |text| text.parse().unwrap());
    let url = arguments.get(1).cloned().unwrap_or_default();
    let chain = Arc::new(Computed { objects });
    let names = Arc::new(Names::new());
    for number in 1..=objects {
        let id = hansa_types::ObjectId { owner: DcId::new(owner(number)).unwrap(), number };
        names.insert(id, &format!("invoice {number} of {}.pdf", number % 977));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("index.db");
    let settings = IndexSettings { url, wait_seconds_max: 3_600, ..IndexSettings::default() };
    let index = Index::new(settings, file.clone(), hash(0), names).unwrap();
    let kv = Arc::<MemoryStore>::default();
    let feed = Feed::open(chain.clone(), kv, Space::new("cursors")).await.unwrap();
    let start = Instant::now();
    let task = index.start(feed);
    index.at_least(chain.last()).await.unwrap();
    let (seconds, events) = (start.elapsed().as_secs_f64(), objects + objects / 4);
    println!(
        "{}: {events} events in {seconds:.1} s, {:.0} events/s",
        index.database(),
        events as f64 / seconds
    );
    if let Ok(metadata) = std::fs::metadata(&file) {
        println!("file: {} MB", metadata.len() / 1_000_000);
    }
    let all = ObjectQuery::default();
    pages(&index, "newest", all.clone()).await;
    pages(&index, "by number", ObjectQuery { sort: Sort::Number, ..all.clone() }).await;
    pages(&index, "of an owner", ObjectQuery { owner: DcId::new(3), ..all.clone() }).await;
    pages(&index, "for members", ObjectQuery { visibility: Some(Visibility::Members), ..all.clone() }).await;
    pages(&index, "granted to a member", ObjectQuery { grantee: DcId::new(2), ..all.clone() }).await;
    pages(&index, "by name", ObjectQuery { sort: Sort::Name, ..all.clone() }).await;
    pages(&index, "a rare word", ObjectQuery { name: Some("976".to_owned()), ..all.clone() }).await;
    pages(&index, "a common word", ObjectQuery { name: Some("invoice".to_owned()), ..all }).await;
    task.abort();
}
