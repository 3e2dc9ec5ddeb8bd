//! Keeps the replicas that the chain allocates to this node (E6 in part, issue 3: at least two other members).
//!
//! One task follows finalised `VersionRecorded` events, and fetches and pins every version that is allocated here. What
//! is left to do and how far the chain was read are durable, so that a restart goes on where it stopped; a change of
//! membership has everything read again. A root that nobody serves (a record made without the swarm) costs little: owners
//! are asked first, for hundreds of roots at once, and what an owner does not hold itself waits longer each time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashSet, VecDeque},
    time::Duration,
};

use alloy_primitives::{B256, keccak256};
use alloy_sol_types::SolEvent;
use cid::Cid;
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use hansa_contracts::{ContractEvent, abi};
use hansa_envelope::root_cid;
use hansa_kv::{Batch, KeyRange, KvStore, Order};
use hansa_types::{DcId, Member, MemberStatus, ObjectId, Version};
use tokio::time::{Instant, sleep_until};

use crate::{
    EventFilter, Sharing, SharingError, allocate,
    keyring::SPACE,
    message::ROOTS_MAX,
    sharing::{Holding, Inner},
};

/// Versions fetched at the same time.
const FETCHES_MAX: usize = 6;
/// Of those, repeated attempts.
const RETRIES_MAX: usize = 2;
/// Versions remembered in memory; what is beyond waits on the disk.
const WAITING_MAX: usize = 8192;
/// Blocks of the chain read at once.
const BLOCKS_MAX: u64 = 200;
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// The longest pause after the chain could not be followed.
const INTERRUPTION_MAX: Duration = Duration::from_secs(5);

const HELD: u8 = b'h';
const PENDING: u8 = b'p';
const SCANNED: &[u8] = b"scanned";

/// A version that is to be kept here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Task {
    object: (u32, u64),
    version: u32,
    root: B256,
}

/// Under which label a version's root is pinned: `hansa/OWNER/NUMBER/VERSION`.
pub(crate) fn label(object: ObjectId, version: Version) -> String {
    format!("hansa/{object}/{version}")
}

/// The version that a pin's label names.
pub(crate) fn parse_label(label: &str) -> Option<(ObjectId, Version)> {
    let (object, version) = label.strip_prefix("hansa/")?.rsplit_once('/')?;
    Some((object.parse().ok()?, Version(version.parse().ok()?)))
}

/// The key under which it is noted that everything below `root` is here.
pub(crate) fn held_key(root: Cid) -> Vec<u8> {
    let mut key = vec![HELD];
    key.extend(root.hash().digest());
    key
}

/// Notes that everything below `root` has been stored here, in blocks written before. Durable with the next flush.
pub(crate) fn mark_held(kv: &dyn KvStore, root: Cid) -> Result<(), SharingError> {
    let mut batch = Batch::new();
    batch.put(SPACE, held_key(root), Vec::new());
    Ok(kv.write_buffered(batch)?)
}

/// Whether everything below `root` has been stored here. Damage since then is for a check to find.
pub(crate) fn holds(kv: &dyn KvStore, root: Cid) -> Result<bool, SharingError> {
    Ok(kv.get(SPACE, &held_key(root))?.is_some())
}

impl Task {
    fn key(&self) -> Vec<u8> {
        let mut key = vec![PENDING];
        key.extend(self.object.0.to_be_bytes());
        key.extend(self.object.1.to_be_bytes());
        key.extend(self.version.to_be_bytes());
        key
    }

    fn read(key: &[u8], root: &[u8]) -> Option<Self> {
        let (_, rest) = key.split_first()?;
        let (owner, rest) = rest.split_first_chunk::<4>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let object = (u32::from_be_bytes(*owner), u64::from_be_bytes(*number));
        let version = u32::from_be_bytes(rest.try_into().ok()?);
        Some(Self { object, version, root: B256::try_from(root).ok()? })
    }

