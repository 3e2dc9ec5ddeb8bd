//! Which version is fetched next: owners in turns, so that none can hold up the others. In memory, bounded, without clock
//! or network; it may forget, since everything is on the disk until it is done.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use hansa_types::DcId;
use tokio::time::Instant;

use super::table::Task;
use crate::{ReplicationSettings, message::ROOTS_MAX, sharing::Holding};

/// The versions of one owner.
#[derive(Default)]
struct Lane {
    limits: Arc<ReplicationSettings>,
    /// The owner has not been asked about them; the newest last, and taken first.
    fresh: VecDeque<Task>,
    /// The owner holds them, did not answer, or need not be asked.
    ready: VecDeque<Task>,
    /// Tried before, by the time of the next attempt.
    later: BinaryHeap<Reverse<(Instant, u32, Task)>>,
    /// Waiting or running.
    known: HashSet<Task>,
    /// Whether the owner is being asked.
    asking: bool,
    running: usize,
    /// Of those running, repeated attempts.
    retrying: usize,
    /// When it was served last, in turns of the queue.
    turn: u64,
    /// Whether the last fetch brought what it was to bring: the owner need not be asked first, which takes longer than a
    /// small version itself.
    is_reliable: bool,
    /// Whether there is more on the disk than here.
    is_partial: bool,
}

impl Lane {
    fn forget(&mut self, task: &Task) {
        self.known.remove(task);
        self.is_partial = true;
    }

    fn has_next(&self, now: Instant) -> bool {
        !self.ready.is_empty() || self.due().is_some_and(|at| at <= now)
    }

    /// Whether one more of this owner may run beside so many of all.
    fn has_place(&self, running: usize) -> bool {
        self.running == 0
            || running < self.limits.fetches_per_owner && self.running < self.limits.fetches_per_owner
    }

    fn due(&self) -> Option<Instant> {
        let Reverse((at, ..)) =
            self.later.peek().filter(|_| self.retrying < self.limits.retries_per_owner)?;
        Some(*at)
    }

    /// The pause after so many failures.
    fn backoff(&self, tries: u32) -> Duration {
        let factor = 1_u32.checked_shl(tries).unwrap_or(u32::MAX);
        self.limits.retry_min.saturating_mul(factor).min(self.limits.retry_max)
    }

    fn postpone(&mut self, now: Instant, task: Task, tries: u32, pause: Duration) {
        if self.later.len() >= self.limits.waiting_per_owner {
            self.forget(&task);
            return;
        }
        let at = now.checked_add(pause).unwrap_or(now);
        self.later.push(Reverse((at, tries.saturating_add(1), task)));
    }
}

/// Versions of one owner, who is asked which of them it holds.
pub(super) struct Survey {
    pub(super) owner: DcId,
    pub(super) tasks: Vec<Task>,
}

/// A version that is being fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) task: Task,
    pub(super) tries: u32,
}

/// What is to be fetched.
#[derive(Default)]
pub(super) struct Queue {
    limits: Arc<ReplicationSettings>,
    lanes: BTreeMap<DcId, Lane>,
    turns: u64,
    running: usize,
}

impl Queue {
    pub(super) fn new(limits: ReplicationSettings) -> Self {
        Self { limits: Arc::new(limits), ..Self::default() }
    }

    fn lane(&mut self, owner: DcId) -> &mut Lane {
        let lane = || Lane { limits: Arc::clone(&self.limits), ..Lane::default() };
        self.lanes.entry(owner).or_insert_with(lane)
    }

    /// Adds a version that is on the disk. The oldest of its owner makes room.
    pub(super) fn add(&mut self, task: Task) {
        let lane = self.lane(task.id.object.owner);
        if !lane.known.insert(task) {
            return;
        }
        // So few that an owner who begins to deceive takes its share of the fetches once, and no more.
        if lane.is_reliable && lane.fresh.is_empty() && lane.ready.len() < lane.limits.fetches_per_owner {
            lane.ready.push_back(task);
            return;
        }
        lane.fresh.push_back(task);
        if lane.fresh.len() > lane.limits.waiting_per_owner
            && let Some(oldest) = lane.fresh.pop_front()
        {
            lane.forget(&oldest);
        }
    }

