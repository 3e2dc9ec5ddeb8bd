//! A ledger in memory with four founders, and a JSON-RPC server on it.

use std::sync::Arc;

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, hex, keccak256};
use alloy_sol_types::SolCall;
use hansa_contracts::{GOVERNANCE, abi, card_digest, draft_genesis, signed_card_from_types};
use hansa_gateway::{RpcLimits, RpcServer};
use hansa_kv::MemoryStore;
use hansa_ledger::{Ledger, Proposal};
use hansa_types::{
    Block, ClusterId, ConsensusData, Limits, MemberCard, NetworkKey, SignedCard, SignedTransaction,
};
use secp256k1::{Message, SECP256K1, SecretKey};
use serde_json::{Value, json};

pub(crate) const CHAIN_ID: u64 = 4_242;

/// The account key of founder 1, 2, …; any other number is somebody unknown.
pub(crate) fn key(of: u8) -> SecretKey {
    SecretKey::from_byte_array(&[of; 32]).unwrap()
}

pub(crate) fn account(of: u8) -> Address {
    let public = key(of).public_key(SECP256K1).serialize_uncompressed();
    Address::from_slice(&keccak256(&public[1..])[12..])
}

pub(crate) fn card(of: u8) -> MemberCard {
    MemberCard {
        name: format!("member-{of}"),
        cluster: ClusterId(1),
        account: account(of),
        network_key: NetworkKey(B256::repeat_byte(of)),
        encryption_key: Bytes::from(vec![of; 1_216]),
        consensus_endpoint: format!("127.0.0.1:{}", 7_000 + u16::from(of)),
        swarm_endpoint: format!("/ip4/127.0.0.1/tcp/{}", 8_000 + u16::from(of)),
    }
}

/// A card with its account's signature; contracts do not check the network key's.
pub(crate) fn signed_card(of: u8) -> SignedCard {
    let card = card(of);
    let signature = sign_digest(of, card_digest(&card)).as_bytes();
    SignedCard { card, account_signature: signature.into(), network_signature: Bytes::new() }
}

fn sign_digest(of: u8, digest: B256) -> Signature {
    let signature = SECP256K1.sign_ecdsa_recoverable(&Message::from_digest(digest.0), &key(of));
    let (recovery, bytes) = signature.serialize_compact();
    Signature::from_bytes_and_parity(&bytes, i32::from(recovery) == 1)
}

pub(crate) fn ledger() -> Ledger {
    let founders = (1..=4).map(card).collect();
    let genesis = draft_genesis(CHAIN_ID, 1_700_000_000, Limits::default(), founders);
    Ledger::open(Arc::new(MemoryStore::new()), &genesis).unwrap()
}

/// Makes the pending transactions final in one block.
pub(crate) fn grow(ledger: &Ledger) -> Block {
    let parent = ledger.head();
    let proposal = Proposal {
        filling_time: None,
        parent: parent.hash(),
        timestamp: parent.header().timestamp + 1,
        prevrandao: B256::repeat_byte(9),
        beneficiary: account(1),
        consensus: ConsensusData::default(),
    };
    let block = ledger.propose(proposal).unwrap();
    ledger.finalise(&block).unwrap();
    block
}

/// Keeps a certificate for a block, in the shape in which the engine makes them; its signatures are nobody's.
pub(crate) fn certify(ledger: &Ledger, block: &Block) {
    let signatures = [[1; 48], [2; 48]].concat();
    let encoded = [&[3, 9, 8][..], block.hash().as_slice(), &signatures].concat();
    ledger.keep_certificate(block.number(), encoded).unwrap();
}

pub(crate) fn sign(of: u8, transaction: TxEip1559) -> SignedTransaction {
    let signature = sign_digest(of, transaction.signature_hash());
    transaction.into_signed(signature).into()
}

/// A call from a founder.
pub(crate) fn call(of: u8, nonce: u64, to: Address, input: Bytes) -> SignedTransaction {
    sign(
        of,
        TxEip1559 {
            chain_id: CHAIN_ID,
            nonce,
            gas_limit: 3_000_000,
            to: TxKind::Call(to),
            input,
            ..Default::default()
        },
    )
}

/// Creates a contract by running code. Gas is given for many logs.
pub(crate) fn create(of: u8, nonce: u64, code: Bytes) -> SignedTransaction {
    sign(
        of,
        TxEip1559 {
            chain_id: CHAIN_ID,
            nonce,
            gas_limit: 10_000_000,
            to: TxKind::Create,
            input: code,
            ..Default::default()
        },
    )
}

/// Opens a ballot: a transaction that emits a log.
pub(crate) fn ballot(of: u8, nonce: u64, candidate: u8) -> SignedTransaction {
    let card = signed_card_from_types(&signed_card(candidate));
    call(of, nonce, GOVERNANCE, abi::Governance::openJoinCall { card }.abi_encode().into())
}

pub(crate) fn raw(transaction: &SignedTransaction) -> String {
    hex::encode_prefixed(transaction.encoded_2718())
}

/// A chain with its server.
pub(crate) struct Fixture {
    pub(crate) ledger: Ledger,
    pub(crate) server: RpcServer,
    http: reqwest::Client,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(RpcLimits::default()).await
    }

    pub(crate) async fn with(limits: RpcLimits) -> Self {
        let ledger = ledger();
        let listen = "127.0.0.1:0".parse().unwrap();
        let limits = RpcLimits { origins: vec!["https://app.example".to_owned()], ..limits };
        let server = RpcServer::start(listen, ledger.clone(), Arc::new(()), limits).await.unwrap();
        Self { ledger, server, http: reqwest::Client::new() }
    }

    /// Makes the pending transactions final in one block.
    pub(crate) fn block(&self) -> Block {
        grow(&self.ledger)
    }

    /// Posts a body, and answers status and text.
    pub(crate) async fn post(&self, body: impl Into<reqwest::Body>) -> (u16, String) {
        let request = self.http.post(format!("http://{}", self.server.address()));
        let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Posts one or several requests.
    pub(crate) async fn exchange(&self, request: Value) -> Value {
        let (status, text) = self.post(request.to_string()).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Calls a method that must succeed.
    pub(crate) async fn ok(&self, method: &str, params: Value) -> Value {
        let answer = self.call(method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Calls a method that must fail, and answers code and message.
    pub(crate) async fn error(&self, method: &str, params: Value) -> (i64, String) {
        let answer = self.call(method, params).await;
        let error = &answer["error"];
        assert!(error.is_object(), "{method}: {answer}");
        (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())
    }

    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        self.exchange(json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })).await
    }

    pub(crate) async fn send(&self, transaction: &SignedTransaction) -> Value {
        self.ok("eth_sendRawTransaction", json!([raw(transaction)])).await
    }
}

pub(crate) fn quantity(value: &Value) -> u64 {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no quantity"));
    u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap()
}
