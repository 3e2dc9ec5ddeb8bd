//! Measures what a day of an idle chain adds to the ledger on disk: a block without transactions each second, with as much
//! consensus data as four validators put into one, and its certificate.
//!
//! `cargo run --release -p hansa-ledger --example idle_day -- [BLOCKS]`, 86,400 unless given.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for developers")]

#[path = "../tests/it/support.rs"]
mod support;

use std::{os::unix::fs::MetadataExt as _, path::Path};

use hansa_types::{ConsensusData, Limits};

use support::{genesis_with, open, proposal};

/// Lengths seen on a network of four.
const CONTEXT_BYTES: usize = 80;
const SEED_BYTES: usize = 48;
const CERTIFICATE_BYTES: usize = 134;
/// Blocks with one flush.
const GROUP: usize = 64;

/// Bytes on the disk below a folder: what is preallocated does not count.
fn disk_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        // Compacted away meanwhile.
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}

fn report(folder: &Path, blocks: u64) {
    let ledger = folder.join("blocks/keyspaces");
    let mut parts: Vec<_> = std::fs::read_dir(&ledger).unwrap().map(|entry| entry.unwrap().path()).collect();
    parts.extend([folder.join("blocks"), folder.join("state")]);
    parts.sort();
    println!("after {blocks} blocks");
    for part in parts {
        let bytes = disk_bytes(&part);
        println!(
            "{:>12} {:>6} a block  {}",
            bytes,
            bytes / blocks,
            part.strip_prefix(folder).unwrap().display()
        );
    }
}

/// Bytes that no compression shortens.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let hashes = (0u64..)
        .flat_map(|part| alloy_primitives::keccak256([seed.to_be_bytes(), part.to_be_bytes()].concat()).0);
    hashes.take(count).collect()
}

fn main() {
    let blocks = std::env::args().nth(1).map_or(86_400, |text| text.parse::<u64>().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(hansa_ledger::open_stores(folder.path()).unwrap(), &genesis_with(Limits::default()));
    let mut group = Vec::with_capacity(GROUP);
    let mut parent = ledger.head();
    for number in 1..=blocks {
        let mut next = proposal(&parent);
        next.consensus = ConsensusData {
            context: noise(number, CONTEXT_BYTES).into(),
            seed: noise(number, SEED_BYTES).into(),
            ..ConsensusData::default()
        };
        parent = ledger.propose(next).unwrap();
        group.push(parent.clone());
        ledger.keep_certificate(number, noise(number, CERTIFICATE_BYTES)).unwrap();
        if group.len() == GROUP || number == blocks {
            ledger.finalise_many(&group).unwrap();
            group.clear();
        }
        if number % (blocks / 4) == 0 {
            report(folder.path(), number);
        }
    }
    drop(ledger);
    report(folder.path(), blocks);
}
