//! The system contracts are replaced at a height, or stay as they are (B12).

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256, address, bytes};
use alloy_sol_types::SolCall;

use hansa_contracts::{GOVERNANCE, REGISTRY, abi};
use hansa_kv::MemoryStore;
use hansa_ledger::{BlockRef, CallOutcome, CallRequest, Ledger, LedgerConfig, LedgerError};
use hansa_types::{SignedTransaction, Suite, SystemCall};

use crate::support::*;

/// A contract that the next suite adds: returns 42 to every call.
const ADDED: Address = address!("0000000000000000000000000000000000001099");
const RETURNS_42: Bytes = bytes!("602a5f5260205ff3");
const REVERTS: Bytes = bytes!("5f5ffd");

fn next(calls: Vec<SystemCall>) -> Suite {
    Suite { version: 2, code: [(ADDED, RETURNS_42)].into(), calls }
}

fn ledger_with(suites: Vec<Suite>) -> Ledger {
    ledger_on(MemoryStore::new(), suites)
}

fn ledger_on(store: MemoryStore, suites: Vec<Suite>) -> Ledger {
    let genesis = genesis();
    Ledger::open_with(Arc::new(store), &genesis, LedgerConfig { suites, ..Default::default() }).unwrap()
}

fn governance(key: u8, nonce: u64, call: impl SolCall) -> SignedTransaction {
    call_gas(key, nonce, GOVERNANCE, call.abi_encode())
}

/// Three blocks: the members announce a suite, open the ballot for `height`, and carry it.
fn decide(ledger: &Ledger, suite: &Suite, height: u64) {
    let (version, digest) = (suite.version, suite.digest());
    let announce = |key| governance(key, 0, abi::Governance::announceSuiteCall { version, digest });
    grow(ledger, (1..=3).map(announce).collect());
    grow(ledger, vec![governance(1, 1, abi::Governance::openUpgradeCall { version, digest, height })]);
    let vote = |key: u8| {
        let nonce = if key == 1 { 2 } else { 1 };
        governance(key, nonce, abi::Governance::voteCall { id: 1, support: true })
    };
    grow(ledger, (1..=3).map(vote).collect());
    let state = ledger.suite().unwrap();
    assert_eq!((state.version, state.pending, state.height, state.digest), (1, version, height, digest));
}

fn grow_to(ledger: &Ledger, height: u64) {
    while ledger.head().number() < height {
        grow(ledger, vec![]);
    }
}

