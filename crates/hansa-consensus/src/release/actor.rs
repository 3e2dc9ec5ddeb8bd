//! One node's releases: asks the committee for its own openings and answers the others.
//!
//! Everything it holds is in memory and bounded.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, SystemTime},
};

use commonware_macros::select;
use commonware_p2p::{Blocker, Receiver, Recipients, Sender};
use commonware_runtime::{Clock, IoBuf, Spawner};
use commonware_utils::futures::{OptionFuture, Pool};
use hansa_types::ReleaseJudge;
use rand_core::CryptoRng;
use tokio::sync::{oneshot, watch};

use super::{
    collection::{Collection, Outcome},
    desk::{Desk, Question},
    error::ReleaseError,
    ingress::{Ask, Inbox},
    message::Message,
    term::Term,
};
use crate::{
    budget::{Allowance, Budget},
    config::ConsensusSettings,
    pacing::Progress,
    types::PublicKey,
};

/// Own releases under way at the same time.
const COLLECTIONS_MAX: usize = 256;
/// Questions of one node under judgement at the same time. The registry bounds the nodes, and no node takes another's places.
const QUESTIONS_MAX: usize = 64;
/// Questions that a node may ask in a second, and at once; the budget counts each as a byte.
const ALLOWANCE: Allowance = Allowance { bytes_per_second: 256, burst_bytes: 512 };
/// Pause before who has not answered is asked again; it doubles each time
const PAUSE: Duration = Duration::from_millis(200);
/// up to this.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The parts of the task.
pub(crate) struct Config<S, R, X> {
    pub(crate) me: PublicKey,
    pub(crate) judge: Arc<dyn ReleaseJudge>,
    pub(crate) terms: watch::Receiver<Option<Arc<Term>>>,
    pub(crate) settings: ConsensusSettings,
    pub(crate) progress: watch::Receiver<Progress>,
    pub(crate) inbox: Inbox,
    pub(crate) sender: S,
    pub(crate) receiver: R,
    pub(crate) blocker: X,
}

/// An own release under way.
struct Running {
    collection: Collection,
    opening: u64,
    reply: oneshot::Sender<Outcome>,
    /// When those that have not answered are asked again.
    next: SystemTime,
    pause: Duration,
    until: SystemTime,
}

/// The task.
pub(crate) struct Actor<E, S, R, X> {
    context: E,
    config: Config<S, R, X>,
    desk: Arc<Desk<E>>,
    running: BTreeMap<u64, Running>,
    answering: Pool<'static, (PublicKey, Message)>,
    /// Questions under judgement, by node.
    asked: HashMap<PublicKey, usize>,
    budget: Budget,
}

