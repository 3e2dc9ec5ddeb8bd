//! Leader election.
//!
//! Within an epoch, the engine's random elector draws the leader from the threshold signature of the previous view. The first view of
//! an epoch has no such signature, and the engine would use round-robin. Here its leader is drawn from the `prevrandao` of the last
//! block of the previous epoch, which is the hash of a threshold signature too and cannot be chosen by a leader. The draw can be
//! verified with the header alone. The first leader of the chain follows from the genesis block.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::B256;
use commonware_consensus::{
    simplex::elector::{Config, Dynamic, Elector, Random, RandomElector, RandomVersion, Terms},
    types::{Epoch, Participant, Round},
};
use commonware_cryptography::Sha256;
use commonware_utils::ordered::Set;
use hansa_ledger::Ledger;
use hansa_proof::first_leader;
use hansa_types::Block;
use parking_lot::Mutex;

use crate::types::{PublicKey, Scheme};

/// Number of epochs in the cache, for epochs that the ledger has not executed yet.
const EPOCHS_KEPT: usize = 64;

/// The randomness at the start of each epoch.
#[derive(Clone)]
pub(crate) struct Beginnings {
    ledger: Ledger,
    epoch_blocks: u64,
    /// `prevrandao` of the last block before each epoch.
    recent: Arc<Mutex<BTreeMap<u64, B256>>>,
}

impl Beginnings {
    pub(crate) fn new(ledger: Ledger, epoch_blocks: u64) -> Self {
        Self { ledger, epoch_blocks, recent: Arc::default() }
    }

    /// Records a final block. Call it before the engine learns of the block, because the ledger may execute it later.
    pub(crate) fn saw(&self, block: &Block) {
        let next = block.number().saturating_add(1);
        if next.checked_rem(self.epoch_blocks) != Some(0) {
            return;
        }
        let epoch = next.checked_div(self.epoch_blocks).unwrap_or_default();
        let mut recent = self.recent.lock();
        recent.insert(epoch, block.header().mix_hash);
        while recent.len() > EPOCHS_KEPT {
            recent.pop_first();
        }
    }

    fn of(&self, epoch: Epoch) -> B256 {
        if let Some(known) = self.recent.lock().get(&epoch.get()) {
            return *known;
        }
        // After a restart within the epoch: the previous epoch is final and executed.
        let last = epoch.get().saturating_mul(self.epoch_blocks).saturating_sub(1);
        let last = if epoch.is_zero() { 0 } else { last };
        match self.ledger.block(last) {
            Ok(Some(block)) => block.header().mix_hash,
            Ok(None) => panic!("epoch {epoch} begins without the block before it"),
            Err(error) => panic!("the block before epoch {epoch} cannot be read: {error}"),
        }
    }
}

/// Builds the elector of an epoch.
#[derive(Clone)]
pub(crate) struct Draw(pub(crate) Beginnings);

impl Config<Scheme> for Draw {
    type Elector = Drawn;

    fn build(self, participants: &Set<PublicKey>) -> Drawn {
        let validators = u32::try_from(participants.len()).unwrap_or(u32::MAX);
        let later = Config::<Scheme>::build(Random::<Sha256>::new(RandomVersion::V1), participants);
        Drawn { later, beginnings: self.0, validators }
    }
}

/// The elector of an epoch.
#[derive(Clone)]
pub(crate) struct Drawn {
    later: RandomElector<Scheme, Sha256>,
    beginnings: Beginnings,
    validators: u32,
}

impl Elector<Scheme> for Drawn {
    type Mode = Dynamic;

    fn terms(&self) -> Terms {
        Terms::rotating()
    }

    fn elect(
        &self,
        round: Round,
        certificate: Option<&<Scheme as commonware_cryptography::certificate::Verifier>::Certificate>,
    ) -> Participant {
        match certificate {
            Some(_) => self.later.elect(round, certificate),
            None => {
                let epoch = round.epoch();
                Participant::new(first_leader(epoch.get(), self.beginnings.of(epoch), self.validators))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use commonware_codec::Encode as _;
    use commonware_consensus::types::{Round, View};

    use super::*;
    use crate::{digest::BlockDigest, tests::fixture};

    /// A proof repeats the engine's draw without the engine.
    #[test]
    fn later_leaders_are_drawn_as_proofs_say() {
        let engine = Random::<Sha256>::new(RandomVersion::V1);
        for view in 1..50 {
            let certificate = fixture::certificate(view, BlockDigest::from(B256::ZERO));
            let seed = certificate.certificate.get().unwrap().seed_signature;
            for validators in [1, 4, 7, 100] {
                let round = Round::new(Epoch::zero(), View::new(view + 1));
                let drawn =
                    engine.select_leader::<crate::types::Variant>(round, validators, Some(seed)).get();
                assert_eq!(
                    hansa_proof::later_leader(&seed.encode(), validators),
                    drawn,
                    "{view} {validators}"
                );
            }
        }
    }
}
