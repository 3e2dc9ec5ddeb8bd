//! Verifies proofs of blocks, writers, accounts, storage, transactions and receipts, with the genesis file alone.
//!
//! An outsider that has a consortium's genesis file asks any node for the proof of a block ([`BlockProof`]) and checks here, without
//! trust in that node, that the block is final and which validator wrote it. Everything else hangs on the proven header:
//! [`account`] and [`storage`] on its state root, [`transaction`] and [`receipt`] on its two other roots.
//!
//! ```
//! use hansa_proof::{Verifier, account};
//! use hansa_types::{Genesis, BlockProof};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let genesis = Genesis::from_json(include_str!("../vectors/genesis.json"))?;
//! let proof: BlockProof = serde_json::from_str(include_str!("../vectors/skipped.json"))?;
//! let block = Verifier::new(&genesis)?.block(&proof)?;
//! println!("block {} {} was written by {}", block.header.number, block.hash, block.writer.network_key);
//! # Ok(())
//! # }
//! ```
//!
//! # What a proof shows
//!
//! A certificate is a BLS12-381 threshold signature. Its group key stands in the genesis file and never changes; the shares of it are
//! dealt anew in each epoch, so that only a quorum (more than two thirds) of an epoch's validators can sign. What verifies here was
//! signed by a quorum of some committee of the consortium.
//!
//! - *Finality*: the certificate signs the block's hash, or the hash of a descendant that the headers lead to.
//! - *Writer*: the header commits to the network key of the round's leader. Validators vote for a block only if that is its sender.
//! - *Draw*: the leader is the one that the threshold signature over the round before selects, among the validators that the last block of
//!   the epoch before names. That signature has one possible value, which nobody knows before a quorum has voted in that round.
//!
//! # What it does not show
//!
//! That the members of a former committee did not collude later: the group key has no forward security. That a state root is right beyond
//! what a quorum has executed. That the block is recent: compare its time.
//!
//! No engine, network, disk, clock or source of randomness; the crate builds for `wasm32-unknown-unknown`. All input but the genesis file
//! is hostile: errors, never panics.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod bls;
mod certificate;
mod chain;
mod draw;
mod error;
mod group;
mod reader;
mod trie;
mod verifier;

#[cfg(test)]
mod vectors;

pub use certificate::{decode_certificate, namespace};
pub use chain::HEADERS_MAX;
pub use draw::{first_leader, later_leader};
pub use error::ProofError;
pub use hansa_types::{BlockEvidence, BlockProof, Certificate};
pub use trie::{Account, account, receipt, storage, transaction};
pub use verifier::{ProvenBlock, Verifier, Writer};

/// Decoders that are not public, for the fuzz targets alone.
#[cfg(fuzzing)]
pub mod fuzzing {
    use alloy_primitives::{Bytes, keccak256};

    /// Whatever of a proof the agreement engine encodes.
    pub fn part(bytes: &[u8]) {
        let _ = crate::group::committee(bytes);
        let _ = crate::group::Outcome::decode(bytes);
        let _ = crate::draw::Context::decode(bytes);
        let _ = crate::chain::header(bytes);
        if let Ok(certificate) = crate::decode_certificate(bytes) {
            let [key, signature] = [&certificate.seed_signature, &certificate.vote_signature];
            let doubled = [key.as_ref(), key.as_ref()].concat();
            let key = doubled.try_into().ok().and_then(|key| crate::bls::PublicKey::decode(&key));
            let _ = key.map(|key| key.verifies(b"namespace", b"message", signature));
        }
    }

    /// The nodes of a trie, below the root that the first of them has.
    pub fn nodes(nodes: &[Bytes], value: &[u8]) {
        let root = nodes.first().map(keccak256).unwrap_or_default();
        for index in 0..4 {
            let _ = crate::receipt(root, index, value, nodes);
        }
        let _ = crate::account(root, Default::default(), None, nodes);
    }
}
