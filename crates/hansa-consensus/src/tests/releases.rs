//! Releases of deposited keys over a whole network.

use std::time::Duration;

use alloy_sol_types::SolCall as _;
use commonware_p2p::{Receiver as _, Recipients, Sender as _};
use commonware_runtime::{Clock as _, IoBuf, Spawner as _, Supervisor as _};
use hansa_contracts::{GOVERNANCE, abi::Governance};
use hansa_types::{DcId, ReleaseId, ReleaseRefusal, ReleasedKey};
use rand_core::Rng as _;

use super::{
    fixture::other_shares,
    judges::Mood,
    proofs::call,
    world::{Shape, SimSender, World, simulate},
};
use crate::{
    release::{ReleaseError, ReleaseSignature, message::Message},
    types::PublicKey,
};

const SHAPE: Shape = Shape { founders: 4, followers: 1, epoch_blocks: 256, seed: 21 };
/// The node without a seat.
const GRANTEE: usize = 4;
const OPENING: u64 = 7;

fn id(world: &World) -> ReleaseId {
    ReleaseId {
        chain: world.nodes[&0].ledger.genesis_block().hash(),
        object: "1/42".parse().unwrap(),
        key: ReleasedKey::Epoch(1),
        grantee: DcId::new(5),
        grant_nonce: 1,
    }
}

async fn started(mut world: World, nodes: &[usize]) -> World {
    for index in nodes {
        world.start(*index).await;
    }
    world.reach(3).await;
    world
}

impl World {
    /// The opening becomes final and `index` asks for its key.
    async fn opens(&self, index: usize, id: ReleaseId) -> Result<ReleaseSignature, ReleaseError> {
        self.judges.open(OPENING, self.organisations[index].card.network_key, id);
        self.obtains(index, id).await
    }

    async fn obtains(&self, index: usize, id: ReleaseId) -> Result<ReleaseSignature, ReleaseError> {
        self.nodes[&index].releases.obtain(id, OPENING).await
    }
}

#[test]
fn a_deposit_opens_with_one_validator_down_for_members_with_and_without_a_seat() {
    simulate(SHAPE, |world| async {
        let world = started(world, &[0, 1, 2, GRANTEE]).await;
        let (group, id) = (world.group(), id(&world));
        let deposit = group.seal(&id, b"inner").unwrap();
        for index in [GRANTEE, 0] {
            let begun = world.context.current();
            let signature = world.opens(index, id).await.unwrap();
            assert_eq!(group.open(&id, &signature, &deposit).unwrap(), b"inner");
            let taken = world.context.current().duration_since(begun).unwrap();
            assert!(taken < Duration::from_millis(200), "{taken:?}");
        }
        ((), world)
    });
}

/// The opening is a transaction at the grantee's node, and blocks follow one another without a pause, also where nothing is pending.
#[test]
fn a_deposited_key_is_released_within_three_finalities_of_the_request() {
    simulate(SHAPE, |world| async {
        let mut world = world;
        world.timing.heartbeat = Duration::from_millis(1);
        let world = started(world, &[0, 1, 2, GRANTEE]).await;
        let (id, ledger) = (id(&world), world.nodes[&GRANTEE].ledger.clone());
        let (relayer, requested) = (&world.organisations[0], ledger.head().number());
        let opening = call(relayer, 0, relayer.card.account, Vec::new());
        let hash = *opening.tx_hash();
        ledger.pool().add(opening).unwrap();
        while ledger.receipt(hash).unwrap().is_none() {
            world.context.sleep(Duration::from_millis(1)).await;
        }
        let opened = ledger.head().number();
        world.opens(GRANTEE, id).await.unwrap();
        let released = ledger.head().number();
        assert!(opened > requested && released <= requested + 3, "{requested} {opened} {released}");
        ((), world)
    });
}

#[test]
fn without_an_opening_of_ones_own_nobody_signs_but_the_one_that_signs_for_everybody() {
    simulate(SHAPE, |world| async {
        let world = started(world, &[0, 1, 2, 3, GRANTEE]).await;
        world.judges.set(2, Mood::Generous);
        let id = id(&world);
        let alone = ReleaseError::TooFew { signed: 1, needed: 3 };
        assert_eq!(world.obtains(GRANTEE, id).await, Err(alone), "no opening");
        // Somebody else's opening, and one's own of another key.
        world.judges.open(OPENING, world.organisations[1].card.network_key, id);
        let refused = ReleaseError::Refused(ReleaseRefusal::OtherMember);
        assert_eq!(world.obtains(GRANTEE, id).await, Err(refused));
        let other = ReleaseId { grant_nonce: 2, ..id };
        world.judges.open(OPENING, world.organisations[GRANTEE].card.network_key, other);
        let refused = ReleaseError::Refused(ReleaseRefusal::OtherKey);
        assert_eq!(world.obtains(GRANTEE, id).await, Err(refused));
        ((), world)
    });
}

