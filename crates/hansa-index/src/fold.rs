//! Folds events into rows. Pure: the rows that an event changes are loaded before.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::B256;
use hansa_contracts::{ContractEvent, abi};
use hansa_feed::{FeedBlock, FeedEvent};
use hansa_types::{DcId, ObjectId, Version, Visibility};

use crate::rows::{
    BallotEnd, BallotRow, GrantRow, HistoryKind, HistoryRow, MemberRow, ObjectRow, VersionRow,
};

/// A vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vote {
    pub(crate) support: bool,
    pub(crate) height: u64,
}

/// Rows that events change or add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    /// By height: hash, time and number of events.
    pub(crate) blocks: BTreeMap<u64, (B256, u64, u64)>,
    /// By hash: height and index in the block.
    pub(crate) transactions: BTreeMap<B256, (u64, u64)>,
    pub(crate) members: BTreeMap<u32, MemberRow>,
    pub(crate) ballots: BTreeMap<u64, BallotRow>,
    pub(crate) votes: BTreeMap<(u64, u32), Vote>,
    pub(crate) objects: BTreeMap<ObjectId, ObjectRow>,
    pub(crate) versions: BTreeMap<(ObjectId, u32), VersionRow>,
    pub(crate) grants: BTreeMap<(ObjectId, DcId), GrantRow>,
    pub(crate) history: Vec<HistoryRow>,
}

/// The rows that must be loaded before blocks are folded. Those that do not exist are new.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) members: BTreeSet<u32>,
    pub(crate) ballots: BTreeSet<u64>,
    pub(crate) objects: BTreeSet<ObjectId>,
    pub(crate) versions: BTreeSet<(ObjectId, u32)>,
    pub(crate) grants: BTreeSet<(ObjectId, DcId)>,
}

/// An object as events name it. Numbers of members begin at 1 on the chain.
fn id(owner: u32, number: u64) -> Option<ObjectId> {
    DcId::new(owner).map(|owner| ObjectId { owner, number })
}

impl Needs {
    /// The needs of blocks.
    pub(crate) fn of(blocks: &[FeedBlock]) -> Self {
        let mut needs = Self::default();
        for event in blocks.iter().flat_map(|block| &block.events) {
            needs.add(&event.event);
        }
        needs
    }

    fn add(&mut self, event: &ContractEvent) {
        match event {
            ContractEvent::MemberAdmitted(e) => self.members.extend([e.dcId]),
            ContractEvent::MemberStandingChanged(e) => self.members.extend([e.dcId]),
            ContractEvent::MemberRoleChanged(e) => self.members.extend([e.dcId]),
            ContractEvent::MemberKeysReset(e) => self.members.extend([e.dcId]),
            ContractEvent::MemberEndpointsChanged(e) => self.members.extend([e.dcId]),
            ContractEvent::VoteCast(e) => self.ballots.extend([e.id]),
            ContractEvent::BallotExecuted(e) => self.ballots.extend([e.id]),
            ContractEvent::BallotRejected(e) => self.ballots.extend([e.id]),
            // The first version makes the object's row.
            ContractEvent::VersionRecorded(e) if e.version > 1 => self.objects.extend(id(e.owner, e.number)),
            ContractEvent::VisibilityChanged(e) => self.objects.extend(id(e.owner, e.number)),
            ContractEvent::Revoked(e) => self.grant(id(e.owner, e.number), e.grantee),
            ContractEvent::Opened(e) => {
                self.grant(id(e.owner, e.number), e.dcId);
                self.objects.extend(id(e.owner, e.number));
                self.versions.extend(id(e.owner, e.number).map(|id| (id, e.version)));
            }
            _ => {}
        }
    }

    fn grant(&mut self, object: Option<ObjectId>, grantee: u32) {
        self.grants.extend(object.zip(DcId::new(grantee)));
    }
}

impl Rows {
    /// Folds a block.
    pub(crate) fn fold(&mut self, block: &FeedBlock) {
        self.blocks.insert(block.number, (block.hash, block.timestamp, block.events.len() as u64));
        for event in &block.events {
            self.transactions.insert(event.transaction, (block.number, event.transaction_index));
            self.history.extend(history(block, event));
            self.event(block.number, event);
        }
    }

