//! The group key outlives its shares: it is reshared every epoch.

use std::time::Duration;

use hansa_proof::first_leader;
use hansa_types::Block;

use super::world::{GOOD_LINK, Shape, World, simulate};
use crate::{
    Seat,
    block::ChainBlock,
    config::Timing,
    genesis,
    types::{EpochInfo, Payload},
};
use commonware_consensus::{CertifiableBlock as _, types::View};
use commonware_glue::dkg::{ReshareBlock as _, types::EpochOutcome};
use commonware_p2p::simulated::Link;
use commonware_runtime::{Clock as _, Storage as _};

const EPOCH_BLOCKS: u64 = 24;

/// The next epoch as announced in the last block of an epoch.
fn announced(world: &World, epoch: u64) -> EpochInfo {
    let epoch_blocks = world.genesis.limits.epoch_blocks;
    let last: Block = world.nodes[&0].ledger.block((epoch + 1) * epoch_blocks - 1).unwrap().unwrap();
    match ChainBlock::new(last).unwrap().payload() {
        Some(Payload::EpochInfo(info)) => info,
        _ => panic!("the last block of epoch {epoch} announces nothing"),
    }
}

#[test]
fn shares_change_and_the_group_key_stays() {
    let shape = Shape { founders: 5, followers: 1, epoch_blocks: EPOCH_BLOCKS, seed: 3 };
    simulate(shape, |world| async {
        let mut world = world;
        for index in 0..6 {
            world.start(index).await;
        }
        world.reach(4 * EPOCH_BLOCKS + 2).await;
        world.agreed();
        let first = genesis::first_epoch(&world.genesis).unwrap();
        let epochs: Vec<_> = (0..4).map(|epoch| announced(&world, epoch)).collect();
        let fresh = epochs.iter().filter(|info| info.outcome == EpochOutcome::Success).count();
        assert!(fresh >= 2, "only {fresh} of 4 ceremonies succeeded");
        for info in &epochs {
            assert_eq!(info.output.public().public(), first.output.public().public());
            assert_eq!(info.output.players(), first.output.players());
            if info.outcome == EpochOutcome::Success {
                assert_ne!(info.output.public(), first.output.public(), "the shares are the old ones");
            }
        }
        ((), world)
    });
}

/// Nodes lose messages of an epoch that they have not entered, so its first leader waits.
#[test]
fn an_epoch_begins_with_a_pause() {
    let shape = Shape { founders: 4, followers: 0, epoch_blocks: 8, seed: 5 };
    simulate(shape, |world| async {
        let mut world = world;
        for index in 0..4 {
            world.start(index).await;
        }
        let timing = Timing::default();
        let mut pauses = Vec::new();
        for height in 1..=3 * 8 {
            let begun = world.context.current();
            world.reach(height).await;
            pauses.push((height, world.context.current().duration_since(begun).unwrap()));
        }
        let (first, others): (Vec<_>, Vec<_>) = pauses[8..].iter().partition(|(height, _)| height % 8 == 0);
        let least = others.iter().map(|(_, pause)| *pause).min().unwrap();
        for (height, pause) in first {
            assert!(pause >= least + timing.epoch_grace / 2, "no pause before block {height}: {pause:?}");
            assert!(pause < timing.leader_timeout, "a view was lost before block {height}: {pause:?}");
        }
        ((), world)
    });
}

/// Two of four nodes hear a validator so late that they form a quorum without it. It must not count as inactive.
#[test]
fn a_slow_validator_costs_an_epoch_no_view() {
    let shape = Shape { founders: 4, followers: 0, epoch_blocks: 8, seed: 5 };
    simulate(shape, |world| async {
        let mut world = world;
        let slow = Link { latency: Duration::from_millis(300), ..GOOD_LINK };
        for to in [0, 1] {
            world.relink(3, to, slow.clone()).await;
        }
        for index in 0..4 {
            world.start(index).await;
        }
        world.reach(1).await;
        for height in 2..=6 * 8 {
            let begun = world.context.current();
            world.reach(height).await;
            let pause = world.context.current().duration_since(begun).unwrap();
            assert!(
                pause < Timing::default().view_timeout,
                "a view was lost before block {height}: {pause:?}"
            );
        }
        ((), world)
    });
}

