//! What one member may make all nodes store is limited over time (S6).

use std::sync::Arc;

use alloy_consensus::{TxEip1559, transaction::SignerRecoverable as _};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::Bytes;
use alloy_sol_types::SolCall;

use hansa_contracts::{GOVERNANCE, abi};
use hansa_evm::InvalidReason;
use hansa_kv::MemoryStore;
use hansa_ledger::{BlockFault, BlockRef, CallOutcome, CallRequest, Ledger, LedgerError};
use hansa_pool::PoolError;
use hansa_types::{BODY_BYTES_MAX, Block, Limits, SignedTransaction, TRANSACTION_BYTES_MAX};

use crate::support::*;

/// As little as a network can agree on.
const BYTES_PER_SECOND: u64 = 1_024;
const DAY: u64 = 24 * 3_600;

fn limited() -> Ledger {
    let limits = Limits { member_bytes_per_second: BYTES_PER_SECOND, ..Limits::default() };
    open(Arc::new(MemoryStore::new()), &genesis_with(limits))
}

fn usage(ledger: &Ledger, member: u32) -> abi::Usage {
    let call = abi::Governance::usageOfCall { dcId: member };
    let request = CallRequest { to: Some(GOVERNANCE), data: call.abi_encode().into(), ..Default::default() };
    let outcome = ledger.call(BlockRef::Number(ledger.head().number()), request).unwrap();
    let CallOutcome::Success { output, .. } = outcome else { panic!("{outcome:?}") };
    abi::Governance::usageOfCall::abi_decode_returns(&output).unwrap()
}

/// As long as a transaction may be, and free of everything but its bytes.
fn longest(nonce: u64) -> SignedTransaction {
    let input = Bytes::from(vec![0; TRANSACTION_BYTES_MAX - 200]);
    sign(1, TxEip1559 { gas_limit: 4_000_000, ..draft(nonce, account(2), input) })
}

/// One more final block, of what there is room and quota for; the rest waits.
fn offer(ledger: &Ledger, transactions: Vec<SignedTransaction>) -> Block {
    for transaction in transactions {
        ledger.pool().add(transaction).unwrap();
    }
    let block = ledger.propose(proposal(&ledger.head())).unwrap();
    ledger.finalise(&block).unwrap();
    block
}

/// A member sends the longest transactions until some have to wait; returns the nonce of the first of those.
fn fill(ledger: &Ledger) -> u64 {
    let per_block = (BODY_BYTES_MAX / TRANSACTION_BYTES_MAX) as u64;
    let mut nonce = 0;
    while ledger.pool().status().transactions == 0 {
        let block = offer(ledger, (nonce..nonce + per_block).map(longest).collect());
        nonce += block.transactions().len() as u64;
    }
    nonce
}

#[test]
fn what_members_make_all_nodes_store_is_on_the_chain() {
    let ledger = ledger();
    let put = put(1, 0, 1);
    let block = grow(&ledger, vec![put.clone()]);
    let first = usage(&ledger, 1);
    let receipts = ledger.receipts(block.number()).unwrap().unwrap();
    let logs = receipts[0].receipt.logs().iter();
    let logs: usize = logs.map(|log| 20 + 32 * log.topics().len() + log.data.data.len()).sum();
    // The segment contract's code too, which comes with a member's first object.
    assert!(first.storedBytes > (put.encode_2718_len() + logs) as u64, "{first:?}");
    assert!(first.newSlots >= 2 && first.time == GENESIS_TIME, "{first:?}");
    assert_eq!(usage(&ledger, 2).time, 0, "a member that sent nothing used nothing");
    // Half a MiB and 256 slots a second make up for it by the next block of this member.
    grow(&ledger, vec![]);
    grow(&ledger, vec![put_again()]);
    let second = usage(&ledger, 1);
    assert!(second.storedBytes < first.storedBytes && second.time > first.time, "{second:?}");
}

fn put_again() -> SignedTransaction {
    put(1, 1, 2)
}

#[test]
fn a_member_that_used_up_its_quota_waits_and_others_go_on() {
    let ledger = limited();
    let nonce = fill(&ledger);
    let used = usage(&ledger, 1).storedBytes;
    let most = BYTES_PER_SECOND * DAY;
    assert!(
        used >= most - TRANSACTION_BYTES_MAX as u64 && used < most + TRANSACTION_BYTES_MAX as u64,
        "{used}"
    );

    // No more is taken of it, and the error says for how long.
    let refused = ledger.pool().add(longest(nonce + 100));
    assert!(matches!(refused, Err(PoolError::QuotaUsedUp { wait_seconds: 1..=128 })), "{refused:?}");

    // What waits of it holds up nobody else's.
    let block = offer(&ledger, vec![put(2, 0, 1)]);
    let senders: Vec<_> = block.transactions().iter().map(|t| t.recover_signer().unwrap()).collect();
    assert_eq!(senders, [account(2)]);

    // Nobody can vote for a block that goes beyond the quota.
    let block = propose(&ledger, &block, vec![]);
    let over = Block::new(block.header().clone(), vec![longest(nonce)], block.consensus().clone());
    let reason = InvalidReason::StorageQuota;
    match ledger.verify(&over) {
        Err(LedgerError::InvalidBlock { fault, .. }) => {
            assert_eq!(fault, BlockFault::Transaction { index: 0, reason });
        }
        other => panic!("{other:?}"),
    }

    // Time makes up for it: the transaction that waited comes.
    let head = ledger.block(ledger.head().number()).unwrap().unwrap();
    let later = |parent: &Block, seconds| {
        let timestamp = parent.header().timestamp + seconds;
        ledger.propose(hansa_ledger::Proposal { timestamp, ..proposal(parent) }).unwrap()
    };
    let empty = later(&head, 300);
    assert!(empty.transactions().is_empty());
    let next = later(&empty, 1);
    assert_eq!(next.transactions().first(), Some(&longest(nonce)));
}

#[test]
fn a_ballot_changes_the_quota() {
    let ledger = limited();
    let nonce = fill(&ledger);
    // Parameter 2 is the bytes; 0 is no limit.
    let open = abi::Governance::openParameterCall { parameter: 2, value: alloy_primitives::U256::ZERO };
    grow(&ledger, vec![call_gas(2, 0, GOVERNANCE, open.abi_encode())]);
    let vote = |key: u8| {
        let vote = abi::Governance::voteCall { id: 1, support: true };
        call_gas(key, u64::from(key == 2), GOVERNANCE, vote.abi_encode())
    };
    grow(&ledger, (2..=4).map(vote).collect());
    let block = offer(&ledger, vec![]);
    assert_eq!(block.transactions().first(), Some(&longest(nonce)), "the one that waited");
}
