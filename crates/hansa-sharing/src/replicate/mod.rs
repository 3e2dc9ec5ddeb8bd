//! Keeps the replicas that the chain allocates to this node (E6 in part, issue 3: at least two other members), and those
//! that owners ask for while an allocated member is away.
//!
//! **Tasks.** One follows the feed's `VersionRecorded` events, and fetches and pins every version that is allocated here
//! ([`queue`] decides the order, [`fetch`] judges what arrives). One looks after pins that are no longer needed ([`upkeep`]).
//!
//! **A crash** loses nothing: what is left to do and how far the chain was read are durable ([`table`]), so that a restart
//! goes on where it stopped. A change of membership has everything read again.
//!
//! **Bounds.** Owners share the fetches, the disk ([`room`]) and the memory of the queue; none can use up another's part.
//! A root that nobody serves (a record made without the swarm) costs little: owners are asked first, for hundreds of roots
//! at once, and what an owner does not hold itself waits longer each time. A version whose root can never be valid is
//! given up for good.

mod fetch;
mod queue;
mod room;
mod table;
mod upkeep;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use alloy_primitives::{B256, keccak256};
use alloy_sol_types::SolEvent;
use cid::Cid;
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use hansa_contracts::{ContractEvent, abi};
use hansa_feed::{Feed, FeedBatch, FeedError, FeedFilter, Subscription};
use hansa_kv::Batch;
use hansa_types::{DcId, Member, MemberStatus, ObjectId, Version};
use tokio::time::{Instant, sleep_until};

pub use self::room::{DiskSpace, SpaceFn, disk_space};
pub(crate) use self::{
    fetch::Bounds,
    room::{Room, Spare},
    table::{Table, Task, Verdict, VersionId},
};
use self::{
    fetch::Outcome,
    queue::{Attempt, Queue, Survey},
};
use crate::{
    REPLICAS_OTHER, Sharing, SharingError, allocate,
    keyring::SPACE,
    message::ROOTS_MAX,
    sharing::{Holding, Inner},
};

/// The name of replication's cursor in the feed.
const CONSUMER: &str = "replication";
/// Versions read from the disk at once.
const PAGE: usize = 1024;
/// Pauses after the chain could not be followed.
const INTERRUPTION_MIN: Duration = Duration::from_millis(500);
const INTERRUPTION_MAX: Duration = Duration::from_secs(5);

/// Follows the chain for ever; errors are logged and tried again.
pub(crate) async fn run(sharing: Sharing) {
    let inner = &sharing.0;
    futures::join!(keep_following(inner), upkeep::run(inner));
}

async fn keep_following(inner: &Arc<Inner>) {
    let mut pause = INTERRUPTION_MIN;
    loop {
        let started = Instant::now();
        match follow(inner).await {
            Err(SharingError::NotMember) => tracing::debug!("not a member yet: no replicas to keep"),
            Err(error) => tracing::warn!(%error, "replication was interrupted"),
            Ok(()) => {}
        }
        pause = if started.elapsed() > Duration::from_secs(60) {
            INTERRUPTION_MIN
        } else {
            pause.saturating_mul(2).min(INTERRUPTION_MAX)
        };
        tokio::time::sleep(pause).await;
    }
}

type Fetch = BoxFuture<'static, (Attempt, Result<Outcome, SharingError>)>;
type Surveyed = BoxFuture<'static, (Survey, Vec<Holding>)>;

/// Owners to be told that their versions are here: what gathers while one is being told goes with the next message.
#[derive(Default)]
struct Tellings {
    roots: BTreeMap<DcId, Vec<Cid>>,
    telling: BTreeSet<DcId>,
    sent: FuturesUnordered<BoxFuture<'static, DcId>>,
}

impl Tellings {
    /// Tells an owner, or has it told with the next message. Beyond a message's worth, owners find out by asking.
    fn tell(&mut self, inner: &Arc<Inner>, task: &Task) {
        let roots = self.roots.entry(task.id.object.owner).or_default();
        if roots.len() < ROOTS_MAX {
            roots.push(task.cid());
        }
        self.send(inner, task.id.object.owner);
    }

    fn send(&mut self, inner: &Arc<Inner>, owner: DcId) {
        if self.telling.contains(&owner) {
            return;
        }
        let Some(roots) = self.roots.remove(&owner) else { return };
        self.telling.insert(owner);
        let inner = Arc::clone(inner);
        self.sent.push(Box::pin(async move {
            inner.tell_kept(owner, roots).await;
            owner
        }));
    }

