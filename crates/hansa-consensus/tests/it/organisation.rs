//! Organisations, genesis files and ledgers: what the tests of this crate and of its public interface share.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, Signature, keccak256};
use ed25519_dalek::SigningKey;
use hansa_contracts::{abi, card_digest, card_from_types, draft_genesis};
use hansa_kv::MemoryStore;
use hansa_ledger::Ledger;
use hansa_types::{ClusterId, Genesis, Limits, MemberCard, NetworkKey};

pub(crate) const CHAIN_ID: u64 = 4_242;

/// An organisation with all its keys.
#[derive(Clone)]
pub(crate) struct Organisation {
    /// All its keys follow from it.
    pub(crate) seed: u8,
    pub(crate) card: MemberCard,
}

impl Organisation {
    /// The organisation whose keys follow from `seed`.
    pub(crate) fn new(seed: u8, consensus_endpoint: String) -> Self {
        let account_secret = account_secret(seed);
        let public = secp256k1::PublicKey::from_secret_key_global(&account_secret).serialize_uncompressed();
        let network_key = SigningKey::from_bytes(&network_secret(seed)).verifying_key();
        let card = MemberCard {
            name: format!("organisation {seed}"),
            cluster: ClusterId(1),
            account: Address::from_slice(&keccak256(&public[1..])[12..]),
            network_key: NetworkKey(network_key.to_bytes().into()),
            encryption_key: Bytes::from(vec![seed; 1216]),
            consensus_endpoint,
            swarm_endpoint: "/ip4/127.0.0.1/tcp/1".into(),
        };
        Self { seed, card }
    }

    /// Signs with the account.
    pub(crate) fn sign(&self, digest: B256) -> Signature {
        let message = secp256k1::Message::from_digest(digest.0);
        let signature = secp256k1::SECP256K1.sign_ecdsa_recoverable(&message, &account_secret(self.seed));
        let (parity, bytes) = signature.serialize_compact();
        Signature::from_bytes_and_parity(&bytes, i32::from(parity) == 1)
    }

    /// Its card, signed by its account, as the contracts take it.
    pub(crate) fn signed_card(&self) -> abi::SignedCard {
        abi::SignedCard {
            card: card_from_types(&self.card),
            accountSignature: self.sign(card_digest(&self.card)).as_bytes().into(),
            networkSignature: Bytes::new(),
        }
    }

    /// The secret key with which its node signs in the agreement.
    pub(crate) fn network_secret(&self) -> [u8; 32] {
        network_secret(self.seed)
    }
}

fn network_secret(seed: u8) -> [u8; 32] {
    keccak256([b'n', seed]).0
}

/// The secret key of the account of the organisation with this seed.
pub(crate) fn account_secret(seed: u8) -> secp256k1::SecretKey {
    secp256k1::SecretKey::from_slice(&keccak256([b'a', seed]).0).unwrap()
}

/// A genesis file without a group key.
pub(crate) fn draft(founders: &[Organisation], epoch_blocks: u64) -> Genesis {
    let limits = Limits { epoch_blocks, ..Limits::default() };
    draft_genesis(CHAIN_ID, 1, limits, founders.iter().map(|founder| founder.card.clone()).collect())
}

/// A ledger over `store`, with a pool of its own.
pub(crate) fn ledger(store: MemoryStore, genesis: &Genesis) -> Ledger {
    Ledger::open(Arc::new(store), genesis).unwrap()
}
