//! Logs of the suite's contracts.

use alloy_primitives::{Address, B256, Bytes, Log};
use alloy_sol_types::SolEvent;
use hansa_contracts::{GOVERNANCE, REGISTRY, SHARING, abi, data_store_of};
use hansa_types::{DcId, ObjectId};

pub(super) fn object(owner: u32, number: u64) -> ObjectId {
    ObjectId { owner: DcId::new(owner).unwrap(), number }
}

fn log(address: Address, event: &impl SolEvent) -> Log {
    Log { address, data: event.encode_log_data() }
}

pub(super) fn root(id: ObjectId, version: u32) -> B256 {
    B256::left_padding_from(&[id.number.to_be_bytes().as_slice(), &version.to_be_bytes()].concat())
}

pub(super) fn recorded(id: ObjectId, version: u32, visibility: i64) -> Log {
    let event = abi::DataStore::VersionRecorded {
        owner: id.owner.value(),
        number: id.number,
        version,
        root: root(id, version),
        commitment: B256::repeat_byte(2),
        visibility,
        keyEpoch: 1,
        sizeClass: 4096,
        createdAt: 1_800_000_000,
        validUntil: 0,
        actor: SHARING,
    };
    log(data_store_of(id.owner), &event)
}

pub(super) fn shared(id: ObjectId, grantee: u32, max_openings: u32) -> Log {
    let event = abi::Sharing::Shared {
        owner: id.owner.value(),
        number: id.number,
        grantee,
        expiresAt: 0,
        maxOpenings: max_openings,
        keyEpoch: 1,
        deposited: true,
        actor: SHARING,
    };
    log(SHARING, &event)
}

pub(super) fn revoked(id: ObjectId, grantee: u32) -> Log {
    let (owner, number) = (id.owner.value(), id.number);
    log(SHARING, &abi::Sharing::Revoked { owner, number, grantee, actor: SHARING })
}

pub(super) fn visibility_changed(id: ObjectId, visibility: i64, up_to: u32) -> Log {
    let event = abi::Sharing::VisibilityChanged {
        owner: id.owner.value(),
        number: id.number,
        visibility,
        upToVersion: up_to,
        keyEpoch: 1,
        publishedKey: Bytes::new(),
        actor: SHARING,
    };
    log(SHARING, &event)
}

pub(super) fn opened(id: ObjectId, version: u32, dc_id: u32) -> Log {
    let event = abi::Sharing::Opened {
        owner: id.owner.value(),
        number: id.number,
        dcId: dc_id,
        version,
        root: root(id, version),
        openingId: 7,
        actor: SHARING,
    };
    log(SHARING, &event)
}

pub(super) fn refused(id: ObjectId, dc_id: u32) -> Log {
    let (owner, number) = (id.owner.value(), id.number);
    log(
        SHARING,
        &abi::Sharing::Refused { owner, number, dcId: dc_id, version: 1, reason: 3, refusedBy: owner },
    )
}

pub(super) fn released(id: ObjectId, dc_id: u32) -> Log {
    let (owner, number) = (id.owner.value(), id.number);
    log(SHARING, &abi::Sharing::KeyReleased { owner, number, dcId: dc_id, version: 1, openingId: 7 })
}

pub(super) fn standing(dc_id: u32, status: u8) -> Log {
    log(REGISTRY, &abi::ConsortiumRegistry::MemberStandingChanged { dcId: dc_id, status })
}

pub(super) fn admitted(dc_id: u32) -> Log {
    let event = abi::ConsortiumRegistry::MemberAdmitted {
        dcId: dc_id,
        account: Address::left_padding_from(&[dc_id as u8]),
        networkKey: B256::repeat_byte(3),
        dataStore: SHARING,
        accessControl: SHARING,
    };
    log(REGISTRY, &event)
}

pub(super) fn ballot_opened(id: u64) -> Log {
    let event = abi::Governance::BallotOpened {
        id,
        kind: 1,
        openedBy: 1,
        subject: 2,
        electorate: 3,
        deadline: 1_900_000_000,
    };
    log(GOVERNANCE, &event)
}

pub(super) fn vote(id: u64, dc_id: u32, support: bool, in_favour: u32, against: u32) -> Log {
    log(GOVERNANCE, &abi::Governance::VoteCast { id, dcId: dc_id, support, inFavour: in_favour, against })
}

pub(super) fn executed(id: u64) -> Log {
    log(GOVERNANCE, &abi::Governance::BallotExecuted { id, subject: 2 })
}
