//! Logs, past states, proofs, calls.

use std::sync::{Arc, LazyLock};

use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256, keccak256};
use alloy_rlp::Encodable;
use alloy_sol_types::{SolCall, SolEvent};
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, TrieAccount, proof::verify_proof};
use proptest::prelude::*;

use hansa_contracts::abi;
use hansa_kv::{KvStore, MemoryStore};
use hansa_ledger::{
    AccountProof, BlockRef, CallOutcome, CallRequest, Estimate, Ledger, LedgerConfig, LedgerError,
    LocatedLog, LogFilter,
};

use crate::support::*;

fn contract() -> Address {
    account(1).create(0)
}

/// Twelve blocks with logs of a test contract and of records.
fn busy() -> Ledger {
    let ledger = ledger();
    grow(&ledger, vec![deploy(1, 0, STORE_INIT)]);
    for block in 0..11_u64 {
        let mut transactions = vec![call(1, block + 1, contract(), words(&[block % 3, block]))];
        if block % 2 == 0 {
            transactions.extend([put(2, block / 2, block + 1), put(3, block / 2, block + 1)]);
        }
        grow(&ledger, transactions);
    }
    ledger
}

static BUSY: LazyLock<Ledger> = LazyLock::new(busy);

fn every_log(ledger: &Ledger) -> Vec<LocatedLog> {
    (0..=ledger.head().number())
        .flat_map(|number| ledger.receipts(number).unwrap().unwrap().iter().cloned().collect::<Vec<_>>())
        .flat_map(|receipt| receipt.located_logs().collect::<Vec<_>>())
        .collect()
}