impl<E, S, R, X> Actor<E, S, R, X>
where
    E: Spawner + Clock + CryptoRng,
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
    X: Blocker<PublicKey = PublicKey>,
{
    pub(crate) fn new(context: E, config: Config<S, R, X>) -> Self {
        let desk = Desk::new(
            context.child("desk"),
            Arc::clone(&config.judge),
            config.inbox.handle.group_key().clone(),
            config.terms.clone(),
            config.progress.clone(),
            config.settings.release_judges,
        );
        Self {
            context,
            config,
            desk: Arc::new(desk),
            running: BTreeMap::new(),
            answering: Pool::default(),
            asked: HashMap::new(),
            budget: Budget::new(ALLOWANCE),
        }
    }

    /// Runs until the network closes.
    pub(crate) async fn run(mut self) {
        if self.config.terms.wait_for(Option::is_some).await.is_err() {
            return;
        }
        loop {
            let next = self.running.values().map(|running| running.next.min(running.until)).min();
            let tick = OptionFuture::from(next.map(|at| self.context.sleep_until(at)));
            select! {
                () = tick => self.tick(),
                received = self.config.receiver.recv() => match received {
                    Ok((peer, bytes)) => self.received(peer, bytes.as_ref()),
                    Err(_) => return,
                },
                ask = self.config.inbox.asks.recv() => match ask {
                    Some(ask) => self.begin(ask),
                    None => return,
                },
                changed = self.config.terms.changed() => match changed {
                    Ok(()) => self.enter(),
                    Err(_) => return,
                },
                (peer, answer) = self.answering.next_completed() => self.answered(peer, &answer),
            }
        }
    }

    fn term(&self) -> Option<Arc<Term>> {
        self.config.terms.borrow().clone()
    }

    fn begin(&mut self, Ask { id, opening, reply }: Ask) {
        let (Some(term), true) = (self.term(), self.running.len() < COLLECTIONS_MAX) else {
            let _ = reply.send(Err(ReleaseError::Busy));
            return;
        };
        let now = self.context.current();
        let until = now.checked_add(self.config.settings.release).unwrap_or(now);
        // Random, so that an answer to an earlier run of this node finds nothing.
        let number = self.context.next_u64();
        let collection = Collection::new(id, term);
        self.running.insert(number, Running { collection, opening, reply, next: now, pause: PAUSE, until });
        self.tick();
    }

    /// Another committee is in force: its parts do not combine with those of the one before.
    fn enter(&mut self) {
        let Some(term) = self.term() else { return };
        let now = self.context.current();
        for running in self.running.values_mut() {
            running.collection = Collection::new(*running.collection.id(), Arc::clone(&term));
            (running.next, running.pause) = (now, PAUSE);
        }
        self.tick();
    }

    /// Asks whoever is due, and ends what nobody waits for any more.
    fn tick(&mut self) {
        let now = self.context.current();
        self.running.retain(|_, running| !running.reply.is_closed());
        let late: Vec<u64> = self
            .running
            .iter()
            .filter(|(_, running)| running.until <= now)
            .map(|(number, _)| *number)
            .collect();
        for number in late {
            let outcome = self.running.get(&number).map(|running| Err(running.collection.too_few()));
            self.finish(number, outcome);
        }
        let height = self.config.progress.borrow().height;
        let mut questions = Vec::new();
        for (number, running) in self.running.iter_mut().filter(|(_, running)| running.next <= now) {
            running.next = now.checked_add(running.pause).unwrap_or(running.until);
            running.pause = running.pause.saturating_mul(2).min(PAUSE_MAX);
            let (opening, id) = (running.opening, *running.collection.id());
            let question = Message::Ask { number: *number, height, opening, id };
            questions.push((running.collection.missing(), question));
        }
        for (validators, question) in questions {
            self.ask(validators, question);
        }
    }

    fn ask(&mut self, mut validators: Vec<PublicKey>, question: Message) {
        let all = validators.len();
        validators.retain(|validator| *validator != self.config.me);
        if !validators.is_empty() {
            let bytes = IoBuf::from(question.encode());
            let _ = self.config.sender.send(Recipients::Some(validators.clone()), bytes, false);
        }
        // No connection leads to this node itself.
        if validators.len() < all
            && let Message::Ask { number, height, opening, id } = question
        {
            self.judge(Question { asking: self.config.me.clone(), number, height, opening, id });
        }
    }

    fn received(&mut self, peer: PublicKey, bytes: &[u8]) {
        match Message::decode(bytes) {
            Some(Message::Ask { number, height, opening, id }) => {
                if self.budget.take(&peer, 1, self.context.current()) {
                    self.judge(Question { asking: peer, number, height, opening, id });
                } else {
                    tracing::debug!(?peer, "dropped a request for a key beyond the sender's allowance");
                }
            }
            Some(answer) => self.heard(&peer, &answer),
            None => {
                commonware_p2p::block!(self.config.blocker, peer, "malformed release");
            }
        }
    }

    /// Has a question judged, unless too many of its node's are.
    fn judge(&mut self, question: Question) {
        let of_one = self.asked.entry(question.asking.clone()).or_default();
        if *of_one >= QUESTIONS_MAX {
            tracing::debug!(peer = ?question.asking, "dropped a request for a key: too many are under judgement");
            return;
        }
        *of_one = of_one.saturating_add(1);
        self.answering.push(Arc::clone(&self.desk).answer(question));
    }

    fn answered(&mut self, peer: PublicKey, answer: &Message) {
        if let Some(of_one) = self.asked.get_mut(&peer) {
            *of_one = of_one.saturating_sub(1);
            if *of_one == 0 {
                self.asked.remove(&peer);
            }
        }
        if peer == self.config.me {
            return self.heard(&peer, answer);
        }
        let _ = self.config.sender.send(Recipients::One(peer), IoBuf::from(answer.encode()), false);
    }

    /// A validator's answer. Others' answers, and answers to nothing, change nothing.
    fn heard(&mut self, validator: &PublicKey, answer: &Message) {
        let group = self.config.inbox.handle.group_key();
        let (number, outcome) = match answer {
            Message::Signed { number, epoch, signature } => (
                *number,
                self.running
                    .get_mut(number)
                    .and_then(|running| running.collection.signed(group, validator, *epoch, signature)),
            ),
            Message::Refused { number, reason } => {
                let running = self.running.get_mut(number);
                (*number, running.and_then(|running| running.collection.refused(validator, *reason)))
            }
            Message::Ask { .. } | Message::NotYet { .. } => return,
        };
        self.finish(number, outcome);
    }

    fn finish(&mut self, number: u64, outcome: Option<Outcome>) {
        if let Some(outcome) = outcome
            && let Some(running) = self.running.remove(&number)
        {
            let _ = running.reply.send(outcome);
        }
    }
}
