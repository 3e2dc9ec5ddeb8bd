//! Judges other nodes' questions and signs for those that the chain permits.
//!
//! A node answers only from a state that has everything known to be final, and only while it hears of blocks: until then it says
//! "not yet". Signing for a wrong question would give away this validator's part and no more.

use std::{sync::Arc, time::Duration};

use commonware_codec::Encode as _;
use commonware_macros::select;
use commonware_runtime::{Clock, Spawner};
use hansa_types::{ReleaseId, ReleaseJudge, ReleaseVerdict};
use tokio::sync::{Semaphore, watch};

use super::{group::GroupKey, message::Message, term::Term};
use crate::{application::offload, genesis::network_key, pacing::Progress, types::PublicKey};

/// How long a question waits for this node to execute what is known to be final.
const CATCH_UP: Duration = Duration::from_secs(5);
/// How far above what is known to be final the asking node may be. More blocks do not come while it waits.
const BLOCKS_AHEAD_MAX: u64 = 64;
/// After so long without a block the chain may have gone on without this node: an idle chain makes one a second.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// A question of a node, this one included.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) asking: PublicKey,
    pub(crate) number: u64,
    pub(crate) height: u64,
    pub(crate) opening: u64,
    pub(crate) id: ReleaseId,
}

/// The validator's side: it judges questions and answers them.
pub(crate) struct Desk<E> {
    context: E,
    judge: Arc<dyn ReleaseJudge>,
    group: GroupKey,
    terms: watch::Receiver<Option<Arc<Term>>>,
    progress: watch::Receiver<Progress>,
    /// The height at the start. A node that has executed nothing since does not know how far the chain is.
    began: u64,
    turns: Semaphore,
}

impl<E: Spawner + Clock> Desk<E> {
    pub(crate) fn new(
        context: E,
        judge: Arc<dyn ReleaseJudge>,
        group: GroupKey,
        terms: watch::Receiver<Option<Arc<Term>>>,
        progress: watch::Receiver<Progress>,
        judges: usize,
    ) -> Self {
        let began = progress.borrow().height;
        Self { context, judge, group, terms, progress, began, turns: Semaphore::new(judges) }
    }

    /// Answers a question, in a few seconds at most.
    pub(crate) async fn answer(self: Arc<Self>, question: Question) -> (PublicKey, Message) {
        let Question { number, height, opening, id, asking } = question;
        let not_yet = Message::NotYet { number };
        if !self.has_caught_up(height).await {
            return (asking, not_yet);
        }
        let Ok(_turn) = self.turns.acquire().await else { return (asking, not_yet) };
        let (judge, key) = (Arc::clone(&self.judge), network_key(&asking));
        let (terms, group) = (self.terms.clone(), self.group.clone());
        let judged = offload(&self.context, move || match judge.judge(key, opening, &id) {
            ReleaseVerdict::Release => signed(&group, terms.borrow().as_deref(), &id, number),
            ReleaseVerdict::NotYet => None,
            ReleaseVerdict::Refused(reason) => Some(Message::Refused { number, reason }),
        });
        (asking, judged.await.flatten().unwrap_or(not_yet))
    }

    /// Waits until this node has executed what is known to be final, and the opening that the asking node has seen.
    async fn has_caught_up(&self, height: u64) -> bool {
        let mut progress = self.progress.clone();
        let known = progress.borrow().final_height;
        if height > known.saturating_add(BLOCKS_AHEAD_MAX) {
            return false;
        }
        let target = known.max(height);
        let reached = progress.wait_for(|progress| progress.height >= target && progress.height > self.began);
        select! {
            reached = reached => reached.is_ok() && self.hears_of_blocks(),
            () = self.context.sleep(CATCH_UP) => false,
        }
    }

    fn hears_of_blocks(&self) -> bool {
        let advanced = self.progress.borrow().advanced_at;
        let silence = advanced.map(|at| self.context.current().duration_since(at).unwrap_or_default());
        silence.is_some_and(|silence| silence < SILENCE_MAX)
    }
}

/// This node's part; `None` without a share of the epoch in force.
fn signed(group: &GroupKey, term: Option<&Term>, id: &ReleaseId, number: u64) -> Option<Message> {
    let term = term?;
    let part = group.partial(term.share.as_ref()?, id);
    let signature = part.value.encode().as_ref().try_into().ok()?;
    Some(Message::Signed { number, epoch: term.epoch.get(), signature })
}