    fn told(&mut self, inner: &Arc<Inner>, owner: DcId) {
        self.telling.remove(&owner);
        self.send(inner, owner);
    }
}

async fn follow(inner: &Arc<Inner>) -> Result<(), SharingError> {
    let me = inner.contracts.me().await?.dc_id;
    let this = Arc::clone(inner);
    Inner::blocking(move || this.room.load(&this.table())).await?;
    let mut queue = Queue::new(inner.settings.replication.clone());
    for member in inner.contracts.chain.members().await?.iter() {
        refill(inner, &mut queue, member.dc_id)?;
    }
    let mut fetches = FuturesUnordered::<Fetch>::new();
    let mut surveys = FuturesUnordered::<Surveyed>::new();
    let mut tellings = Tellings::default();
    let mut follower = Follower::start(inner).await?;
    loop {
        while let Some(survey) = queue.unasked() {
            surveys.push(Box::pin(ask_owner(Arc::clone(inner), me, survey)));
        }
        while let Some(attempt) = queue.next(Instant::now()) {
            let (inner, is_own) = (Arc::clone(inner), attempt.task.id.object.owner == me);
            fetches.push(Box::pin(async move { (attempt, inner.keep(attempt.task, is_own).await) }));
        }
        inner.room.set_waiting(queue.waiting());
        let due = queue.due();
        tokio::select! {
            Some(batch) = follower.batches.next() => follower.take(inner, me, &batch?, &mut queue).await?,
            Some((survey, holdings)) = surveys.next() => queue.surveyed(Instant::now(), survey, &holdings),
            Some((attempt, outcome)) = fetches.next() => {
                if ended(&mut queue, attempt, outcome)? && attempt.task.id.object.owner != me {
                    tellings.tell(inner, &attempt.task);
                }
                if let Some(owner) = queue.to_refill() {
                    refill(inner, &mut queue, owner)?;
                }
            }
            Some(owner) = tellings.sent.next() => tellings.told(inner, owner),
            task = inner.notices.asked() => queue.add(task),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }
}

/// Takes in how a fetch ended; whether its version is kept.
fn ended(
    queue: &mut Queue,
    attempt: Attempt,
    outcome: Result<Outcome, SharingError>,
) -> Result<bool, SharingError> {
    match outcome {
        Ok(Outcome::Kept) => {
            queue.kept(attempt);
            return Ok(true);
        }
        Ok(Outcome::Dropped) => queue.done(attempt),
        Ok(Outcome::NoRoom(full)) => {
            tracing::debug!(task = ?attempt.task, ?full, "there is no room for a replica");
            queue.no_room(Instant::now(), attempt);
        }
        // A failed write to storage: whatever follows could rest on a hole.
        Err(error @ (SharingError::Store(_) | SharingError::Content(_))) => return Err(error),
        Err(error) => {
            tracing::debug!(?attempt, %error, "a replica could not be fetched yet");
            queue.failed(Instant::now(), attempt);
        }
    }
    Ok(false)
}

/// Asks the owner of some versions which of them it holds.
async fn ask_owner(inner: Arc<Inner>, me: DcId, survey: Survey) -> (Survey, Vec<Holding>) {
    let count = survey.tasks.len();
    if survey.owner == me {
        return (survey, vec![Holding::Partly; count]);
    }
    let Ok(owner) = inner.contracts.member(survey.owner).await else {
        return (survey, vec![Holding::Unknown; count]);
    };
    let roots = survey.tasks.iter().map(Task::cid).collect();
    let holdings = inner.peer_holdings(&owner, roots).await;
    (survey, holdings)
}

/// Takes an owner's versions that are pending on the disk into memory, as far as there is room.
fn refill(inner: &Inner, queue: &mut Queue, owner: DcId) -> Result<(), SharingError> {
    queue.begin_refill(owner);
    let mut before = None;
    while queue.has_room(owner) {
        let page = inner.table().pending_of(owner, before, PAGE)?;
        page.iter().for_each(|task| queue.add(*task));
        match page.last() {
            Some(last) if page.len() == PAGE => before = Some(last.id),
            _ => break,
        }
    }
    Ok(())
}

fn fingerprint(members: &[Member]) -> B256 {
    let active = members.iter().filter(|member| member.status == MemberStatus::Active);
    let ids: Vec<u8> = active.flat_map(|member| member.dc_id.value().to_be_bytes()).collect();
    keccak256(ids)
}

/// Reads the chain for one state of the membership: with other members the allocation is another one.
struct Follower {
    feed: Feed,
    batches: Subscription,
    membership: B256,
}

impl Follower {
    /// Continues at the cursor, or at the genesis block if the chain was read with other members.
    async fn start(inner: &Inner) -> Result<Self, SharingError> {
        let chain = &inner.contracts.chain;
        let feed = Feed::open(Arc::clone(chain), Arc::clone(&inner.kv), SPACE).await?;
        let membership = fingerprint(&chain.members().await?);
        let is_same = inner.table().membership()? == Some(membership);
        let continued = is_same.then(|| feed.subscribe(CONSUMER, 0, wanted())).transpose();
        let batches = match continued {
            Ok(batches) => batches,
            Err(error @ (FeedError::DamagedCursor(_) | FeedError::OtherChain { .. })) => {
                tracing::warn!(%error, "replication reads the chain from the beginning");
                None
            }
            Err(error) => return Err(error.into()),
        };
        let batches = batches.unwrap_or_else(|| feed.restart(CONSUMER, 0, wanted()));
        Ok(Self { feed, batches, membership })
    }

    /// Makes pending, in one write with the cursor, what a batch allocates here and is not held. If the members have changed, begins
    /// again instead.
    async fn take(
        &mut self,
        inner: &Inner,
        me: DcId,
        delivered: &FeedBatch,
        queue: &mut Queue,
    ) -> Result<(), SharingError> {
        let members = inner.contracts.chain.members().await?;
        let membership = fingerprint(&members);
        if membership != self.membership {
            self.batches = self.feed.restart(CONSUMER, 0, wanted());
            self.membership = membership;
            return Ok(());
        }
        let table = inner.table();
        let mut batch = Batch::new();
        let mut allocations = BTreeMap::new();
        for found in delivered.events() {
            let ContractEvent::VersionRecorded(record) = &found.event else { continue };
            let Some(task) = task_of(record) else { continue };
            let object = task.id.object;
            let here = *allocations.entry(object).or_insert_with(|| allocate(object, &members).contains(&me));
            if here {
                add(&table, me, task, &mut batch, queue)?;
            }
        }
        Table::set_membership(&mut batch, membership);
        delivered.add_cursor(&mut batch);
        // Losing the last heights to a crash only means reading them again.
        Ok(inner.kv.write_buffered(batch)?)
    }
}

fn wanted() -> FeedFilter {
    let topics = [vec![abi::DataStore::VersionRecorded::SIGNATURE_HASH], vec![], vec![], vec![]];
    FeedFilter { contracts: Vec::new(), topics }
}

/// The version that an event records.
pub(crate) fn recorded(log: &alloy_primitives::Log) -> Option<Task> {
    let Some(ContractEvent::VersionRecorded(record)) = ContractEvent::decode(log) else { return None };
    task_of(&record)
}

fn task_of(record: &abi::DataStore::VersionRecorded) -> Option<Task> {
    let object = ObjectId { owner: DcId::new(record.owner)?, number: record.number };
    let id = VersionId::new(object, Version(record.version));
    Some(Task { id, root: record.root, size_class: record.sizeClass })
}

/// Adds what is left to do for a version that is allocated here.
fn add(
    table: &Table,
    me: DcId,
    task: Task,
    batch: &mut Batch,
    queue: &mut Queue,
) -> Result<(), SharingError> {
    let others = REPLICAS_OTHER as u32;
    if !table.holds(task.root)? {
        if table.given_up(task.id)?.is_none() && table.pending(task.id)? != Some(task) {
            Table::add_pending(batch, &task, others);
            queue.add(task);
        }
    } else if task.id.object.owner != me && table.replica(task.id)?.is_none() {
        // Held under another version's label, or since before replicas were counted.
        Table::add_pending(batch, &task, others);
        queue.add(task);
    }
    Ok(())
}

#[cfg(test)]
impl Inner {
    /// Reads the chain to its head and fetches what is pending, one after the other, until something fails.
    pub(crate) async fn catch_up(&self) -> Result<(), SharingError> {
        let me = self.contracts.me().await?.dc_id;
        let mut queue = Queue::new(self.settings.replication.clone());
        let head = self.contracts.chain.head().await?.number;
        let mut follower = Follower::start(self).await?;
        while self.table().membership()? != Some(follower.membership)
            || !follower.feed.cursor(CONSUMER).is_ok_and(|next| next > Some(head))
        {
            let batch = follower.batches.next().await.unwrap()?;
            follower.take(self, me, &batch, &mut queue).await?;
        }
        for member in self.contracts.chain.members().await?.iter() {
            for task in self.table().pending_of(member.dc_id, None, PAGE)? {
                self.keep(task, member.dc_id == me).await?;
            }
        }
        Ok(())
    }
}
