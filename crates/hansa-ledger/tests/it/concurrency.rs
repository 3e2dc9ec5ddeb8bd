//! Readers beside a writer: each answer belongs to one block, whichever.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use alloy_primitives::{B256, U256};
use hansa_ledger::{BlockRef, Ledger, LogFilter};

use crate::support::*;

const BLOCKS: u64 = 60;

fn read(ledger: &Ledger) {
    let contract = account(1).create(0);
    let slots = [B256::ZERO, B256::with_last_byte(1)];
    // Compares the root of the state that was read with that of the block it is said to belong to.
    let proof = ledger.proof(BlockRef::Head, contract, &slots).unwrap();
    let [first, second] = [0, 1].map(|at| proof.storage_proofs[at].value);
    assert!(first >= second && first - second <= U256::from(1), "slot 1 follows slot 0 in the next block");

    let head = ledger.head();
    let filter =
        LogFilter { addresses: vec![contract], to: head.number(), limit: 1_000, ..Default::default() };
    assert_eq!(ledger.logs(&filter).unwrap().len() as u64, head.number().saturating_sub(1));
    let at = BlockRef::from(head.hash());
    assert_eq!(ledger.account(at, account(1)).unwrap().nonce, head.number());
    for transaction in head.transactions() {
        let receipt = ledger.receipt(*transaction.tx_hash()).unwrap().unwrap();
        assert_eq!(receipt.block_hash, head.hash());
    }
}

#[test]
fn readers_never_see_half_a_block() {
    let ledger = ledger();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    while !done.load(Ordering::Acquire) {
                        read(&ledger);
                    }
                })
            })
            .collect();
        grow(&ledger, vec![deploy(1, 0, STORE_INIT)]);
        for number in 2..=BLOCKS {
            // Slot 0 and slot 1 take turns in being raised to the same value.
            let (slot, value) = (number % 2, number / 2);
            grow(&ledger, vec![call(1, number - 1, account(1).create(0), words(&[slot, value]))]);
        }
        done.store(true, Ordering::Release);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    read(&ledger);
}

#[test]
fn a_block_that_several_threads_verify_and_finalise_has_one_state() {
    let (author, other) = (ledger(), ledger());
    for round in 0..40 {
        let first = propose(&author, &author.head(), vec![put(1, 2 * round, 2 * round + 1)]);
        author.finalise(&first).unwrap();
        let second = propose(&author, &first, vec![put(1, 2 * round + 1, 2 * round + 2)]);
        author.finalise(&second).unwrap();
        // Children must stand on the one state of the block that is finalised, whoever executed it first.
        let barrier = std::sync::Barrier::new(4);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    barrier.wait();
                    other.verify(&first).unwrap();
                    other.verify(&second).unwrap();
                });
            }
            barrier.wait();
            other.finalise(&first).unwrap();
        });
        other.finalise(&second).unwrap();
        assert_eq!(other.head().hash(), author.head().hash());
    }
}
