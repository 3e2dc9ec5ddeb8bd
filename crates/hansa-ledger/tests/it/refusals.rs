//! Blocks that break a rule.

use alloy_consensus::{Header, TxEip1559, TxEip4844, TxEip7702};
use alloy_primitives::{B64, B256, Bloom, Bytes, Signature, U256};

use hansa_evm::InvalidReason;
use hansa_ledger::{BlockFault, Ledger, LedgerError};
use hansa_types::{BODY_BYTES_MAX, Block, SignedTransaction, TRANSACTION_BYTES_MAX};

use crate::support::*;

fn fault(ledger: &Ledger, block: &Block) -> BlockFault {
    let before = ledger.head();
    match ledger.verify(block) {
        Err(LedgerError::InvalidBlock { fault, hash, .. }) => {
            assert_eq!(hash, block.hash());
            assert_eq!(ledger.head(), before);
            assert!(ledger.known_block(hash).is_none());
            fault
        }
        other => panic!("not refused as invalid: {other:?}"),
    }
}

/// A valid block on the genesis block, and what was changed in it.
fn tampered(change: impl FnOnce(&mut Header, &mut Vec<SignedTransaction>)) -> Block {
    let ledger = ledger();
    let block = propose(&ledger, &ledger.genesis_block(), vec![put(1, 0, 1), put(1, 1, 2)]);
    let (mut header, mut transactions) = (block.header().clone(), block.transactions().to_vec());
    change(&mut header, &mut transactions);
    Block::new(header, transactions, block.consensus().clone())
}