    fn object(&self) -> Option<ObjectId> {
        Some(ObjectId { owner: DcId::new(self.object.0)?, number: self.object.1 })
    }
}

/// Follows the chain for ever; errors are logged and tried again.
pub(crate) async fn run(sharing: Sharing) {
    let mut pause = BACKOFF_MIN;
    loop {
        let started = Instant::now();
        match follow(&sharing.0).await {
            Err(SharingError::NotMember) => tracing::debug!("not a member yet: no replicas to keep"),
            Err(error) => tracing::warn!(%error, "replication was interrupted"),
            Ok(()) => {}
        }
        pause = if started.elapsed() > BACKOFF_MAX {
            BACKOFF_MIN
        } else {
            pause.saturating_mul(2).min(INTERRUPTION_MAX)
        };
        tokio::time::sleep(pause).await;
    }
}

/// What is to be fetched, in memory. It may forget: everything is on the disk until it is done.
#[derive(Default)]
struct Queue {
    /// Their owners have not been asked; the newest last, and taken first.
    fresh: VecDeque<Task>,
    /// Their owners hold them, or did not answer.
    ready: VecDeque<Task>,
    /// Tried before, by the time of the next attempt.
    later: BinaryHeap<Reverse<(Instant, u32, Task)>>,
    /// Waiting or running.
    known: HashSet<Task>,
    /// Owners that are being asked: each by itself, so that one that does not answer holds up nobody else's replicas.
    asking: HashSet<u32>,
    /// Whether there is more on the disk than here.
    is_partial: bool,
}

