//! Between the registry's view of a member and the one every other crate uses.
//!
//! The registry bounds every field, but cannot check that a key is a point on its curve or that an endpoint can be
//! parsed: whoever uses those must expect nonsense.

use alloy_sol_types::SolCall;
use hansa_types::{ClusterId, DcId, Member, MemberCard, MemberStatus, NetworkKey, Role, SignedCard};

use crate::abi;

/// Why what the registry answered is no member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberConversionError {
    /// The answer is not the ABI encoding of `members()`'s result.
    #[error("the registry's list of members is malformed: {0}")]
    Malformed(String),
    /// The `dcId` is 0.
    #[error("a member of the registry has no dcId")]
    DcId,
    /// Neither participant nor validator.
    #[error("member {0} has the unknown role {1}")]
    Role(u32, u8),
    /// Neither active, suspended nor removed.
    #[error("member {0} has the unknown status {1}")]
    Status(u32, u8),
}

/// Reads one member.
///
/// # Errors
/// When an identifier, role or status has no meaning.
pub fn member_from_abi(member: abi::Member) -> Result<Member, MemberConversionError> {
    let dc_id = DcId::new(member.dcId).ok_or(MemberConversionError::DcId)?;
    let role = match member.role {
        1 => Role::Participant,
        2 => Role::Validator,
        other => return Err(MemberConversionError::Role(member.dcId, other)),
    };
    let status = match member.status {
        1 => MemberStatus::Active,
        2 => MemberStatus::Suspended,
        3 => MemberStatus::Removed,
        other => return Err(MemberConversionError::Status(member.dcId, other)),
    };
    let card = card_from_abi(member.card);
    Ok(Member {
        dc_id,
        card,
        role,
        status,
        data_store: member.dataStore,
        access_control: member.accessControl,
    })
}

/// Reads the bytes that `members()` returned.
///
/// # Errors
/// When they are not its encoding, or a member in it is malformed.
pub fn members_from_return(bytes: &[u8]) -> Result<Vec<Member>, MemberConversionError> {
    let members = abi::ConsortiumRegistry::membersCall::abi_decode_returns(bytes)
        .map_err(|e| MemberConversionError::Malformed(e.to_string()))?;
    members.into_iter().map(member_from_abi).collect()
}

/// The card as the registry has it.
pub fn card_from_types(card: &MemberCard) -> abi::Card {
    abi::Card {
        name: card.name.clone(),
        cluster: card.cluster.0,
        account: card.account,
        networkKey: card.network_key.0,
        encryptionKey: card.encryption_key.clone(),
        consensusEndpoint: card.consensus_endpoint.clone(),
        swarmEndpoint: card.swarm_endpoint.clone(),
    }
}

/// The card as every other crate has it.
pub fn card_from_abi(card: abi::Card) -> MemberCard {
    MemberCard {
        name: card.name,
        cluster: ClusterId(card.cluster),
        account: card.account,
        network_key: NetworkKey(card.networkKey),
        encryption_key: card.encryptionKey,
        consensus_endpoint: card.consensusEndpoint,
        swarm_endpoint: card.swarmEndpoint,
    }
}

/// A signed card as the contracts take it.
pub fn signed_card_from_types(signed: &SignedCard) -> abi::SignedCard {
    abi::SignedCard {
        card: card_from_types(&signed.card),
        accountSignature: signed.account_signature.clone(),
        networkSignature: signed.network_signature.clone(),
    }
}

/// A signed card as every other crate has it.
pub fn signed_card_from_abi(signed: abi::SignedCard) -> SignedCard {
    SignedCard {
        card: card_from_abi(signed.card),
        account_signature: signed.accountSignature,
        network_signature: signed.networkSignature,
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, Bytes};
    use alloy_sol_types::SolValue;

    use super::*;

    fn sample() -> Member {
        Member {
            dc_id: DcId::new(7).unwrap(),
            card: MemberCard {
                name: "Häfen Nord".into(),
                cluster: ClusterId(3),
                account: Address::repeat_byte(1),
                network_key: NetworkKey([2; 32].into()),
                encryption_key: Bytes::from(vec![3; 1216]),
                consensus_endpoint: "10.0.0.1:9000".into(),
                swarm_endpoint: "/ip4/10.0.0.1/tcp/4001".into(),
            },
            role: Role::Validator,
            status: MemberStatus::Suspended,
            data_store: Address::repeat_byte(4),
            access_control: Address::repeat_byte(5),
        }
    }

    fn on_chain(member: &Member) -> abi::Member {
        abi::Member {
            dcId: member.dc_id.value(),
            card: card_from_types(&member.card),
            role: 2,
            status: 2,
            dataStore: member.data_store,
            accessControl: member.access_control,
        }
    }

    #[test]
    fn the_registrys_answer_becomes_members() {
        let member = sample();
        let answer = vec![on_chain(&member)].abi_encode();
        assert_eq!(members_from_return(&answer), Ok(vec![member]));
    }

    #[test]
    fn truncated_answers_and_unknown_numbers_are_refused() {
        let answer = vec![on_chain(&sample())].abi_encode();
        for end in (0..answer.len()).step_by(31) {
            assert!(members_from_return(&answer[..end]).is_err(), "{end}");
        }
        let changed = |change: fn(&mut abi::Member)| {
            let mut member = on_chain(&sample());
            change(&mut member);
            member_from_abi(member)
        };
        assert_eq!(changed(|m| m.dcId = 0), Err(MemberConversionError::DcId));
        assert_eq!(changed(|m| m.role = 3), Err(MemberConversionError::Role(7, 3)));
        assert_eq!(changed(|m| m.status = 0), Err(MemberConversionError::Status(7, 0)));
    }
}
