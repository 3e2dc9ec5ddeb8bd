//! The proof that a block is final, in plain bytes.
//!
//! Signed is `LEB128(len ns) ‖ ns ‖ LEB128(epoch) ‖ LEB128(view) ‖ LEB128(parent view) ‖ block hash`, with
//! `ns = namespace ‖ "_FINALIZE"` and the namespace of [`crate::namespace`].

use alloy_primitives::{B256, Bytes};
use commonware_codec::{Decode as _, Encode as _};
use commonware_parallel::Sequential;
use hansa_types::Genesis;

use crate::{
    error::ConsensusError,
    genesis,
    types::{Finalization, Scheme},
};

/// A threshold certificate of finality.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalityCertificate {
    /// The epoch of the round in which the block was finalised.
    pub epoch: u64,
    /// The view of that round.
    pub view: u64,
    /// The view of the parent.
    pub parent_view: u64,
    /// The certified block.
    pub block_hash: B256,
    /// BLS12-381 threshold signature over the vote, compressed G1 (48 bytes).
    pub vote_signature: Bytes,
    /// BLS12-381 threshold signature over the round, compressed G1 (48 bytes).
    pub seed_signature: Bytes,
    /// The whole certificate in the engine's encoding.
    pub encoded: Bytes,
}

impl FinalityCertificate {
    pub(crate) fn of(finalization: &Finalization) -> Option<Self> {
        let proposal = &finalization.proposal;
        let signature = finalization.certificate.get()?;
        Some(Self {
            epoch: proposal.round.epoch().get(),
            view: proposal.round.view().get(),
            parent_view: proposal.parent.get(),
            block_hash: proposal.payload.into(),
            vote_signature: signature.vote_signature.encode().into(),
            seed_signature: signature.seed_signature.encode().into(),
            encoded: finalization.encode().into(),
        })
    }

    /// Decodes and verifies a certificate against the group key of a genesis file. Nothing but the two arguments and
    /// the genesis block's hash is needed, so anyone can do this.
    ///
    /// # Errors
    /// When the genesis file has no usable group key. A certificate that does not verify gives `None`.
    pub fn verify(
        genesis: &Genesis,
        genesis_hash: B256,
        encoded: &Bytes,
    ) -> Result<Option<Self>, ConsensusError> {
        let info = genesis::first_epoch(genesis)?;
        let namespace = genesis::namespace(genesis.chain_id, genesis_hash);
        let scheme = Scheme::certificate_verifier(&namespace, *info.output.public().public());
        let Ok(finalization) = Finalization::decode_cfg(encoded.0.clone(), &()) else { return Ok(None) };
        let genuine = finalization.verify(&mut commonware_utils::sys_rng(), &scheme, &Sequential);
        Ok(genuine.then(|| Self::of(&finalization)).flatten())
    }
}
