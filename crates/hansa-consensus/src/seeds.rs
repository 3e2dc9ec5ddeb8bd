//! Random seeds of rounds, the block header's `prevrandao`, and the evidence of a leader's draw.
//!
//! A block's randomness is from its *parent's* round, because a leader could otherwise choose among outcomes (ADR 0003). Its leader is
//! drawn by the seed of the round *before its own*. A block carries both seeds, the second only if it differs, so that the draw can be
//! verified with the chain alone. Seeds of recent rounds are cached; any seed can be verified without the cache.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::{B256, keccak256};
use bytes::Bytes;
use commonware_codec::{DecodeExt as _, Encode as _};
use commonware_consensus::{
    simplex::scheme::bls12381_threshold::vrf::{Seed, Seedable as _},
    types::Round,
};
use hansa_types::Block;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::types::{Activity, Context, Scheme, Variant};

/// Number of cached rounds of each kind, more than any branch that is not final.
const REMEMBERED: usize = 1024;

/// Why a round's seed is cached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A block of the round is certified. A leader waits for its parent's seed, however many views are skipped meanwhile.
    Certified,
    /// The round was skipped, or only another validator's block carries its seed.
    Other,
}

/// A cache of recent seeds, filled from certificates.
#[derive(Clone)]
pub(crate) struct SeedBook {
    seeds: Arc<Mutex<BTreeMap<Kind, BTreeMap<Round, Bytes>>>>,
    changed: watch::Sender<()>,
    /// Verifies seeds of every epoch.
    verifier: Scheme,
}

impl SeedBook {
    pub(crate) fn new(verifier: Scheme) -> Self {
        Self { seeds: Arc::default(), changed: watch::Sender::new(()), verifier }
    }

    /// Caches the seed of a certificate, which the agreement engine has verified.
    pub(crate) fn record(&self, activity: &Activity) {
        let (kind, seed) = match activity {
            Activity::Notarization(certificate) | Activity::Certification(certificate) => {
                (Kind::Certified, certificate.seed())
            }
            Activity::Finalization(certificate) => (Kind::Certified, certificate.seed()),
            Activity::Nullification(certificate) => {
                let Some(signature) = certificate.certificate.get() else { return };
                (Kind::Other, Seed::new(certificate.round, signature.seed_signature))
            }
            _ => return,
        };
        self.insert(kind, seed.round, seed.signature.encode());
    }

    fn insert(&self, kind: Kind, round: Round, signature: Bytes) {
        let mut seeds = self.seeds.lock();
        let seeds_of_kind = seeds.entry(kind).or_default();
        if seeds_of_kind.insert(round, signature).is_some() {
            return;
        }
        if seeds_of_kind.len() > REMEMBERED {
            seeds_of_kind.pop_first();
        }
        drop(seeds);
        self.changed.send_replace(());
    }

    fn remembered(&self, round: Round) -> Option<Bytes> {
        self.seeds.lock().values().find_map(|seeds| seeds.get(&round).cloned())
    }

    /// The seed of a round, empty for `None`; waits for a certificate of the round.
    pub(crate) async fn of(&self, round: Option<Round>) -> Bytes {
        let Some(round) = round else { return Bytes::new() };
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if let Some(seed) = self.remembered(round) {
                return seed;
            }
            if changed.changed().await.is_err() {
                return core::future::pending().await;
            }
        }
    }

    /// Whether `seed` is the seed of a round, or empty for `None`.
    pub(crate) fn matches(&self, round: Option<Round>, seed: &[u8]) -> bool {
        let Some(round) = round else { return seed.is_empty() };
        if let Some(known) = self.remembered(round) {
            return known == seed;
        }
        let signature = Bytes::copy_from_slice(seed);
        let Ok(decoded) = SeedSignature::decode(signature.clone()) else { return false };
        let genuine = Seed::<Variant>::new(round, decoded).verify(&self.verifier);
        if genuine {
            self.insert(Kind::Other, round, signature);
        }
        genuine
    }
}

type SeedSignature = <Variant as commonware_cryptography::bls12381::primitives::variant::Variant>::Signature;

/// The round whose seed a block proposed in `context` uses; `None` where the parent is of another epoch.
pub(crate) fn seeded_round(context: &Context) -> Option<Round> {
    let view = context.parent.0;
    (!view.is_zero()).then(|| Round::new(context.round.epoch(), view))
}

