//! Blocks that are executed but not final, and what is left of them.

use std::sync::Arc;

use alloy_primitives::B256;
use hansa_kv::MemoryStore;
use hansa_ledger::{BlockRef, LedgerError, Proposal};

use crate::support::*;

#[test]
fn one_of_two_branches_becomes_final_and_the_other_disappears() {
    let (left, right) = (ledger(), ledger());
    let genesis = left.genesis_block();
    let contract = account(1).create(0);
    let a1 = propose(&left, &genesis, vec![deploy(1, 0, STORE_INIT)]);
    let a2 = propose(&left, &a1, vec![call(1, 1, contract, words(&[1, 1]))]);
    let b1 = propose(&right, &genesis, vec![put(2, 0, 5), put(3, 0, 5)]);
    let b2 = propose(&right, &b1, vec![put(2, 1, 6)]);
    for block in [&b1, &b2] {
        left.verify(block).unwrap();
    }
    assert_eq!(left.head(), genesis, "nothing is final yet");
    assert!(left.known_block(a2.hash()).is_some());
    left.finalise(&b1).unwrap();
    assert!(left.known_block(a1.hash()).is_none() && left.known_block(a2.hash()).is_none());
    assert_eq!(left.known_block(b2.hash()), Some(b2.clone()));
    assert!(matches!(left.verify(&a2), Err(LedgerError::UnknownParent(_))));
    assert!(left.verify(&a1).unwrap_err().is_invalid_block());
    left.finalise(&b2).unwrap();
    right.finalise_many(&[b1, b2]).unwrap();
    assert_eq!(left.head(), right.head());
    // The transactions of the lost branch are still pending and come with the next block.
    assert_eq!(left.propose(proposal(&left.head())).unwrap().transactions().len(), 2);
}

#[test]
fn pending_transactions_are_not_proposed_twice_on_unfinished_ancestors() {
    let ledger = ledger();
    let first = propose(&ledger, &ledger.genesis_block(), vec![put(1, 0, 1), put(1, 1, 2)]);
    assert!(!ledger.has_pending(first.hash()));
    let second = ledger.propose(proposal(&first)).unwrap();
    assert!(second.transactions().is_empty());
    let third = propose(&ledger, &second, vec![put(1, 2, 3)]);
    ledger.finalise_many(&[first, second, third.clone()]).unwrap();
    assert_eq!(ledger.head(), third);
}

#[test]
fn only_the_heads_child_becomes_final_and_a_second_time_is_no_harm() {
    let (proposer, follower) = (ledger(), ledger());
    let blocks: Vec<_> = (0..3).map(|nonce| grow(&proposer, vec![put(1, nonce, nonce + 1)])).collect();
    let refused = follower.finalise(&blocks[1]);
    assert!(matches!(refused, Err(LedgerError::NotNext { number: 2, head: 0 })));
    assert!(matches!(follower.verify(&blocks[1]), Err(LedgerError::UnknownParent(_))));
    // A follower executes what it did not verify before.
    follower.finalise_many(&blocks).unwrap();
    follower.finalise_many(&blocks).unwrap();
    follower.finalise(&blocks[0]).unwrap();
    assert_eq!(follower.head(), proposer.head());
    follower.verify(&blocks[0]).unwrap();
}

#[test]
fn final_blocks_are_announced_once_and_in_order() {
    let ledger = ledger();
    let mut announced = ledger.subscribe();
    let first = grow(&ledger, vec![put(1, 0, 1), put(2, 0, 1)]);
    ledger.finalise(&first).unwrap();
    let second = grow(&ledger, vec![]);
    let received = announced.try_recv().unwrap();
    assert_eq!(received.block, first);
    assert_eq!(received.logs().map(|log| log.log_index).collect::<Vec<_>>(), [0, 1]);
    assert!(!received.registry_changed);
    assert_eq!(announced.try_recv().unwrap().block, second);
    assert!(announced.try_recv().is_err());
}

#[test]
fn a_timestamp_never_runs_backwards_and_an_unknown_parent_is_named() {
    let ledger = ledger();
    let early = Proposal { timestamp: 5, ..proposal(&ledger.genesis_block()) };
    assert_eq!(ledger.propose(early).unwrap().header().timestamp, GENESIS_TIME);
    let parent = B256::repeat_byte(9);
    let orphan = Proposal { parent, ..proposal(&ledger.genesis_block()) };
    assert!(matches!(ledger.propose(orphan), Err(LedgerError::UnknownParent(hash)) if hash == parent));
}

#[test]
fn everything_is_there_again_after_each_restart() {
    let store = MemoryStore::new();
    let contract = account(1).create(0);
    let batches = [
        vec![deploy(1, 0, STORE_INIT), put(2, 0, 1)],
        vec![call(1, 1, contract, words(&[1, 7])), put(2, 1, 2)],
        vec![call(1, 2, contract, words(&[1, 0]))],
        vec![],
        vec![put(3, 0, 9)],
    ];
    let steady = ledger();
    for transactions in batches {
        let block = grow(&steady, transactions);
        let restarted = open(Arc::new(store.clone()), &genesis());
        restarted.finalise(&block).unwrap();
    }
    let restarted = open(Arc::new(store), &genesis());
    assert_eq!(restarted.head(), steady.head());
    assert_eq!(restarted.members(), steady.members());
    for number in 0..=5 {
        let block = steady.block(number).unwrap().unwrap();
        assert_eq!(restarted.block(number).unwrap(), Some(block.clone()));
        assert_eq!(restarted.block_by_hash(block.hash()).unwrap(), Some(block.clone()));
        assert_eq!(restarted.receipts(number).unwrap(), steady.receipts(number).unwrap());
        for transaction in block.transactions() {
            let hash = *transaction.tx_hash();
            assert_eq!(restarted.receipt(hash).unwrap(), steady.receipt(hash).unwrap());
            assert_eq!(restarted.transaction(hash).unwrap(), steady.transaction(hash).unwrap());
            assert_eq!(&restarted.transaction(hash).unwrap().unwrap().transaction, transaction);
        }
    }
    let nonce = |key| restarted.account(BlockRef::Head, account(key)).unwrap().nonce;
    assert_eq!([nonce(1), nonce(2), nonce(3)], [3, 2, 1]);
}
