//! Ballots in the interface's words, and the consequences of one before it is opened.
//!
//! The governance contract decides; nothing here is a rule of the chain.

use alloy_primitives::{B256, Bytes, U256};
use alloy_sol_types::{SolError as _, SolValue as _};
use hansa_api::{
    Allowance, Ballot, BallotPreview, BallotState, Code, Limit, Motion, Problem, QuotaStatus, Tally,
    ValidatorSet,
};
use hansa_contracts::{abi, signed_card_from_abi, signed_card_from_types};
use hansa_envelope::check_card;
use hansa_ledger::{Quotas, Usage};
use hansa_ports::ChainError;
use hansa_sharing::SharingError;
use hansa_types::{DcId, Member, MemberStatus, NetworkKey, Role, SignedCard};

type Contract = abi::Governance::GovernanceCalls;

/// The call data for the governance contract that opens a ballot.
///
/// # Errors
/// [`Code::BadCard`] for a card that nobody could use, or that its own keys did not sign.
pub(crate) fn opening(motion: &Motion) -> Result<Bytes, Problem> {
    use abi::Governance as calls;
    let call = match motion {
        Motion::Join { card } => Contract::openJoin(calls::openJoinCall { card: checked(card)? }),
        Motion::Standing { member, standing } => Contract::openStanding(calls::openStandingCall {
            dcId: member.value(),
            status: standing_to_abi(*standing),
        }),
        Motion::Reset { member, card } => {
            Contract::openReset(calls::openResetCall { dcId: member.value(), card: checked(card)? })
        }
        Motion::Seat { member, role } => {
            Contract::openSeat(calls::openSeatCall { dcId: member.value(), role: role_to_abi(*role) })
        }
        Motion::Limit { limit, value } => Contract::openParameter(calls::openParameterCall {
            parameter: parameter(*limit),
            value: U256::from(*value),
        }),
        Motion::Upgrade { version, digest, height } => Contract::openUpgrade(calls::openUpgradeCall {
            version: *version,
            digest: *digest,
            height: *height,
        }),
        Motion::WithdrawUpgrade {} => {
            Contract::openUpgrade(calls::openUpgradeCall { version: 0, digest: B256::ZERO, height: 0 })
        }
    };
    Ok(encode(&call))
}

/// The contracts' `Parameter`.
const fn parameter(limit: Limit) -> u8 {
    match limit {
        Limit::BallotSeconds => 1,
        Limit::MemberBytesPerSecond => 2,
        Limit::MemberSlotsPerSecond => 3,
    }
}

const LIMITS: [Limit; 3] = [Limit::BallotSeconds, Limit::MemberBytesPerSecond, Limit::MemberSlotsPerSecond];

fn encode(call: &Contract) -> Bytes {
    use alloy_sol_types::SolInterface as _;
    call.abi_encode().into()
}

fn checked(card: &SignedCard) -> Result<abi::SignedCard, Problem> {
    let bad = |reason: String| Problem::new(Code::BadCard, reason);
    card.card.check().map_err(|error| bad(error.to_string()))?;
    check_card(card).map_err(|error| bad(error.to_string()))?;
    Ok(signed_card_from_types(card))
}

fn standing_to_abi(standing: MemberStatus) -> u8 {
    match standing {
        MemberStatus::Active => 1,
        MemberStatus::Suspended => 2,
        MemberStatus::Removed => 3,
    }
}

fn standing_from_abi(value: u8) -> Option<MemberStatus> {
    match value {
        1 => Some(MemberStatus::Active),
        2 => Some(MemberStatus::Suspended),
        3 => Some(MemberStatus::Removed),
        _ => None,
    }
}

fn role_to_abi(role: Role) -> u8 {
    match role {
        Role::Participant => 1,
        Role::Validator => 2,
    }
}

fn role_from_abi(value: u8) -> Option<Role> {
    match value {
        1 => Some(Role::Participant),
        2 => Some(Role::Validator),
        _ => None,
    }
}

