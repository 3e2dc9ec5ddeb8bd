//! The wants of other peers: one list a peer, served round-robin. Fairness is by bytes: an answer counts until it is on the wire. A
//! peer that does not read occupies memory for a few answers, and does not delay others. A state machine without I/O.

use std::collections::{HashMap, HashSet, VecDeque};

use libp2p::PeerId;

use super::message::{Entry, Kind, MAX_WANTS};
use crate::Limits;

/// Estimated bytes of a job while its blocks are read.
const JOB_BYTES: usize = 1024 * 1024;
/// Maximum entries of a peer's queue, including cancelled ones.
const QUEUE_MAX: usize = MAX_WANTS * 4;
/// Maximum number of wants in a job.
const WANTS_PER_JOB: usize = 64;

/// Wants that are read and answered together.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) peer: PeerId,
    pub(crate) wants: Vec<Entry>,
    generation: u64,
}

#[derive(Debug, Default)]
struct Ledger {
    /// Wants in order. Cancelled ones are removed lazily.
    queue: VecDeque<Entry>,
    /// The wants of the queue that are not cancelled.
    queued: HashSet<(cid::Cid, bool)>,
    /// Number of running jobs; several hide the disk's latency.
    busy: usize,
    unsent: usize,
    generation: u64,
}

impl Ledger {
    fn push(&mut self, entry: Entry) {
        if self.queued.len() < MAX_WANTS && self.queued.insert(name(&entry)) {
            self.queue.push_back(entry);
            if self.queue.len() > QUEUE_MAX {
                self.drop_cancelled();
            }
        }
    }

    fn drop_cancelled(&mut self) {
        let mut kept = HashSet::with_capacity(self.queued.len());
        let queued = &self.queued;
        self.queue.retain(|entry| queued.contains(&name(entry)) && kept.insert(name(entry)));
    }

    fn cancel(&mut self, cid: &cid::Cid) {
        self.queued.remove(&(*cid, true));
        self.queued.remove(&(*cid, false));
    }

    /// Whether another job may run for the peer, whose answers may have `unsent_max` bytes.
    fn may_start(&self, total_is_full: bool, unsent_max: usize) -> bool {
        let pending = self.busy.saturating_mul(JOB_BYTES).saturating_add(self.unsent);
        let allowed = if total_is_full { pending == 0 } else { pending < unsent_max };
        allowed && !self.queued.is_empty()
    }

    fn take(&mut self) -> Vec<Entry> {
        // Part of the list, so that several jobs read large blocks in parallel.
        let count = self.queued.len().div_ceil(4).min(WANTS_PER_JOB);
        let mut wants = Vec::with_capacity(count);
        while wants.len() < count
            && let Some(entry) = self.queue.pop_front()
        {
            if self.queued.remove(&name(&entry)) {
                wants.push(entry);
            }
        }
        wants
    }
}

fn name(entry: &Entry) -> (cid::Cid, bool) {
    (entry.cid, entry.kind == Kind::Block)
}

/// The lists of all peers.
#[derive(Debug)]
pub(crate) struct Ledgers {
    /// Maximum unsent bytes of a peer, and of all of them. Above the latter, only peers without unsent bytes are served.
    unsent_max_peer: usize,
    unsent_max: usize,
    peers: HashMap<PeerId, Ledger>,
    turn: VecDeque<PeerId>,
    unsent: usize,
    generation: u64,
}

impl Ledgers {
    pub(crate) fn new(limits: &Limits) -> Self {
        let bytes = |mib: usize| mib.saturating_mul(1024 * 1024);
        Self {
            unsent_max_peer: bytes(limits.unsent_mib_per_peer),
            unsent_max: bytes(limits.unsent_mib),
            peers: HashMap::new(),
            turn: VecDeque::new(),
            unsent: 0,
            generation: 0,
        }
    }

