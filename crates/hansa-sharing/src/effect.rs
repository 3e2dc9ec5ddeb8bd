//! The event that a signed change leaves on the chain, by which its signer finds the change whoever sent it.
//!
//! Everybody who sees a signed call can send it first; the signer's own transaction then reverts although the change took
//! place. Contracts number the changes of a kind one by one, and each leaves one event. So the event of the change with nonce
//! `n` is the `n`-th of its kind, and it is this change if it tells the same fields.

use alloy_primitives::B256;
use alloy_sol_types::SolEvent;
use hansa_contracts::{ContractEvent, SHARING, abi, data_store_of};
use hansa_ports::{Event, EventFilter};
use hansa_types::DcId;

use crate::history::topic;

/// What an event says about a change; `None` for events that its nonce does not count.
type Told = Box<dyn Fn(&ContractEvent) -> Option<bool> + Send + Sync>;

/// How to find the event of one signed change.
pub(crate) struct Effect {
    /// The events to look through, oldest first.
    pub(crate) filter: EventFilter,
    /// The change's number among the events that count, from 1.
    nonce: u32,
    told: Told,
}

/// A message that leaves an [`Effect`] in the contract `Sharing`.
pub(crate) trait Change {
    fn effect(&self) -> Effect;
}

impl Effect {
    /// The change's own event among those that the filter finds.
    pub(crate) fn find(&self, events: Vec<Event>) -> Option<Event> {
        let before = usize::try_from(self.nonce.checked_sub(1)?).ok()?;
        let told = |event: Event| Some(((self.told)(&ContractEvent::decode(&event.log)?)?, event));
        events.into_iter().filter_map(told).nth(before).and_then(|(same, event)| same.then_some(event))
    }

    /// The effect of a version's record: versions are numbered as nonces are.
    pub(crate) fn of_record(owner: DcId, record: &abi::Record) -> Self {
        let signed = record.clone();
        let told = move |event: &ContractEvent| {
            let ContractEvent::VersionRecorded(e) = event else { return None };
            let abi::Record { root, commitment, visibility, keyEpoch, .. } = signed;
            let terms =
                (e.root, e.commitment, e.visibility, e.keyEpoch) == (root, commitment, visibility, keyEpoch);
            let abi::Record { sizeClass, createdAt, validUntil, .. } = signed;
            let facts = (e.sizeClass, e.createdAt, e.validUntil) == (sizeClass, createdAt, validUntil);
            Some(terms && facts)
        };
        let kinds = vec![abi::DataStore::VersionRecorded::SIGNATURE_HASH];
        let topics = [kinds, vec![topic(owner.value())], vec![topic(record.number)], vec![]];
        let filter = EventFilter { from: 0, to: u64::MAX, addresses: vec![data_store_of(owner)], topics };
        Self { filter, nonce: record.version, told: Box::new(told) }
    }

    fn in_sharing(
        kinds: &[B256],
        [owner, number]: [u64; 2],
        member: Option<u32>,
        nonce: u32,
        told: impl Fn(&ContractEvent) -> Option<bool> + Send + Sync + 'static,
    ) -> Self {
        let members = member.map(topic).into_iter().collect();
        let topics = [kinds.to_vec(), vec![topic(owner)], vec![topic(number)], members];
        let filter = EventFilter { from: 0, to: u64::MAX, addresses: vec![SHARING], topics };
        Self { filter, nonce, told: Box::new(told) }
    }
}

const GRANTS: [B256; 2] = [abi::Sharing::Shared::SIGNATURE_HASH, abi::Sharing::Revoked::SIGNATURE_HASH];
const OPENINGS: [B256; 2] = [abi::Sharing::Opened::SIGNATURE_HASH, abi::Sharing::Refused::SIGNATURE_HASH];

impl Change for abi::Grant {
    fn effect(&self) -> Effect {
        let signed = (self.expiresAt, self.maxOpenings, self.keyEpoch, !self.wrappedKey.is_empty());
        let told = move |event: &ContractEvent| match event {
            ContractEvent::Shared(e) => Some((e.expiresAt, e.maxOpenings, e.keyEpoch, e.deposited) == signed),
            ContractEvent::Revoked(_) => Some(false),
            _ => None,
        };
        let object = [self.owner.into(), self.number];
        Effect::in_sharing(&GRANTS, object, Some(self.grantee), self.nonce, told)
    }
}

impl Change for abi::Revocation {
    fn effect(&self) -> Effect {
        let told = |event: &ContractEvent| match event {
            ContractEvent::Revoked(_) => Some(true),
            ContractEvent::Shared(_) => Some(false),
            _ => None,
        };
        let object = [self.owner.into(), self.number];
        Effect::in_sharing(&GRANTS, object, Some(self.grantee), self.nonce, told)
    }
}

impl Change for abi::VisibilityChange {
    fn effect(&self) -> Effect {
        let signed = (self.visibility, self.keyEpoch, self.publishedKey.clone());
        let told = move |event: &ContractEvent| match event {
            ContractEvent::VisibilityChanged(e) => {
                Some((e.visibility, e.keyEpoch) == (signed.0, signed.1) && e.publishedKey == signed.2)
            }
            _ => None,
        };
        let kinds = [abi::Sharing::VisibilityChanged::SIGNATURE_HASH];
        Effect::in_sharing(&kinds, [self.owner.into(), self.number], None, self.nonce, told)
    }
}

impl Change for abi::Opening {
    fn effect(&self) -> Effect {
        let version = self.version;
        let told = move |event: &ContractEvent| match event {
            ContractEvent::Opened(e) => Some(e.version == version),
            ContractEvent::Refused(e) if e.refusedBy == 0 => Some(e.version == version),
            _ => None,
        };
        let object = [self.owner.into(), self.number];
        Effect::in_sharing(&OPENINGS, object, Some(self.dcId), self.nonce, told)
    }
}

impl Change for abi::Refusal {
    fn effect(&self) -> Effect {
        let signed = (self.version, self.reason);
        let told = move |event: &ContractEvent| match event {
            ContractEvent::Refused(e) if e.refusedBy != 0 => Some((e.version, e.reason) == signed),
            _ => None,
        };
        let object = [self.owner.into(), self.number];
        Effect::in_sharing(&OPENINGS[1..], object, Some(self.dcId), self.nonce, told)
    }
}