/// The round whose seed drew the leader of `context`, where views were skipped since the parent's. `None` where the parent's seed did,
/// and in the first round of an epoch, whose leader no seed draws.
pub(crate) fn drawing_round(context: &Context) -> Option<Round> {
    let previous = context.round.view().previous().filter(|view| *view > context.parent.0)?;
    Some(Round::new(context.round.epoch(), previous))
}

/// The header's `prevrandao` for a block above `parent` that carries `seed`.
pub(crate) fn prevrandao(seed: &[u8], parent: &Block) -> B256 {
    if !seed.is_empty() {
        return keccak256(seed);
    }
    let mut input = [0; 64];
    let (randao, hash) = input.split_at_mut(32);
    randao.copy_from_slice(parent.header().mix_hash.as_slice());
    hash.copy_from_slice(parent.hash().as_slice());
    keccak256(input)
}

#[cfg(test)]
mod tests {
    use alloy_consensus::Header;
    use alloy_primitives::b256;
    use commonware_consensus::types::{Epoch, View};
    use commonware_cryptography::Signer as _;

    use super::*;
    use crate::{digest::BlockDigest, handle::private_key, tests::fixture};

    fn context(view: u64, parent: u64) -> Context {
        Context {
            round: Round::new(Epoch::zero(), View::new(view)),
            leader: private_key(&[7; 32]).unwrap().public_key(),
            parent: (View::new(parent), BlockDigest([5; 32])),
        }
    }

    fn seed(view: u64) -> Bytes {
        let certificate = fixture::certificate(view, BlockDigest([5; 32]));
        certificate.certificate.get().unwrap().seed_signature.encode()
    }

    #[test]
    fn a_draw_is_carried_where_views_were_skipped_and_nothing_else_is_taken_for_it() {
        let round = |view| Some(Round::new(Epoch::zero(), View::new(view)));
        for (view, parent, seeded, drawing) in
            [(1, 0, None, None), (2, 1, round(1), None), (2, 0, None, round(1)), (9, 5, round(5), round(8))]
        {
            let context = context(view, parent);
            assert_eq!(
                (seeded_round(&context), drawing_round(&context)),
                (seeded, drawing),
                "{view} {parent}"
            );
        }
        let book = SeedBook::new(fixture::verifier());
        let (skipped, follows) = (drawing_round(&context(9, 5)), drawing_round(&context(9, 8)));
        for _ in 0..2 {
            assert!(book.matches(skipped, &seed(8)), "remembered the second time");
            for false_draw in [Bytes::new(), seed(5), seed(7), seed(9), Bytes::from_static(&[0xc0; 48])] {
                assert!(!book.matches(skipped, &false_draw));
            }
        }
        assert!(book.matches(follows, b""));
        assert!(!book.matches(follows, &seed(8)), "a second copy of the parent's seed");
    }

    /// A leader that waits for an evicted seed never proposes, and the chain stands still.
    #[test]
    fn skipped_views_do_not_evict_the_seed_of_a_certified_block() {
        let book = SeedBook::new(fixture::verifier());
        let round = |view: usize| Round::new(Epoch::zero(), View::new(view as u64));
        book.insert(Kind::Certified, round(1), Bytes::from_static(b"parent"));
        (2..REMEMBERED + 9)
            .for_each(|view| book.insert(Kind::Other, round(view), Bytes::from_static(b"skipped")));
        assert_eq!(book.remembered(round(1)).unwrap(), &b"parent"[..]);
        assert_eq!(book.remembered(round(2)), None, "the cache has a bound");
        assert!(book.remembered(round(REMEMBERED + 8)).is_some());
    }

    #[test]
    fn randomness_follows_the_seed_or_else_the_parent() {
        let parent = Block::genesis(Header { mix_hash: [1; 32].into(), ..Header::default() });
        assert_eq!(prevrandao(b"seed", &parent), keccak256(b"seed"));
        let both = [parent.header().mix_hash.as_slice(), parent.hash().as_slice()].concat();
        assert_eq!(prevrandao(b"", &parent), keccak256(both));
        let empty = b256!("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
        assert_ne!(prevrandao(b"", &parent), empty);
    }
}