impl Queue {
    fn add(&mut self, task: Task) {
        if !self.known.insert(task) {
            return;
        }
        self.fresh.push_back(task);
        if self.fresh.len() > WAITING_MAX
            && let Some(oldest) = self.fresh.pop_front()
        {
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, task: &Task) {
        self.known.remove(task);
        self.is_partial = true;
    }

    /// The newest task whose owner is not being asked, and others of the same owner.
    fn unasked(&mut self) -> Option<Survey> {
        let owner = self.fresh.iter().rev().map(|task| task.object.0).find(|o| !self.asking.contains(o))?;
        self.asking.insert(owner);
        let mut tasks = Vec::new();
        let mut others = VecDeque::with_capacity(self.fresh.len());
        while let Some(task) = self.fresh.pop_back() {
            if task.object.0 == owner && tasks.len() < ROOTS_MAX {
                tasks.push(task);
            } else {
                others.push_front(task);
            }
        }
        self.fresh = others;
        Some(Survey { owner, tasks })
    }

    /// Takes in what an owner said. What it does not hold (its own record, or its own word) must not take a place for as long
    /// as the swarm goes on looking; it is looked for among the repeated attempts.
    fn surveyed(&mut self, now: Instant, survey: Survey, holdings: &[Holding]) {
        self.asking.remove(&survey.owner);
        for (task, holding) in survey.tasks.into_iter().zip(holdings) {
            match holding {
                Holding::Whole | Holding::Unknown => self.ready.push_back(task),
                Holding::Partly => self.failed(now, task, 0),
            }
        }
    }

    fn next(&mut self, now: Instant, retrying: usize) -> Option<(Task, u32)> {
        if let Some(task) = self.ready.pop_front() {
            return Some((task, 0));
        }
        let Reverse((at, ..)) = self.later.peek()?;
        if retrying >= RETRIES_MAX || *at > now {
            return None;
        }
        self.later.pop().map(|Reverse((_, tries, task))| (task, tries))
    }

    fn failed(&mut self, now: Instant, task: Task, tries: u32) {
        if self.later.len() >= WAITING_MAX {
            self.forget(&task);
            return;
        }
        let pause = BACKOFF_MIN.saturating_mul(1_u32.checked_shl(tries).unwrap_or(u32::MAX)).min(BACKOFF_MAX);
        let at = now.checked_add(pause).unwrap_or(now);
        self.later.push(Reverse((at, tries.saturating_add(1), task)));
    }

    fn due(&self) -> Instant {
        let far = || Instant::now().checked_add(BACKOFF_MAX).unwrap_or_else(Instant::now);
        self.later.peek().map_or_else(far, |Reverse((at, ..))| (*at).max(Instant::now()))
    }
}

/// Tasks of one owner, who is asked which of them it holds.
struct Survey {
    owner: u32,
    tasks: Vec<Task>,
}

type Fetch = BoxFuture<'static, (Task, u32, Result<(), SharingError>)>;
type Surveyed = BoxFuture<'static, (Survey, Vec<Holding>)>;

async fn follow(inner: &std::sync::Arc<Inner>) -> Result<(), SharingError> {
    let me = inner.contracts.me().await?.dc_id;
    let mut queue = Queue::default();
    refill(inner, &mut queue)?;
    let mut fetches = FuturesUnordered::<Fetch>::new();
    let mut surveys = FuturesUnordered::<Surveyed>::new();
    let mut retrying = 0_usize;
    loop {
        while queue.ready.len() < ROOTS_MAX
            && let Some(survey) = queue.unasked()
        {
            surveys.push(Box::pin(ask_owner(std::sync::Arc::clone(inner), me, survey)));
        }
        while fetches.len() < FETCHES_MAX
            && let Some((task, tries)) = queue.next(Instant::now(), retrying)
        {
            retrying = retrying.saturating_add(usize::from(tries > 0));
            let inner = std::sync::Arc::clone(inner);
            fetches.push(Box::pin(async move { (task, tries, fetch(&inner, task).await) }));
        }
        let next = scanned(inner)?.0;
        tokio::select! {
            head = inner.contracts.chain.reached(next) => scan(inner, me, next, head?.number, &mut queue).await?,
            Some((survey, holdings)) = surveys.next() => queue.surveyed(Instant::now(), survey, &holdings),
            Some((task, tries, outcome)) = fetches.next() => {
                retrying = retrying.saturating_sub(usize::from(tries > 0));
                match outcome {
                    Ok(()) => { queue.known.remove(&task); }
                    Err(error) => {
                        tracing::debug!(?task, tries, %error, "a replica could not be fetched yet");
                        queue.failed(Instant::now(), task, tries);
                    }
                }
                if queue.is_partial && queue.fresh.is_empty() && queue.known.len() < WAITING_MAX / 2 {
                    refill(inner, &mut queue)?;
                }
            }
            () = sleep_until(queue.due()), if !queue.later.is_empty() && retrying < RETRIES_MAX => {}
        }
    }
}

/// Asks the owner of some versions which of them it holds.
async fn ask_owner(inner: std::sync::Arc<Inner>, me: DcId, survey: Survey) -> (Survey, Vec<Holding>) {
    let count = survey.tasks.len();
    if survey.owner == me.value() {
        return (survey, vec![Holding::Partly; count]);
    }
    let owner = match DcId::new(survey.owner) {
        Some(owner) => inner.contracts.member(owner).await.ok(),
        None => None,
    };
    let Some(owner) = owner else { return (survey, vec![Holding::Unknown; count]) };
    let roots = survey.tasks.iter().map(|task| root_cid(task.root)).collect();
    let holdings = inner.peer_holdings(&owner, roots).await;
    (survey, holdings)
}

/// Fetches, pins and notes one version.
async fn fetch(inner: &Inner, task: Task) -> Result<(), SharingError> {
    let Some(object) = task.object() else { return done(inner, task) };
    let root = root_cid(task.root);
    // Pinned first: nothing that has arrived is collected before the rest is here. The fetch flushes the pin with its blocks.
    inner.store.pin_buffered(&root, &label(object, Version(task.version)))?;
    let (_, hold) = inner.fetch(object, Version(task.version), root).await?;
    mark_held(&*inner.kv, root)?;
    drop(hold);
    tracing::info!(%object, version = task.version, %root, "keeping a replica");
    done(inner, task)
}

/// Takes a task off the disk. Losing this to a crash only means finding everything here again.
fn done(inner: &Inner, task: Task) -> Result<(), SharingError> {
    let mut batch = Batch::new();
    batch.remove(SPACE, task.key());
    Ok(inner.kv.write_buffered(batch)?)
}

/// Takes what is pending on the disk into memory, as far as there is room.
fn refill(inner: &Inner, queue: &mut Queue) -> Result<(), SharingError> {
    let mut range = KeyRange::prefix(&[PENDING]);
    queue.is_partial = false;
    loop {
        if queue.known.len() >= WAITING_MAX {
            queue.is_partial = true;
            return Ok(());
        }
        let page = inner.kv.scan(SPACE, range.clone(), Order::Descending, 1024)?;
        page.iter().filter_map(|(key, root)| Task::read(key, root)).for_each(|task| queue.add(task));
        match page.last() {
            Some((last, _)) if page.len() == 1024 => range = KeyRange::between(&[PENDING], last),
            _ => return Ok(()),
        }
    }
}

/// The next height to read, and the membership with which the heights before were read.
fn scanned(inner: &Inner) -> Result<(u64, B256), SharingError> {
    let value = inner.kv.get(SPACE, SCANNED)?.unwrap_or_default();
    Ok(value
        .split_first_chunk::<8>()
        .and_then(|(next, members)| Some((u64::from_be_bytes(*next), B256::try_from(members).ok()?)))
        .unwrap_or_default())
}

fn fingerprint(members: &[Member]) -> B256 {
    let active = members.iter().filter(|member| member.status == MemberStatus::Active);
    let ids: Vec<u8> = active.flat_map(|member| member.dc_id.value().to_be_bytes()).collect();
    keccak256(ids)
}

async fn scan(inner: &Inner, me: DcId, next: u64, head: u64, queue: &mut Queue) -> Result<(), SharingError> {
    let members = inner.contracts.chain.members().await?;
    let membership = fingerprint(&members);
    // Other members, other allocation: from the beginning again.
    let from = if scanned(inner)?.1 == membership { next } else { 0 };
    let to = head.min(from.saturating_add(BLOCKS_MAX));
    let topics = [vec![abi::DataStore::VersionRecorded::SIGNATURE_HASH], vec![], vec![], vec![]];
    let filter = EventFilter { from, to, addresses: Vec::new(), topics };
    let mut batch = Batch::new();
    let mut allocations = BTreeMap::new();
    for event in inner.contracts.chain.events(filter).await? {
        let Some(ContractEvent::VersionRecorded(record)) = ContractEvent::decode(&event.log) else {
            continue;
        };
        let task = Task { object: (record.owner, record.number), version: record.version, root: record.root };
        let Some(object) = task.object() else { continue };
        let here =
            *allocations.entry(task.object).or_insert_with(|| allocate(object, &members).contains(&me));
        if here && !holds(&*inner.kv, root_cid(task.root))? {
            batch.put(SPACE, task.key(), task.root.to_vec());
            queue.add(task);
        }
    }
    let mut progress = to.saturating_add(1).to_be_bytes().to_vec();
    progress.extend(membership);
    batch.put(SPACE, SCANNED, progress);
    // Losing the last heights to a crash only means reading them again.
    Ok(inner.kv.write_buffered(batch)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(number: u64) -> Task {
        Task { object: (1, number), version: 2, root: B256::repeat_byte(3) }
    }

    #[test]
    fn labels_and_stored_tasks_round_trip() {
        let object: ObjectId = "1/42".parse().unwrap();
        assert_eq!(label(object, Version(3)), "hansa/1/42/3");
        assert_eq!(parse_label("hansa/1/42/3"), Some((object, Version(3))));
        for other in ["", "hansa/", "hansa/1/42", "mine/1/42/3", "hansa/1/42/x", "hansa/0/42/1"] {
            assert_eq!(parse_label(other), None, "{other}");
        }
        let key = task(42).key();
        assert_eq!(alloy_primitives::hex::encode(&key), "7000000001000000000000002a00000002");
        assert_eq!(Task::read(&key, &[3; 32]), Some(task(42)));
        assert_eq!(Task::read(&key[..9], &[3; 32]), None);
    }

    /// Lets the owner of all fresh tasks, which is one, say that it holds some of them.
    fn survey(queue: &mut Queue, now: Instant, holds: impl Fn(u64) -> bool) {
        let survey = queue.unasked().unwrap();
        let holding = |task: &Task| if holds(task.object.1) { Holding::Whole } else { Holding::Partly };
        let holdings: Vec<_> = survey.tasks.iter().map(holding).collect();
        queue.surveyed(now, survey, &holdings);
    }

    #[test]
    fn owners_are_asked_first_and_failures_wait_longer_each_time() {
        let start = Instant::now();
        let after = |pauses| start + BACKOFF_MIN * pauses;
        let mut queue = Queue::default();
        queue.add(task(1));
        queue.add(task(2));
        queue.add(task(2));
        assert_eq!(queue.next(start, 0), None, "the owner was not asked");
        survey(&mut queue, start, |number| number == 1);
        assert!(queue.unasked().is_none());
        assert_eq!(queue.next(start, 0), Some((task(1), 0)));
        assert_eq!(queue.next(start, 0), None);
        queue.add(task(3));
        survey(&mut queue, after(1), |_| true);
        assert_eq!(queue.next(after(1), 0), Some((task(3), 0)), "before the repeated one");
        assert_eq!(queue.next(after(1), RETRIES_MAX), None);
        assert_eq!(queue.next(after(1), 0), Some((task(2), 1)));
        queue.failed(after(1), task(2), 1);
        assert_eq!(queue.next(after(2), 0), None);
        assert_eq!(queue.next(after(3), 0), Some((task(2), 2)));
    }

    #[test]
    fn a_question_names_the_newest_of_one_owner_and_keeps_the_order_of_the_others() {
        let mut queue = Queue::default();
        let of = |owner, number| Task { object: (owner, number), ..task(number) };
        (1..=ROOTS_MAX as u64 + 1).for_each(|number| queue.add(of(1, number)));
        queue.add(of(2, 1));
        queue.add(of(1, 9_999));
        let first = queue.unasked().unwrap();
        assert_eq!((first.owner, first.tasks.len(), first.tasks[0]), (1, ROOTS_MAX, of(1, 9_999)));
        assert_eq!(Vec::from(queue.fresh.clone()), vec![of(1, 1), of(1, 2), of(2, 1)]);
        assert_eq!(queue.unasked().unwrap().owner, 2, "the first is being asked");
        assert!(queue.unasked().is_none());
        queue.surveyed(Instant::now(), first, &[Holding::Whole; ROOTS_MAX]);
        assert_eq!(queue.unasked().unwrap().tasks, [of(1, 2), of(1, 1)]);
    }

    #[test]
    fn a_flood_pushes_out_the_oldest_and_memory_stays_bounded() {
        let now = Instant::now();
        let mut queue = Queue::default();
        let flood = 3 * WAITING_MAX as u64;
        (1..=flood).for_each(|number| queue.add(task(number)));
        assert_eq!((queue.fresh.len(), queue.known.len()), (WAITING_MAX, WAITING_MAX));
        queue.add(task(flood + 1));
        assert_eq!(queue.unasked().unwrap().tasks[0], task(flood + 1));
        (1..=flood).for_each(|number| queue.failed(now, task(number), 0));
        assert_eq!(queue.later.len(), WAITING_MAX);
    }
}
