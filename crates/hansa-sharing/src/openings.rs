//! What the chain tells of a member's openings of an object: which there are, and whether one belongs to the grant that
//! stands.

use alloy_primitives::B256;
use alloy_sol_types::SolEvent;
use hansa_contracts::{ContractEvent, SHARING, abi};
use hansa_ports::EventFilter;
use hansa_types::{DcId, ObjectId, Version, Visibility};

use crate::{SharingError, contracts::Contracts, history::topic};

/// More blocks than a second can have.
const BLOCKS_PER_SECOND_MAX: u64 = 1024;

/// An opening on the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpeningAt {
    /// Its number.
    pub(crate) id: u64,
    /// The block that it is in.
    pub(crate) block: u64,
}

/// Events of these kinds about one member and one object, from a height on.
fn about(object: ObjectId, member: DcId, kinds: Vec<B256>, from: u64) -> EventFilter {
    let (owner, number) = (topic(object.owner.value()), topic(object.number));
    let topics = [kinds, vec![owner], vec![number], vec![topic(member.value())]];
    EventFilter { from, to: u64::MAX, addresses: vec![SHARING], topics }
}

fn changes() -> Vec<B256> {
    vec![abi::Sharing::Shared::SIGNATURE_HASH, abi::Sharing::Revoked::SIGNATURE_HASH]
}

impl Contracts {
    /// The member's last opening of a version above a height.
    pub(crate) async fn opened_since(
        &self,
        object: ObjectId,
        version: Version,
        member: DcId,
        height: u64,
    ) -> Result<Option<OpeningAt>, SharingError> {
        let (kinds, from) = (vec![abi::Sharing::Opened::SIGNATURE_HASH], height.saturating_add(1));
        let events = self.chain.events(about(object, member, kinds, from)).await?;
        Ok(events.iter().rev().find_map(|event| match ContractEvent::decode(&event.log)? {
            ContractEvent::Opened(e) if e.version == version.0 => {
                Some(OpeningAt { id: e.openingId, block: event.block })
            }
            _ => None,
        }))
    }

    /// Whether an opening is covered by what stands at present: by the version's visibility, or by the member's present
    /// grant, which must not be younger than the opening.
    pub(crate) async fn covered(&self, id: u64, opening: &abi::OpeningRecord) -> Result<bool, SharingError> {
        let (Some(owner), Some(member)) = (DcId::new(opening.owner), DcId::new(opening.dcId)) else {
            return Ok(false);
        };
        let object = ObjectId { owner, number: opening.number };
        if self.visibility(object, Version(opening.version)).await? != Visibility::Listed {
            return Ok(true);
        }
        let last = self.chain.last_events(about(object, member, changes(), 0)).await?;
        let Some(change) = last.last() else { return Ok(false) };
        if change.timestamp == opening.openedAt {
            return self.opened_after(object, member, change.block, id).await;
        }
        Ok(change.timestamp < opening.openedAt)
    }

    /// Whether an opening stands behind all changes of the member's grant, the last of which is in the block `from`. Asked
    /// where the times, whole seconds, do not tell.
    async fn opened_after(
        &self,
        object: ObjectId,
        member: DcId,
        from: u64,
        id: u64,
    ) -> Result<bool, SharingError> {
        let kinds = [changes(), vec![abi::Sharing::Opened::SIGNATURE_HASH]].concat();
        let to = from.saturating_add(BLOCKS_PER_SECOND_MAX);
        let events = self.chain.events(EventFilter { to, ..about(object, member, kinds, from) }).await?;
        let after = events.iter().rev().map_while(|event| match ContractEvent::decode(&event.log) {
            Some(ContractEvent::Opened(e)) => Some(e.openingId),
            _ => None,
        });
        Ok(after.into_iter().any(|opened| opened == id))
    }
}
