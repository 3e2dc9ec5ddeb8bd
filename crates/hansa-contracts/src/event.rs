//! What the suite's contracts have recorded, read from logs.
//!
//! Any member may deploy a contract that emits equal-looking events: only logs from the suite's own addresses count.

use alloy_primitives::{Address, Log, LogData};
use alloy_sol_types::SolEvent;
use hansa_types::DcId;

use crate::{GOVERNANCE, REGISTRY, SHARING, abi, data_store_of};

/// An event of the suite.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented in the Solidity interfaces")]
pub enum ContractEvent {
    MemberAdmitted(abi::ConsortiumRegistry::MemberAdmitted),
    MemberStandingChanged(abi::ConsortiumRegistry::MemberStandingChanged),
    BallotOpened(abi::Governance::BallotOpened),
    VoteCast(abi::Governance::VoteCast),
    BallotExecuted(abi::Governance::BallotExecuted),
    BallotRejected(abi::Governance::BallotRejected),
    VersionRecorded(abi::DataStore::VersionRecorded),
    Shared(abi::Sharing::Shared),
    Revoked(abi::Sharing::Revoked),
    VisibilityChanged(abi::Sharing::VisibilityChanged),
    Opened(abi::Sharing::Opened),
    Refused(abi::Sharing::Refused),
    KeyReleased(abi::Sharing::KeyReleased),
}

impl ContractEvent {
    /// Reads a log; `None` when it is not an event of the suite from the contract that may emit it.
    pub fn decode(log: &Log) -> Option<Self> {
        let data = &log.data;
        match log.address {
            REGISTRY => read(data, Self::MemberAdmitted).or_else(|| read(data, Self::MemberStandingChanged)),
            GOVERNANCE => Self::decode_governance(data),
            SHARING => Self::decode_sharing(data),
            store => Self::decode_store(store, data),
        }
    }

    fn decode_governance(data: &LogData) -> Option<Self> {
        read(data, Self::BallotOpened)
            .or_else(|| read(data, Self::VoteCast))
            .or_else(|| read(data, Self::BallotExecuted))
            .or_else(|| read(data, Self::BallotRejected))
    }

    fn decode_sharing(data: &LogData) -> Option<Self> {
        read(data, Self::Shared)
            .or_else(|| read(data, Self::Revoked))
            .or_else(|| read(data, Self::VisibilityChanged))
            .or_else(|| read(data, Self::Opened))
            .or_else(|| read(data, Self::Refused))
            .or_else(|| read(data, Self::KeyReleased))
    }

    fn decode_store(store: Address, data: &LogData) -> Option<Self> {
        let event = abi::DataStore::VersionRecorded::decode_log_data(data).ok()?;
        let owner = DcId::new(event.owner)?;
        (data_store_of(owner) == store).then_some(Self::VersionRecorded(event))
    }
}

/// Decodes one kind of event. A wrong first topic is noticed before anything else is looked at.
fn read<E: SolEvent>(data: &LogData, wrap: fn(E) -> ContractEvent) -> Option<ContractEvent> {
    if data.topics().first() != Some(&E::SIGNATURE_HASH) {
        return None;
    }
    E::decode_log_data(data).ok().map(wrap)
}
