//! Measures the state's cost of a transaction that records an object: a new slot in a segment, a quarter of one in the owner's store,
//! a counter and a nonce.
//!
//! `cargo run --release -p hansa-trie --example state_root [TRANSACTIONS] [PER_BLOCK] [UNWRITTEN_NODES] [CACHE_MIB]`; CPU
//! time of the whole process, including the store's threads. Checks nothing.
#![expect(clippy::print_stdout, reason = "a program whose purpose is to print figures")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use alloy_primitives::{Address, B256, U256, keccak256};
use hansa_kv::{Batch, FjallOptions, FjallStore, KvStore};
use hansa_trie::{
    Account, AccountUpdate, BLOCK_SPACES, NODE_SPACES, StateStore, StateStores, StateUpdate, TrieConfig,
};

/// The allocator of the node.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const MEMBERS: u64 = 4;
const SENDERS: u64 = 64;
/// Objects of a member with their roots in one contract.
const SEGMENT: u64 = 65_536;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let transactions = arguments.next().transpose()?.unwrap_or(200_000);
    let per_block = arguments.next().transpose()?.unwrap_or(200);
    let mut config = TrieConfig::default();
    if let Some(nodes) = arguments.next().transpose()? {
        config.unwritten_nodes_max = usize::try_from(nodes)?;
    }
    if let Some(mebibytes) = arguments.next().transpose()? {
        config.cache_bytes_max = usize::try_from(mebibytes)? * 1024 * 1024;
    }
    let dir = tempfile::tempdir()?;
    let store =
        Arc::new(FjallStore::open(dir.path().join("blocks"), &BLOCK_SPACES, FjallOptions::default())?);
    let nodes =
        Arc::new(FjallStore::open(dir.path().join("nodes"), &NODE_SPACES, hansa_trie::node_store_options())?);
    let blocks = Arc::clone(&store) as Arc<dyn KvStore>;
    let state =
        StateStore::open(StateStores { blocks, nodes: Arc::clone(&nodes) as Arc<dyn KvStore> }, config)?;
    println!(
        "transactions  root us/tx  stage us/tx  write us/tx  cpu us/tx  longest ms  read us  rss MB  disk B/tx"
    );
    let mut done = 0;
    for part in 1..=5 {
        let [mut root, mut stage, mut write, mut longest] = [0f64; 4];
        let (begin, cpu) = (done, cpu_seconds()?);
        while done < transactions * part / 5 {
            let update = block(&state, done, per_block)?;
            let begun = Instant::now();
            let at = begun;
            let view = state.head().apply(&update)?;
            root += at.elapsed().as_secs_f64();
            let at = Instant::now();
            let mut batch = Batch::new();
            let staged = state.stage(&view, &mut batch)?;
            stage += at.elapsed().as_secs_f64();
            let at = Instant::now();
            store.write_buffered(batch)?;
            state.adopt(staged);
            write += at.elapsed().as_secs_f64();
            longest = longest.max(begun.elapsed().as_secs_f64() * 1e3);
            done += per_block;
        }
        store.sync()?;
        let count = (done - begin) as f64;
        let [root, stage, write] = [root, stage, write].map(|seconds| seconds * 1e6 / count);
        let cpu = (cpu_seconds()? - cpu) * 1e6 / count;
        let reads = 10_000;
        let at = Instant::now();
        for number in 0..reads {
            let record = number * 7_919 % done;
            std::hint::black_box(state.head().storage(segment_of(record), slot(record, 0))?);
        }
        let read = at.elapsed().as_secs_f64() * 1e6 / reads as f64;
        let disk = (store.disk_bytes()? + nodes.disk_bytes()?) as f64 / done as f64;
        println!(
            "{done:12}  {root:10.1}  {stage:11.1}  {write:11.1}  {cpu:9.1}  {longest:10.1}  {read:7.2}  {:6.0}  {disk:9.0}",
            resident_megabytes()?
        );
    }
    Ok(())
}

/// The changes of the next block.
fn block(state: &StateStore, first: u64, count: u64) -> Result<StateUpdate, Box<dyn std::error::Error>> {
    let head = state.head();
    let mut update = StateUpdate::default();
    for owner in 0..MEMBERS {
        let numbers: Vec<u64> = (first..first + count).filter(|number| number % MEMBERS == owner).collect();
        for segment in numbers.chunk_by(|a, b| a / MEMBERS / SEGMENT == b / MEMBERS / SEGMENT) {
            let address = segment_of(segment[0]);
            let account = Some(head.account(address)?.unwrap_or_default());
            let storage = segment.iter().map(|number| (slot(*number, 0), value(*number, 0))).collect();
            update.accounts.push(AccountUpdate { address, account, storage });
        }
        // Four of a member's objects share a slot of its list.
        let places: BTreeMap<u64, u64> =
            numbers.iter().map(|number| (number / MEMBERS / 4, *number)).collect();
        let mut storage: Vec<_> =
            places.into_iter().map(|(place, last)| (slot(place, 1), value(last, 1))).collect();
        storage.push((U256::ZERO, U256::from(first + 1)));
        let account = Some(head.account(member(owner))?.unwrap_or_default());
        update.accounts.push(AccountUpdate { address: member(owner), account, storage });
    }
    for sender in 0..count.min(SENDERS) {
        let address = Address::from_word(keccak256((1 << 32 | sender).to_be_bytes()));
        let account = head.account(address)?.unwrap_or_default();
        let account = Some(Account { nonce: account.nonce + 1, ..account });
        update.accounts.push(AccountUpdate { address, account, storage: Vec::new() });
    }
    Ok(update)
}

fn member(number: u64) -> Address {
    Address::from_word(keccak256((number % MEMBERS).to_be_bytes()))
}

/// The contract with the root of a record.
fn segment_of(number: u64) -> Address {
    let (member, segment) = (number % MEMBERS, number / MEMBERS / SEGMENT);
    Address::from_word(keccak256((1 << 33 | segment << 8 | member).to_be_bytes()))
}

fn slot(number: u64, field: u64) -> U256 {
    U256::from_be_bytes(keccak256(number.to_be_bytes()).0).wrapping_add(U256::from(field))
}

fn value(number: u64, field: u64) -> U256 {
    U256::from_be_bytes(keccak256(B256::from(U256::from(number << 8 | field)).as_slice()).0)
}

/// CPU time of the process on all processors.
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).ok_or("a short /proc/self/stat").map(|ticks| ticks.parse::<f64>());
    Ok((ticks(13)?? + ticks(14)??) / TICKS_PER_SECOND)
}

fn resident_megabytes() -> Result<f64, Box<dyn std::error::Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = statm.split_whitespace().nth(1).ok_or("a short /proc/self/statm")?.parse()?;
    Ok(pages * 4096.0 / 1e6)
}
