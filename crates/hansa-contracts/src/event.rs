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
    MemberRoleChanged(abi::ConsortiumRegistry::MemberRoleChanged),
    MemberKeysReset(abi::ConsortiumRegistry::MemberKeysReset),
    MemberEndpointsChanged(abi::ConsortiumRegistry::MemberEndpointsChanged),
    BallotOpened(abi::Governance::BallotOpened),
    VoteCast(abi::Governance::VoteCast),
    BallotExecuted(abi::Governance::BallotExecuted),
    BallotRejected(abi::Governance::BallotRejected),
    SuiteAnnounced(abi::Governance::SuiteAnnounced),
    UpgradeScheduled(abi::Governance::UpgradeScheduled),
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
            REGISTRY => Self::decode_registry(data),
            GOVERNANCE => Self::decode_governance(data),
            SHARING => Self::decode_sharing(data),
            store => Self::decode_store(store, data),
        }
    }

    fn decode_registry(data: &LogData) -> Option<Self> {
        read(data, Self::MemberAdmitted)
            .or_else(|| read(data, Self::MemberStandingChanged))
            .or_else(|| read(data, Self::MemberRoleChanged))
            .or_else(|| read(data, Self::MemberKeysReset))
            .or_else(|| read(data, Self::MemberEndpointsChanged))
    }

    fn decode_governance(data: &LogData) -> Option<Self> {
        read(data, Self::BallotOpened)
            .or_else(|| read(data, Self::VoteCast))
            .or_else(|| read(data, Self::BallotExecuted))
            .or_else(|| read(data, Self::BallotRejected))
            .or_else(|| read(data, Self::SuiteAnnounced))
            .or_else(|| read(data, Self::UpgradeScheduled))
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

#[cfg(test)]
mod tests {
    use alloy_primitives::{Bytes, address};

    use super::*;

    fn log<E: SolEvent>(address: Address, event: &E) -> Log {
        Log { address, data: event.encode_log_data() }
    }

    fn recorded() -> abi::DataStore::VersionRecorded {
        abi::DataStore::VersionRecorded {
            owner: 2,
            number: 42,
            version: 3,
            root: [1; 32].into(),
            commitment: [2; 32].into(),
            visibility: -1,
            keyEpoch: 4,
            sizeClass: 1 << 20,
            createdAt: 1_800_000_000,
            validUntil: 0,
            actor: address!("7E5F4552091A69125d5DfCb7b8C2659029395Bdf"),
        }
    }

    #[test]
    fn records_count_from_their_owners_store_only() {
        let event = recorded();
        let [own, other] = [2, 3].map(|id| data_store_of(DcId::new(id).unwrap()));
        assert_eq!(
            ContractEvent::decode(&log(own, &event)),
            Some(ContractEvent::VersionRecorded(event.clone()))
        );
        for forger in [other, REGISTRY, GOVERNANCE, SHARING, crate::DATA_STORE_TEMPLATE, Address::ZERO] {
            assert_eq!(ContractEvent::decode(&log(forger, &event)), None, "{forger}");
        }
        let nobody = abi::DataStore::VersionRecorded { owner: 0, ..event };
        assert_eq!(ContractEvent::decode(&log(own, &nobody)), None);
    }

    #[test]
    fn refusals_count_from_the_sharing_contract_only() {
        let event =
            abi::Sharing::Refused { owner: 1, number: 7, dcId: 3, version: 1, reason: 3, refusedBy: 0 };
        assert_eq!(ContractEvent::decode(&log(SHARING, &event)), Some(ContractEvent::Refused(event.clone())));
        assert_eq!(ContractEvent::decode(&log(GOVERNANCE, &event)), None);
    }

    #[test]
    fn truncated_logs_are_no_events() {
        let store = data_store_of(DcId::new(2).unwrap());
        let whole = log(store, &recorded());
        for end in 0..whole.data.data.len() {
            let cut = Bytes::copy_from_slice(&whole.data.data[..end]);
            let log = Log { address: store, data: LogData::new_unchecked(whole.data.topics().to_vec(), cut) };
            assert_eq!(ContractEvent::decode(&log), None, "{end}");
        }
        let bare = Log { address: store, data: LogData::new_unchecked(vec![], whole.data.data.clone()) };
        assert_eq!(ContractEvent::decode(&bare), None);
    }
}