/// The motion of a ballot of `kind` (a `BallotKind`) on `subject`; `None` where they make none.
fn motion(kind: u8, subject: u32, action: &[u8]) -> Option<Motion> {
    let member = DcId::new(subject);
    Some(match kind {
        1 => Motion::Join { card: signed_card(action)? },
        2 => {
            let standing = standing_from_abi(small(action)?)?;
            Motion::Standing { member: member?, standing }
        }
        3 => Motion::Reset { member: member?, card: signed_card(action)? },
        4 => Motion::Seat { member: member?, role: role_from_abi(small(action)?)? },
        5 => {
            let (number, value) = <(U256, U256)>::abi_decode_params(action).ok()?;
            let limit = LIMITS.into_iter().find(|limit| number == U256::from(parameter(*limit)))?;
            Motion::Limit { limit, value: value.try_into().ok()? }
        }
        6 => match <(u32, B256, u64)>::abi_decode_params(action).ok()? {
            (0, ..) => Motion::WithdrawUpgrade {},
            (version, digest, height) => Motion::Upgrade { version, digest, height },
        },
        _ => return None,
    })
}

fn signed_card(action: &[u8]) -> Option<SignedCard> {
    abi::SignedCard::abi_decode(action).ok().map(signed_card_from_abi)
}

fn small(action: &[u8]) -> Option<u8> {
    U256::abi_decode(action).ok()?.try_into().ok()
}

/// The members' quota in the interface's words.
pub(crate) fn quota(quotas: &Quotas) -> QuotaStatus {
    let Quotas { quota, time, members } = quotas;
    let limited = |rate: u64, left: u64| (rate != 0).then_some(left);
    let allowance = |(member, usage): &(DcId, Usage)| {
        let (bytes, slots) = quota.left(*usage, *time);
        Allowance {
            member: *member,
            bytes_left: limited(quota.bytes_per_second, bytes),
            slots_left: limited(quota.slots_per_second, slots),
            free_at: (bytes == 0 || slots == 0).then(|| quota.free_at(*usage)),
        }
    };
    QuotaStatus {
        bytes_per_second: quota.bytes_per_second,
        slots_per_second: quota.slots_per_second,
        members: members.iter().map(allowance).collect(),
    }
}

/// A ballot in the interface's words.
pub(crate) fn described(ballot: abi::Ballot, members: &[Member]) -> Result<Ballot, Problem> {
    let unreadable = |problem: &str| {
        Problem::new(Code::Internal, format!("the governance contract's ballot {} has {problem}", ballot.id))
    };
    let state = match ballot.state {
        1 => BallotState::Open,
        2 => BallotState::Executed,
        3 => BallotState::Rejected,
        4 => BallotState::Expired,
        other => return Err(unreadable(&format!("the unknown state {other}"))),
    };
    let opened_by = DcId::new(ballot.openedBy)
        .ok_or_else(|| Problem::new(Code::UnknownBallot, format!("there is no ballot {}", ballot.id)))?;
    let motion = motion(ballot.kind, ballot.subject, &ballot.action).ok_or_else(|| {
        unreadable(&format!("an action of kind {} that this version of Hansa cannot read", ballot.kind))
    })?;
    let has_voted = |member: &&Member| ballot.voted.bit(member.dc_id.value() as usize);
    Ok(Ballot {
        id: ballot.id,
        name: name(&motion, members),
        admitted: matches!(motion, Motion::Join { .. }).then(|| DcId::new(ballot.subject)).flatten(),
        motion,
        opened_by,
        opened_at: ballot.openedAt,
        closes_at: ballot.deadline,
        state,
        tally: Tally { in_favour: ballot.inFavour, against: ballot.against, electorate: ballot.electorate },
        voted: members.iter().filter(has_voted).map(|member| member.dc_id).collect(),
    })
}

fn name(motion: &Motion, members: &[Member]) -> String {
    match motion {
        Motion::Join { card } => card.card.name.clone(),
        Motion::Standing { member, .. } | Motion::Reset { member, .. } | Motion::Seat { member, .. } => {
            let found = members.iter().find(|other| other.dc_id == *member);
            found.map_or_else(String::new, |found| found.card.name.clone())
        }
        Motion::Limit { .. } | Motion::Upgrade { .. } | Motion::WithdrawUpgrade {} => String::new(),
    }
}

/// The consequences of a motion, judged by the registry and the committee in force. `refused` is the reason of the contract's own refusal.
pub(crate) fn preview(
    motion: Motion,
    members: &[Member],
    committee: &[NetworkKey],
    refused: Option<String>,
) -> BallotPreview {
    let mut after = members.to_vec();
    match &motion {
        Motion::Standing { member, standing } => {
            after
                .iter_mut()
                .filter(|other| other.dc_id == *member)
                .for_each(|other| other.status = *standing);
        }
        Motion::Seat { member, role } => {
            after.iter_mut().filter(|other| other.dc_id == *member).for_each(|other| other.role = *role);
        }
        _ => {}
    }
    let electors = members.iter().filter(|member| member.status == MemberStatus::Active).count();
    let electorate = u32::try_from(electors).expect("invariant: the registry has at most 255 members");
    BallotPreview {
        name: name(&motion, members),
        motion,
        electorate,
        needed: electorate / 2 + 1,
        before: validators(members),
        after: validators(&after),
        committee: sitting(members, committee),
        refused,
    }
}

