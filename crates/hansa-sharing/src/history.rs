//! What the chain tells of objects: each one's summary and each object's story (D7).
//!
//! Everything is read from finalised events and state; only names and plaintext sizes come from this node's own memory.

use std::{collections::BTreeSet, sync::Arc};

use alloy_primitives::{B256, U256};
use alloy_sol_types::SolEvent;
use hansa_api::{GrantSummary, LogEntry, LogKind, ObjectSummary};
use hansa_contracts::{ContractEvent, GRANTED, SHARING, abi, data_store_of};
use hansa_envelope::root_cid;
use hansa_ports::{Event, EventFilter};
use hansa_types::{DcId, ObjectId, Version, Visibility, utc};

use crate::{Sharing, SharingError, contracts::reason, sharing::Inner};

/// An integer as an indexed event field.
pub(crate) fn topic(value: impl Into<u64>) -> B256 {
    B256::from(U256::from(value.into()))
}

/// All events of one object, whatever they are.
pub(crate) fn events_of(object: ObjectId) -> EventFilter {
    EventFilter {
        from: 0,
        to: u64::MAX,
        addresses: vec![data_store_of(object.owner), SHARING],
        topics: [vec![], vec![topic(object.owner.value())], vec![topic(object.number)], vec![]],
    }
}

impl Sharing {
    /// An object's whole story, oldest first.
    ///
    /// # Errors
    /// [`SharingError::UnknownObject`] when the chain has never heard of it.
    pub async fn log(&self, object: ObjectId) -> Result<Vec<LogEntry>, SharingError> {
        let events = self.0.contracts.chain.events(events_of(object)).await?;
        let entries: Vec<_> = events.iter().filter_map(entry).collect();
        if entries.is_empty() { Err(SharingError::UnknownObject(object)) } else { Ok(entries) }
    }

    /// One object as a list shows it. Reads only: nothing is opened, nothing is recorded.
    ///
    /// # Errors
    /// [`SharingError::UnknownObject`]; or when the ledger cannot be read, or this node belongs to no member.
    pub async fn summary(&self, object: ObjectId) -> Result<ObjectSummary, SharingError> {
        let me = self.0.contracts.me().await?.dc_id;
        self.0.summary(me, object).await
    }
}

impl Inner {
    async fn summary(self: &Arc<Self>, me: DcId, object: ObjectId) -> Result<ObjectSummary, SharingError> {
        let newest = self.contracts.newest(object).await?;
        let version = Version(newest.version);
        let known = Sharing(Arc::clone(self)).description(object)?;
        let visibility = self.contracts.visibility(object, version).await?;
        let readable =
            visibility == Visibility::Public || self.contracts.refusal(object, version, me).await?.is_none();
        let shared_with = if me == object.owner { self.grantees(object).await? } else { Vec::new() };
        let asked_for = if me == object.owner { shared_with.as_slice() } else { &[me] };
        Ok(ObjectSummary {
            grants: self.grants(object, asked_for).await?,
            id: object,
            version,
            kind: known.as_ref().map(|known| known.kind),
            size: known.as_ref().map(|known| known.size),
            name: known.map(|known| known.name),
            size_class: newest.sizeClass,
            visibility,
            shared_with,
            cid: root_cid(newest.root).to_string(),
            created_at: newest.createdAt,
            valid_until: (newest.validUntil != 0).then_some(newest.validUntil),
            readable,
        })
    }

    /// The grants of these members that were not revoked.
    async fn grants(&self, object: ObjectId, of: &[DcId]) -> Result<Vec<GrantSummary>, SharingError> {
        let now = self.contracts.chain.head().await?.timestamp;
        let mut grants = Vec::new();
        for &member in of {
            grants.extend(grant(member, &self.contracts.cell(object, member).await?, now));
        }
        Ok(grants)
    }

