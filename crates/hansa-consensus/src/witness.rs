//! Sees what the agreement engine asks for and reports, on its way to and from the application.
//!
//! It notes seeds and progress and passes everything on unchanged.

use commonware_actor::Feedback;
use commonware_consensus::{
    Automaton, CertifiableAutomaton, Handoff, Relay, Reporter, simplex::Plan, types::Round,
};
use commonware_utils::channel::oneshot;

use crate::{
    committee::leader_name,
    digest::BlockDigest,
    seeds::SeedBook,
    status::StatusBoard,
    types::{Activity, Context, PublicKey},
};

/// The application, watched.
#[derive(Clone)]
pub(crate) struct Witness<A> {
    inner: A,
    seeds: SeedBook,
    board: StatusBoard,
}

impl<A> Witness<A> {
    pub(crate) fn new(inner: A, seeds: SeedBook, board: StatusBoard) -> Self {
        Self { inner, seeds, board }
    }

    fn saw(&self, context: &Context) {
        self.board.saw_round(context.round, Some(leader_name(&context.leader)));
    }
}

impl<A: Automaton<Context = Context, Digest = BlockDigest>> Automaton for Witness<A> {
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

impl<A: CertifiableAutomaton<Context = Context, Digest = BlockDigest>> CertifiableAutomaton for Witness<A> {
    async fn prepare(&mut self, context: Context) -> oneshot::Receiver<Handoff<BlockDigest>> {
        self.inner.prepare(context).await
    }

    async fn certify(&mut self, round: Round, payload: BlockDigest) -> oneshot::Receiver<bool> {
        self.inner.certify(round, payload).await
    }
}

impl<A> Relay for Witness<A>
where
    A: Relay<Digest = BlockDigest, PublicKey = PublicKey, Plan = Plan<PublicKey>>,
{
    type Digest = BlockDigest;
    type PublicKey = PublicKey;
    type Plan = Plan<PublicKey>;

    fn broadcast(&mut self, payload: BlockDigest, plan: Plan<PublicKey>) -> Feedback {
        self.inner.broadcast(payload, plan)
    }
}

impl<A: Reporter<Activity = Activity>> Reporter for Witness<A> {
    type Activity = Activity;

    fn report(&mut self, activity: Activity) -> Feedback {
        self.seeds.witness(&activity);
        match &activity {
            Activity::Notarization(certificate) => self.board.saw_round(certificate.proposal.round, None),
            Activity::Finalization(certificate) => self.board.saw_round(certificate.proposal.round, None),
            Activity::Nullification(certificate) => self.board.saw_round(certificate.round, None),
            _ => {}
        }
        self.inner.report(activity)
    }
}
