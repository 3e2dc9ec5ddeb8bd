//! Ballots in the interface's words, and the consequences of one before it is opened.
//!
//! The governance contract decides; nothing here is a rule of the chain. The one exception protects the chain from its own members'
//! haste: a node opens no ballot after which the committee in force could not agree on blocks any more.

use alloy_sol_types::SolError as _;
use hansa_contracts::{abi, card_from_abi, card_from_types};
use hansa_sharing::{ChainError, SharingError};
use hansa_types::{
    DcId, Member, MemberStatus, NetworkKey, Role,
    api::{Ballot, BallotPreview, BallotState, Code, Motion, Problem, Tally, ValidatorSet},
};

/// The call of the governance contract that opens a ballot.
pub(crate) enum Call {
    Join(Box<abi::Governance::openJoinCall>),
    Standing(abi::Governance::openStandingCall),
}

impl Call {
    /// # Errors
    /// [`Code::BadCard`] for a card that nobody could use.
    pub(crate) fn of(motion: &Motion) -> Result<Self, Problem> {
        match motion {
            Motion::Join { card } => {
                card.check().map_err(|error| Problem::new(Code::BadCard, error.to_string()))?;
                Ok(Self::Join(Box::new(abi::Governance::openJoinCall { card: card_from_types(card) })))
            }
            Motion::Standing { member, standing } => {
                let status = match standing {
                    MemberStatus::Active => 1,
                    MemberStatus::Suspended => 2,
                    MemberStatus::Removed => 3,
                };
                Ok(Self::Standing(abi::Governance::openStandingCall { dcId: member.value(), status }))
            }
        }
    }
}

