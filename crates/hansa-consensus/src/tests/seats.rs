//! Seats follow ballots: they are given and taken from the fourth epoch after, and end with the key that they were drawn for (A3, S4).

use std::time::Duration;

use alloy_sol_types::SolCall as _;
use hansa_contracts::abi::Governance;

use super::{
    releases::governs,
    world::{Shape, World, simulate},
};
use commonware_runtime::Clock as _;

use crate::Seat;

/// Long enough for every dealer to lead in the second half of an epoch.
const BLOCKS: u64 = 64;
/// The contracts' numbers of the roles.
const PARTICIPANT: u8 = 1;
const VALIDATOR: u8 = 2;

fn vote(id: u64) -> Vec<u8> {
    Governance::voteCall { id, support: true }.abi_encode()
}

async fn started(mut world: World, nodes: usize) -> World {
    world.timing.heartbeat = Duration::from_millis(200);
    for index in 0..nodes {
        world.start(index).await;
    }
    reaches(&world, 0, 3).await;
    world
}

/// Waits until one node has executed `height`.
async fn reaches(world: &World, index: usize, height: u64) {
    while world.height(index) < height {
        world.context.sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_member_loses_its_seat_by_ballot_and_gets_it_back() {
    let shape = Shape { founders: 5, followers: 0, epoch_blocks: BLOCKS, seed: 11 };
    simulate(shape, |world| async {
        let world = started(world, 5).await;
        let seat = |role| Governance::openSeatCall { dcId: 5, role }.abi_encode();
        governs(&world, vec![(0, 0, seat(PARTICIPANT)), (0, 1, vote(1)), (1, 0, vote(1)), (2, 0, vote(1))])
            .await;
        world.reach(BLOCKS + 2).await;
        governs(&world, vec![(0, 2, seat(VALIDATOR)), (0, 3, vote(2)), (1, 1, vote(2)), (2, 1, vote(2))])
            .await;
        let mut seats = Vec::new();
        for epoch in 3..=5 {
            world.reach(epoch * BLOCKS + 2).await;
            seats.push(world.status(0).committee.len());
        }
        assert_eq!(seats, [5, 4, 5]);
        // A share of the group key comes with the seat.
        world.reach(6 * BLOCKS + 2).await;
        assert_eq!(world.status(4).seat, Seat::Validator);
        world.agreed();
        ((), world)
    });
}

/// The fourth founder's keys leaked. The node with the new keys follows, and from the fourth epoch after the ballot the seat is the new key's.
#[test]
fn a_reset_gives_the_seat_to_the_new_key() {
    let shape = Shape { founders: 5, followers: 1, epoch_blocks: BLOCKS, seed: 12 };
    simulate(shape, |world| async {
        let world = started(world, 6).await;
        let card = world.organisations[5].signed_card();
        let reset = Governance::openResetCall { dcId: 4, card }.abi_encode();
        governs(&world, vec![(0, 0, reset), (0, 1, vote(1)), (1, 0, vote(1)), (2, 0, vote(1))]).await;
        let (old, new) = (world.organisations[3].card.network_key, world.organisations[5].card.network_key);
        let listed = world.nodes[&0].ledger.members();
        assert_eq!(listed[3].card.network_key, new);
        reaches(&world, 0, 4 * BLOCKS + 2).await;
        let committee = world.status(0).committee;
        assert!(committee.contains(&new) && !committee.contains(&old));
        reaches(&world, 5, 5 * BLOCKS + 2).await;
        assert_eq!(world.status(5).seat, Seat::Validator);
        ((), world)
    });
}