#[test]
fn fewer_than_a_quorum_never_release() {
    simulate(SHAPE, |world| async {
        let world = started(world, &[0, 1, 2, 3, GRANTEE]).await;
        let id = id(&world);
        for (mood, error) in [
            (Mood::Withholding, ReleaseError::TooFew { signed: 2, needed: 3 }),
            (Mood::Refusing, ReleaseError::Refused(ReleaseRefusal::Withdrawn)),
        ] {
            world.judges.set(0, mood);
            world.judges.set(3, mood);
            assert_eq!(world.opens(GRANTEE, id).await, Err(error));
        }
        world.judges.set(3, Mood::Honest);
        assert!(world.opens(GRANTEE, id).await.is_ok());
        ((), world)
    });
}

/// A validator whose answers to questions about releases the test writes.
async fn double(
    world: &mut World,
    index: usize,
    answers: impl Fn(u64, &ReleaseId) -> Vec<Message> + Send + 'static,
) {
    let (mut sender, mut receiver) = world.release_channel(index).await;
    world.context.child("double").spawn(move |_| async move {
        while let Ok((peer, bytes)) = receiver.recv().await {
            if let Some(Message::Ask { number, id, .. }) = Message::decode(bytes.as_ref()) {
                answers(number, &id).iter().for_each(|answer| tell(&mut sender, &peer, answer));
            }
        }
    });
}

fn tell(sender: &mut SimSender, peer: &PublicKey, message: &Message) {
    let _ = sender.send(Recipients::One(peer.clone()), IoBuf::from(message.encode()), false);
}

#[test]
fn a_forger_a_replayer_and_a_late_answer_change_nothing() {
    simulate(SHAPE, |world| async {
        let mut world = world;
        let (group, share) = (world.group(), world.shares.get_value(&world.key(3)).unwrap().clone());
        double(&mut world, 3, move |number, id| {
            let part = |share, id: &ReleaseId| {
                use commonware_codec::Encode as _;
                group.partial(share, id).value.encode().as_ref().try_into().unwrap()
            };
            let signed = |number, epoch, signature| Message::Signed { number, epoch, signature };
            vec![
                // To a question that was never asked, or is answered already.
                signed(number.wrapping_sub(1), 0, part(&share, id)),
                // Of another epoch.
                signed(number, 1, part(&share, id)),
                // Over another identity: what it signed for an earlier grant.
                signed(number, 0, part(&share, &ReleaseId { grant_nonce: 0, ..*id })),
                // With another committee's share, and no point at all.
                signed(number, 0, part(&other_shares()[3], id)),
                signed(number, 0, [0xff; 48]),
            ]
        })
        .await;
        let world = started(world, &[0, 1, 2, GRANTEE]).await;
        let id = id(&world);
        let deposit = world.group().seal(&id, b"inner").unwrap();
        let signature = world.opens(GRANTEE, id).await.unwrap();
        assert_eq!(world.group().open(&id, &signature, &deposit).unwrap(), b"inner");
        // With the forger instead of an honest one there is no quorum.
        world.judges.set(0, Mood::Withholding);
        let short = ReleaseError::TooFew { signed: 2, needed: 3 };
        assert_eq!(world.obtains(GRANTEE, id).await, Err(short));
        ((), world)
    });
}

#[test]
fn a_flooder_gets_answers_up_to_its_allowance_and_holds_up_nobody() {
    simulate(SHAPE, |world| async {
        let mut world = world;
        let (mut sender, mut receiver) = world.release_channel(3).await;
        let mut world = started(world, &[0, 1, 2, GRANTEE]).await;
        let (id, validator) = (id(&world), world.key(0));
        for _ in 0..2_000 {
            let number = world.context.next_u64();
            tell(&mut sender, &validator, &Message::Ask { number, height: 1, opening: 99, id });
        }
        assert!(world.opens(GRANTEE, id).await.is_ok());
        world.context.sleep(Duration::from_secs(1)).await;
        let mut answers = 0;
        loop {
            commonware_macros::select! {
                answer = receiver.recv() => drop(answer.map(|_| answers += 1)),
                () = world.context.sleep(Duration::from_millis(100)) => break,
            }
        }
        assert!(answers > 0 && answers <= 512, "{answers}");
        ((), world)
    });
}

