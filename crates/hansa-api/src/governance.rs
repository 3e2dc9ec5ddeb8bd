//! Ballots over the REST interface.

use alloy_primitives::{B256, Bytes};
use serde::{Deserialize, Serialize};

use hansa_types::{DcId, Genesis, MemberStatus, Role, SignedCard};

/// What a ballot decides. Also the body that opens one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Motion {
    /// Admits an organisation.
    Join {
        /// The candidate's published data.
        card: SignedCard,
    },
    /// Suspends, reinstates or removes a member.
    Standing {
        /// The member.
        member: DcId,
        /// Its standing from then on. A removed member is removed for good.
        standing: MemberStatus,
    },
    /// Gives a member new keys, because the old ones are lost or known to others.
    Reset {
        /// The member.
        member: DcId,
        /// Its card from then on.
        card: SignedCard,
    },
    /// Gives a member a seat in consensus or takes it, with the committee of the fourth epoch after.
    Seat {
        /// The member.
        member: DcId,
        /// Its role from then on.
        role: Role,
    },
    /// Changes a limit.
    Limit {
        /// Which one.
        limit: Limit,
        /// Its value from then on, in the limit's unit.
        value: u64,
    },
    /// Replaces the system contracts at a height.
    Upgrade {
        /// Version of the suite.
        version: u32,
        /// Digest of the suite.
        digest: B256,
        /// The first block under it.
        height: u64,
    },
    /// Takes back the pending upgrade.
    WithdrawUpgrade {},
}

/// A limit that ballots change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Limit {
    /// How long a ballot stays open, in seconds: 1 to 10 years.
    BallotSeconds,
    /// Bytes of transactions, logs and code that each member may make all nodes store in a second: at least 1,024, or 0 for no limit.
    MemberBytesPerSecond,
    /// Storage slots and accounts that each member may add in a second: at least 16, or 0 for no limit.
    MemberSlotsPerSecond,
}

/// The members' quotas of bytes and slots that all nodes store, with the rest of each. An unused rate adds up to a day's worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuotaStatus {
    /// Bytes of transactions, logs and code in a second; 0 for no limit.
    pub bytes_per_second: u64,
    /// Storage slots and accounts in a second; 0 for no limit.
    pub slots_per_second: u64,
    /// By member, ascending.
    pub members: Vec<Allowance>,
}

/// How much of its quota a member has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allowance {
    /// The member.
    pub member: DcId,
    /// Bytes left at present; absent without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_left: Option<u64>,
    /// Slots left at present; absent without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots_left: Option<u64>,
    /// When it may send again, in Unix seconds; absent while it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_at: Option<u64>,
}

/// The consequences of a ballot, judged at the node's last final block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BallotPreview {
    /// The motion.
    pub motion: Motion,
    /// Name of the candidate or member; empty where the motion concerns all.
    pub name: String,
    /// Members that could vote.
    pub electorate: u32,
    /// Votes in favour that would carry it.
    pub needed: u32,
    /// Validators at present.
    pub before: ValidatorSet,
    /// Validators of the first committee after it.
    pub after: ValidatorSet,
    /// The committee in force. Its seats last until the committee of the fourth epoch after the ballot.
    pub committee: ValidatorSet,
    /// The rule that refuses it, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Which versions of the system contracts run, are decided, and can be run by this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SuiteStatus {
    /// The version in force.
    pub version: u32,
    /// The upgrade that was decided, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingUpgrade>,
    /// Later versions that this node can run, ascending.
    pub known: Vec<KnownSuite>,
}

/// An upgrade that a ballot decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingUpgrade {
    /// Version of the suite.
    pub version: u32,
    /// Digest of the suite.
    pub digest: B256,
    /// The first block under it.
    pub height: u64,
    /// Whether this node can run it. A node that cannot stops before the height.
    pub known: bool,
}

/// A suite that a node can run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownSuite {
    /// Version of the suite.
    pub version: u32,
    /// Digest of the suite.
    pub digest: B256,
    /// Active members whose nodes have announced it.
    pub ready: Vec<DcId>,
}

/// A set of validators and what it needs to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidatorSet {
    /// Their names.
    pub names: Vec<String>,
    /// How many of them a block needs. As many as are above this may be down.
    pub quorum: u32,
}

/// Casts this member's vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VoteRequest {
    /// In favour or against.
    pub support: bool,
}

/// How a ballot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BallotState {
    /// Votes are taken.
    Open,
    /// More than half in favour: its outcome was executed.
    Executed,
    /// Can no longer reach a majority.
    Rejected,
    /// The deadline passed without a majority.
    Expired,
}

/// Votes counted so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Votes in favour.
    pub in_favour: u32,
    /// Votes against.
    pub against: u32,
    /// Members entitled to vote, fixed at opening.
    pub electorate: u32,
}

/// A ballot with its visible tally.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ballot {
    /// Number of the ballot, ≥ 1.
    pub id: u64,
    /// The motion.
    pub motion: Motion,
    /// Name of the candidate or member; empty where the motion concerns all.
    pub name: String,
    /// Who opened it.
    pub opened_by: DcId,
    /// Unix seconds.
    pub opened_at: u64,
    /// The deadline.
    pub closes_at: u64,
    /// Open, executed, rejected or expired.
    pub state: BallotState,
    /// The votes.
    pub tally: Tally,
    /// Who has voted.
    pub voted: Vec<DcId>,
    /// The new member's id, once admitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admitted: Option<DcId>,
}

/// What an admitted member's node needs to start. Only that member can read the sealed part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invitation {
    /// For whom.
    pub member: DcId,
    /// The consortium's genesis file.
    pub genesis: Genesis,
    /// The swarm's pre-shared key, sealed to the member's X-Wing key.
    pub sealed_swarm_key: Bytes,
}