/// A ballot in the interface's words.
pub(crate) fn described(ballot: abi::Ballot, members: &[Member]) -> Result<Ballot, Problem> {
    let unreadable = |what: &str| {
        Problem::new(Code::Internal, format!("the governance contract's ballot {} has {what}", ballot.id))
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
    let subject = DcId::new(ballot.subject);
    let (motion, admitted) = match (ballot.kind, subject) {
        (1, _) => (Motion::Join { card: card_from_abi(ballot.card) }, subject),
        (2, Some(member)) => {
            let standing = match ballot.standing {
                1 => MemberStatus::Active,
                2 => MemberStatus::Suspended,
                3 => MemberStatus::Removed,
                other => return Err(unreadable(&format!("the unknown standing {other}"))),
            };
            (Motion::Standing { member, standing }, None)
        }
        (kind, _) => return Err(unreadable(&format!("the unknown kind {kind}"))),
    };
    let has_voted = |member: &&Member| ballot.voted.bit(member.dc_id.value() as usize);
    Ok(Ballot {
        id: ballot.id,
        name: name(&motion, members),
        motion,
        opened_by,
        opened_at: ballot.openedAt,
        closes_at: ballot.deadline,
        state,
        tally: Tally { in_favour: ballot.inFavour, against: ballot.against, electorate: ballot.electorate },
        voted: members.iter().filter(has_voted).map(|member| member.dc_id).collect(),
        admitted,
    })
}

fn name(motion: &Motion, members: &[Member]) -> String {
    match motion {
        Motion::Join { card } => card.name.clone(),
        Motion::Standing { member, .. } => {
            let found = members.iter().find(|other| other.dc_id == *member);
            found.map_or_else(String::new, |found| found.card.name.clone())
        }
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
    if let Motion::Standing { member, standing } = &motion {
        after.iter_mut().filter(|other| other.dc_id == *member).for_each(|other| other.status = *standing);
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
        refused: refused.or_else(|| stalled(&after, committee)),
    }
}

fn validators(members: &[Member]) -> ValidatorSet {
    let sitting = members
        .iter()
        .filter(|member| member.role == Role::Validator && member.status == MemberStatus::Active);
    let names: Vec<String> = sitting.map(|member| member.card.name.clone()).collect();
    let quorum = quorum(names.len());
    ValidatorSet { names, quorum }
}

/// Why the committee in force could not go on with these members. A removed member keeps its seat until the next committees have
/// formed, up to three epochs, though nobody connects to it any more.
fn stalled(members: &[Member], committee: &[NetworkKey]) -> Option<String> {
    let removed = |key: &NetworkKey| {
        let holder = members.iter().find(|member| member.card.network_key == *key);
        holder.is_none_or(|holder| holder.status == MemberStatus::Removed)
    };
    let seats = committee.len();
    let left = committee.iter().filter(|key| !removed(key)).count();
    let quorum = quorum(seats);
    (left < quorum as usize).then(|| {
        format!(
            "the committee in force has {seats} seats and needs {quorum} of them for a block; only {left} would be left. Suspend the member first: it stays connected until its seat ends, within three epochs; then remove it"
        )
    })
}

/// Votes that a block needs of so many validators: all but a third, rounded down, of one less.
fn quorum(validators: usize) -> u32 {
    let validators = u32::try_from(validators).expect("invariant: the registry has at most 255 members");
    validators - validators.saturating_sub(1) / 3
}

/// Turns what the chain said about a ballot into a public problem.
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
        | abi::ConsortiumRegistry::RegistryLastValidator::SELECTOR
        | abi::Governance::GovernanceTooManyOpen::SELECTOR => Code::MotionRefused,
        _ => Code::TransactionFailed,
    };
    Problem::new(code, explanation.clone())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, U256};
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
    fn a_preview_names_who_is_left_and_refuses_what_stops_the_chain() {
        let mut members: Vec<Member> = (1..=4).map(member).collect();
        let committee: Vec<NetworkKey> = members.iter().map(|member| member.card.network_key).collect();
        let first = preview(remove(4), &members, &committee, None);
        assert_eq!((first.electorate, first.needed, first.name.as_str()), (4, 3, "member 4"));
        assert_eq!((first.before.names.len(), first.before.quorum), (4, 3));
        assert_eq!((first.after.names.len(), first.after.quorum), (3, 3));
        assert_eq!(first.refused, None);

        // The committee in force still has four seats when the second is asked for.
        members[3].status = MemberStatus::Removed;
        let second = preview(remove(3), &members, &committee, None);
        assert!(second.refused.is_some_and(|why| why.contains("only 2 would be left")));
        let suspend = Motion::Standing { member: dc(3), standing: MemberStatus::Suspended };
        assert_eq!(
            preview(suspend, &members, &committee, None).refused,
            None,
            "a suspended member stays connected"
        );
        let later = preview(remove(3), &members, &committee[..3], None);
        assert!(later.refused.is_some(), "three seats need three");

        let told = preview(remove(9), &members, &committee, Some("no such member".into()));
        assert_eq!(told.refused.as_deref(), Some("no such member"));
    }

    #[test]
    fn quorums_are_those_of_byzantine_agreement() {
        let quorums: Vec<u32> = [1, 2, 3, 4, 5, 6, 7, 10].map(quorum).into();
        assert_eq!(quorums, [1, 2, 3, 3, 4, 5, 5, 7]);
    }

    #[test]
    fn a_ballot_on_standing_names_whom_and_what() {
        let members: Vec<Member> = (1..=4).map(member).collect();
        let ballot = abi::Ballot {
            id: 3,
            kind: 2,
            state: 1,
            openedBy: 1,
            subject: 4,
            standing: 3,
            openedAt: 5,
            deadline: 9,
            electorate: 4,
            inFavour: 1,
            against: 1,
            voted: U256::from(0b1010),
            ..Default::default()
        };
        let found = described(ballot.clone(), &members).unwrap();
        assert_eq!((found.motion, found.name.as_str()), (remove(4), "member 4"));
        assert_eq!((found.voted, found.state), (vec![dc(1), dc(3)], BallotState::Open));
        for (kind, state, standing) in [(9, 1, 3), (2, 9, 3), (2, 1, 9)] {
            let odd = abi::Ballot { kind, state, standing, ..ballot.clone() };
            assert_eq!(described(odd, &members).unwrap_err().code, Code::Internal);
        }
    }
}