/// The epochs with a journal at node 0.
async fn journals(world: &World, epochs: u64) -> Vec<u64> {
    let mut kept = Vec::new();
    for epoch in 0..epochs {
        let partition = format!("{}-simplex_consensus_{epoch}", world.name(0));
        if world.context.scan(&partition).await.is_ok() {
            kept.push(epoch);
        }
    }
    kept
}

#[test]
fn short_epochs_leave_few_journals_and_begin_with_a_drawn_leader() {
    const BLOCKS: u64 = 8;
    const EPOCHS: u64 = 32;
    let shape = Shape { founders: 4, followers: 0, epoch_blocks: BLOCKS, seed: 11 };
    simulate(shape, |world| async {
        let mut world = world;
        for index in 0..4 {
            world.start(index).await;
        }
        world.reach(EPOCHS * BLOCKS).await;
        world.context.sleep(Duration::from_millis(50)).await;
        // A restart can need the journals of the last 128 blocks.
        let kept = journals(&world, EPOCHS + 4).await;
        assert!(*kept.first().unwrap() >= EPOCHS - 16 && *kept.last().unwrap() >= EPOCHS, "{kept:?}");

        let seats: Vec<_> = genesis::founders(&world.genesis).unwrap().into_iter().collect();
        let block = |height| world.nodes[&0].ledger.block(height).unwrap().unwrap();
        let (mut drawn, mut in_turn) = (0, 0);
        for epoch in 1..EPOCHS {
            let first = ChainBlock::new(block(epoch * BLOCKS)).unwrap();
            let context = first.context();
            if context.round.view() != View::new(1) {
                continue;
            }
            let before: Block = block(epoch * BLOCKS - 1);
            let leader = first_leader(epoch, before.header().mix_hash, 4) as usize;
            assert_eq!(seats[leader], context.leader, "the first leader of epoch {epoch}");
            drawn += 1;
            in_turn += usize::from(leader as u64 == (epoch + 1) % 4);
        }
        assert!(drawn > 20 && in_turn < drawn, "{in_turn} of {drawn} are those in turn");

        world.crash(0);
        world.start(0).await;
        world.reach((EPOCHS + 2) * BLOCKS).await;
        (world.agreed(), world)
    });
}

/// Its dealings are lost with its data, and dealers do not deal again to a player that has acknowledged. It gets a share of the epoch
/// after the next.
#[test]
fn a_wiped_validator_votes_again_with_the_epoch_that_it_is_told() {
    // Long enough for every dealer to lead in the second half of an epoch. Otherwise a resharing can fail, and all shares stay.
    const BLOCKS: u64 = 64;
    let shape = Shape { founders: 4, followers: 0, epoch_blocks: BLOCKS, seed: 9 };
    simulate(shape, |world| async {
        let mut world = world;
        for index in 0..4 {
            world.start(index).await;
        }
        world.reach(BLOCKS + 9).await;
        world.wipe(3);
        // An idle chain has a block each second.
        world.context.sleep(Duration::from_secs(6)).await;
        world.start(3).await;
        let height = world.height(0);
        world.reach(height + 2).await;
        let status = world.status(3);
        assert_eq!((status.epoch, status.seat), (1, Seat::ValidatorWithoutShare));
        let rejoins = status.rejoins.unwrap();
        assert_eq!((rejoins.epoch, rejoins.height), (3, 3 * BLOCKS));
        world.reach(rejoins.height + 2).await;
        let status = world.status(3);
        let outcome = announced(&world, 2).outcome;
        assert_eq!((status.seat, status.rejoins, outcome), (Seat::Validator, None, EpochOutcome::Success));
        assert_eq!(status.committee.len(), 4);
        (world.agreed(), world)
    });
}