fn validators(members: &[Member]) -> ValidatorSet {
    let sits = |member: &&Member| member.role == Role::Validator && member.status == MemberStatus::Active;
    set_of(members.iter().filter(sits).map(|member| member.card.name.clone()).collect())
}

/// The committee in force. A seat whose key was replaced has the key as its name.
fn sitting(members: &[Member], committee: &[NetworkKey]) -> ValidatorSet {
    let name = |key: &NetworkKey| {
        let holder = members.iter().find(|member| member.card.network_key == *key);
        holder.map_or_else(|| format!("replaced key {key}"), |holder| holder.card.name.clone())
    };
    set_of(committee.iter().map(name).collect())
}

fn set_of(names: Vec<String>) -> ValidatorSet {
    let quorum = quorum(names.len());
    ValidatorSet { names, quorum }
}

/// Votes that a block needs of so many validators: all but a third, rounded down, of one less.
fn quorum(validators: usize) -> u32 {
    let validators = u32::try_from(validators).expect("invariant: the registry has at most 255 members");
    validators - validators.saturating_sub(1) / 3
}

/// The public problem for a refusal of the governance contract.
pub(crate) fn problem(error: ChainError) -> Problem {
    let ChainError::Reverted { data, explanation } = &error else {
        return SharingError::from(error).problem();
    };
    let selector = data.get(..4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).unwrap_or_default();
    let code = match selector {
        abi::Governance::GovernanceBallotUnknown::SELECTOR => Code::UnknownBallot,
        abi::Governance::GovernanceBallotClosed::SELECTOR => Code::BallotClosed,
        abi::Governance::GovernanceAlreadyVoted::SELECTOR => Code::AlreadyVoted,
        abi::Governance::GovernanceNotMember::SELECTOR => Code::NotMember,
        abi::ConsortiumRegistry::RegistryMemberUnknown::SELECTOR => Code::UnknownMember,
        abi::ConsortiumRegistry::RegistryStandingUnchangeable::SELECTOR
        | abi::ConsortiumRegistry::RegistryRoleUnchangeable::SELECTOR
        | abi::ConsortiumRegistry::RegistryLastValidator::SELECTOR
        | abi::ConsortiumRegistry::RegistryCommitteeWithoutQuorum::SELECTOR
        | abi::Governance::GovernanceParameterOutOfRange::SELECTOR
        | abi::Governance::GovernanceVersionNotHigher::SELECTOR
        | abi::Governance::GovernanceHeightTooNear::SELECTOR
        | abi::Governance::GovernanceTooFewReady::SELECTOR
        | abi::Governance::GovernanceNothingPending::SELECTOR
        | abi::Governance::GovernanceTooManyOpen::SELECTOR => Code::MotionRefused,
        _ => Code::TransactionFailed,
    };
    Problem::new(code, explanation.clone())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;
    use hansa_types::{ClusterId, MemberCard};

    use super::*;

    fn dc(value: u32) -> DcId {
        DcId::new(value).unwrap()
    }

    fn member(id: u32) -> Member {
        let byte = id as u8;
        Member {
            dc_id: dc(id),
            card: MemberCard {
                name: format!("member {id}"),
                cluster: ClusterId(1),
                account: Address::repeat_byte(byte),
                network_key: NetworkKey(B256::repeat_byte(byte)),
                encryption_key: Default::default(),
                consensus_endpoint: String::new(),
                swarm_endpoint: String::new(),
            },
            role: Role::Validator,
            status: MemberStatus::Active,
            data_store: Address::ZERO,
            access_control: Address::ZERO,
        }
    }

    fn remove(id: u32) -> Motion {
        Motion::Standing { member: dc(id), standing: MemberStatus::Removed }
    }

    #[test]
    fn a_preview_names_the_validators_before_and_after_and_the_seats_in_force() {
        let mut members: Vec<Member> = (1..=4).map(member).collect();
        let committee: Vec<NetworkKey> = members.iter().map(|member| member.card.network_key).collect();
        let first = preview(remove(4), &members, &committee, None);
        assert_eq!((first.electorate, first.needed, first.name.as_str()), (4, 3, "member 4"));
        assert_eq!((first.before.names.len(), first.before.quorum), (4, 3));
        assert_eq!((first.after.names.len(), first.after.quorum), (3, 3));
        assert_eq!((first.committee.names.len(), first.refused), (4, None));

        let unseat = Motion::Seat { member: dc(2), role: Role::Participant };
        assert_eq!(preview(unseat, &members, &committee, None).after.names.len(), 3);
        let told = preview(remove(9), &members, &committee, Some("no such member".into()));
        assert_eq!(told.refused.as_deref(), Some("no such member"));

        members[1].card.network_key = NetworkKey(B256::repeat_byte(0xee));
        let replaced = preview(remove(4), &members, &committee, None).committee;
        assert!(replaced.names[1].starts_with("replaced key 0x0202"), "{replaced:?}");
    }

    #[test]
    fn quorums_are_those_of_byzantine_agreement() {
        let quorums: Vec<u32> = [1, 2, 3, 4, 5, 6, 7, 10].map(quorum).into();
        assert_eq!(quorums, [1, 2, 3, 3, 4, 5, 5, 7]);
    }

    #[test]
    fn a_ballot_says_its_motion_and_who_has_voted() {
        let members: Vec<Member> = (1..=4).map(member).collect();
        let ballot = abi::Ballot {
            id: 3,
            kind: 2,
            state: 1,
            openedBy: 1,
            subject: 4,
            openedAt: 5,
            deadline: 9,
            electorate: 4,
            inFavour: 1,
            against: 1,
            voted: U256::from(0b1010),
            action: U256::from(3).abi_encode().into(),
        };
        let found = described(ballot.clone(), &members).unwrap();
        assert_eq!((found.motion, found.name.as_str()), (remove(4), "member 4"));
        assert_eq!((found.voted, found.state), (vec![dc(1), dc(3)], BallotState::Open));
        let action = |value: u64| Bytes::from(U256::from(value).abi_encode());
        for (kind, state, action) in
            [(9, 1, action(3)), (2, 9, action(3)), (2, 1, action(9)), (1, 1, action(3)), (6, 1, Bytes::new())]
        {
            let odd = abi::Ballot { kind, state, action, ..ballot.clone() };
            assert_eq!(described(odd, &members).unwrap_err().code, Code::Internal);
        }
    }

    /// Every motion goes to the contract and comes back from it as the same.
    #[test]
    fn motions_survive_the_contracts_encoding() {
        let keys = hansa_envelope::MemberKeys::generate().unwrap();
        let swarm = "/ip4/127.0.0.1/tcp/4001".to_owned();
        let card = keys.card("acme".into(), ClusterId(1), "127.0.0.1:4000".into(), swarm).unwrap();
        let motions = [
            (1, 0, Motion::Join { card: card.clone() }, card_action(&card)),
            (2, 4, remove(4), U256::from(3).abi_encode()),
            (3, 4, Motion::Reset { member: dc(4), card: card.clone() }, card_action(&card)),
            (4, 4, Motion::Seat { member: dc(4), role: Role::Validator }, U256::from(2).abi_encode()),
            (
                5,
                0,
                Motion::Limit { limit: Limit::BallotSeconds, value: 60 },
                (U256::from(1), U256::from(60)).abi_encode_params(),
            ),
            (
                5,
                0,
                Motion::Limit { limit: Limit::MemberBytesPerSecond, value: 1_024 },
                (U256::from(2), U256::from(1_024)).abi_encode_params(),
            ),
            (
                5,
                0,
                Motion::Limit { limit: Limit::MemberSlotsPerSecond, value: 0 },
                (U256::from(3), U256::from(0)).abi_encode_params(),
            ),
            (
                6,
                0,
                Motion::Upgrade { version: 2, digest: B256::repeat_byte(7), height: 99 },
                (2_u32, B256::repeat_byte(7), 99_u64).abi_encode_params(),
            ),
            (6, 0, Motion::WithdrawUpgrade {}, (0_u32, B256::ZERO, 0_u64).abi_encode_params()),
        ];
        for (kind, subject, expected, action) in motions {
            assert!(opening(&expected).unwrap().len() >= 4);
            assert_eq!(motion(kind, subject, &action), Some(expected));
        }
        let mut forged = card;
        forged.card.account = Address::repeat_byte(9);
        assert_eq!(opening(&Motion::Join { card: forged }).unwrap_err().code, Code::BadCard);
    }

    fn card_action(card: &SignedCard) -> Vec<u8> {
        signed_card_from_types(card).abi_encode()
    }
}
