//! The group key outlives its shares: it is reshared every epoch.

use std::time::Duration;

use hansa_types::Block;

use super::world::{GOOD_LINK, Shape, World, simulate};
use crate::{
    block::ChainBlock,
    config::Timing,
    genesis,
    types::{EpochInfo, Payload},
};
use commonware_glue::dkg::{ReshareBlock as _, types::EpochOutcome};
use commonware_p2p::simulated::Link;
use commonware_runtime::Clock as _;

const EPOCH_BLOCKS: u64 = 24;

/// What the last block of an epoch says about the next one.
fn announced(world: &World, epoch: u64) -> EpochInfo {
    let last: Block = world.nodes[&0].ledger.block((epoch + 1) * EPOCH_BLOCKS - 1).unwrap().unwrap();
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

/// Nodes lose what reaches them before they have entered an epoch, so its first leader waits for them.
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

/// Two of four nodes hear a validator so late that their quorum does without its vote; it is not absent for that.
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