/// The node that was behind says "not yet" until it has executed what is final, whatever its judge thinks.
#[test]
fn a_validator_that_is_cut_off_signs_nothing() {
    simulate(SHAPE, |world| async {
        let mut world = started(world, &[0, 1, 2, 3, GRANTEE]).await;
        let id = id(&world);
        // Node 0 hears the grantee alone, and the others decline.
        world.connect(super::world::GOOD_LINK, |from, to| (from % 4 == 0) == (to % 4 == 0)).await;
        world.context.sleep(Duration::from_secs(15)).await;
        for index in 0..4 {
            world.judges.set(index, Mood::Generous);
        }
        let nobody = ReleaseError::TooFew { signed: 0, needed: 3 };
        assert_eq!(world.opens(GRANTEE, id).await, Err(nobody));
        ((), world)
    });
}

const EPOCH_BLOCKS: u64 = 24;

/// The collection begins in one epoch and ends in the next, with shares of the second alone.
#[test]
fn a_resharing_in_the_middle_of_a_collection() {
    let shape = Shape { epoch_blocks: EPOCH_BLOCKS, seed: 3, ..SHAPE };
    simulate(shape, |world| async {
        let world = started(world, &[0, 1, 2, 3, GRANTEE]).await;
        let id = id(&world);
        let deposit = world.group().seal(&id, b"inner").unwrap();
        world.judges.open(OPENING, world.organisations[GRANTEE].card.network_key, id);
        for index in 1..4 {
            world.judges.set(index, Mood::Withholding);
        }
        world.reach(EPOCH_BLOCKS - 4).await;
        assert_eq!(world.status(GRANTEE).epoch, 0);
        let end = async {
            world.reach(EPOCH_BLOCKS + 1).await;
            (1..4).for_each(|index| world.judges.set(index, Mood::Honest));
        };
        let (signature, ()) = futures::join!(world.obtains(GRANTEE, id), end);
        assert_eq!(world.status(GRANTEE).epoch, 1);
        assert_eq!(world.group().open(&id, &signature.unwrap(), &deposit).unwrap(), b"inner");
        ((), world)
    });
}

/// The contracts' number of a member without a seat.
const PARTICIPANT: u8 = 1;

/// Executes calls of the governance contract one after the other.
pub(super) async fn governs(world: &World, calls: Vec<(usize, u64, Vec<u8>)>) {
    let ledger = &world.nodes[&0].ledger;
    for (index, nonce, input) in calls {
        let transaction = call(&world.organisations[index], nonce, GOVERNANCE, input);
        let hash = *transaction.tx_hash();
        ledger.pool().add(transaction).unwrap();
        let receipt = loop {
            if let Some(receipt) = ledger.receipt(hash).unwrap() {
                break receipt;
            }
            world.context.sleep(Duration::from_millis(20)).await;
        };
        assert!(receipt.receipt.status(), "call {nonce} of {index} reverted");
    }
}

#[test]
fn a_deposit_of_epoch_0_opens_in_epoch_4_with_another_committee() {
    // Long enough for every dealer to lead in the second half of an epoch.
    const BLOCKS: u64 = 64;
    let shape = Shape { founders: 5, followers: 1, epoch_blocks: BLOCKS, seed: 9 };
    simulate(shape, |world| async {
        let mut world = world;
        world.timing.heartbeat = Duration::from_millis(200);
        let world = started(world, &[0, 1, 2, 3, 4, 5]).await;
        let id = id(&world);
        let deposit = world.group().seal(&id, b"inner").unwrap();
        let vote = || Governance::voteCall { id: 1, support: true }.abi_encode();
        let unseat = Governance::openSeatCall { dcId: 5, role: PARTICIPANT }.abi_encode();
        governs(&world, vec![(0, 0, unseat), (0, 1, vote()), (1, 0, vote()), (2, 0, vote())]).await;
        let founders = world.status(0).committee;
        world.reach(4 * BLOCKS + 2).await;
        let status = world.status(0);
        assert_eq!((status.epoch, status.committee.len(), founders.len()), (4, 4, 5));
        // The former validator signs nothing, and opens like any other member.
        for index in [4, 5] {
            let signature = world.opens(index, id).await.unwrap();
            assert_eq!(world.group().open(&id, &signature, &deposit).unwrap(), b"inner");
        }
        for index in 0..2 {
            world.judges.set(index, Mood::Withholding);
        }
        let short = ReleaseError::TooFew { signed: 2, needed: 3 };
        assert_eq!(world.obtains(5, id).await, Err(short));
        ((), world)
    });
}
