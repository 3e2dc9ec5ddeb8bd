//! Puts the suite's errors and refusals in words: what happened and what to do.
//!
//! The numbers are the contracts'; the words are for people and are not part of any interface.

use alloy_primitives::B256;
use alloy_sol_types::{Panic, Revert, SolError, SolInterface};

use crate::abi::{
    ConsortiumRegistry::ConsortiumRegistryErrors as RegistryError, DataStore::DataStoreErrors as StoreError,
    Governance::GovernanceErrors as GovernanceError, Sharing::SharingErrors as SharingError,
};

/// Why an opening or a key was refused: `reason` in `canOpen`, `Refused` and `Refusal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RefusalReason {
    /// The owner has no object of this number.
    UnknownObject = 1,
    /// The object has no such version.
    UnknownVersion = 2,
    /// The owner never shared it with the member.
    NotGranted = 3,
    /// The owner took the grant back.
    Revoked = 4,
    /// The grant's time is over.
    Expired = 5,
    /// The grant's openings are used up.
    Exhausted = 6,
    /// The version's own time is over.
    NoLongerValid = 7,
    /// The member is not active.
    Inactive = 8,
    /// The owner's node found no opening on the chain.
    NotOpened = 9,
    /// The owner no longer holds the key.
    KeyDestroyed = 10,
    /// The owner declined.
    Declined = 11,
}

impl RefusalReason {
    /// The value that the contracts use.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Reads the contracts' value; 0 means "not refused" and is none of these, as is any unknown value.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::UnknownObject,
            2 => Self::UnknownVersion,
            3 => Self::NotGranted,
            4 => Self::Revoked,
            5 => Self::Expired,
            6 => Self::Exhausted,
            7 => Self::NoLongerValid,
            8 => Self::Inactive,
            9 => Self::NotOpened,
            10 => Self::KeyDestroyed,
            11 => Self::Declined,
            _ => return None,
        })
    }

    /// The reason as one word for programs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::UnknownObject => "unknownObject",
            Self::UnknownVersion => "unknownVersion",
            Self::NotGranted => "notGranted",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Exhausted => "exhausted",
            Self::NoLongerValid => "noLongerValid",
            Self::Inactive => "inactive",
            Self::NotOpened => "notOpened",
            Self::KeyDestroyed => "keyDestroyed",
            Self::Declined => "declined",
        }
    }

    /// What happened and what to do, for the member that was refused.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::UnknownObject => "the owner has no such object; check the number with `hansa ls`",
            Self::UnknownVersion => "the object has no such version; `hansa log` lists its versions",
            Self::NotGranted => "the owner has not shared this object with you; ask the owner for a grant",
            Self::Revoked => "the owner took your grant back; ask the owner for a new one",
            Self::Expired => "your grant has expired; ask the owner for a new one",
            Self::Exhausted => "all openings your grant permits are used; ask the owner for a new one",
            Self::NoLongerValid => "this version is no longer effective; open a newer one or ask the owner",
            Self::Inactive => {
                "your membership is suspended or ended; a ballot can reinstate a suspended member"
            }
            Self::NotOpened => {
                "no opening of yours is on the chain; open the object first, then ask for its key"
            }
            Self::KeyDestroyed => "the owner has destroyed the key; the content cannot be had from anybody",
            Self::Declined => "the owner declined; ask the owner why",
        }
    }
}

/// Says what a revert's data means and what to do about it.
pub fn explain_revert(data: &[u8]) -> String {
    if let Ok(error) = StoreError::abi_decode(data) {
        return store(error);
    }
    if let Ok(error) = SharingError::abi_decode(data) {
        return sharing(error);
    }
    if let Ok(error) = GovernanceError::abi_decode(data) {
        return governance(error);
    }
    if let Ok(error) = RegistryError::abi_decode(data) {
        return registry(&error);
    }
    if let Ok(error) = Revert::abi_decode(data) {
        return format!("the contract refused: {}", error.reason);
    }
    if let Ok(error) = Panic::abi_decode(data) {
        return format!(
            "the contract failed with panic code {:#x}; this is a fault of the contract",
            error.code
        );
    }
    match data.get(..4) {
        None => {
            "the contract refused without a reason; it may have run out of gas, or nothing is deployed there"
                .into()
        }
        Some(selector) => format!(
            "the contract refused with the unknown error 0x{}; its own documentation says what it means",
            alloy_primitives::hex::encode(selector)
        ),
    }
}

