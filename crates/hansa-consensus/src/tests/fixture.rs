//! Founders, genesis files and ledgers for tests.

use std::{net::TcpListener, sync::Arc};

use alloy_consensus::{Header, SignableTransaction as _, TxEip1559};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use alloy_sol_types::SolCall as _;
use commonware_codec::Encode as _;
use commonware_cryptography::{
    Signer as _,
    bls12381::{dkg::feldman_desmedt::deal, primitives::group::Share},
};
use commonware_utils::{N3f1, TestRng, ordered::Map};
use hansa_contracts::{GOVERNANCE, abi::Governance, card_from_types};
use hansa_kv::MemoryStore;
use hansa_ledger::Ledger;
use hansa_pool::{Pool, PoolConfig};
use hansa_types::{Block, ClusterId, Genesis, Limits, MemberCard, SignedTransaction};

use crate::{
    block::BlockRules,
    genesis::{self, network_key},
    handle::private_key,
    types::{PrivateKey, PublicKey, SHARING_MODE, Variant},
};

const CHAIN_ID: u64 = 4_242;

/// An organisation with all its keys.
#[derive(Clone)]
pub(super) struct Organisation {
    pub(super) network_secret: [u8; 32],
    pub(super) account_secret: secp256k1::SecretKey,
    pub(super) card: MemberCard,
}

impl Organisation {
    /// The organisation whose keys follow from `seed`.
    pub(super) fn new(seed: u8, consensus_endpoint: String) -> Self {
        let network_secret = keccak256([b'n', seed]).0;
        let account_secret = secp256k1::SecretKey::from_slice(&keccak256([b'a', seed]).0).unwrap();
        let public = secp256k1::PublicKey::from_secret_key_global(&account_secret).serialize_uncompressed();
        let card = MemberCard {
            name: format!("organisation {seed}"),
            cluster: ClusterId(1),
            account: Address::from_slice(&keccak256(&public[1..])[12..]),
            network_key: network_key(&private_key(&network_secret).unwrap().public_key()),
            encryption_key: Bytes::from(vec![seed; 1216]),
            consensus_endpoint,
            swarm_endpoint: "/ip4/127.0.0.1/tcp/1".into(),
        };
        Self { network_secret, account_secret, card }
    }

    /// Where its node listens.
    pub(super) fn listens_at(&self) -> std::net::SocketAddr {
        self.card.consensus_endpoint.replace("localhost", "127.0.0.1").parse().unwrap()
    }

    pub(super) fn signer(&self) -> PrivateKey {
        private_key(&self.network_secret).unwrap()
    }

    /// A transaction of this organisation's account.
    pub(super) fn transaction(&self, nonce: u64, to: Address, input: Vec<u8>) -> SignedTransaction {
        let transaction = TxEip1559 {
            chain_id: CHAIN_ID,
            nonce,
            gas_limit: 16_000_000,
            to: TxKind::Call(to),
            value: U256::ZERO,
            input: input.into(),
            ..Default::default()
        };
        let hash = secp256k1::Message::from_digest(transaction.signature_hash().0);
        let signature = secp256k1::SECP256K1.sign_ecdsa_recoverable(&hash, &self.account_secret);
        let (parity, bytes) = signature.serialize_compact();
        let signature = Signature::from_bytes_and_parity(&bytes, i32::from(parity) == 1);
        transaction.into_signed(signature).into()
    }

    /// Asks for the admission of another organisation: its first ballot, and this organisation's first transaction.
    pub(super) fn proposes(&self, applicant: &Self) -> SignedTransaction {
        let call = Governance::openJoinCall { card: card_from_types(&applicant.card) };
        self.transaction(0, GOVERNANCE, call.abi_encode())
    }

    /// Votes for that admission.
    pub(super) fn approves(&self, nonce: u64) -> SignedTransaction {
        let call = Governance::voteCall { id: 1, support: true };
        self.transaction(nonce, GOVERNANCE, call.abi_encode())
    }
}

/// A loopback address that was free a moment ago.
pub(super) fn free_endpoint() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A genesis file without a group key.
pub(super) fn draft(founders: &[Organisation], epoch_blocks: u64) -> Genesis {
    Genesis {
        chain_id: CHAIN_ID,
        timestamp: 1,
        limits: Limits { epoch_blocks, ..Limits::default() },
        founders: founders.iter().map(|founder| founder.card.clone()).collect(),
        group: Bytes::new(),
    }
}

/// A ledger over `store`, with a pool of its own.
pub(super) fn ledger(store: MemoryStore, genesis: &Genesis) -> Ledger {
    let pool = Pool::new(PoolConfig::new(genesis.chain_id, genesis.limits.block_gas));
    Ledger::open(Arc::new(store), genesis, pool).unwrap()
}

/// The hash of the final block at a height.
pub(super) fn hash_at(ledger: &Ledger, height: u64) -> B256 {
    ledger.block(height).unwrap().unwrap().hash()
}

/// What a decoder of blocks has to know about a chain of four founders.
pub(crate) fn rules() -> BlockRules {
    let founders: Vec<_> = (1..=4).map(|i| Organisation::new(i, format!("127.0.0.1:{i}"))).collect();
    let (genesis, _) = dealt(&founders, 16);
    BlockRules { genesis: genesis::block(&genesis, Block::genesis(Header::default())).unwrap() }
}

/// A genesis file whose group key was dealt by the test itself, and the shares.
pub(super) fn dealt(founders: &[Organisation], epoch_blocks: u64) -> (Genesis, Map<PublicKey, Share>) {
    let draft = draft(founders, epoch_blocks);
    let players = genesis::founders(&draft).unwrap();
    let (output, shares) = deal::<Variant, _, N3f1>(TestRng::new(1), SHARING_MODE, players).unwrap();
    (Genesis { group: output.encode().into(), ..draft }, shares)
}