#[test]
fn every_header_field_counts() {
    let ledger = ledger();
    type Change = (&'static str, fn(&mut Header));
    let changes: &[Change] = &[
        ("number", |header| header.number += 1),
        ("gas limit", |header| header.gas_limit += 1),
        ("gas used", |header| header.gas_used -= 1),
        ("timestamp", |header| header.timestamp = GENESIS_TIME - 1),
        ("state root", |header| header.state_root = B256::ZERO),
        ("receipts root", |header| header.receipts_root = B256::ZERO),
        ("bloom", |header| header.logs_bloom = Bloom::ZERO),
        ("difficulty", |header| header.difficulty = U256::from(1)),
        ("nonce", |header| header.nonce = B64::with_last_byte(1)),
        ("base fee", |header| header.base_fee_per_gas = Some(1)),
        ("base fee absent", |header| header.base_fee_per_gas = None),
        ("withdrawals", |header| header.withdrawals_root = Some(B256::ZERO)),
        ("withdrawals absent", |header| header.withdrawals_root = None),
        ("blob gas", |header| header.blob_gas_used = Some(131_072)),
        ("excess blob gas", |header| header.excess_blob_gas = Some(1)),
        ("beacon root", |header| header.parent_beacon_block_root = Some(B256::with_last_byte(1))),
        ("requests", |header| header.requests_hash = Some(B256::ZERO)),
        ("access list", |header| header.block_access_list_hash = Some(B256::ZERO)),
        ("slot", |header| header.slot_number = Some(1)),
    ];
    for (field, change) in changes {
        let block = tampered(|header, _| change(header));
        assert!(matches!(fault(&ledger, &block), BlockFault::Header(_)), "{field}");
    }
    let orphan = tampered(|header, _| header.parent_hash = B256::ZERO);
    assert!(matches!(ledger.verify(&orphan), Err(LedgerError::UnknownParent(_))));
    // What consensus decides, the ledger takes as given.
    let free = tampered(|header, _| {
        header.mix_hash = B256::repeat_byte(1);
        header.beneficiary = account(3);
        header.timestamp += 1_000;
    });
    ledger.verify(&free).unwrap();
}

#[test]
fn every_transaction_counts() {
    let ledger = ledger();
    let check = |change: fn(&mut Vec<SignedTransaction>), expected: BlockFault| {
        assert_eq!(fault(&ledger, &tampered(|_, transactions| change(transactions))), expected);
    };
    let at = |index, reason| BlockFault::Transaction { index, reason };
    check(|txs| drop(txs.pop()), BlockFault::Header("gasUsed"));
    check(|txs| txs.push(put(9, 0, 1)), BlockFault::UnregisteredSender { index: 2, sender: account(9) });
    check(|txs| txs[1] = put(1, 2, 2), at(1, InvalidReason::NonceTooHigh { transaction: 2, state: 1 }));
    check(|txs| txs[1] = txs[0].clone(), at(1, InvalidReason::NonceTooLow { transaction: 0, state: 1 }));
    check(
        |txs| txs.push(sign(3, TxEip4844 { chain_id: CHAIN_ID, gas_limit: 50_000, ..Default::default() })),
        at(2, InvalidReason::Blob),
    );
    check(
        |txs| txs.push(sign(3, TxEip7702 { chain_id: CHAIN_ID, gas_limit: 50_000, ..Default::default() })),
        at(2, InvalidReason::Delegation),
    );
    let broke = InvalidReason::InsufficientBalance { value: U256::from(1), balance: U256::ZERO };
    check(
        |txs| txs.push(sign(3, TxEip1559 { value: U256::from(1), ..draft(0, account(1), vec![]) })),
        at(2, broke),
    );
}

#[test]
fn forged_and_malleable_signatures_are_refused() {
    let ledger = ledger();
    let order = U256::from_str_radix("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16);
    let order = order.unwrap();
    let forge = |change: &dyn Fn(Signature) -> Signature| {
        tampered(|_, transactions| {
            let SignedTransaction::Eip1559(signed) = &transactions[0] else { panic!("another type") };
            let signature = change(*signed.signature());
            transactions[0] = alloy_consensus::Signed::new_unhashed(signed.tx().clone(), signature).into();
        })
    };
    let malleable = forge(&|s| Signature::new(s.r(), order - s.s(), !s.v()));
    assert_eq!(fault(&ledger, &malleable), BlockFault::Signature(0));
    let zero = forge(&|_| Signature::new(U256::ZERO, U256::ZERO, false));
    assert_eq!(fault(&ledger, &zero), BlockFault::Signature(0));
    let of_another = forge(&|s| Signature::new(s.r(), s.s(), !s.v()));
    assert!(matches!(fault(&ledger, &of_another), BlockFault::UnregisteredSender { index: 0, .. }));
}

#[test]
fn oversized_bodies_are_refused_before_anything_is_executed() {
    let ledger = ledger();
    let long = |nonce, bytes: usize| sign(1, draft(nonce, account(2), Bytes::from(vec![1; bytes])));
    let block = tampered(|_, transactions| transactions.push(long(2, TRANSACTION_BYTES_MAX)));
    assert_eq!(fault(&ledger, &block), BlockFault::TransactionTooLong(2));
    let many = BODY_BYTES_MAX / 130_000 + 1;
    let block = tampered(|_, transactions| {
        transactions.extend((2..=many + 1).map(|nonce| long(nonce as u64, 130_000)));
    });
    assert!(matches!(fault(&ledger, &block), BlockFault::BodyTooLong(_)));
}

#[test]
fn a_member_that_takes_more_than_its_share_is_refused() {
    let limits = hansa_types::Limits { block_gas: 40_000_000, ..Default::default() };
    let ledger = open(std::sync::Arc::new(hansa_kv::MemoryStore::new()), &genesis_with(limits));
    let burn = |nonce| {
        // Creation code that never ends.
        let init = alloy_primitives::bytes!("5b5f56");
        let create = TxEip1559 { gas_limit: 15_000_000, ..draft(nonce, account(1), init) };
        sign(1, TxEip1559 { to: alloy_primitives::TxKind::Create, ..create })
    };
    let block = propose(&ledger, &ledger.genesis_block(), vec![burn(0)]);
    let mut transactions = block.transactions().to_vec();
    transactions.push(burn(1));
    let block = Block::new(block.header().clone(), transactions, block.consensus().clone());
    let reason = InvalidReason::MemberQuota { gas_limit: 15_000_000, left: 5_000_000 };
    assert_eq!(fault(&ledger, &block), BlockFault::Transaction { index: 1, reason });
}