fn store(error: StoreError) -> String {
    match error {
        StoreError::DataStoreFieldOutOfRange(e) => field(&e.field),
        StoreError::DataStoreNotAuthorised(e) => {
            format!("account {} may not record for the owner; send from the owner's registered account, or sign with its key for this chain and this contract", e.actor)
        }
        StoreError::DataStoreNotRegistry(_) => "only the registry may do this".into(),
        StoreError::DataStoreNumberMissing(_) => "an object's number is at least 1; choose another".into(),
        StoreError::DataStoreNumberTaken(e) => {
            format!("object number {} is in use; update the object or choose another number", e.number)
        }
        StoreError::DataStoreNumberUnknown(e) => format!("there is no object {}; put it first", e.number),
        StoreError::DataStoreOwnerInactive(_) => {
            "the owner is suspended or removed and can record nothing; a ballot can reinstate a suspended member".into()
        }
        StoreError::DataStoreVersionOutOfOrder(e) => format!(
            "version {} of object {} is not the next one; sign version {} instead (somebody may have been faster)",
            e.version, e.number, e.expected
        ),
        StoreError::DataStoreVersionUnknown(e) => format!("object {} has no version {}", e.number, e.version),
    }
}

fn sharing(error: SharingError) -> String {
    match error {
        SharingError::BlobNotWritten(_) => {
            "the contract could not store the key; send the transaction with more gas".into()
        }
        SharingError::SharingAlreadyReleased(e) => {
            format!(
                "the key of opening {} is already recorded as released; nothing is left to do",
                e.openingId
            )
        }
        SharingError::SharingFieldOutOfRange(e) => field(&e.field),
        SharingError::SharingGrantMissing(e) => {
            format!(
                "member {} has no grant for object {}/{}; there is nothing to revoke",
                e.grantee, e.owner, e.number
            )
        }
        SharingError::SharingGranteeInactive(e) => {
            format!(
                "there is no active member {}; `hansa member list` shows whom you can share with",
                e.grantee
            )
        }
        SharingError::SharingGranteeIsOwner(_) => "the owner can open its own objects without a grant".into(),
        SharingError::SharingMemberInactive(e) => {
            format!("member {} is unknown, suspended or removed and can do nothing", e.dcId)
        }
        SharingError::SharingNonceOutOfOrder(e) => {
            format!(
                "the request carries nonce {}, the chain expects {}; ask again with that",
                e.nonce, e.expected
            )
        }
        SharingError::SharingNotAuthorised(e) => format!(
            "account {} may not do this for member {}; send from that member's registered account, or sign with its key for this chain and this contract",
            e.actor, e.dcId
        ),
        SharingError::SharingObjectUnknown(e) => format!("there is no object {}/{}", e.owner, e.number),
        SharingError::SharingOpeningUnknown(e) => format!("there is no opening {}", e.openingId),
    }
}

fn governance(error: GovernanceError) -> String {
    match error {
        GovernanceError::BlobNotWritten(_) => {
            "the contract could not store the ballot; send the transaction with more gas".into()
        }
        GovernanceError::GovernanceAlreadyInitialised(_) | GovernanceError::GovernanceNotSystem(_) => {
            "governance is set up once, at genesis".into()
        }
        GovernanceError::GovernanceAlreadyVoted(e) => {
            format!("member {} has voted on ballot {} already", e.dcId, e.id)
        }
        GovernanceError::GovernanceBallotClosed(e) => {
            format!("ballot {} is closed; open a new one if the question still stands", e.id)
        }
        GovernanceError::GovernanceBallotUnknown(e) => {
            format!("there is no ballot {}; `hansa member ballots` lists them", e.id)
        }
        GovernanceError::GovernanceNotElector(e) => {
            format!("member {} was not active when ballot {} opened and has no vote on it", e.dcId, e.id)
        }
        GovernanceError::GovernanceNotMember(e) => {
            format!(
                "account {} is not that of an active member; send from the member's registered account",
                e.caller
            )
        }
        GovernanceError::GovernanceTooManyOpen(e) => format!(
            "member {} has {} ballots open, as many as a member may; wait until one is decided or expires",
            e.dcId, e.limit
        ),
        GovernanceError::GovernanceParameterOutOfRange(_) => {
            "the limit cannot have this value; ballots stay open for 1 second to 10 years, and a member's quota is 0 for none, or 1024 bytes \
             or 16 slots a second at least"
                .into()
        }
        GovernanceError::GovernanceParameterUnknown(_) => "there is no such limit".into(),
        GovernanceError::GovernanceVersionNotHigher(_) => {
            "an upgrade needs a digest and a version above the one in force; `hansa upgrade status` shows it".into()
        }
        GovernanceError::GovernanceHeightTooNear(_) => {
            "the height leaves fewer than eight blocks; choose a later one".into()
        }
        GovernanceError::GovernanceTooFewReady(_) => {
            "the nodes of too few validators can run this suite: a quorum must have announced it; `hansa upgrade status` shows who has".into()
        }
        GovernanceError::GovernanceNothingPending(_) => "there is no pending upgrade to take back".into(),
        GovernanceError::RegistryMemberUnknown(e) => unknown_member(e.dcId),
    }
}

