//! Which members keep replicas of an object: rendezvous hashing, the same answer everywhere without talking.
//!
//! A member that joins or leaves moves only the replicas that concern it. The owner always keeps its own.

use alloy_primitives::{U256, keccak256};
use hansa_types::{DcId, Member, MemberStatus, ObjectId};

/// Members besides the owner that keep a replica, where there are so many.
pub const REPLICAS_OTHER: usize = 2;

/// The owner and the first [`REPLICAS_OTHER`] other active members of [`rank`]; the owner first.
pub fn allocate(object: ObjectId, members: &[Member]) -> Vec<DcId> {
    let chosen = rank(object, members).into_iter().take(REPLICAS_OTHER);
    std::iter::once(object.owner).chain(chosen).collect()
}

/// The active members besides the owner in the order in which they keep a replica: by keccak-256 of
/// `owner (4) ‖ number (8) ‖ dcId (4)`, integers big endian, the highest first. For one that is away the next one keeps it
/// meanwhile.
pub(crate) fn rank(object: ObjectId, members: &[Member]) -> Vec<DcId> {
    let mut others: Vec<(U256, DcId)> = members
        .iter()
        .filter(|member| member.status == MemberStatus::Active && member.dc_id != object.owner)
        .map(|member| (weight(object, member.dc_id), member.dc_id))
        .collect();
    others.sort_unstable_by(|a, b| b.cmp(a));
    others.into_iter().map(|(_, dc_id)| dc_id).collect()
}

fn weight(object: ObjectId, member: DcId) -> U256 {
    let mut input = Vec::with_capacity(16);
    input.extend(object.owner.value().to_be_bytes());
    input.extend(object.number.to_be_bytes());
    input.extend(member.value().to_be_bytes());
    keccak256(input).into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use alloy_primitives::{Address, B256, Bytes};
    use hansa_types::{ClusterId, MemberCard, NetworkKey, Role};

    use super::*;

    fn member(id: u32) -> Member {
        Member {
            dc_id: DcId::new(id).unwrap(),
            card: MemberCard {
                name: id.to_string(),
                cluster: ClusterId(1),
                account: Address::ZERO,
                network_key: NetworkKey(B256::ZERO),
                encryption_key: Bytes::new(),
                consensus_endpoint: String::new(),
                swarm_endpoint: String::new(),
            },
            role: Role::Validator,
            status: MemberStatus::Active,
            data_store: Address::ZERO,
            access_control: Address::ZERO,
        }
    }

    fn object(number: u64) -> ObjectId {
        ObjectId { owner: DcId::new(1).unwrap(), number }
    }

    #[test]
    fn the_choice_is_pinned_and_begins_with_the_owner() {
        let members: Vec<_> = (1..=5).map(member).collect();
        let chosen: Vec<_> = (1..=4).map(|n| allocate(object(n), &members)).collect();
        let chosen: Vec<Vec<u32>> = chosen.iter().map(|c| c.iter().map(|id| id.value()).collect()).collect();
        assert_eq!(chosen, [[1, 2, 5], [1, 5, 4], [1, 2, 5], [1, 5, 4]]);
    }

    #[test]
    fn load_is_even_and_a_newcomer_takes_only_its_own_share() {
        let before: Vec<_> = (1..=5).map(member).collect();
        let after: Vec<_> = (1..=6).map(member).collect();
        let mut load = HashMap::<u32, u32>::new();
        let mut moved = 0;
        for number in 1..=3000 {
            let old = allocate(object(number), &before);
            let new = allocate(object(number), &after);
            old.iter().for_each(|id| *load.entry(id.value()).or_default() += 1);
            let gone = old.iter().filter(|id| !new.contains(id)).count();
            assert!(gone <= 1 && (gone == 0 || new.contains(&DcId::new(6).unwrap())), "{number}");
            moved += gone;
        }
        assert_eq!(load[&1], 3000);
        assert!((2..=5).all(|id| (1350..1650).contains(&load[&id])), "{load:?}");
        assert!((1050..1350).contains(&moved), "{moved}");
    }

    #[test]
    fn suspended_and_removed_members_get_nothing() {
        let mut members: Vec<_> = (1..=3).map(member).collect();
        members[1].status = MemberStatus::Suspended;
        members[2].status = MemberStatus::Removed;
        assert_eq!(allocate(object(1), &members), [DcId::new(1).unwrap()]);
    }
}
