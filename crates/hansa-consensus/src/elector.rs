//! Draws each view's leader.
//!
//! Within an epoch the engine's random elector does it, from the threshold signature of the view before. The first view of an
//! epoch has no such signature, and the engine would give it to the validators in turn. Here it is drawn from the header of
//! the last block of the epoch before: its `prevrandao` is the hash of a threshold signature too, which no leader can choose.
//! Anybody can check that draw with the header alone. The chain's very first leader follows from the genesis block.

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

/// Last blocks remembered, of epochs that the ledger may not have executed yet.
const EPOCHS_KEPT: usize = 64;

/// The randomness with which each epoch begins.
#[derive(Clone)]
pub(crate) struct Beginnings {
    ledger: Ledger,
    epoch_blocks: u64,
    /// By the epoch that follows.
    recent: Arc<Mutex<BTreeMap<u64, B256>>>,
}

impl Beginnings {
    pub(crate) fn new(ledger: Ledger, epoch_blocks: u64) -> Self {
        Self { ledger, epoch_blocks, recent: Arc::default() }
    }

    /// To be called with each final block before the engine hears of it: the ledger may execute it later.
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
        // After a restart within the epoch: what came before it is final and executed.
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
