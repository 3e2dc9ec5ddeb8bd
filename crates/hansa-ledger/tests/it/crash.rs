//! Killed at any moment, a ledger on disk opens again with every block it had reported final, and nothing halfway.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use alloy_sol_types::SolCall as _;
use hansa_contracts::{GOVERNANCE, abi};
use hansa_ledger::{BlockRef, Ledger, LedgerConfig, LogFilter, open_stores};
use hansa_types::{Block, SignedTransaction};

use crate::support::*;

/// Names the data folder to a child process that is going to be killed.
const FOLDER: &str = "HANSA_CRASH_TEST_FOLDER";

/// Blocks that a child makes when nobody kills it.
const BLOCKS_MAX: u64 = 400;

/// The first block under other system contracts.
const UPGRADE: u64 = 24;

/// Makes the trie write its nodes every few blocks, so that crashes hit that too.
fn config() -> LedgerConfig {
    let state = hansa_trie::TrieConfig { unwritten_blocks_max: 5, ..Default::default() };
    LedgerConfig { state, suites: vec![next_suite(vec![])], ..LedgerConfig::default() }
}

fn open_folder(folder: &Path) -> Ledger {
    Ledger::open_with(open_stores(folder).unwrap(), &genesis(), config()).unwrap()
}

/// What block `number` holds: a function of the number, so that every process makes the same chain.
fn transactions_of(number: u64) -> Vec<SignedTransaction> {
    let contract = account(1).create(0);
    let nonce = 2 * (number - 1);
    let own = match number {
        1 => deploy(1, 0, STORE_INIT),
        // Sets and clears few slots again and again.
        _ => {
            call(1, nonce, contract, words(&[number % 7, if number.is_multiple_of(3) { 0 } else { number }]))
        }
    };
    let mut all = vec![own, put(1, nonce + 1, number)];
    all.extend(governance_of(number));
    all
}

/// The others decide on new system contracts in blocks 2 to 4.
fn governance_of(number: u64) -> Vec<SignedTransaction> {
    let (version, digest) = (2, next_suite(vec![]).digest());
    let announce = abi::Governance::announceSuiteCall { version, digest }.abi_encode();
    let open = abi::Governance::openUpgradeCall { version, digest, height: UPGRADE }.abi_encode();
    let vote = abi::Governance::voteCall { id: 1, support: true }.abi_encode();
    match number {
        2 => (2..=4).map(|key| call_gas(key, 0, GOVERNANCE, announce.clone())).collect(),
        3 => vec![call_gas(2, 1, GOVERNANCE, open)],
        4 => {
            (2..=4).map(|key| call_gas(key, if key == 2 { 2 } else { 1 }, GOVERNANCE, vote.clone())).collect()
        }
        _ => vec![],
    }
}

/// The block's transactions may be in the pool already when a run continues.
fn next(ledger: &Ledger) -> Block {
    let head = ledger.head();
    propose(ledger, &head, transactions_of(head.number() + 1))
}

/// Not a test of its own: what the child process does.
#[test]
fn child_makes_blocks_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let ledger = open_folder(Path::new(&folder));
    let mut out = std::io::stdout();
    while ledger.head().number() < BLOCKS_MAX {
        let first = next(&ledger);
        if first.number().is_multiple_of(4) {
            // Two with one flush.
            let second = propose(&ledger, &first, transactions_of(first.number() + 1));
            ledger.finalise_many(&[first, second]).unwrap();
        } else {
            ledger.finalise(&first).unwrap();
        }
        writeln!(out, "final {}", ledger.head().number()).unwrap();
        out.flush().unwrap();
    }
}

/// Starts a child, lets it report `count` times, kills it with SIGKILL, and returns the last height it reported.
fn run_and_kill(folder: &Path, count: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child_makes_blocks_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let reports = BufReader::new(child.stdout.take().unwrap());
    let mut last = 0;
    let mut seen = 0;
    for line in reports.lines().map_while(Result::ok) {
        if let Some(height) = line.trim().strip_prefix("final ") {
            last = height.parse().unwrap();
            seen += 1;
            if seen == count {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    assert!(seen >= count, "the child ended by itself after {seen} reports");
    last
}

fn check_consistent(ledger: &Ledger, reference: &Ledger) {
    let head = ledger.head();
    while reference.head().number() < head.number() {
        // The order of different senders' transactions is the proposer's.
        let block = ledger.block(reference.head().number() + 1).unwrap().unwrap();
        reference.finalise(&block).unwrap();
        assert_eq!(block.transactions().len(), transactions_of(block.number()).len());
    }
    let filter =
        LogFilter { addresses: vec![store_of(1)], to: u64::MAX, limit: 10_000, ..Default::default() };
    assert_eq!(ledger.logs(&filter).unwrap().len() as u64, head.number());
    for number in 0..=head.number() {
        let block = ledger.block(number).unwrap().unwrap();
        assert_eq!(Some(&block), reference.block(number).unwrap().as_ref());
        assert_eq!(ledger.number_of(block.hash()).unwrap(), Some(number));
        assert_eq!(ledger.receipts(number).unwrap(), reference.receipts(number).unwrap());
        for transaction in block.transactions() {
            assert!(ledger.receipt(*transaction.tx_hash()).unwrap().is_some());
        }
    }
    let version = if head.number() >= UPGRADE { 2 } else { 1 };
    assert_eq!(ledger.suite().unwrap().version, version, "old contracts or new ones (B12)");
    assert_eq!(ledger.code(BlockRef::Head, ADDED).unwrap().is_empty(), version == 1);
    assert_eq!(ledger.block(head.number() + 1).unwrap(), None);
    let lost = transactions_of(head.number() + 1);
    assert!(lost.iter().all(|transaction| ledger.receipt(*transaction.tx_hash()).unwrap().is_none()));
    assert_eq!(ledger.account(BlockRef::Head, account(1)).unwrap().nonce, 2 * head.number());
}

#[test]
fn a_killed_node_opens_again_with_every_block_it_reported() {
    let folder = tempfile::tempdir().unwrap();
    let reference = open_with(hansa_kv::MemoryStore::new(), config());
    let mut least = 0;
    for count in [1, 7, 2, 13, 5, 21, 3, 9] {
        least = run_and_kill(folder.path(), count).max(least);
        let ledger = open_folder(folder.path());
        assert!(ledger.head().number() >= least, "block {least} was reported final and is gone");
        check_consistent(&ledger, &reference);
    }
}
