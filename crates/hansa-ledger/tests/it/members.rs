//! Who is a member, and since when.

use std::sync::Arc;

use alloy_consensus::transaction::SignerRecoverable as _;
use alloy_eips::eip2718::Decodable2718 as _;
use alloy_primitives::{address, bytes};
use alloy_sol_types::SolCall;

use hansa_contracts::{GOVERNANCE, abi};
use hansa_kv::{KeyRange, KvStore as _, MemoryStore, Order, Space};
use hansa_ledger::LedgerError;
use hansa_pool::PoolError;
use hansa_types::{DEPLOYER_ACCOUNT, MemberStatus, Role, SignedTransaction, is_deployer};

use crate::support::*;

fn vote(key: u8, nonce: u64, id: u64) -> hansa_types::SignedTransaction {
    call(key, nonce, GOVERNANCE, abi::Governance::voteCall { id, support: true }.abi_encode())
}

#[test]
fn founders_are_members_from_the_genesis_block_on() {
    let ledger = ledger();
    let members = ledger.members();
    assert_eq!(members.iter().map(|member| member.card.clone()).collect::<Vec<_>>(), genesis().founders);
    assert!(members.iter().zip(1_u32..).all(|(member, dc)| member.dc_id.value() == dc));
    assert!(members.iter().all(|member| member.role == Role::Validator));
    assert!(matches!(ledger.members_at_epoch(0), Err(LedgerError::EpochNotFinal(0))));
}

#[test]
fn a_ballot_admits_a_member_who_may_then_send_and_epochs_remember() {
    let ledger = ledger();
    let mut announced = ledger.subscribe();
    let join = abi::Governance::openJoinCall { card: signed_card(5) };
    let open = sign(
        1,
        alloy_consensus::TxEip1559 { gas_limit: 10_000_000, ..draft(0, GOVERNANCE, join.abi_encode()) },
    );
    grow(&ledger, vec![open]);
    assert!(ledger.receipts(1).unwrap().unwrap()[0].receipt.is_success());
    grow(&ledger, vec![vote(1, 1, 1), vote(2, 0, 1)]);
    assert_eq!(ledger.members().len(), 4, "two of four are no majority");
    assert_eq!(ledger.pool().add(put(5, 0, 1)), Err(PoolError::UnregisteredSender(account(5))));
    grow(&ledger, vec![]);
    let last = sign(
        3,
        alloy_consensus::TxEip1559 {
            gas_limit: 10_000_000,
            ..draft(0, GOVERNANCE, abi::Governance::voteCall { id: 1, support: true }.abi_encode())
        },
    );
    // Block 4 is the first of epoch 1.
    let block = propose(&ledger, &ledger.head(), vec![last]);
    assert_eq!(block.number(), 4);
    ledger.finalise(&block).unwrap();
    let members = ledger.members();
    assert_eq!(members.len(), 5);
    assert_eq!((&members[4].card, members[4].role), (&card(5), Role::Participant));
    assert_eq!(members[4].status, MemberStatus::Active);
    let flags: Vec<_> = (0..4).map(|_| announced.try_recv().unwrap().registry_changed).collect();
    assert_eq!(flags, [false, false, false, true]);
    assert_eq!(ledger.members_at_epoch(0).unwrap().len(), 4);
    assert!(matches!(ledger.members_at_epoch(1), Err(LedgerError::EpochNotFinal(1))));
    let first = grow(&ledger, vec![put(5, 0, 1)]);
    assert!(ledger.receipts(first.number()).unwrap().unwrap()[0].receipt.is_success());
    grow(&ledger, vec![]);
    grow(&ledger, vec![]);
    assert_eq!(ledger.members_at_epoch(1).unwrap(), *ledger.members());
}

#[test]
fn an_epoch_with_the_members_of_the_one_before_takes_no_room() {
    let store = MemoryStore::new();
    let ledger = open(Arc::new(store.clone()), &genesis());
    for _ in 0..4 * 5 {
        grow(&ledger, vec![]);
    }
    let entries = store.scan(Space::new("ledger-meta"), KeyRange::prefix(b"epoch"), Order::Ascending, 100);
    assert_eq!(entries.unwrap().len(), 1);
    for epoch in 0..5 {
        assert_eq!(ledger.members_at_epoch(epoch).unwrap(), *ledger.members());
    }
    assert!(matches!(ledger.members_at_epoch(5), Err(LedgerError::EpochNotFinal(5))));
}

#[test]
fn a_new_member_sends_only_after_its_admission_not_in_the_same_block() {
    let ledger = ledger();
    let join = abi::Governance::openJoinCall { card: signed_card(5) }.abi_encode();
    let heavy = |key, nonce, data: Vec<u8>| {
        sign(key, alloy_consensus::TxEip1559 { gas_limit: 10_000_000, ..draft(nonce, GOVERNANCE, data) })
    };
    grow(&ledger, vec![heavy(1, 0, join)]);
    grow(&ledger, vec![vote(1, 1, 1), vote(2, 0, 1)]);
    let yes = abi::Governance::voteCall { id: 1, support: true }.abi_encode();
    let admitting = propose(&ledger, &ledger.head(), vec![heavy(3, 0, yes)]);
    let mut transactions = admitting.transactions().to_vec();
    transactions.push(put(5, 0, 1));
    let early = hansa_types::Block::new(admitting.header().clone(), transactions, Default::default());
    assert!(ledger.verify(&early).unwrap_err().is_invalid_block());
    ledger.finalise(&admitting).unwrap();
    grow(&ledger, vec![put(5, 0, 1)]);
}

#[test]
fn the_deployment_proxys_transaction_alone_needs_no_member() {
    let raw = bytes!(
        "f8a58085174876e800830186a08080b853604580600e600039806000f350fe7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf31ba02222222222222222222222222222222222222222222222222222222222222222a02222222222222222222222222222222222222222222222222222222222222222"
    );
    let transaction = SignedTransaction::decode_2718_exact(&raw).unwrap();
    assert!(is_deployer(&transaction));
    assert_eq!(transaction.recover_signer().unwrap(), DEPLOYER_ACCOUNT);
    let (proposer, verifier) = (ledger(), ledger());
    let block = grow(&proposer, vec![transaction.clone()]);
    verifier.verify(&block).unwrap();
    verifier.finalise(&block).unwrap();
    let proxy = address!("4e59b44847b379578588920ca78fbf26c0b4956c");
    assert_eq!(verifier.code(1.into(), proxy).unwrap().len(), 69);
    assert!(proposer.receipts(1).unwrap().unwrap()[0].receipt.is_success());
    let again = proposer.pool().add(transaction);
    assert_eq!(again, Err(PoolError::NonceTooLow { transaction: 0, next: 1 }));
}
