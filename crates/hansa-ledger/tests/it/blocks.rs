//! From pending transactions to final blocks, on one node and on the others.

use std::sync::Arc;

use alloy_consensus::{EMPTY_ROOT_HASH, Header, proofs};
use alloy_primitives::{B256, Bloom, Bytes, U256, b256};
use alloy_rlp::Decodable;

use hansa_contracts::{ContractEvent, REGISTRY, SHARING};
use hansa_kv::MemoryStore;
use hansa_ledger::{BlockRef, LedgerError};
use hansa_pool::PoolError;
use hansa_types::{Block, Genesis, TRANSACTION_GAS_MAX};

use crate::support::*;

#[test]
fn equal_files_give_equal_genesis_blocks_and_others_are_refused() {
    let store = MemoryStore::new();
    let first = open(Arc::new(store.clone()), &genesis());
    assert_eq!(first.genesis_block(), ledger().genesis_block());
    assert_eq!(first.head(), first.genesis_block());
    assert_eq!(first.genesis_block().header().extra_data.as_ref(), genesis().digest().as_slice());
    let other = Genesis { timestamp: GENESIS_TIME + 1, ..genesis() };
    match hansa_ledger::Ledger::open(Arc::new(store), &other) {
        Err(LedgerError::WrongChain { stored, .. }) => assert_eq!(stored, first.genesis_block().hash()),
        _ => panic!("opened with another genesis file"),
    }
}

#[test]
fn a_network_runs_the_code_of_its_genesis_file() {
    let code = Bytes::from_static(&[0x60, 0x2a, 0x00]);
    let mut other = genesis();
    other.suite.code.insert(SHARING, code.clone());
    let ledger = open(Arc::new(MemoryStore::new()), &other);
    assert_eq!(ledger.code(BlockRef::Head, SHARING).unwrap(), code);
    other.suite.code.remove(&REGISTRY);
    let opened = hansa_ledger::Ledger::open(Arc::new(MemoryStore::new()), &other);
    assert!(opened.is_err(), "there is no network without a registry");
}

#[test]
fn a_header_reads_as_one_of_the_osaka_rules() {
    let ledger = ledger();
    let block = grow(&ledger, vec![]);
    let encoded = alloy_rlp::encode(block.header());
    assert_eq!(&Header::decode(&mut encoded.as_slice()).unwrap(), block.header());
    let header = block.header();
    assert_eq!(header.transactions_root, EMPTY_ROOT_HASH);
    assert_eq!(header.receipts_root, EMPTY_ROOT_HASH);
    assert_eq!(header.withdrawals_root, Some(EMPTY_ROOT_HASH));
    assert_eq!((header.base_fee_per_gas, header.difficulty), (Some(0), U256::ZERO));
    assert_eq!((header.blob_gas_used, header.excess_blob_gas), (Some(0), Some(0)));
    assert_eq!(header.parent_beacon_block_root, Some(B256::ZERO));
    // sha256 of nothing (EIP-7685).
    let no_requests = b256!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(header.requests_hash, Some(no_requests));
    // The parent's hash is in the history contract (EIP-2935), and nothing else changed.
    let slot = ledger.storage(BlockRef::Head, hansa_evm::HISTORY_STORAGE_ADDRESS, B256::ZERO).unwrap();
    assert_eq!(slot, ledger.genesis_block().hash());
    assert_eq!(ledger.account(BlockRef::Head, header.beneficiary).unwrap().balance, U256::ZERO);
}

#[test]
fn records_are_written_and_every_root_is_the_standard_one() {
    let ledger = ledger();
    let block = grow(&ledger, (1..=4).map(|dc| put(dc, 0, 42)).collect());
    let receipts = ledger.receipts(1).unwrap().unwrap();
    assert_eq!(receipts.len(), 4);
    let mut cumulative = 0;
    for (index, receipt) in receipts.iter().enumerate() {
        assert!(receipt.receipt.is_success());
        // Each is its owner's first object, and creates a segment.
        assert!(receipt.gas_used < 260_000, "{}", receipt.gas_used);
        cumulative += receipt.gas_used;
        assert_eq!(receipt.receipt.cumulative_gas_used(), cumulative);
        assert_eq!((receipt.transaction_index, receipt.first_log_index), (index as u64, index as u64));
        let Some(ContractEvent::VersionRecorded(event)) = ContractEvent::decode(&receipt.receipt.logs()[0])
        else {
            panic!("not the event of a new version")
        };
        assert_eq!((event.number, event.version, event.actor), (42, 1, receipt.sender));
    }
    let header = block.header();
    assert_eq!(header.gas_used, cumulative);
    let envelopes: Vec<_> = receipts.iter().map(|receipt| receipt.receipt.clone()).collect();
    assert_eq!(header.receipts_root, proofs::calculate_receipt_root(&envelopes));
    assert_eq!(header.transactions_root, proofs::calculate_transaction_root(block.transactions()));
    let bloom = envelopes.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | *receipt.logs_bloom());
    assert_eq!(header.logs_bloom, bloom);
    assert_eq!(ledger.pool().status().transactions, 0);
}

