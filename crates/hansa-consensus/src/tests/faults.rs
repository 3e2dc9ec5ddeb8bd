//! Faults that the network survives: partition, loss, crashes, silence, equivocation.

use std::time::Duration;

use std::{collections::VecDeque, io, num::NonZeroUsize};

use commonware_consensus::types::Epoch;
use commonware_cryptography::{Signer as _, ed25519::PrivateKey};
use commonware_glue::dkg::network::Manager as _;
use commonware_p2p::{Message, Receiver, TrackedPeers, simulated::Link};
use commonware_runtime::{Clock as _, IoBuf, Runner as _, Supervisor as _, deterministic};
use commonware_utils::ordered::{Map, Set};

use super::world::{GOOD_LINK, LocalPeers, Shape, World, simulate};
use crate::{
    budget::{Allowance, FromValidators},
    peers::{MemberPeers, address},
    types::PublicKey,
};

const SHAPE: Shape = Shape { founders: 4, followers: 0, epoch_blocks: 256, seed: 1 };

async fn all_started(mut world: World) -> World {
    for index in 0..world.organisations.len() {
        world.start(index).await;
    }
    world
}

#[test]
fn equal_seeds_give_equal_networks() {
    let run = || {
        simulate(Shape { seed: 7, ..SHAPE }, |world| async {
            let world = all_started(world).await;
            world.reach(10).await;
            (world.agreed(), world)
        })
    };
    let (first, second) = (run(), run());
    assert_eq!(first, second);
}

#[test]
fn a_partition_stops_the_chain_and_heals() {
    simulate(SHAPE, |world| async {
        let mut world = all_started(world).await;
        world.reach(5).await;
        world.connect(GOOD_LINK, |from, to| (from < 2) == (to < 2)).await;
        world.context.sleep(Duration::from_secs(1)).await;
        let stopped: Vec<_> = (0..4).map(|index| world.height(index)).collect();
        world.context.sleep(Duration::from_secs(20)).await;
        for (index, height) in stopped.iter().enumerate() {
            assert_eq!(world.height(index), *height, "half a network must not finalise");
        }
        world.connect(GOOD_LINK, |_, _| true).await;
        world.reach(stopped[0] + 10).await;
        (world.agreed(), world)
    });
}

#[test]
fn lossy_links_slow_the_chain_but_do_not_stop_it() {
    let bad = Link {
        latency: Duration::from_millis(80),
        jitter: Duration::from_millis(60),
        success_rate: commonware_utils::probability!(0.8),
    };
    simulate(SHAPE, |world| async {
        let mut world = all_started(world).await;
        world.connect(bad, |_, _| true).await;
        world.reach(12).await;
        (world.agreed(), world)
    });
}

#[test]
fn a_silent_validator_is_done_without() {
    simulate(SHAPE, |world| async {
        let mut world = world;
        for index in 0..3 {
            world.start(index).await;
        }
        world.reach(15).await;
        (world.agreed(), world)
    });
}

#[test]
fn a_crashed_validator_returns_with_what_it_had_stored() {
    simulate(SHAPE, |world| async {
        let mut world = all_started(world).await;
        world.reach(8).await;
        world.crash(2);
        let height = world.height(0);
        world.reach(height + 10).await;
        world.start(2).await;
        assert!(world.height(2) >= height - 1, "the ledger was lost");
        world.reach(height + 20).await;
        (world.agreed(), world)
    });
}

#[test]
fn a_network_that_crashed_altogether_goes_on() {
    simulate(SHAPE, |world| async {
        let mut world = all_started(world).await;
        world.reach(8).await;
        (0..4).for_each(|index| world.crash(index));
        let mut world = all_started(world).await;
        world.reach(16).await;
        // And again, in the middle of a view.
        world.context.sleep(Duration::from_millis(1_015)).await;
        (0..4).for_each(|index| world.crash(index));
        let world = all_started(world).await;
        let height = world.height(0);
        world.reach(height + 8).await;
        (world.agreed(), world)
    });
}

#[test]
fn an_equivocator_cannot_split_the_chain() {
    simulate(SHAPE, |world| async {
        let mut world = world;
        for index in 0..3 {
            world.start(index).await;
        }
        world.start_twins(3).await;
        world.reach(20).await;
        (world.agreed(), world)
    });
}

#[test]
fn a_late_follower_catches_up_and_votes_for_nothing() {
    simulate(Shape { followers: 1, ..SHAPE }, |world| async {
        let mut world = world;
        for index in 0..4 {
            world.start(index).await;
        }
        world.reach(20).await;
        world.start(4).await;
        world.reach(25).await;
        let status = world.nodes[&4].board.subscribe().borrow().clone();
        assert_eq!(status.seat, crate::Seat::Follower);
        (world.agreed(), world)
    });
}

/// A network on which these messages arrive, and then nothing.
#[derive(Debug)]
struct Arriving(VecDeque<(PublicKey, usize)>);

impl Receiver for Arriving {
    type Error = io::Error;
    type PublicKey = PublicKey;

    async fn recv(&mut self) -> Result<Message<PublicKey>, io::Error> {
        let (peer, bytes) = self.0.pop_front().ok_or_else(|| io::Error::other("all have arrived"))?;
        Ok((peer, IoBuf::from(vec![0; bytes])))
    }

    fn capacity(&self) -> NonZeroUsize {
        NonZeroUsize::MIN
    }
}

/// Broadcasts of members without a seat, and of validators above their budget, are dropped undecoded.
#[test]
fn a_flooder_is_not_decoded() {
    deterministic::Runner::default().start(|context| async move {
        let key = |seed| PrivateKey::from_seed(seed).public_key();
        let (outsider, flooder, honest) = (key(1), key(2), key(3));
        let mut peers = MemberPeers::new(LocalPeers::default(), key(9));
        let validators = Set::from_iter_dedup([flooder.clone(), honest.clone()]);
        let places = validators.iter().map(|key| (key.clone(), address("127.0.0.1:1")));
        let places = Map::from_iter_dedup(places.collect::<Vec<_>>()).into();
        peers.track(Epoch::zero(), TrackedPeers::primary(validators), &places).unwrap();
        let mut arriving = VecDeque::from([(outsider, 10)]);
        arriving.extend((0..100).map(|_| (flooder.clone(), 1_000)));
        arriving.push_back((honest.clone(), 1_000));
        let allowance = Allowance { bytes_per_second: 1_000, burst_bytes: 3_000 };
        let mut judged = FromValidators::new(context.child("judge"), Arriving(arriving), peers, allowance);
        let mut passed = Vec::new();
        while let Ok((peer, _)) = judged.recv().await {
            passed.push(peer);
        }
        assert_eq!(passed, [flooder.clone(), flooder.clone(), flooder, honest]);
    });
}