    fn event(&mut self, height: u64, event: &FeedEvent) {
        match &event.event {
            ContractEvent::MemberAdmitted(e) => {
                let member = self.member(e.dcId, height);
                (member.account, member.network_key) = (Some(e.account), Some(e.networkKey));
                member.admitted_height = Some(height);
            }
            ContractEvent::MemberStandingChanged(e) => {
                self.member(e.dcId, height).standing = Some(e.status);
            }
            ContractEvent::MemberRoleChanged(e) => self.member(e.dcId, height).role = Some(e.role),
            ContractEvent::MemberKeysReset(e) => {
                let member = self.member(e.dcId, height);
                (member.account, member.network_key) = (Some(e.account), Some(e.networkKey));
            }
            ContractEvent::MemberEndpointsChanged(e) => {
                let member = self.member(e.dcId, height);
                member.consensus_endpoint = Some(e.consensusEndpoint.clone());
                member.swarm_endpoint = Some(e.swarmEndpoint.clone());
            }
            ContractEvent::BallotOpened(e) => self.ballot_opened(height, e),
            ContractEvent::VoteCast(e) => {
                let ballot = self.ballot(e.id);
                (ballot.in_favour, ballot.against) = (e.inFavour, e.against);
                self.votes.insert((e.id, e.dcId), Vote { support: e.support, height });
            }
            ContractEvent::BallotExecuted(e) => self.ballot(e.id).state = BallotEnd::Executed,
            ContractEvent::BallotRejected(e) => self.ballot(e.id).state = BallotEnd::Rejected,
            ContractEvent::VersionRecorded(e) => self.recorded(height, event.log_index, e),
            ContractEvent::Shared(e) => self.shared(height, e),
            ContractEvent::Revoked(e) => self.revoked(height, e),
            ContractEvent::VisibilityChanged(e) => self.visibility(e),
            ContractEvent::Opened(e) => self.opened(e),
            ContractEvent::Refused(_)
            | ContractEvent::KeyReleased(_)
            | ContractEvent::SuiteAnnounced(_)
            | ContractEvent::UpgradeScheduled(_) => {}
        }
    }

    fn member(&mut self, dc_id: u32, height: u64) -> &mut MemberRow {
        let member = self.members.entry(dc_id).or_default();
        (member.dc_id, member.changed_height) = (dc_id, height);
        member
    }

    fn ballot(&mut self, id: u64) -> &mut BallotRow {
        let ballot = self.ballots.entry(id).or_default();
        ballot.id = id;
        ballot
    }

    fn ballot_opened(&mut self, height: u64, e: &abi::Governance::BallotOpened) {
        let ballot = self.ballot(e.id);
        ballot.kind = e.kind;
        (ballot.opened_by, ballot.subject, ballot.electorate) = (e.openedBy, e.subject, e.electorate);
        (ballot.deadline, ballot.opened_height) = (e.deadline, height);
    }

    fn recorded(&mut self, height: u64, log_index: u64, e: &abi::DataStore::VersionRecorded) {
        let Some((id, visibility)) = id(e.owner, e.number).zip(Visibility::from_code(e.visibility)) else {
            return;
        };
        let row = ObjectRow {
            id,
            version: Version(e.version),
            root: e.root,
            visibility,
            change: self.objects.get(&id).map_or((None, 0), |object| object.change),
            size_class: e.sizeClass,
            created_at: e.createdAt,
            valid_until: e.validUntil,
            height,
            log_index,
        };
        self.objects.insert(id, row);
        let version = VersionRow {
            id,
            version: e.version,
            root: e.root,
            commitment: e.commitment,
            visibility: e.visibility,
            key_epoch: e.keyEpoch,
            size_class: e.sizeClass,
            created_at: e.createdAt,
            valid_until: e.validUntil,
            height,
        };
        self.versions.insert((id, e.version), version);
    }