#[test]
fn another_node_agrees_without_ever_having_seen_the_transactions() {
    let (proposer, verifier) = (ledger(), ledger());
    let contract = account(1).create(0);
    let batches = [
        vec![deploy(1, 0, STORE_INIT), put(2, 0, 1)],
        vec![call(1, 1, contract, words(&[1, 7])), call(1, 2, contract, words(&[2, 8]))],
        // Reverts.
        vec![call(1, 3, contract, words(&[3, 9, 0])), put(3, 0, 1)],
        // Clears a slot, sets another, fails in a contract that is none.
        vec![
            call(1, 4, contract, words(&[1, 0])),
            call(1, 5, contract, words(&[2, 9])),
            deploy(2, 1, STORE_INIT),
        ],
        vec![],
    ];
    for transactions in batches {
        let block = grow(&proposer, transactions);
        let received = Block::decode(block.encoded()).unwrap();
        verifier.verify(&received).unwrap();
        verifier.verify(&received).unwrap();
        verifier.finalise(&received).unwrap();
        assert_eq!(verifier.head().header().state_root, proposer.head().header().state_root);
    }
    let at = |slot| verifier.storage(BlockRef::Head, contract, B256::with_last_byte(slot)).unwrap();
    assert_eq!([at(1), at(2), at(3)], [B256::ZERO, B256::with_last_byte(9), B256::ZERO]);
    let third = verifier.receipts(3).unwrap().unwrap();
    let of = |key| third.iter().find(|receipt| receipt.sender == account(key)).unwrap();
    assert!(!of(1).receipt.is_success() && of(3).receipt.is_success());
    for number in 0..=5 {
        assert_eq!(verifier.block(number).unwrap(), proposer.block(number).unwrap());
        assert_eq!(verifier.receipts(number).unwrap(), proposer.receipts(number).unwrap());
    }
    assert_eq!(verifier.block(6).unwrap(), None);
}

#[test]
fn only_members_may_send_and_what_cannot_be_executed_is_dropped() {
    let ledger = ledger();
    let stranger = put(9, 0, 1);
    assert_eq!(ledger.pool().add(stranger), Err(PoolError::UnregisteredSender(account(9))));
    // Without code, balance or rights: executed, reverted, charged with a nonce and nothing else.
    let wrong =
        sign(1, alloy_consensus::TxEip1559 { gas_limit: 300_000, ..draft(0, store_of(2), words(&[1])) });
    let block = grow(&ledger, vec![wrong, put(1, 1, 7)]);
    let receipts = ledger.receipts(1).unwrap().unwrap();
    assert!(!receipts[0].receipt.is_success() && receipts[1].receipt.is_success());
    assert_eq!(ledger.account(BlockRef::Head, account(1)).unwrap().nonce, 2);
    assert!(!ledger.has_pending(block.hash()));
}

#[test]
fn a_block_is_filled_up_to_its_gas_and_the_rest_waits() {
    let ledger = open(
        Arc::new(MemoryStore::new()),
        &genesis_with(hansa_types::Limits { block_gas: 40_000_000, ..Default::default() }),
    );
    // Never ends: burns what it is given.
    let endless = deploy(1, 0, alloy_primitives::bytes!("625b5f565f526003601df3"));
    grow(&ledger, vec![endless]);
    let contract = account(1).create(0);
    let burn = |key, nonce| {
        let gas_limit = TRANSACTION_GAS_MAX - 1_777_216;
        sign(key, alloy_consensus::TxEip1559 { gas_limit, ..draft(nonce, contract, vec![]) })
    };
    for transaction in [burn(1, 1), burn(1, 2), burn(2, 0), burn(2, 1), burn(3, 0)] {
        ledger.pool().add(transaction).unwrap();
    }
    let block = ledger.propose(proposal(&ledger.head())).unwrap();
    // 15 million gas each: two fit, from different members, because one member gets at most 20 million.
    assert_eq!(block.header().gas_used, 30_000_000);
    ledger.finalise(&block).unwrap();
    let senders = ledger.senders(2).unwrap().unwrap();
    assert_ne!(senders[0], senders[1]);
    assert_eq!(ledger.pool().status().transactions, 3);
    assert!(ledger.has_pending(block.hash()));
}