    /// The newest versions of an owner who is not being asked and of whom little is ready.
    pub(super) fn unasked(&mut self) -> Option<Survey> {
        let wants = |lane: &Lane| !lane.asking && !lane.fresh.is_empty() && lane.ready.len() < ROOTS_MAX;
        let (owner, lane) = self.lanes.iter_mut().find(|(_, lane)| wants(lane))?;
        lane.asking = true;
        let tasks = lane.fresh.split_off(lane.fresh.len().saturating_sub(ROOTS_MAX));
        Some(Survey { owner: *owner, tasks: tasks.into_iter().rev().collect() })
    }

    /// Takes in what an owner said. What it does not hold (its own record, or its own word) must not take a place for as long
    /// as the swarm goes on looking; it is looked for among the repeated attempts.
    pub(super) fn surveyed(&mut self, now: Instant, survey: Survey, holdings: &[Holding]) {
        let lane = self.lane(survey.owner);
        lane.asking = false;
        for (task, holding) in survey.tasks.into_iter().zip(holdings) {
            match holding {
                Holding::Whole | Holding::Unknown => lane.ready.push_back(task),
                Holding::Partly => lane.postpone(now, task, 0, lane.backoff(0)),
            }
        }
    }

    /// The next version to fetch: of the owner with the fewest fetches under way, served the longest ago.
    pub(super) fn next(&mut self, now: Instant) -> Option<Attempt> {
        if self.running >= self.limits.fetches {
            return None;
        }
        let running = self.running;
        let open = self.lanes.values_mut().filter(|lane| lane.has_next(now) && lane.has_place(running));
        let lane = open.min_by_key(|lane| (lane.running, lane.turn))?;
        let attempt = match lane.ready.pop_front() {
            Some(task) => Attempt { task, tries: 0 },
            None => lane.later.pop().map(|Reverse((_, tries, task))| Attempt { task, tries })?,
        };
        self.turns = self.turns.saturating_add(1);
        self.running = self.running.saturating_add(1);
        lane.turn = self.turns;
        lane.running = lane.running.saturating_add(1);
        lane.retrying = lane.retrying.saturating_add(usize::from(attempt.tries > 0));
        Some(attempt)
    }

    fn ended(&mut self, attempt: Attempt) -> &mut Lane {
        self.running = self.running.saturating_sub(1);
        let lane = self.lane(attempt.task.id.object.owner);
        lane.running = lane.running.saturating_sub(1);
        lane.retrying = lane.retrying.saturating_sub(usize::from(attempt.tries > 0));
        lane
    }

    /// A version is kept.
    pub(super) fn kept(&mut self, attempt: Attempt) {
        self.lane(attempt.task.id.object.owner).is_reliable = true;
        self.done(attempt);
    }

    /// A version is kept or need not be.
    pub(super) fn done(&mut self, attempt: Attempt) {
        self.ended(attempt).known.remove(&attempt.task);
    }

    /// A fetch failed; each failure waits longer than the one before.
    pub(super) fn failed(&mut self, now: Instant, attempt: Attempt) {
        let Attempt { task, tries } = attempt;
        let lane = self.ended(attempt);
        lane.is_reliable = false;
        lane.postpone(now, task, tries, lane.backoff(tries));
    }

    /// There is no room for a version; that takes its time to change.
    pub(super) fn no_room(&mut self, now: Instant, attempt: Attempt) {
        let Attempt { task, tries } = attempt;
        let lane = self.ended(attempt);
        lane.postpone(now, task, tries, lane.limits.retry_max);
    }

    /// Versions in memory that are not being fetched.
    pub(super) fn waiting(&self) -> usize {
        let known: usize = self.lanes.values().map(|lane| lane.known.len()).sum();
        known.saturating_sub(self.running)
    }

