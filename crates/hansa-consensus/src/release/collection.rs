//! Collects one opening's signature from the committee in force.
//!
//! A state machine without clock or network. Parts are combined unchecked, since almost all are genuine; where the result is
//! wrong, each is checked and the forger's further answers do not count.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use commonware_codec::DecodeExt as _;
use commonware_utils::Participant;
use hansa_types::{ReleaseId, ReleaseRefusal};

use super::{
    error::ReleaseError,
    group::{GroupKey, ReleaseSignature, SIGNATURE_BYTES},
    term::Term,
};
use crate::types::{PartialSignature, PublicKey, Signature};

/// How a collection ended.
pub(crate) type Outcome = Result<ReleaseSignature, ReleaseError>;

/// The answers of the committee so far.
pub(crate) struct Collection {
    id: ReleaseId,
    term: Arc<Term>,
    parts: BTreeMap<Participant, PartialSignature>,
    /// Those of them that have been checked one by one.
    genuine: BTreeSet<Participant>,
    forgers: BTreeSet<Participant>,
    refusals: BTreeMap<Participant, ReleaseRefusal>,
}

impl Collection {
    pub(crate) fn new(id: ReleaseId, term: Arc<Term>) -> Self {
        Self {
            id,
            term,
            parts: BTreeMap::new(),
            genuine: BTreeSet::new(),
            forgers: BTreeSet::new(),
            refusals: BTreeMap::new(),
        }
    }

    pub(crate) const fn id(&self) -> &ReleaseId {
        &self.id
    }

    /// The validators that have neither signed nor refused.
    pub(crate) fn missing(&self) -> Vec<PublicKey> {
        let seats = self.term.participants.iter().enumerate();
        let missing = seats.filter(|(seat, _)| {
            let seat = Participant::from_usize(*seat);
            !self.parts.contains_key(&seat)
                && !self.forgers.contains(&seat)
                && !self.refusals.contains_key(&seat)
        });
        missing.map(|(_, validator)| validator.clone()).collect()
    }

