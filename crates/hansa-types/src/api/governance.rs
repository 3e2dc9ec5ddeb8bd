//! Ballots over the REST interface.

use alloy_primitives::Bytes;
use serde::{Deserialize, Serialize};

use crate::{DcId, Genesis, MemberCard};

/// Opens a ballot on admitting the card's organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JoinBallotRequest {
    /// What the candidate publishes about itself.
    pub card: MemberCard,
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
    /// What is voted on, in one word: `join`.
    pub subject: String,
    /// The candidate's name.
    pub candidate: String,
    /// The candidate's card, where the node knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<MemberCard>,
    /// Who opened it.
    pub opened_by: DcId,
    /// The deadline.
    pub closes_at: u64,
    /// Open, executed, rejected or expired.
    pub state: BallotState,
    /// The votes.
    pub tally: Tally,
    /// The new member's id, once admitted and where known.
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