    /// Adds a peer's wants and cancellations. Wants above the limit are dropped.
    pub(crate) fn receive(&mut self, peer: PeerId, wants: Vec<Entry>, full: bool) {
        let generation = &mut self.generation;
        let turn = &mut self.turn;
        let ledger = self.peers.entry(peer).or_insert_with(|| {
            *generation = generation.wrapping_add(1);
            turn.push_back(peer);
            Ledger { generation: *generation, ..Default::default() }
        });
        if full {
            ledger.queue.clear();
            ledger.queued.clear();
        }
        for entry in wants {
            if entry.cancel { ledger.cancel(&entry.cid) } else { ledger.push(entry) }
        }
    }

    /// The next job, if a peer is due.
    pub(crate) fn next_job(&mut self) -> Option<Job> {
        let total_is_full = self.unsent >= self.unsent_max;
        for _ in 0..self.turn.len() {
            let peer = self.turn.pop_front()?;
            self.turn.push_back(peer);
            let Some(ledger) = self.peers.get_mut(&peer) else { continue };
            if ledger.may_start(total_is_full, self.unsent_max_peer) {
                ledger.busy = ledger.busy.saturating_add(1);
                return Some(Job { peer, wants: ledger.take(), generation: ledger.generation });
            }
        }
        None
    }

    /// Accounts for the answer to a job, and requeues the wants that did not fit. Returns `false` if the peer is gone, so the answer is
    /// dropped.
    pub(crate) fn answered(&mut self, job: &Job, bytes: usize, leftover: Vec<Entry>) -> bool {
        let Some(ledger) = self.peers.get_mut(&job.peer).filter(|l| l.generation == job.generation) else {
            return false;
        };
        ledger.busy = ledger.busy.saturating_sub(1);
        ledger.unsent = ledger.unsent.saturating_add(bytes);
        self.unsent = self.unsent.saturating_add(bytes);
        for entry in leftover.into_iter().rev() {
            if ledger.queued.insert(name(&entry)) {
                ledger.queue.push_front(entry);
            }
        }
        true
    }

    /// Accounts for an answer written to the peer's connection.
    pub(crate) fn sent(&mut self, peer: &PeerId, bytes: usize) {
        if let Some(ledger) = self.peers.get_mut(peer) {
            let bytes = bytes.min(ledger.unsent);
            ledger.unsent = ledger.unsent.saturating_sub(bytes);
            self.unsent = self.unsent.saturating_sub(bytes);
        }
    }

    /// Asserts the bounds.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self) {
        for ledger in self.peers.values() {
            assert!(ledger.queued.len() <= ledger.queue.len());
            assert!(ledger.queue.len() <= QUEUE_MAX + WANTS_PER_JOB * self.unsent_max_peer / JOB_BYTES);
            assert!(ledger.busy <= self.unsent_max_peer / JOB_BYTES);
        }
        let unsent: usize = self.peers.values().map(|ledger| ledger.unsent).sum();
        assert_eq!((unsent, self.peers.len()), (self.unsent, self.turn.len()));
    }

    /// Removes a peer that disconnected or lost messages; it sends its wants again.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        if let Some(ledger) = self.peers.remove(peer) {
            self.unsent = self.unsent.saturating_sub(ledger.unsent);
        }
        self.turn.retain(|other| other != peer);
    }
}

#[cfg(test)]
mod tests {
    use hansa_content::{Block, RAW};

    use super::*;

    fn want(number: u32) -> Entry {
        let cid = *Block::new(RAW, number.to_be_bytes().to_vec().into()).unwrap().cid();
        Entry::want(cid, Kind::Block)
    }

    fn wants(range: std::ops::Range<u32>) -> Vec<Entry> {
        range.map(want).collect()
    }

    #[test]
    fn peers_take_turns_and_one_that_does_not_read_waits() {
        let mut ledgers = Ledgers::new(&Limits::default());
        let [greedy, modest] = [PeerId::random(), PeerId::random()];
        ledgers.receive(greedy, wants(0..5000), false);
        ledgers.receive(modest, wants(0..1), false);
        let jobs: Vec<Job> = std::iter::from_fn(|| ledgers.next_job()).collect();
        let turns: Vec<bool> = jobs.iter().map(|job| job.peer == greedy).collect();
        assert_eq!(turns, [true, false, true, true, true]);
        for job in &jobs {
            assert!(ledgers.answered(job, 1 << 20, Vec::new()));
        }
        assert!(ledgers.next_job().is_none(), "four messages are unsent");
        ledgers.sent(&greedy, 1 << 20);
        assert_eq!(ledgers.next_job().unwrap().peer, greedy);
        assert!(ledgers.next_job().is_none());
    }

