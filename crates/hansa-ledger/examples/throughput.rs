//! Measures what one transaction costs a node, step by step, with real records: admission, proposal, verification
//! and finalisation on disk.
//!
//! `cargo run --release -p hansa-ledger --example throughput -- [BLOCKS] [TRANSACTIONS]`. CPU time is that of the whole
//! process, from `/proc/self/stat`, in steps of 10 ms; run it with enough blocks.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for developers")]

#[path = "../tests/it/support.rs"]
mod support;

use std::time::{Duration, Instant};

use hansa_ledger::Ledger;
use hansa_pool::Origin;
use hansa_types::Block;

use support::{genesis_with, open, proposal, put};

#[derive(Default)]
struct Step {
    wall: Duration,
    cpu: Duration,
}

impl Step {
    fn run<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (wall, cpu) = (Instant::now(), cpu_time());
        let result = work();
        self.wall += wall.elapsed();
        self.cpu += cpu_time() - cpu;
        result
    }

    fn report(&self, name: &str, transactions: u64) {
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / transactions as f64;
        println!("{name:<44} {:>8.1} {:>8.1}", micros(self.wall), micros(self.cpu));
    }
}

fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn folder_bytes(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        // Compacted away meanwhile.
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}

fn open_on_disk(folder: &std::path::Path) -> Ledger {
    open(hansa_ledger::open_stores(folder).unwrap(), &genesis_with(hansa_types::Limits::default()))
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().unwrap());
    let blocks = arguments.next().unwrap_or(50);
    let per_block = arguments.next().unwrap_or(1_000) / 4 * 4;
    let folder = tempfile::tempdir().unwrap();
    let proposer = open_on_disk(&folder.path().join("proposer"));
    let warned = open_on_disk(&folder.path().join("warned"));
    let surprised = open_on_disk(&folder.path().join("surprised"));
    let [mut admit, mut propose, mut decode, mut verify, mut verify_unseen, mut finalise] =
        std::array::from_fn(|_| Step::default());
    let mut nonce = 0;
    let (mut gas, mut total, mut bytes) = (0, 0, 0);
    for _ in 0..blocks {
        let transactions: Vec<_> =
            (nonce..nonce + per_block / 4).flat_map(|n| (1..=4).map(move |dc| put(dc, n, n + 1))).collect();
        nonce += per_block / 4;
        proposer.pool().add_many(transactions.clone(), Origin::Local);
        let admitted = admit.run(|| warned.pool().add_many(transactions, Origin::Peer));
        assert!(admitted.iter().all(Result::is_ok));
        let block = propose.run(|| proposer.propose(proposal(&proposer.head())).unwrap());
        // What does not fit into a block comes with the next.
        total += block.transactions().len() as u64;
        gas += block.header().gas_used;
        bytes += block.encoded().len() as u64;
        let block = decode.run(|| Block::decode(block.encoded()).unwrap());
        verify.run(|| warned.verify(&block).unwrap());
        verify_unseen.run(|| surprised.verify(&block).unwrap());
        finalise.run(|| warned.finalise(&block).unwrap());
        proposer.finalise(&block).unwrap();
        surprised.finalise(&block).unwrap();
    }
    println!("{total} records in {blocks} blocks, {} gas and {} bytes each", gas / total, bytes / total);
    println!("{:<44} {:>8} {:>8}", "µs per transaction", "wall", "CPU");
    admit.report("admit (recover sender, insert)", blocks * per_block);
    propose.report("propose", total);
    decode.report("decode block", total);
    verify.report("verify, senders known", total);
    verify_unseen.report("verify, senders recovered", total);
    finalise.report("finalise (durable)", total);
    println!("{} bytes on disk for each transaction", folder_bytes(&folder.path().join("warned")) / total);
}