    fn shared(&mut self, height: u64, e: &abi::Sharing::Shared) {
        let Some((id, grantee)) = id(e.owner, e.number).zip(DcId::new(e.grantee)) else { return };
        let row = GrantRow {
            id,
            grantee,
            in_force: true,
            expires_at: e.expiresAt,
            max_openings: e.maxOpenings,
            openings: 0,
            deposited: e.deposited,
            height,
        };
        self.grants.insert((id, grantee), row);
    }

    fn revoked(&mut self, height: u64, e: &abi::Sharing::Revoked) {
        let key = id(e.owner, e.number).zip(DcId::new(e.grantee));
        if let Some(grant) = key.and_then(|key| self.grants.get_mut(&key)) {
            (grant.in_force, grant.deposited, grant.height) = (false, false, height);
        }
    }

    /// Covers all versions that there are, and no later one.
    fn visibility(&mut self, e: &abi::Sharing::VisibilityChanged) {
        let object = id(e.owner, e.number).and_then(|id| self.objects.get_mut(&id));
        if let Some((object, visibility)) = object.zip(Visibility::from_code(e.visibility)) {
            object.visibility = visibility;
            object.change = (Some(e.visibility), e.upToVersion);
        }
    }

    /// Counts an opening if a grant permitted it, rather than ownership or visibility (`Sharing._judge`).
    fn opened(&mut self, e: &abi::Sharing::Opened) {
        let Some((id, member)) = id(e.owner, e.number).zip(DcId::new(e.dcId)) else { return };
        let change = self.objects.get(&id).map(|object| object.change);
        let visibility = match change {
            Some((Some(changed), up_to)) if e.version <= up_to => Some(changed),
            _ => self.versions.get(&(id, e.version)).map(|version| version.visibility),
        };
        let by_grant = member != id.owner && visibility.is_some_and(|code| code > 0);
        if by_grant && let Some(grant) = self.grants.get_mut(&(id, member)) {
            grant.openings = grant.openings.saturating_add(1);
        }
    }
}

/// An event as a line of its object's history; `None` if it concerns no object.
fn history(block: &FeedBlock, event: &FeedEvent) -> Option<HistoryRow> {
    let line = |kind, owner, number| {
        id(owner, number).map(|id| HistoryRow {
            height: block.number,
            log_index: event.log_index,
            kind,
            id,
            version: 0,
            member: owner,
            code: 0,
            opening: 0,
            expires_at: 0,
            max_openings: 0,
            root: None,
            transaction: event.transaction,
            timestamp: block.timestamp,
        })
    };
    let row = match &event.event {
        ContractEvent::VersionRecorded(e) => HistoryRow {
            version: e.version,
            root: Some(e.root),
            ..line(HistoryKind::Version, e.owner, e.number)?
        },
        ContractEvent::Shared(e) => HistoryRow {
            member: e.grantee,
            code: e.deposited.into(),
            expires_at: e.expiresAt,
            max_openings: e.maxOpenings,
            ..line(HistoryKind::Shared, e.owner, e.number)?
        },
        ContractEvent::Revoked(e) => {
            HistoryRow { member: e.grantee, ..line(HistoryKind::Revoked, e.owner, e.number)? }
        }
        ContractEvent::VisibilityChanged(e) => HistoryRow {
            version: e.upToVersion,
            code: e.visibility,
            ..line(HistoryKind::Visibility, e.owner, e.number)?
        },
        ContractEvent::Opened(e) => HistoryRow {
            version: e.version,
            member: e.dcId,
            opening: e.openingId,
            ..line(HistoryKind::Opened, e.owner, e.number)?
        },
        ContractEvent::Refused(e) => HistoryRow {
            version: e.version,
            member: e.dcId,
            code: e.reason.into(),
            opening: e.refusedBy.into(),
            ..line(HistoryKind::Refused, e.owner, e.number)?
        },
        ContractEvent::KeyReleased(e) => HistoryRow {
            version: e.version,
            member: e.dcId,
            opening: e.openingId,
            ..line(HistoryKind::KeyReleased, e.owner, e.number)?
        },
        _ => return None,
    };
    Some(row)
}
