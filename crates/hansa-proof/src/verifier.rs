//! Checks the proof of a block and of its writer against a genesis file.

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, keccak256};
use hansa_types::{BlockProof, Certificate, Genesis, NetworkKey};

use crate::{
    ProofError,
    bls::PublicKey,
    certificate::{Signer, namespace},
    chain::{self, FinalBlock},
    draw::{Context, first_leader, later_leader},
    group::{self, Outcome},
};

/// Everything that verification needs of a genesis file.
#[derive(Clone, Debug)]
pub struct Verifier {
    chain_id: u64,
    epoch_blocks: u64,
    /// Digest of the genesis file.
    digest: B256,
    key: PublicKey,
    /// The founders' network keys, ascending.
    founders: Vec<NetworkKey>,
}

/// The validator that wrote a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer {
    /// Its network key.
    pub network_key: NetworkKey,
    /// The account that the registry listed for it: the header's beneficiary.
    pub account: Address,
    /// The epoch in which it proposed the block.
    pub epoch: u64,
    /// The view in which it proposed the block. It led this view by the draw.
    pub view: u64,
    /// Views of the epoch right before it that ended without a block on this branch.
    pub views_skipped: u64,
}

/// A block that is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenBlock {
    /// Its hash.
    pub hash: B256,
    /// Its header. State, transactions and receipts are proven against the header's roots.
    pub header: Header,
    /// Its writer.
    pub writer: Writer,
    /// Its own certificate, or a descendant's.
    pub certificate: Certificate,
}

impl Verifier {
    /// Takes the group key from a genesis file, which the caller trusts.
    ///
    /// # Errors
    /// When the file has no group key or its holders are not the founders.
    pub fn new(genesis: &Genesis) -> Result<Self, ProofError> {
        if genesis.group.is_empty() {
            return Err(ProofError::GroupKey("the ceremony has not been held"));
        }
        let outcome = Outcome::decode(&genesis.group).ok_or(ProofError::GroupKey("it is malformed"))?;
        let mut founders: Vec<_> = genesis.founders.iter().map(|founder| founder.network_key).collect();
        founders.sort_unstable_by_key(|key| key.0);
        if founders != outcome.holders {
            return Err(ProofError::GroupKey("its holders are not the founders"));
        }
        Ok(Self {
            chain_id: genesis.chain_id,
            epoch_blocks: genesis.limits.epoch_blocks,
            digest: genesis.digest(),
            key: outcome.key,
            founders,
        })
    }

    /// Checks a certificate of finality. `genesis_hash` is the hash of the chain's genesis block; a certificate of another chain does not
    /// verify with it.
    ///
    /// # Errors
    /// When one of the signatures is not the group's.
    pub fn certificate(&self, genesis_hash: B256, certificate: &Certificate) -> Result<(), ProofError> {
        self.signer(genesis_hash).certificate(certificate)
    }

    /// Checks that a block is final and that its writer was drawn.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn block(&self, proof: &BlockProof) -> Result<ProvenBlock, ProofError> {
        let (genesis, genesis_hash) = self.genesis(&proof.genesis)?;
        let signer = self.signer(genesis_hash);
        let block = chain::final_block(&signer, &proof.block)?;
        let malformed = ProofError::Malformed("the block names no round");
        let context = Context::decode(&block.consensus.context).ok_or(malformed)?;
        self.check_context(&context, &block.header)?;
        let (validators, before, before_hash) = match &proof.committee {
            None if context.epoch == 0 => (self.founders.clone(), genesis, genesis_hash),
            None => return Err(ProofError::Committee("the last block of the epoch before is missing")),
            Some(_) if context.epoch == 0 => return Err(ProofError::Committee("epoch 0 needs none")),
            Some(evidence) => {
                let last = chain::final_block(&signer, evidence)?;
                (self.committee(context.epoch, &last)?, last.header, last.hash)
            }
        };
        if context.parent_view == 0 && context.parent_hash != before_hash {
            return Err(ProofError::Consensus("its parent is not the last block of the epoch before"));
        }
        let drawn = drawn(&signer, &context, &block, before.mix_hash, validators.len())?;
        if validators.get(drawn) != Some(&context.leader) {
            return Err(ProofError::Draw);
        }
        let writer = Writer {
            network_key: context.leader,
            account: block.header.beneficiary,
            epoch: context.epoch,
            view: context.view,
            views_skipped: context.view.saturating_sub(context.parent_view).saturating_sub(1),
        };
        let certificate = proof.block.certificate.clone();
        Ok(ProvenBlock { hash: block.hash, header: block.header, writer, certificate })
    }

    fn signer(&self, genesis_hash: B256) -> Signer<'_> {
        Signer { key: &self.key, namespace: namespace(self.chain_id, genesis_hash) }
    }

    /// The genesis block. A false one that commits to the file, too, has another hash, so no signature holds with it.
    fn genesis(&self, encoded: &[u8]) -> Result<(Header, B256), ProofError> {
        let header = chain::header(encoded)?;
        match header.number == 0 && header.extra_data.as_ref() == self.digest.as_slice() {
            true => Ok((header, keccak256(encoded))),
            false => Err(ProofError::OtherNetwork),
        }
    }

    fn check_context(&self, context: &Context, header: &Header) -> Result<(), ProofError> {
        if context.parent_hash != header.parent_hash {
            return Err(ProofError::Consensus("it names another parent"));
        }
        if header.number.checked_div(self.epoch_blocks) != Some(context.epoch) {
            return Err(ProofError::Consensus("it names another epoch"));
        }
        if context.view <= context.parent_view {
            return Err(ProofError::Consensus("its view does not follow its parent's"));
        }
        Ok(())
    }

    /// The validators of `epoch`, which the last block of the epoch before names.
    fn committee(&self, epoch: u64, last: &FinalBlock) -> Result<Vec<NetworkKey>, ProofError> {
        let after = last.header.number.checked_add(1);
        if after != epoch.checked_mul(self.epoch_blocks) {
            return Err(ProofError::Committee("the block is not the last of the epoch before"));
        }
        match group::committee(&last.consensus.reshare) {
            Some((named, validators)) if named == epoch => Ok(validators),
            Some(_) => Err(ProofError::Committee("the block describes another epoch")),
            None => Err(ProofError::Committee("the block does not describe an epoch")),
        }
    }
}

/// The place of the drawn leader among the validators. `before` is the `prevrandao` of the last block of the epoch before.
fn drawn(
    signer: &Signer<'_>,
    context: &Context,
    block: &FinalBlock,
    before: B256,
    validators: usize,
) -> Result<usize, ProofError> {
    let count = u32::try_from(validators).map_err(|_| ProofError::Committee("it is too large"))?;
    let previous = context.view.saturating_sub(1);
    let place = if previous == 0 {
        first_leader(context.epoch, before, count)
    } else {
        let follows = previous == context.parent_view;
        let seed = if follows { &block.consensus.seed } else { &block.consensus.draw };
        signer.seed(context.epoch, previous, seed)?;
        later_leader(seed, count)
    };
    usize::try_from(place).map_err(|_| ProofError::Draw)
}