    async fn grantees(&self, object: ObjectId) -> Result<Vec<DcId>, SharingError> {
        let mut grantees = BTreeSet::new();
        // Only the owner makes these; refusals and openings of any member would grow the object's whole story.
        let [_, owner, number, rest] = events_of(object).topics;
        let grants = vec![abi::Sharing::Shared::SIGNATURE_HASH, abi::Sharing::Revoked::SIGNATURE_HASH];
        let filter = EventFilter {
            addresses: vec![SHARING],
            topics: [grants, owner, number, rest],
            ..events_of(object)
        };
        for event in self.contracts.chain.events(filter).await? {
            match ContractEvent::decode(&event.log) {
                Some(ContractEvent::Shared(e)) => grantees.extend(DcId::new(e.grantee)),
                Some(ContractEvent::Revoked(e)) => {
                    DcId::new(e.grantee).map(|id| grantees.remove(&id));
                }
                _ => {}
            }
        }
        Ok(grantees.into_iter().collect())
    }
}

/// What a grant still permits at the chain's time `now`; `None` where there is none.
fn grant(to: DcId, cell: &abi::Cell, now: u64) -> Option<GrantSummary> {
    (cell.state == GRANTED).then(|| GrantSummary {
        to,
        expires_at: (cell.expiresAt != 0).then_some(cell.expiresAt),
        expired: cell.expiresAt != 0 && now > cell.expiresAt,
        openings_left: (cell.maxOpenings != 0).then(|| cell.maxOpenings.saturating_sub(cell.openings)),
    })
}

fn entry(event: &Event) -> Option<LogEntry> {
    let (mut why, mut refused_by) = (None, None);
    let (kind, version, dc_id, detail) = match ContractEvent::decode(&event.log)? {
        ContractEvent::VersionRecorded(e) => {
            (LogKind::Version, Some(e.version), e.owner, root_cid(e.root).to_string())
        }
        ContractEvent::Shared(e) => (LogKind::Shared, None, e.grantee, limits(&e)),
        ContractEvent::Revoked(e) => (
            LogKind::Revoked,
            None,
            e.grantee,
            "versions that were opened before stay readable; the next version gets a new key".to_owned(),
        ),
        ContractEvent::VisibilityChanged(e) => {
            (LogKind::Visibility, Some(e.upToVersion), e.owner, visibility(e.visibility).to_owned())
        }
        ContractEvent::Opened(e) => {
            (LogKind::Opened, Some(e.version), e.dcId, format!("opening {}", e.openingId))
        }
        ContractEvent::Refused(e) => {
            why = Some(reason(e.reason).word().to_owned());
            refused_by = DcId::new(e.refusedBy);
            let by = if e.refusedBy == 0 { "by the contract" } else { "by the owner's node" };
            (LogKind::Refused, Some(e.version), e.dcId, format!("{by}: {}", reason(e.reason).explanation()))
        }
        ContractEvent::KeyReleased(e) => {
            (LogKind::KeyReleased, Some(e.version), e.dcId, format!("for opening {}", e.openingId))
        }
        _ => return None,
    };
    Some(LogEntry {
        kind,
        version: version.filter(|v| *v != 0).map(Version),
        dc_id: DcId::new(dc_id),
        reason: why,
        refused_by,
        detail,
        block: event.block,
        timestamp: event.timestamp,
        transaction: event.transaction,
    })
}

fn limits(grant: &hansa_contracts::abi::Sharing::Shared) -> String {
    let mut words = Vec::new();
    if grant.maxOpenings != 0 {
        words.push(format!("at most {} openings", grant.maxOpenings));
    }
    if grant.expiresAt != 0 {
        words.push(format!("until {}", utc(grant.expiresAt)));
    }
    if grant.deposited {
        words.push("key deposited".to_owned());
    }
    words.join(", ")
}

fn visibility(code: i64) -> &'static str {
    match Visibility::from_code(code) {
        Some(Visibility::Public) => "open to everyone",
        Some(Visibility::Members) => "open to every member",
        _ => "open to the listed members",
    }
}
