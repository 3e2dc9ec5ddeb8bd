//! A wrapper between the agreement engine and the application that observes requests and events.
//!
//! It records seeds, progress and voters. All calls pass unchanged, except the first certification of an epoch, which waits for the
//! epoch's barrier.

use std::sync::Arc;

use commonware_actor::Feedback;
use commonware_consensus::{
    Automaton, CertifiableAutomaton, Handoff, Relay, Reporter, simplex::Plan, types::Round,
};
use commonware_macros::select;
use commonware_runtime::{Clock, Spawner};
use commonware_utils::channel::oneshot;

use crate::{
    committee::leader_name,
    digest::BlockDigest,
    epoch_barrier::EpochBarrier,
    presence::Presence,
    seeds::SeedBook,
    status::StatusBoard,
    types::{Activity, Context, PublicKey},
};

/// The observed application.
pub(crate) struct Observer<E, A> {
    context: Arc<E>,
    inner: A,
    seeds: SeedBook,
    board: StatusBoard,
    presence: Presence,
    barrier: EpochBarrier,
}

// Not derived, because a runtime's context cannot be cloned.
impl<E, A: Clone> Clone for Observer<E, A> {
    fn clone(&self) -> Self {
        Self {
            context: self.context.clone(),
            inner: self.inner.clone(),
            seeds: self.seeds.clone(),
            board: self.board.clone(),
            presence: self.presence.clone(),
            barrier: self.barrier.clone(),
        }
    }
}

impl<E, A> Observer<E, A> {
    pub(crate) fn new(
        context: E,
        inner: A,
        seeds: SeedBook,
        board: StatusBoard,
        presence: Presence,
        barrier: EpochBarrier,
    ) -> Self {
        Self { context: Arc::new(context), inner, seeds, board, presence, barrier }
    }

    fn saw(&self, context: &Context) {
        self.board.saw_round(context.round, Some(leader_name(&context.leader)));
    }
}

impl<E, A> Automaton for Observer<E, A>
where
    E: Send + Sync + 'static,
    A: Automaton<Context = Context, Digest = BlockDigest>,
{
    type Context = Context;
    type Digest = BlockDigest;

    async fn propose(&mut self, context: Context) -> oneshot::Receiver<BlockDigest> {
        self.saw(&context);
        self.inner.propose(context).await
    }

    async fn verify(&mut self, context: Context, payload: BlockDigest) -> oneshot::Receiver<bool> {
        self.saw(&context);
        self.inner.verify(context, payload).await
    }
}

impl<E, A> CertifiableAutomaton for Observer<E, A>
where
    E: Spawner + Clock,
    A: CertifiableAutomaton<Context = Context, Digest = BlockDigest>,
{
    async fn prepare(&mut self, context: Context) -> oneshot::Receiver<Handoff<BlockDigest>> {
        self.inner.prepare(context).await
    }

    async fn certify(&mut self, round: Round, payload: BlockDigest) -> oneshot::Receiver<bool> {
        let answer = self.inner.certify(round, payload).await;
        let Some(scheme) = self.barrier.open(round.epoch()) else { return answer };
        let barrier = self.barrier.clone();
        let (mut held, receiver) = oneshot::channel();
        self.context.child("roll_call").spawn(move |clock| async move {
            let (answer, ()) = select! {
                () = held.closed() => return,
                both = futures::future::join(answer, barrier.complete(&clock, round.epoch(), &scheme)) => both,
            };
            if let Ok(certified) = answer {
                let _ = held.send(certified);
            }
        });
        receiver
    }
}

impl<E, A> Relay for Observer<E, A>
where
    E: Send + Sync + 'static,
    A: Relay<Digest = BlockDigest, PublicKey = PublicKey, Plan = Plan<PublicKey>>,
{
    type Digest = BlockDigest;
    type PublicKey = PublicKey;
    type Plan = Plan<PublicKey>;

    fn broadcast(&mut self, payload: BlockDigest, plan: Plan<PublicKey>) -> Feedback {
        self.inner.broadcast(payload, plan)
    }
}

impl<E, A> Reporter for Observer<E, A>
where
    E: Clock,
    A: Reporter<Activity = Activity>,
{
    type Activity = Activity;

    fn report(&mut self, activity: Activity) -> Feedback {
        self.seeds.record(&activity);
        if let Some((round, voter)) = self.barrier.hear(&activity) {
            self.presence.voted(voter, round, self.context.current());
        }
        match &activity {
            Activity::Notarization(certificate) => self.board.saw_round(certificate.proposal.round, None),
            Activity::Finalization(certificate) => self.board.saw_round(certificate.proposal.round, None),
            Activity::Nullification(certificate) => self.board.saw_round(certificate.round, None),
            _ => {}
        }
        self.inner.report(activity)
    }
}
