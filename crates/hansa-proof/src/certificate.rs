//! Threshold certificates of finality: their layout and what they sign.
//!
//! Signed is `LEB128(epoch) ‖ LEB128(view) ‖ LEB128(parent view) ‖ block hash` in the namespace `…_FINALIZE`, and
//! `LEB128(epoch) ‖ LEB128(view)` in `…_SEED`, after the chain's own [`namespace`]. The second signature draws the next round's leader.

use alloy_primitives::B256;
use hansa_types::Certificate;

use crate::{
    ProofError,
    bls::{PublicKey, SIGNATURE_BYTES},
    reader::{Reader, write_integer},
};

/// The namespace of every signature of a chain: `"hansa:" ‖ chain id (8 bytes, big endian) ‖ genesis hash`.
pub fn namespace(chain_id: u64, genesis_hash: B256) -> Vec<u8> {
    [b"hansa:".as_slice(), &chain_id.to_be_bytes(), genesis_hash.as_slice()].concat()
}

/// Decodes a certificate from the agreement engine's bytes, `proposal ‖ vote signature ‖ seed signature`. Checks no signature.
///
/// # Errors
/// When the bytes are not exactly one certificate.
pub fn decode_certificate(bytes: &[u8]) -> Result<Certificate, ProofError> {
    decode(bytes).ok_or(ProofError::Malformed("not a certificate of finality"))
}

fn decode(bytes: &[u8]) -> Option<Certificate> {
    let mut reader = Reader::new(bytes);
    let certificate = Certificate {
        epoch: reader.integer()?,
        view: reader.integer()?,
        parent_view: reader.integer()?,
        hash: reader.array()?.into(),
        vote_signature: reader.array::<SIGNATURE_BYTES>()?.into(),
        seed_signature: reader.array::<SIGNATURE_BYTES>()?.into(),
    };
    reader.is_empty().then_some(certificate)
}

/// The group key in the namespace of a chain.
pub(crate) struct Signer<'a> {
    pub(crate) key: &'a PublicKey,
    pub(crate) namespace: Vec<u8>,
}

impl Signer<'_> {
    fn verifies(&self, use_of: &[u8], message: &[u8], signature: &[u8]) -> bool {
        self.key.verifies(&[&self.namespace, use_of].concat(), message, signature)
    }

    /// Checks the threshold signature over a round.
    pub(crate) fn seed(&self, epoch: u64, view: u64, signature: &[u8]) -> Result<(), ProofError> {
        let mut round = Vec::new();
        [epoch, view].into_iter().for_each(|part| write_integer(part, &mut round));
        match self.verifies(b"_SEED", &round, signature) {
            true => Ok(()),
            false => Err(ProofError::Signature("signature over the round")),
        }
    }

    /// Checks both signatures of a certificate.
    pub(crate) fn certificate(&self, certificate: &Certificate) -> Result<(), ProofError> {
        let Certificate { epoch, view, parent_view, hash, .. } = *certificate;
        let mut proposal = Vec::new();
        [epoch, view, parent_view].into_iter().for_each(|part| write_integer(part, &mut proposal));
        proposal.extend_from_slice(hash.as_slice());
        if !self.verifies(b"_FINALIZE", &proposal, &certificate.vote_signature) {
            return Err(ProofError::Signature("certificate's signature over the vote"));
        }
        self.seed(epoch, view, &certificate.seed_signature)
    }
}
