//! The committee in force, with this node's share.
//!
//! Only the newest epoch is kept here: a share of a former epoch signs no release.

use std::sync::Arc;

use commonware_consensus::types::Epoch;
use commonware_cryptography::bls12381::primitives::group::Share;
use commonware_glue::dkg::types::SchemeInfo;
use commonware_utils::{Participant, ordered::Set};
use tokio::sync::watch;

use crate::types::{PublicKey, Sharing, Variant};

/// One epoch's committee.
pub(crate) struct Term {
    pub(crate) epoch: Epoch,
    pub(crate) participants: Set<PublicKey>,
    /// The public polynomial.
    pub(crate) sharing: Sharing,
    /// This node's share, if it has one.
    pub(crate) share: Option<Share>,
}

impl Term {
    fn new(epoch: Epoch, info: &SchemeInfo<Variant, PublicKey>) -> Self {
        let (participants, sharing, share) = match info {
            SchemeInfo::Verifier { participants, sharing }
            | SchemeInfo::Member { participants, sharing, .. } => (participants, sharing, None),
            SchemeInfo::Signer { participants, sharing, share } => (participants, sharing, Some(share)),
        };
        Self { epoch, participants: participants.clone(), sharing: sharing.clone(), share: share.cloned() }
    }

    /// Parts that make a signature.
    pub(crate) fn needed(&self) -> usize {
        self.sharing.required() as usize
    }

    /// A validator's seat.
    pub(crate) fn seat(&self, validator: &PublicKey) -> Option<Participant> {
        self.participants.position(validator).map(Participant::from_usize)
    }
}

/// Where the resharing announces the committee in force.
#[derive(Clone, Default)]
pub(crate) struct Terms(watch::Sender<Option<Arc<Term>>>);

impl Terms {
    /// An epoch has begun. A repeated announcement of the same one counts, an earlier one does not.
    pub(crate) fn begin(&self, epoch: Epoch, info: &SchemeInfo<Variant, PublicKey>) {
        self.0.send_if_modified(|term| {
            let is_past = term.as_ref().is_some_and(|term| term.epoch > epoch);
            if !is_past {
                *term = Some(Arc::new(Term::new(epoch, info)));
            }
            !is_past
        });
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Arc<Term>>> {
        self.0.subscribe()
    }
}