    /// A validator signed. The first part counts; one of another epoch does not.
    pub(crate) fn signed(
        &mut self,
        group: &GroupKey,
        validator: &PublicKey,
        epoch: u64,
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Option<Outcome> {
        let seat = self.term.seat(validator)?;
        if epoch != self.term.epoch.get() || self.parts.contains_key(&seat) || self.forgers.contains(&seat) {
            return None;
        }
        match Signature::decode(Bytes::copy_from_slice(signature)) {
            Ok(value) => {
                self.refusals.remove(&seat);
                self.parts.insert(seat, PartialSignature { index: seat, value });
                self.combine(group)
            }
            Err(_) => {
                self.expose(validator, seat);
                self.hopeless()
            }
        }
    }

    /// A validator refused.
    pub(crate) fn refused(&mut self, validator: &PublicKey, reason: ReleaseRefusal) -> Option<Outcome> {
        let seat = self.term.seat(validator)?;
        if !self.parts.contains_key(&seat) && !self.forgers.contains(&seat) {
            self.refusals.insert(seat, reason);
        }
        self.hopeless()
    }

    /// Time is up.
    pub(crate) fn too_few(&self) -> ReleaseError {
        ReleaseError::TooFew { signed: self.parts.len(), needed: self.term.needed() }
    }

    fn combine(&mut self, group: &GroupKey) -> Option<Outcome> {
        if self.parts.len() < self.term.needed() {
            return None;
        }
        if let Some(signature) = group.recover(&self.term.sharing, &self.id, self.parts.values()) {
            return Some(Ok(signature));
        }
        let unchecked: Vec<_> = self
            .parts
            .iter()
            .filter(|(seat, _)| !self.genuine.contains(seat))
            .map(|(_, part)| part.clone())
            .collect();
        for part in unchecked {
            if group.verifies_partial(&self.term.sharing, &self.id, &part) {
                self.genuine.insert(part.index);
            } else if let Some(validator) = self.term.participants.get(usize::from(part.index)).cloned() {
                self.expose(&validator, part.index);
            }
        }
        self.hopeless()
    }

    fn expose(&mut self, validator: &PublicKey, seat: Participant) {
        tracing::warn!(?validator, "a validator answered a release with a signature that is not its own");
        self.parts.remove(&seat);
        self.forgers.insert(seat);
    }

    /// Why the collection ends here, if those that are left are no quorum.
    fn hopeless(&self) -> Option<Outcome> {
        let lost = self.refusals.len().saturating_add(self.forgers.len());
        if self.term.participants.len().saturating_sub(lost) >= self.term.needed() {
            return None;
        }
        let mut counts = BTreeMap::<_, usize>::new();
        for reason in self.refusals.values() {
            let count = counts.entry(*reason).or_default();
            *count = count.saturating_add(1);
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        Some(Err(most.map_or_else(|| self.too_few(), |(reason, _)| ReleaseError::Refused(reason))))
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;
    use commonware_codec::Encode as _;
    use commonware_consensus::types::Epoch;
    use commonware_cryptography::bls12381::primitives::group::Share;
    use commonware_glue::dkg::types::SchemeInfo;
    use hansa_types::{DcId, ReleasedKey};

    use super::*;
    use crate::{
        genesis,
        release::term::Terms,
        tests::fixture::{four_founders, other_shares},
    };

    const EPOCH: u64 = 5;

    /// A committee of four, three of which have to sign.
    struct Committee {
        group: GroupKey,
        term: Arc<Term>,
        shares: Vec<(PublicKey, Share)>,
    }

    fn committee() -> Committee {
        let (genesis, shares) = four_founders();
        let info = genesis::first_epoch(&genesis).unwrap();
        let (participants, sharing) = (info.players, info.output.public().clone());
        let terms = Terms::default();
        terms.begin(Epoch::new(EPOCH), &SchemeInfo::Verifier { participants, sharing });
        let term = terms.subscribe().borrow().clone().unwrap();
        let shares =
            term.participants.iter().map(|key| (key.clone(), shares.get_value(key).unwrap().clone()));
        Committee { group: GroupKey::of(&genesis, B256::ZERO).unwrap(), shares: shares.collect(), term }
    }

    fn id() -> ReleaseId {
        ReleaseId {
            chain: B256::ZERO,
            object: "1/42".parse().unwrap(),
            key: ReleasedKey::Epoch(1),
            grantee: DcId::new(2),
            grant_nonce: 1,
        }
    }

    fn part(group: &GroupKey, share: &Share, id: &ReleaseId) -> [u8; SIGNATURE_BYTES] {
        group.partial(share, id).value.encode().as_ref().try_into().unwrap()
    }

    impl Committee {
        fn collection(&self) -> Collection {
            Collection::new(id(), Arc::clone(&self.term))
        }

        fn part(&self, seat: usize) -> [u8; SIGNATURE_BYTES] {
            part(&self.group, &self.shares[seat].1, &id())
        }

        fn sign(&self, collection: &mut Collection, seat: usize) -> Option<Outcome> {
            self.answer(collection, seat, self.part(seat))
        }

        fn answer(
            &self,
            collection: &mut Collection,
            seat: usize,
            part: [u8; SIGNATURE_BYTES],
        ) -> Option<Outcome> {
            collection.signed(&self.group, &self.shares[seat].0, EPOCH, &part)
        }
    }

    #[test]
    fn a_quorum_signs_and_one_part_short_does_not() {
        let committee = committee();
        let mut collection = committee.collection();
        assert_eq!(collection.missing().len(), 4);
        assert_eq!(committee.sign(&mut collection, 0), None);
        assert_eq!(committee.sign(&mut collection, 3), None);
        assert_eq!(collection.too_few(), ReleaseError::TooFew { signed: 2, needed: 3 });
        assert_eq!(collection.missing(), [committee.shares[1].0.clone(), committee.shares[2].0.clone()]);
        let signature = committee.sign(&mut collection, 2).unwrap().unwrap();
        assert!(committee.group.verifies(&id(), &signature));
    }

    #[test]
    fn whatever_a_forger_answers_the_others_suffice() {
        let committee = committee();
        let other = ReleaseId { grant_nonce: 2, ..id() };
        let forgeries = [
            ("a part over another identity", part(&committee.group, &committee.shares[0].1, &other)),
            ("a part of another committee's polynomial", part(&committee.group, &other_shares()[0], &id())),
            ("another validator's part", committee.part(1)),
            ("no point", [0xff; SIGNATURE_BYTES]),
            ("the point at infinity", core::array::from_fn(|at| if at == 0 { 0xc0 } else { 0 })),
        ];
        for (name, forged) in forgeries {
            let mut collection = committee.collection();
            assert_eq!(committee.answer(&mut collection, 0, forged), None, "{name}");
            assert_eq!(committee.sign(&mut collection, 1), None, "{name}");
            assert_eq!(committee.sign(&mut collection, 2), None, "{name}");
            let signature = committee.sign(&mut collection, 3).expect(name).expect(name);
            assert!(committee.group.verifies(&id(), &signature), "{name}");
            assert_eq!(
                committee.sign(&mut collection, 0),
                None,
                "{name}: a forger's later answers do not count"
            );
        }
    }

    #[test]
    fn repeated_foreign_and_former_parts_do_not_count() {
        let committee = committee();
        let mut collection = committee.collection();
        for _ in 0..3 {
            assert_eq!(committee.sign(&mut collection, 0), None);
        }
        let outsider = crate::tests::fixture::outsider();
        assert_eq!(collection.signed(&committee.group, &outsider, EPOCH, &committee.part(1)), None);
        for epoch in [EPOCH - 1, EPOCH + 1] {
            let validator = &committee.shares[1].0;
            assert_eq!(collection.signed(&committee.group, validator, epoch, &committee.part(1)), None);
        }
        assert_eq!(collection.too_few(), ReleaseError::TooFew { signed: 1, needed: 3 });
    }

    #[test]
    fn a_minority_that_refuses_stops_nothing_and_more_end_it() {
        let committee = committee();
        let key = |seat: usize| &committee.shares[seat].0;
        let mut collection = committee.collection();
        assert_eq!(collection.refused(key(0), ReleaseRefusal::Inactive), None);
        for seat in 1..3 {
            assert_eq!(committee.sign(&mut collection, seat), None);
        }
        assert!(committee.sign(&mut collection, 3).unwrap().is_ok());

        let mut collection = committee.collection();
        assert_eq!(collection.refused(key(0), ReleaseRefusal::Withdrawn), None);
        assert_eq!(collection.refused(key(0), ReleaseRefusal::Withdrawn), None, "the same one again");
        let refused = Some(Err(ReleaseError::Refused(ReleaseRefusal::Withdrawn)));
        assert_eq!(collection.refused(key(1), ReleaseRefusal::Withdrawn), refused);
    }
}
