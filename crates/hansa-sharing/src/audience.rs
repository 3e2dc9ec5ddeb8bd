//! Who may hold the audience key of an object's epoch, and whether all of them may still read (S3).
//!
//! Decided from the finalised chain whenever a version is recorded. An audience key reaches a member only from a deposit, by an opening on
//! the chain: from that of a grant without limits, or from the one for every member. The owner's node answers openings with the keys of
//! single versions, and limited grants deposit nothing else; a member that got these alone forces no new key when its grant ends. Earlier
//! programs answered every opening with the audience key: of an epoch that may have begun under one, each reader counts.

use std::collections::{BTreeMap, BTreeSet};

use alloy_sol_types::SolEvent as _;
use hansa_contracts::{ContractEvent, SHARING, abi};
use hansa_ports::EventFilter;
use hansa_types::{DcId, ObjectId, Version, Visibility};

use crate::{
    SharingError,
    contracts::{Contracts, records_of},
    history::topic,
    terms::is_limited,
};

impl Contracts {
    /// Whether a member may hold the key of the newest version's epoch and may not open that version at present, or only within limits.
    /// `by_version` says that no key of the epoch left this node but by deposits of grants without limits.
    pub(crate) async fn has_former_reader(
        &self,
        object: ObjectId,
        newest: Version,
        (epoch, by_version): (u32, bool),
    ) -> Result<bool, SharingError> {
        for holder in self.holders_of_key(object, epoch, by_version).await? {
            if self.refusal(object, newest, holder).await?.is_some() {
                return Ok(true);
            }
            let cell = self.cell(object, holder).await?;
            if is_limited(cell.expiresAt, cell.maxOpenings)
                && self.visibility(object, newest).await? == Visibility::Listed
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The members that may hold an epoch's key: those with an opening of one of its versions while their grant deposited the key, and
    /// all with an opening where it was published.
    async fn holders_of_key(
        &self,
        object: ObjectId,
        epoch: u32,
        by_version: bool,
    ) -> Result<BTreeSet<DcId>, SharingError> {
        let records = self.chain.events(records_of(object)).await?;
        let first = records.iter().find_map(|event| match ContractEvent::decode(&event.log)? {
            ContractEvent::VersionRecorded(e) if e.keyEpoch == epoch => Some(e.version),
            _ => None,
        });
        let Some(first) = first else { return Ok(BTreeSet::new()) };
        let every_reader = !by_version || !self.published(object, epoch).await?.is_empty();
        let kinds = vec![abi::Sharing::Shared::SIGNATURE_HASH, abi::Sharing::Opened::SIGNATURE_HASH];
        let topics = [kinds, vec![topic(object.owner.value())], vec![topic(object.number)], vec![]];
        let filter = EventFilter { from: 0, to: u64::MAX, addresses: vec![SHARING], topics };
        // By member: whether its last grant came with the epoch's key.
        let (mut deposited, mut holders) = (BTreeMap::new(), BTreeSet::new());
        for event in self.chain.events(filter).await? {
            match ContractEvent::decode(&event.log) {
                Some(ContractEvent::Shared(e)) => {
                    let with_key =
                        e.deposited && e.keyEpoch == epoch && !is_limited(e.expiresAt, e.maxOpenings);
                    deposited.insert(e.grantee, with_key);
                }
                Some(ContractEvent::Opened(e))
                    if e.version >= first
                        && e.dcId != e.owner
                        && (every_reader || deposited.get(&e.dcId) == Some(&true)) =>
                {
                    holders.extend(DcId::new(e.dcId));
                }
                _ => {}
            }
        }
        Ok(holders)
    }
}
