//! Installs each epoch's signing scheme in the agreement engine, and announces its share to the release of keys.
//!
//! The resharing decides whether this node signs, is a member without a share, or follows. Here the result is only stored.

use core::num::NonZeroU64;
use std::{collections::BTreeMap, sync::Arc};

use commonware_consensus::types::{Epoch, Participant};
use commonware_cryptography::certificate::{Provider, Scheme as _, Scoped};
use commonware_glue::dkg::{Registrar, types::SchemeInfo};
use commonware_utils::ordered::Quorum as _;
use hansa_types::NetworkKey;
use parking_lot::Mutex;

use crate::{
    genesis::network_key,
    release::term::Terms,
    status::{Seat, StatusBoard},
    types::{PublicKey, Scheme, Variant},
};

/// Number of epochs with a retained scheme; the engine needs the current one and briefly the previous one.
const EPOCHS_KEPT: usize = 4;

/// The schemes of recent epochs.
#[derive(Clone)]
pub(crate) struct Schemes {
    namespace: Arc<[u8]>,
    schemes: Arc<Mutex<BTreeMap<Epoch, Arc<Scheme>>>>,
    terms: Terms,
    board: StatusBoard,
    epoch_blocks: NonZeroU64,
}

impl Schemes {
    pub(crate) fn new(namespace: &[u8], board: StatusBoard, epoch_blocks: NonZeroU64) -> Self {
        Self {
            namespace: namespace.into(),
            schemes: Arc::default(),
            terms: Terms::default(),
            board,
            epoch_blocks,
        }
    }

    /// The committee in force, for releases.
    pub(crate) const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The voter of a seat.
    pub(crate) fn voter(&self, epoch: Epoch, seat: Participant) -> Option<NetworkKey> {
        self.scheme(epoch)?.participants().key(seat).map(network_key)
    }

    fn build(&self, info: SchemeInfo<Variant, PublicKey>) -> Option<Scheme> {
        match info {
            SchemeInfo::Verifier { participants, sharing } => {
                Some(Scheme::verifier(&self.namespace, participants, sharing))
            }
            SchemeInfo::Member { participants, sharing, public_key } => {
                Scheme::member(&self.namespace, participants, sharing, &public_key)
            }
            SchemeInfo::Signer { participants, sharing, share } => {
                Scheme::signer(&self.namespace, participants, sharing, share)
            }
        }
    }
}

impl Registrar for Schemes {
    type Variant = Variant;
    type PublicKey = PublicKey;

    async fn register(&self, epoch: Epoch, info: SchemeInfo<Variant, PublicKey>) {
        self.terms.begin(epoch, &info);
        let Some(scheme) = self.build(info) else {
            panic!("the share of epoch {epoch} does not belong to its committee");
        };
        let seat = match scheme.me() {
            Some(membership) if membership.signer().is_some() => Seat::Validator,
            Some(_) => Seat::ValidatorWithoutShare,
            None => Seat::Follower,
        };
        let committee = scheme.participants().iter().map(network_key).collect();
        self.board.entered(epoch, seat, committee, self.epoch_blocks);
        let mut schemes = self.schemes.lock();
        schemes.insert(epoch, Arc::new(scheme));
        while schemes.len() > EPOCHS_KEPT {
            schemes.pop_first();
        }
    }
}

impl Provider for Schemes {
    type Scope = Epoch;
    type Scheme = Scheme;

    fn scoped(&self, epoch: Epoch) -> Option<Scoped<Scheme>> {
        self.scheme(epoch).map(Scoped::scheme)
    }

    fn scheme(&self, epoch: Epoch) -> Option<Arc<Scheme>> {
        self.schemes.lock().get(&epoch).cloned()
    }
}