    /// Answers without blocks count too.
    #[test]
    fn a_peer_that_never_reads_is_answered_no_further() {
        let mut ledgers = Ledgers::new(&Limits::default());
        let deaf = PeerId::random();
        let mut unsent = 0;
        for round in 0..100_000u32 {
            ledgers.receive(deaf, wants(round * 64..(round + 1) * 64), false);
            let Some(job) = ledgers.next_job() else { break };
            let presences = 50 * job.wants.len();
            unsent += presences;
            assert!(ledgers.answered(&job, presences, Vec::new()));
        }
        assert!(ledgers.next_job().is_none() && unsent <= ledgers.unsent_max_peer + 50 * WANTS_PER_JOB);
        assert!(ledgers.peers[&deaf].queue.len() <= MAX_WANTS);
    }

    #[test]
    fn peers_that_never_read_leave_a_turn_to_the_others() {
        let mut ledgers = Ledgers::new(&Limits::default());
        for _ in 0..ledgers.unsent_max / ledgers.unsent_max_peer {
            let deaf = PeerId::random();
            ledgers.receive(deaf, wants(0..1000), false);
            while let Some(job) = ledgers.next_job() {
                assert!(ledgers.answered(&job, 1 << 20, Vec::new()));
            }
        }
        assert!(ledgers.unsent >= ledgers.unsent_max);
        let honest = PeerId::random();
        ledgers.receive(honest, wants(0..1000), false);
        assert_eq!(ledgers.next_job().unwrap().peer, honest);
        assert!(ledgers.next_job().is_none());
    }

    #[test]
    fn wanting_and_cancelling_in_turns_keeps_the_queue_short() {
        let mut ledgers = Ledgers::new(&Limits::default());
        let peer = PeerId::random();
        ledgers.receive(peer, wants(0..10), false);
        for _ in 0..50 {
            ledgers.receive(peer, wants(10..500), false);
            ledgers.receive(peer, (10..500).map(|number| Entry::cancel(want(number).cid)).collect(), false);
        }
        assert!(ledgers.peers[&peer].queue.len() <= QUEUE_MAX);
        ledgers.receive(peer, wants(499..500), false);
        let served: Vec<Entry> =
            std::iter::from_fn(|| ledgers.next_job()).flat_map(|job| job.wants).collect();
        assert_eq!(served[..4], wants(0..4));
        assert_eq!(ledgers.peers[&peer].queued.len() + served.len(), 11);
    }

    #[test]
    fn lists_are_bounded_and_cancellable() {
        let mut ledgers = Ledgers::new(&Limits::default());
        let peer = PeerId::random();
        ledgers.receive(peer, wants(0..5000), false);
        ledgers.receive(peer, wants(0..10), false);
        assert_eq!(ledgers.peers[&peer].queue.len(), MAX_WANTS);
        ledgers.receive(peer, vec![Entry::cancel(want(0).cid)], false);
        assert_eq!(ledgers.next_job().unwrap().wants[0], want(1));
        ledgers.receive(peer, wants(7..9), true);
        assert_eq!(ledgers.peers[&peer].queue.len(), 2);
    }

    #[test]
    fn answers_of_a_forgotten_peer_are_dropped() {
        let mut ledgers = Ledgers::new(&Limits::default());
        let peer = PeerId::random();
        ledgers.receive(peer, wants(0..100), false);
        let job = ledgers.next_job().unwrap();
        ledgers.forget(&peer);
        ledgers.receive(peer, wants(0..100), false);
        assert!(!ledgers.answered(&job, 1 << 20, Vec::new()));
        assert_eq!(ledgers.unsent, 0);
        let job = ledgers.next_job().unwrap();
        let leftover = job.wants[1..].to_vec();
        assert!(ledgers.answered(&job, 10, leftover.clone()));
        assert_eq!(ledgers.next_job().unwrap().wants[..24], leftover);
    }
}