fn registry(error: &RegistryError) -> String {
    match error {
        RegistryError::RegistryAccountTaken(_) => {
            "the account belongs or belonged to a member; make a new key".into()
        }
        RegistryError::RegistryNetworkKeyTaken(_) => {
            "the network key belongs or belonged to a member; make a new key".into()
        }
        RegistryError::RegistryEncryptionKeyTaken(_) => {
            "the encryption key belongs or belonged to a member; make a new key".into()
        }
        RegistryError::RegistryClusterMissing(_) => {
            "the card names no cluster; a cluster is a number of at least 1".into()
        }
        RegistryError::RegistryEncryptionKeyMalformed(_) => {
            "the encryption key is not an X-Wing public key of 1,216 bytes".into()
        }
        RegistryError::RegistryEndpointMalformed(_) => {
            "an endpoint of the card is empty, longer than 255 characters or not printable ASCII".into()
        }
        RegistryError::RegistryCardNotSigned(_) => {
            "the card is not signed by its own account; make it with `hansa keys new` and change nothing in it".into()
        }
        RegistryError::RegistryEpochEmpty(_) => "an epoch has at least one block; set epochBlocks in the genesis file".into(),
        RegistryError::RegistryRoleUnchangeable(_) => {
            "the member already has this role, or was removed for good".into()
        }
        RegistryError::RegistryCommitteeWithoutQuorum(_) => {
            "too many seats of a committee in force would belong to replaced keys; wait until the next committees have formed, four epochs".into()
        }
        RegistryError::RegistryNotMember(e) => format!(
            "account {} is not that of an active member; send from the member's registered account",
            e.caller
        ),
        RegistryError::RegistryKeyMissing(_) => "the card's account or network key is zero".into(),
        RegistryError::RegistryNameMalformed(_) => {
            "the card's name must be 1 to 64 bytes of UTF-8 without control characters".into()
        }
        RegistryError::RegistryFull(_) => "the consortium has assigned all 255 member identifiers".into(),
        RegistryError::RegistryLastValidator(_) => {
            "this is the last active validator; the chain would stand still".into()
        }
        RegistryError::RegistryMemberUnknown(e) => unknown_member(e.dcId),
        RegistryError::RegistryStandingUnchangeable(_) => {
            "the member already has this standing, or was removed for good".into()
        }
        RegistryError::RegistryAlreadyInitialised(_) | RegistryError::RegistryNotSystem(_) => {
            "the registry is set up once, at genesis".into()
        }
        RegistryError::RegistryNotGovernance(_) => {
            "members are admitted and removed by ballot only; open one".into()
        }
        RegistryError::BlobNotWritten(_)
        | RegistryError::CloneArgumentsTooLong(_)
        | RegistryError::Create2EmptyBytecode(_)
        | RegistryError::FailedDeployment(_)
        | RegistryError::InsufficientBalance(_) => {
            "the member's contracts could not be created; send the transaction with more gas".into()
        }
    }
}

fn field(name: &B256) -> String {
    let name = String::from_utf8_lossy(name.as_slice());
    format!("the field '{}' has a value that the contract does not allow", name.trim_end_matches('\0'))
}

fn unknown_member(dc_id: u32) -> String {
    format!("there is no member {dc_id}; `hansa member list` shows all")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{DataStore, Sharing};

    #[test]
    fn an_explanation_carries_the_errors_values() {
        let taken = DataStore::DataStoreNumberTaken { number: 42 }.abi_encode();
        assert!(explain_revert(&taken).contains("42"));
        let mut name = B256::ZERO;
        name[..10].copy_from_slice(b"wrappedKey");
        let text = explain_revert(&Sharing::SharingFieldOutOfRange { field: name }.abi_encode());
        assert!(text.contains("'wrappedKey'"), "{text}");
        assert!(explain_revert(&Revert::from("no").abi_encode()).contains("no"));
    }

    #[test]
    fn every_prefix_of_an_error_is_explained_without_panic() {
        let whole = Sharing::SharingNonceOutOfOrder { nonce: 1, expected: 2 }.abi_encode();
        for end in 0..=whole.len() {
            assert!(!explain_revert(&whole[..end]).is_empty());
        }
    }

    #[test]
    fn reasons_round_trip() {
        let reasons: Vec<_> = (0..=u8::MAX).filter_map(RefusalReason::from_code).collect();
        assert_eq!(
            reasons.iter().map(|reason| reason.code()).collect::<Vec<_>>(),
            (1..=11).collect::<Vec<_>>()
        );
    }
}
