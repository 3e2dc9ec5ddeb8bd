//! A consortium of four founders, their transactions, and ledgers to put them in.
#![allow(dead_code, unreachable_pub, reason = "shared with the example, which uses less of it")]

use std::sync::Arc;

use alloy_consensus::{
    SignableTransaction, TxEip1559, crypto::secp256k1::sign_message, transaction::SignerRecoverable,
};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, address, bytes};
use alloy_sol_types::SolCall;

use hansa_contracts::{abi, card_digest, card_from_types, data_store_of, draft_genesis};
use hansa_kv::MemoryStore;
use hansa_ledger::{Ledger, LedgerConfig, Proposal};
use hansa_trie::StateStores;
use hansa_types::{
    Block, ClusterId, ConsensusData, DcId, Genesis, Limits, MemberCard, NetworkKey, SignedTransaction, Suite,
    SystemCall,
};

pub const CHAIN_ID: u64 = 7_700;
pub const GENESIS_TIME: u64 = 1_800_000_000;

/// Stores the second word of its calldata at the first, logs the first as topic, reverts if there is a third.
pub const STORE_INIT: Bytes = bytes!("6017600a5f3960175ff36020355f35555f355f5fa160403611601357005b5f5ffd");

pub fn sign<T: SignableTransaction<Signature>>(key: u8, transaction: T) -> SignedTransaction
where
    SignedTransaction: From<alloy_consensus::Signed<T>>,
{
    let signature = sign_message(B256::with_last_byte(key), transaction.signature_hash()).unwrap();
    transaction.into_signed(signature).into()
}

pub fn draft(nonce: u64, to: Address, input: impl Into<Bytes>) -> TxEip1559 {
    TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: 1_000_000,
        max_fee_per_gas: 1,
        max_priority_fee_per_gas: 1,
        to: TxKind::Call(to),
        input: input.into(),
        ..Default::default()
    }
}

pub fn call(key: u8, nonce: u64, to: Address, input: impl Into<Bytes>) -> SignedTransaction {
    sign(key, draft(nonce, to, input))
}

/// As [`call`], with gas for a ballot.
pub fn call_gas(key: u8, nonce: u64, to: Address, input: impl Into<Bytes>) -> SignedTransaction {
    sign(key, TxEip1559 { gas_limit: 4_000_000, ..draft(nonce, to, input) })
}

pub fn deploy(key: u8, nonce: u64, init: Bytes) -> SignedTransaction {
    sign(key, TxEip1559 { to: TxKind::Create, ..draft(nonce, Address::ZERO, init) })
}

pub fn words(values: &[u64]) -> Bytes {
    values.iter().flat_map(|value| B256::left_padding_from(&value.to_be_bytes()).0).collect()
}

pub fn account(key: u8) -> Address {
    call(key, 0, Address::ZERO, Bytes::new()).recover_signer().unwrap()
}

pub fn store_of(dc: u8) -> Address {
    data_store_of(DcId::new(dc.into()).unwrap())
}

/// What a member sends to record a new object: the real thing, about 90,000 gas.
pub fn put(dc: u8, nonce: u64, number: u64) -> SignedTransaction {
    let record = abi::Record {
        number,
        version: 1,
        root: B256::from(U256::from(number + 1).wrapping_mul(U256::MAX / U256::from(3))),
        commitment: B256::repeat_byte(number as u8),
        visibility: 1,
        keyEpoch: 1,
        sizeClass: 65_536,
        createdAt: GENESIS_TIME,
        validUntil: 0,
    };
    let input = abi::DataStore::putCall { r: record };
    sign(dc, TxEip1559 { gas_limit: 300_000, ..draft(nonce, store_of(dc), input.abi_encode()) })
}

pub fn card(key: u8) -> MemberCard {
    MemberCard {
        name: format!("Data centre {key}"),
        cluster: ClusterId(1),
        account: account(key),
        network_key: NetworkKey(B256::repeat_byte(key)),
        encryption_key: vec![key; 1_216].into(),
        consensus_endpoint: format!("127.0.0.1:{}", 4_000 + u16::from(key)),
        swarm_endpoint: format!("/ip4/127.0.0.1/tcp/{}", 5_000 + u16::from(key)),
    }
}

/// A card with its account's signature; contracts do not check the network key's.
pub fn signed_card(key: u8) -> abi::SignedCard {
    let card = card(key);
    let signature = sign_message(B256::with_last_byte(key), card_digest(&card)).unwrap();
    abi::SignedCard {
        card: card_from_types(&card),
        accountSignature: signature.as_bytes().into(),
        networkSignature: Bytes::new(),
    }
}

pub fn genesis_with(limits: Limits) -> Genesis {
    draft_genesis(CHAIN_ID, GENESIS_TIME, limits, (1..=4).map(card).collect())
}

pub fn genesis() -> Genesis {
    genesis_with(Limits { epoch_blocks: 4, ..Limits::default() })
}

pub fn open(stores: impl Into<StateStores>, genesis: &Genesis) -> Ledger {
    Ledger::open_with(stores, genesis, LedgerConfig::default()).unwrap()
}

/// With the usual genesis.
pub fn open_with(store: MemoryStore, config: LedgerConfig) -> Ledger {
    Ledger::open_with(Arc::new(store), &genesis(), config).unwrap()
}

/// A contract that the next suite adds: returns 42 to every call.
pub const ADDED: Address = address!("0000000000000000000000000000000000001099");
pub const RETURNS_42: Bytes = bytes!("602a5f5260205ff3");

pub fn next_suite(calls: Vec<SystemCall>) -> Suite {
    Suite { version: 2, code: [(ADDED, RETURNS_42)].into(), calls }
}

pub fn ledger() -> Ledger {
    open(Arc::new(MemoryStore::new()), &genesis())
}

pub fn proposal(parent: &Block) -> Proposal {
    Proposal {
        filling_time: None,
        parent: parent.hash(),
        timestamp: parent.header().timestamp + 1,
        prevrandao: B256::repeat_byte(parent.number() as u8),
        beneficiary: account(1),
        consensus: ConsensusData { context: parent.number().to_be_bytes().into(), ..Default::default() },
    }
}

/// Proposes on `parent` after adding the transactions to the pool; all of them must be taken up.
pub fn propose(ledger: &Ledger, parent: &Block, transactions: Vec<SignedTransaction>) -> Block {
    let count = transactions.len();
    for transaction in transactions {
        ledger.pool().add(transaction).unwrap();
    }
    let block = ledger.propose(proposal(parent)).unwrap();
    assert_eq!(block.transactions().len(), count);
    block
}

/// One more final block with these transactions.
pub fn grow(ledger: &Ledger, transactions: Vec<SignedTransaction>) -> Block {
    let block = propose(ledger, &ledger.head(), transactions);
    ledger.finalise(&block).unwrap();
    block
}
