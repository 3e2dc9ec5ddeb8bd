//! The group key outlives its shares: it is reshared every epoch.

use hansa_types::Block;

use super::world::{Shape, World, simulate};
use crate::{
    block::ChainBlock,
    genesis,
    types::{EpochInfo, Payload},
};
use commonware_glue::dkg::{ReshareBlock as _, types::EpochOutcome};

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
