//! Who may hold the audience key of an object's epoch, and whether all of them may still read (S3).
//!
//! Decided from the finalised chain whenever a version is recorded. A key reaches a member only for an opening on the chain, so the
//! members that have opened a version of the epoch are those that may hold its key.

use std::collections::BTreeSet;

use alloy_sol_types::SolEvent as _;
use hansa_contracts::{ContractEvent, SHARING, abi};
use hansa_ports::EventFilter;
use hansa_types::{DcId, ObjectId, Version};

use crate::{
    SharingError,
    contracts::{Contracts, records_of},
    history::topic,
};

impl Contracts {
    /// Whether a member may hold the key of the newest version's epoch and may not open that version at present.
    pub(crate) async fn has_former_reader(
        &self,
        object: ObjectId,
        newest: Version,
        epoch: u32,
    ) -> Result<bool, SharingError> {
        for reader in self.readers(object, epoch).await? {
            if self.refusal(object, newest, reader).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The members with an opening of a version of this epoch.
    async fn readers(&self, object: ObjectId, epoch: u32) -> Result<BTreeSet<DcId>, SharingError> {
        let records = self.chain.events(records_of(object)).await?;
        let first = records.iter().find_map(|event| match ContractEvent::decode(&event.log)? {
            ContractEvent::VersionRecorded(e) if e.keyEpoch == epoch => Some((event.block, e.version)),
            _ => None,
        });
        let Some((from, first)) = first else { return Ok(BTreeSet::new()) };
        let kinds = vec![abi::Sharing::Opened::SIGNATURE_HASH];
        let topics = [kinds, vec![topic(object.owner.value())], vec![topic(object.number)], vec![]];
        let filter = EventFilter { from, to: u64::MAX, addresses: vec![SHARING], topics };
        let openings = self.chain.events(filter).await?;
        let readers = openings.iter().filter_map(|event| match ContractEvent::decode(&event.log)? {
            ContractEvent::Opened(e) if e.version >= first && e.dcId != e.owner => DcId::new(e.dcId),
            _ => None,
        });
        Ok(readers.collect())
    }
}