fn answer(ledger: &Ledger, at: BlockRef) -> Bytes {
    let request = CallRequest { to: Some(ADDED), ..Default::default() };
    match ledger.call(at, request).unwrap() {
        CallOutcome::Success { output, .. } => output,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_suite_begins_with_its_block_and_the_past_keeps_the_old_one() {
    let suite = next(vec![]);
    let ledger = ledger_with(vec![suite.clone()]);
    decide(&ledger, &suite, 20);
    let registry = ledger.account(BlockRef::Head, REGISTRY).unwrap();
    grow_to(&ledger, 19);
    assert_eq!(answer(&ledger, BlockRef::Head), Bytes::new());
    let block = grow(&ledger, vec![put(2, 2, 7)]);
    assert_eq!(block.number(), 20);
    assert_eq!(answer(&ledger, BlockRef::Head), Bytes::from(U256::from(42).to_be_bytes_vec()));
    assert_eq!(answer(&ledger, BlockRef::Number(19)), Bytes::new());
    let state = ledger.suite().unwrap();
    assert_eq!((state.version, state.pending, state.height), (2, 0, 0));
    // A contract that is not replaced keeps its nonce, so the next member's contracts stand where they should.
    assert_eq!(ledger.account(BlockRef::Head, REGISTRY).unwrap().nonce, registry.nonce);
    grow(&ledger, vec![put(2, 3, 8)]);
}

/// Another node executes the same blocks to the same roots.
#[test]
fn every_node_that_has_the_suite_agrees() {
    let suite = next(vec![]);
    let (ours, theirs) = (ledger_with(vec![suite.clone()]), ledger_with(vec![suite.clone()]));
    decide(&ours, &suite, 16);
    grow_to(&ours, 18);
    for number in 1..=18 {
        let block = ours.block(number).unwrap().unwrap();
        theirs.verify(&block).unwrap();
        theirs.finalise(&block).unwrap();
    }
    assert_eq!(theirs.suite().unwrap().version, 2);
}

#[test]
fn a_node_without_the_suite_stops_before_its_block_and_goes_on_with_it() {
    let suite = next(vec![]);
    let ours = ledger_with(vec![suite.clone()]);
    decide(&ours, &suite, 16);
    grow_to(&ours, 17);

    let store = MemoryStore::new();
    let old = ledger_on(store.clone(), vec![]);
    for number in 1..=15 {
        old.check_next_suite().unwrap();
        old.finalise(&ours.block(number).unwrap().unwrap()).unwrap();
    }
    let expected = |error: LedgerError| {
        assert!(!error.is_invalid_block(), "the block is not at fault");
        assert!(matches!(error, LedgerError::SuiteMissing { version: 2, height: 16, .. }), "{error}");
        assert!(error.to_string().contains(&suite.digest().to_string()), "{error}");
    };
    let next_block = ours.block(16).unwrap().unwrap();
    expected(old.check_next_suite().unwrap_err());
    expected(old.verify(&next_block).unwrap_err());
    expected(old.finalise(&next_block).unwrap_err());
    expected(old.propose(proposal(&old.head())).unwrap_err());
    assert_eq!(old.head().number(), 15);
    drop(old);

    let renewed = ledger_on(store, vec![suite]);
    renewed.finalise(&next_block).unwrap();
    assert_eq!(renewed.suite().unwrap().version, 2);
}

/// A vote never stops the chain: a suite whose calls fail is given up in its block, with everything it would have changed.
#[test]
fn a_suite_that_cannot_be_begun_is_given_up() {
    let failing = SystemCall { to: address!("0000000000000000000000000000000000001098"), data: Bytes::new() };
    let mut suite = next(vec![failing.clone()]);
    suite.code.insert(failing.to, REVERTS);
    let broken_governance =
        Suite { code: [(GOVERNANCE, REVERTS), (ADDED, RETURNS_42)].into(), ..next(vec![]) };
    for suite in [suite, broken_governance] {
        let ledger = ledger_with(vec![suite.clone()]);
        assert!(ledger.rehearse_suite(suite.digest()).unwrap().is_some());
        decide(&ledger, &suite, 16);
        grow_to(&ledger, 16);
        let state = ledger.suite().unwrap();
        assert_eq!((state.version, state.pending), (1, 0));
        assert_eq!(answer(&ledger, BlockRef::Head), Bytes::new());
        grow(&ledger, vec![put(2, 2, 7)]);
    }
}

#[test]
fn a_rehearsal_changes_nothing_and_needs_the_suite() {
    let suite = next(vec![]);
    let ledger = ledger_with(vec![suite.clone()]);
    assert_eq!(ledger.rehearse_suite(suite.digest()).unwrap(), None);
    assert_eq!(answer(&ledger, BlockRef::Head), Bytes::new());
    let unknown = ledger.rehearse_suite(B256::repeat_byte(1)).unwrap_err();
    assert!(matches!(unknown, LedgerError::SuiteMissing { .. }));
}

/// Relayed calls are signed for one chain: the registry knows the genesis hash from block 1 on.
#[test]
fn the_registry_learns_the_genesis_hash_in_block_one() {
    let ledger = ledger_with(vec![]);
    grow(&ledger, vec![]);
    let data = abi::ConsortiumRegistry::genesisHashCall {}.abi_encode();
    let request = CallRequest { to: Some(REGISTRY), data: data.into(), ..Default::default() };
    let CallOutcome::Success { output, .. } = ledger.call(BlockRef::Head, request).unwrap() else {
        panic!("the registry did not answer");
    };
    assert_eq!(output, Bytes::from(ledger.genesis_block().hash().to_vec()));
}