    /// When the next repeated attempt is due for which there is a place.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.running >= self.limits.fetches {
            return None;
        }
        self.lanes.values().filter(|lane| lane.has_place(self.running)).filter_map(Lane::due).min()
    }

    /// An owner of whom more is on the disk than here, and for whom there is room again.
    pub(super) fn to_refill(&self) -> Option<DcId> {
        let wants = |lane: &Lane| {
            lane.is_partial && lane.fresh.is_empty() && lane.known.len() < lane.limits.waiting_per_owner / 2
        };
        self.lanes.iter().find(|(_, lane)| wants(lane)).map(|(owner, _)| *owner)
    }

    /// Begins to take in what is on the disk of an owner.
    pub(super) fn begin_refill(&mut self, owner: DcId) {
        self.lane(owner).is_partial = false;
    }

    /// Whether there is room for more of an owner. Where there is none, the rest is left on the disk.
    pub(super) fn has_room(&mut self, owner: DcId) -> bool {
        let lane = self.lane(owner);
        lane.is_partial |= lane.known.len() >= lane.limits.waiting_per_owner;
        !lane.is_partial
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;
    use hansa_types::{ObjectId, Version};

    use super::*;
    use crate::replicate::table::VersionId;

    fn limits() -> ReplicationSettings {
        ReplicationSettings::default()
    }

    fn owner(id: u32) -> DcId {
        DcId::new(id).unwrap()
    }

    fn task_of(id: u32, number: u64) -> Task {
        let object = ObjectId { owner: owner(id), number };
        Task { id: VersionId::new(object, Version(2)), root: B256::repeat_byte(3), size_class: 4096 }
    }

    fn task(number: u64) -> Task {
        task_of(1, number)
    }

    /// Lets the next owner say that it holds some of its fresh versions.
    fn survey(queue: &mut Queue, now: Instant, holds: impl Fn(u64) -> bool) {
        let survey = queue.unasked().unwrap();
        let holding =
            |task: &Task| if holds(task.id.object.number) { Holding::Whole } else { Holding::Partly };
        let holdings: Vec<_> = survey.tasks.iter().map(holding).collect();
        queue.surveyed(now, survey, &holdings);
    }

    fn next(queue: &mut Queue, now: Instant) -> Option<(Task, u32)> {
        queue.next(now).map(|attempt| (attempt.task, attempt.tries))
    }

    #[test]
    fn owners_are_asked_first_and_failures_wait_longer_each_time() {
        let start = Instant::now();
        let after = |pauses| start + limits().retry_min * pauses;
        let mut queue = Queue::default();
        queue.add(task(1));
        queue.add(task(2));
        queue.add(task(2));
        assert_eq!(queue.next(start), None, "the owner was not asked");
        survey(&mut queue, start, |number| number == 1);
        assert!(queue.unasked().is_none());
        assert_eq!(next(&mut queue, start), Some((task(1), 0)));
        assert_eq!(next(&mut queue, start), None);
        queue.add(task(3));
        survey(&mut queue, after(1), |_| true);
        assert_eq!(next(&mut queue, after(1)), Some((task(3), 0)), "before the repeated one");
        assert_eq!(next(&mut queue, after(1)), Some((task(2), 1)));
        queue.failed(after(1), Attempt { task: task(2), tries: 1 });
        assert_eq!(next(&mut queue, after(2)), None);
        assert_eq!(next(&mut queue, after(3)), Some((task(2), 2)));
    }

    #[test]
    fn an_owner_that_delivers_is_not_asked_until_it_fails() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.add(task(1));
        survey(&mut queue, now, |_| true);
        let first = queue.next(now).unwrap();
        queue.kept(first);
        (2..=40).for_each(|number| queue.add(task(number)));
        let at_once: Vec<_> = std::iter::from_fn(|| queue.next(now)).collect();
        assert_eq!(at_once.len(), limits().fetches_per_owner);
        assert_eq!(
            queue.unasked().unwrap().tasks.len(),
            39 - limits().fetches_per_owner,
            "a crowd is asked about at once"
        );
        at_once.into_iter().for_each(|attempt| queue.failed(now, attempt));
        queue.add(task(41));
        assert_eq!(queue.next(now), None);
    }

    #[test]
    fn nothing_is_due_while_no_place_is_free_for_it() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for owner in 1..=4 {
            (1..=8).for_each(|number| queue.add(task_of(owner, number)));
            survey(&mut queue, now, |_| false);
        }
        let later = now + limits().retry_max;
        let running: Vec<_> = std::iter::from_fn(|| queue.next(later)).collect();
        assert!(running.len() >= limits().fetches_per_owner && running.len() < 32, "{}", running.len());
        assert_eq!(queue.due(), None, "or the task that waits for it would not sleep");
        running.into_iter().for_each(|attempt| queue.done(attempt));
        assert!(queue.due().is_some_and(|due| due <= later));
    }

    #[test]
    fn a_hanging_owner_takes_its_share_and_no_more() {
        let now = Instant::now();
        let mut queue = Queue::default();
        (1..=40).for_each(|number| queue.add(task_of(1, number)));
        survey(&mut queue, now, |_| true);
        let hanging: Vec<_> = std::iter::from_fn(|| queue.next(now)).collect();
        assert_eq!(hanging.len(), limits().fetches_per_owner);
        (1..=3).for_each(|number| queue.add(task_of(2, number)));
        survey(&mut queue, now, |_| true);
        for _ in 0..3 {
            let attempt = queue.next(now).unwrap();
            assert_eq!(attempt.task.id.object.owner, owner(2));
            assert_eq!(queue.next(now), None, "one at a time beside a full share");
            queue.done(attempt);
        }
        // Their deadlines pass: as repeated attempts they take less.
        hanging.into_iter().for_each(|attempt| queue.failed(now, attempt));
        let later = now + limits().retry_max;
        let again: Vec<_> = std::iter::from_fn(|| queue.next(later)).collect();
        assert_eq!(again.iter().filter(|attempt| attempt.tries > 0).count(), 0, "others of it come first");
        assert_eq!(again.len(), limits().fetches_per_owner);
    }

    #[test]
    fn owners_are_served_in_turns() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for id in 1..=3 {
            (1..=20).for_each(|number| queue.add(task_of(id, number)));
            survey(&mut queue, now, |_| true);
        }
        let mut served = [0; 4];
        for _ in 0..30 {
            let attempt = queue.next(now).unwrap();
            served[attempt.task.id.object.owner.value() as usize] += 1;
            queue.done(attempt);
        }
        assert_eq!(served, [0, 10, 10, 10]);
    }

    #[test]
    fn a_question_names_the_newest_of_one_owner() {
        let mut queue = Queue::default();
        (1..=ROOTS_MAX as u64 + 1).for_each(|number| queue.add(task(number)));
        queue.add(task_of(2, 1));
        queue.add(task(9_999));
        let first = queue.unasked().unwrap();
        assert_eq!((first.owner, first.tasks.len(), first.tasks[0]), (owner(1), ROOTS_MAX, task(9_999)));
        assert_eq!(queue.unasked().unwrap().owner, owner(2), "the first is being asked");
        assert!(queue.unasked().is_none());
        queue.surveyed(Instant::now(), first, &[Holding::Partly; ROOTS_MAX]);
        assert_eq!(queue.unasked().unwrap().tasks, [task(2), task(1)]);
    }

    #[test]
    fn a_flood_of_one_owner_pushes_out_its_own_oldest_and_memory_stays_bounded() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.add(task_of(2, 1));
        let flood = 3 * limits().waiting_per_owner as u64;
        (1..=flood).for_each(|number| queue.add(task(number)));
        assert_eq!(queue.lanes[&owner(1)].known.len(), limits().waiting_per_owner);
        assert_eq!(queue.lanes[&owner(2)].known.len(), 1);
        assert_eq!(queue.unasked().unwrap().tasks[0], task(flood));
        for number in 1..=flood {
            queue.failed(now, Attempt { task: task(number), tries: 0 });
        }
        assert_eq!(queue.lanes[&owner(1)].later.len(), limits().waiting_per_owner);
        assert!(!queue.has_room(owner(1)));
    }

    #[test]
    fn the_settings_bound_the_fetches_of_all_and_of_one_owner() {
        let limits = ReplicationSettings { fetches: 3, fetches_per_owner: 2, ..limits() };
        let (mut queue, now) = (Queue::new(limits), Instant::now());
        let running = |queue: &mut Queue| std::iter::from_fn(|| queue.next(now)).collect::<Vec<_>>();
        for number in 1..=9 {
            queue.add(task(number));
        }
        survey(&mut queue, now, |_| true);
        assert_eq!(running(&mut queue).len(), 2, "the third place is for another owner");
        for other in 2..=4 {
            queue.add(task_of(other, 1));
            survey(&mut queue, now, |_| true);
        }
        let others = running(&mut queue);
        assert_eq!(others.len(), 1);
        assert_ne!(others[0].task.id.object.owner, owner(1));
    }
}