#[test]
fn logs_are_found_by_owner_and_number() {
    let event = abi::DataStore::VersionRecorded::SIGNATURE_HASH;
    let filter = LogFilter {
        to: u64::MAX,
        topics: [vec![event], vec![], vec![B256::with_last_byte(5)], vec![]],
        limit: 100,
        ..Default::default()
    };
    let found = BUSY.logs(&filter).unwrap();
    assert_eq!(found.iter().map(|log| log.log.address).collect::<Vec<_>>().len(), 2);
    assert!(found.iter().all(|log| log.block_number == 6));
    let too_many = LogFilter { to: 100, limit: 3, ..Default::default() };
    assert!(matches!(BUSY.logs(&too_many), Err(LedgerError::TooManyLogs(3))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    /// The index finds exactly what a scan of all logs finds.
    #[test]
    fn the_index_agrees_with_a_scan(
        from in 0_u64..14,
        length in 0_u64..14,
        addresses in prop::sample::subsequence(vec![contract(), store_of(2), store_of(3), store_of(4)], 0..3),
        signatures in prop::sample::subsequence(
            vec![abi::DataStore::VersionRecorded::SIGNATURE_HASH, B256::ZERO, B256::with_last_byte(1)], 0..3),
        owners in prop::sample::subsequence(vec![B256::with_last_byte(2), B256::with_last_byte(3)], 0..2),
        numbers in prop::sample::subsequence(vec![B256::with_last_byte(1), B256::with_last_byte(3)], 0..2),
    ) {
        let filter = LogFilter {
            from,
            to: from + length,
            addresses,
            topics: [signatures, owners, numbers, vec![]],
            limit: 1_000,
        };
        let expected: Vec<_> = every_log(&BUSY)
            .into_iter()
            .filter(|log| (from..=from + length).contains(&log.block_number) && filter.matches(&log.log))
            .collect();
        prop_assert_eq!(BUSY.logs(&filter).unwrap(), &expected[..]);
        let last = expected.last().map(|log| log.block_number);
        let expected: Vec<_> = expected.into_iter().filter(|log| Some(log.block_number) == last).collect();
        prop_assert_eq!(BUSY.last_logs(&filter).unwrap(), expected);
    }
}

#[test]
fn past_states_are_read_through_what_came_later() {
    let ledger = &*BUSY;
    for number in 2..=12_u64 {
        // Block n + 2 stores n at slot n mod 3.
        let at = BlockRef::Number(number);
        for slot in 0..3_u64 {
            let value = (0..=number - 2).rev().find(|block| block % 3 == slot).unwrap_or_default();
            let stored =
                ledger.storage(at, contract(), B256::left_padding_from(&slot.to_be_bytes())).unwrap();
            assert_eq!(U256::from_be_bytes(stored.0), U256::from(value), "block {number}, slot {slot}");
        }
        assert_eq!(ledger.account(at, account(1)).unwrap().nonce, number);
    }
    let genesis = BlockRef::Number(0);
    assert!(ledger.code(genesis, contract()).unwrap().is_empty());
    assert_eq!(ledger.code(BlockRef::Head, contract()).unwrap().len(), 23);
    let hash = ledger.block(3).unwrap().unwrap().hash();
    assert_eq!(ledger.account(hash.into(), account(1)).unwrap().nonce, 3);
    assert!(matches!(ledger.account(13.into(), account(1)), Err(LedgerError::UnknownBlock(_))));
    assert!(matches!(ledger.account(B256::ZERO.into(), account(1)), Err(LedgerError::UnknownBlock(_))));
}

#[test]
fn states_from_before_a_restart_are_not_kept_and_the_error_says_so() {
    let store = MemoryStore::new();
    let first = open(Arc::new(store.clone()), &genesis());
    grow(&first, vec![put(1, 0, 1)]);
    drop(first);
    let ledger = open(Arc::new(store), &genesis());
    let refused = ledger.account(0.into(), account(1));
    assert!(matches!(refused, Err(LedgerError::StateNotKept { requested: 0, oldest: 1 })));
    assert_eq!(ledger.account(1.into(), account(1)).unwrap().nonce, 1);
}

#[test]
fn past_states_are_kept_as_far_as_memory_goes() {
    let genesis = genesis();
    let config = LedgerConfig { past_states_bytes_max: 20_000, ..LedgerConfig::default() };
    let store: Arc<dyn KvStore> = Arc::new(MemoryStore::new());
    let ledger = Ledger::open_with(store, &genesis, config).unwrap();
    grow(&ledger, vec![deploy(1, 0, STORE_INIT)]);
    for block in 1..=400_u64 {
        // Slot 0 changes in every tenth block alone.
        let change = (block % 10 == 0).then(|| call(1, block / 10, contract(), words(&[0, block])));
        grow(&ledger, change.into_iter().collect());
    }
    let head = ledger.head().number();
    let refused = ledger.account(0.into(), account(1));
    let Err(LedgerError::StateNotKept { requested: 0, oldest }) = refused else { panic!("{refused:?}") };
    assert!(oldest > 300 && oldest < head - 20, "{oldest} of {head}");
    assert!(ledger.account((oldest - 1).into(), account(1)).is_err());
    for number in oldest..=head {
        let value = ledger.storage(number.into(), contract(), B256::ZERO).unwrap();
        assert_eq!(U256::from_be_bytes(value.0), U256::from((number - 1) / 10 * 10), "block {number}");
        let proof = ledger.proof(number.into(), contract(), &[B256::ZERO]).unwrap();
        check_proof(ledger.block(number).unwrap().unwrap().header().state_root, &proof);
    }
}

fn check_proof(root: B256, proof: &AccountProof) {
    let account = &proof.account;
    let leaf = (!account.is_empty()).then(|| {
        let mut rlp = Vec::new();
        TrieAccount {
            nonce: account.nonce,
            balance: account.balance,
            storage_root: proof.storage_root,
            code_hash: account.code_hash,
        }
        .encode(&mut rlp);
        rlp
    });
    verify_proof(root, Nibbles::unpack(keccak256(proof.address)), leaf, &proof.account_proof).unwrap();
    for slot in &proof.storage_proofs {
        let value = (!slot.value.is_zero()).then(|| alloy_rlp::encode(slot.value));
        verify_proof(proof.storage_root, Nibbles::unpack(keccak256(slot.slot)), value, &slot.proof).unwrap();
    }
}

#[test]
fn proofs_hold_against_the_headers_of_recent_blocks() {
    let slots = [B256::ZERO, B256::with_last_byte(1), B256::with_last_byte(99)];
    for number in [0, 1, 2, 7, 12] {
        let root = BUSY.block(number).unwrap().unwrap().header().state_root;
        for address in [contract(), account(1), store_of(2), Address::repeat_byte(9)] {
            check_proof(root, &BUSY.proof(number.into(), address, &slots).unwrap());
        }
    }
    let absent = BUSY.proof(BlockRef::Head, Address::repeat_byte(9), &[]).unwrap();
    assert_eq!((absent.account.code_hash, absent.storage_root), (KECCAK256_EMPTY, EMPTY_ROOT_HASH));
}

#[test]
fn calls_and_estimates_see_the_state_they_name() {
    let latest = abi::DataStore::latestCall { number: 9 }.abi_encode();
    let request = CallRequest { to: Some(store_of(2)), data: latest.into(), ..Default::default() };
    let version = |at: BlockRef| match BUSY.call(at, request.clone()).unwrap() {
        CallOutcome::Success { output, .. } => U256::from_be_slice(&output),
        other => panic!("{other:?}"),
    };
    assert_eq!(version(BlockRef::Head), U256::from(1));
    assert_eq!(version(BlockRef::Number(9)), U256::ZERO);
    assert_eq!(version(BlockRef::Number(10)), U256::from(1));

    let receipts = BUSY.receipts(4).unwrap().unwrap();
    let gas_used = receipts.iter().find(|receipt| receipt.sender == account(2)).unwrap().gas_used;
    let transaction = put(2, 6, 1_000);
    let request = CallRequest {
        from: account(2),
        to: Some(store_of(2)),
        data: alloy_consensus::Transaction::input(&transaction).clone(),
        ..Default::default()
    };
    let Estimate::Gas(gas) = BUSY.estimate(BlockRef::Head, request.clone()).unwrap() else { panic!("fails") };
    assert!(gas > gas_used / 2 && gas < gas_used * 2, "{gas} against {gas_used}");
    // The number is taken: the reason comes back.
    let taken = alloy_consensus::Transaction::input(&put(2, 6, 1)).clone();
    let failed = BUSY.estimate(BlockRef::Head, CallRequest { data: taken, ..request }).unwrap();
    assert!(matches!(failed, Estimate::Failed(CallOutcome::Revert { ref output, .. }) if output.len() >= 4));
}
