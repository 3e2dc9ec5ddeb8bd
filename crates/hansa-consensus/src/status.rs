//! The status of consensus, for the rest of the node.
//!
//! Nothing here decides anything: what consensus reads itself is in `pacing`.

use core::num::NonZeroU64;
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use alloy_primitives::B256;
use commonware_consensus::types::{Epoch, Round};
use hansa_types::{Block, NetworkKey};
use parking_lot::Mutex;
use tokio::sync::watch;

/// The role of this node in the current epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seat {
    /// Follows the chain.
    #[default]
    Follower,
    /// Votes and proposes.
    Validator,
    /// A member of the committee without a share of the key, as after a loss of its data. It receives one in the first resharing that it
    /// attends from the start, with effect from [`Status::rejoins`].
    ValidatorWithoutShare,
}

/// The earliest return of a validator without a share of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejoin {
    /// The epoch.
    pub epoch: u64,
    /// The epoch's first block.
    pub height: u64,
}

/// The status of consensus at this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The role of this node in the current epoch.
    pub seat: Seat,
    /// The current epoch.
    pub epoch: u64,
    /// The latest view with a certificate or a proposal.
    pub view: u64,
    /// The last height that this node has executed durably.
    pub height: u64,
    /// The block hash at that height.
    pub head: B256,
    /// The last height known to be final; above `height` during catch-up.
    pub final_height: u64,
    /// The leader of the latest view.
    pub leader: Option<NetworkKey>,
    /// The validators of the current epoch, in the order of their seats.
    pub committee: Vec<NetworkKey>,
    /// The other validators that lag with their votes and have not been heard for ten seconds.
    pub silent: Vec<NetworkKey>,
    /// Connected members. A dead connection is detected after about fifteen seconds.
    pub connected: Vec<NetworkKey>,
    /// Median time from the first sight of a proposal to its durable execution, over the last 64 final blocks.
    pub finality: Option<Duration>,
    /// Time of execution of the block at `height`, or of the start.
    pub advanced_at: Option<SystemTime>,
    /// Mean interval of the last 64 final blocks.
    pub block_interval: Option<Duration>,
    /// The earliest return of this node, if it has a seat and no share.
    pub rejoins: Option<Rejoin>,
}

impl Status {
    /// Estimated time until [`Status::rejoins`] at the current block interval.
    pub fn rejoins_in(&self) -> Option<Duration> {
        let blocks = self.rejoins?.height.saturating_sub(self.height.max(self.final_height));
        Some(self.block_interval?.saturating_mul(u32::try_from(blocks).ok()?))
    }
}

/// Number of final blocks in the statistics.
const WINDOW: usize = 64;

/// Statistics of the last final blocks.
#[derive(Default)]
struct Statistics {
    /// Heights and times of execution.
    reached: VecDeque<(u64, SystemTime)>,
    finality: VecDeque<Duration>,
}

impl Statistics {
    fn note(&mut self, height: u64, now: SystemTime, finality: Option<Duration>) {
        self.reached.push_back((height, now));
        self.finality.extend(finality);
        while self.reached.len() > WINDOW {
            self.reached.pop_front();
        }
        while self.finality.len() > WINDOW {
            self.finality.pop_front();
        }
    }

    fn interval(&self) -> Option<Duration> {
        let ((from, begin), (to, end)) = (self.reached.front()?, self.reached.back()?);
        let blocks = u32::try_from(to.saturating_sub(*from)).ok()?;
        end.duration_since(*begin).ok()?.checked_div(blocks)
    }

    fn median(&self) -> Option<Duration> {
        let mut sorted: Vec<_> = self.finality.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }
}

/// Age at execution from which a block counts as proposed in this node's absence.
const LATE: Duration = Duration::from_secs(5);

/// The collector of status updates from the engine's parts.
#[derive(Clone, Default)]
pub(crate) struct StatusBoard {
    status: watch::Sender<Status>,
    statistics: Arc<Mutex<Statistics>>,
    /// The highest block that was executed late.
    late: Arc<Mutex<u64>>,
}

impl StatusBoard {
    pub(crate) fn subscribe(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Records the start of an epoch.
    pub(crate) fn entered(
        &self,
        epoch: Epoch,
        seat: Seat,
        committee: Vec<NetworkKey>,
        epoch_blocks: NonZeroU64,
    ) {
        let late = *self.late.lock();
        self.status.send_modify(|status| {
            if epoch.get() > status.epoch {
                status.view = 0;
            }
            status.epoch = epoch.get();
            status.rejoins =
                (seat == Seat::ValidatorWithoutShare).then(|| rejoin(epoch.get(), late, epoch_blocks));
            status.seat = seat;
            status.committee = committee;
        });
    }

    /// The validators of the current epoch.
    pub(crate) fn committee(&self) -> Vec<NetworkKey> {
        self.status.borrow().committee.clone()
    }

    /// Records the silent validators.
    pub(crate) fn silent(&self, silent: Vec<NetworkKey>) {
        self.status.send_if_modified(|status| {
            let changed = status.silent != silent;
            status.silent = silent;
            changed
        });
    }

    /// Records a certificate, proposal or request of a round.
    pub(crate) fn saw_round(&self, round: Round, leader: Option<NetworkKey>) {
        self.status.send_if_modified(|status| {
            let seen = (round.epoch().get(), round.view().get());
            if seen < (status.epoch, status.view) || seen.0 > status.epoch {
                return false;
            }
            status.view = seen.1;
            status.leader = leader.or(status.leader);
            true
        });
    }

    /// Records a final height.
    pub(crate) fn saw_tip(&self, height: u64) {
        self.status.send_if_modified(|status| {
            let higher = height > status.final_height;
            status.final_height = status.final_height.max(height);
            higher
        });
    }

    /// Records the durable execution of a final block, and the time since the first sight of its proposal.
    pub(crate) fn finalised(&self, height: u64, head: B256, now: SystemTime, taken: Option<Duration>) {
        let mut statistics = self.statistics.lock();
        statistics.note(height, now, taken);
        let (finality, interval) = (statistics.median(), statistics.interval());
        drop(statistics);
        self.status.send_modify(|status| {
            status.height = height;
            status.head = head;
            status.final_height = status.final_height.max(height);
            status.finality = finality;
            status.advanced_at = Some(now);
            status.block_interval = interval;
        });
    }

    /// Records a final block before its execution. A late one shows that this node has missed the start of its epoch.
    pub(crate) fn note_delay(&self, block: &Block, now: SystemTime) {
        let made = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(block.header().timestamp));
        if made.and_then(|made| now.duration_since(made).ok()).is_none_or(|delay| delay < LATE) {
            return;
        }
        let mut late = self.late.lock();
        *late = (*late).max(block.number());
        let late = *late;
        self.status.send_if_modified(|status| {
            let next = status.epoch.saturating_add(1);
            let Some(rejoins) = status.rejoins.as_mut().filter(|rejoins| rejoins.epoch == next) else {
                return false;
            };
            let epoch_blocks =
                rejoins.height.checked_div(next).and_then(NonZeroU64::new).unwrap_or(NonZeroU64::MIN);
            let before = *rejoins;
            *rejoins = rejoin(status.epoch, late, epoch_blocks);
            *rejoins != before
        });
    }

    /// Records the connected members.
    pub(crate) fn connected(&self, peers: Vec<NetworkKey>) {
        self.status.send_if_modified(|status| {
            let changed = status.connected != peers;
            status.connected = peers;
            changed
        });
    }
}

/// The return of a validator without a share in `epoch`: the next epoch if it attended this one from the start, and one epoch later if it
/// executed blocks of this one late (`late` is the highest such block). Dealers distribute the shares of the next epoch in the first
/// blocks, and do not deal again to a player that has acknowledged and lost its share.
fn rejoin(epoch: u64, late: u64, epoch_blocks: NonZeroU64) -> Rejoin {
    let missed = late >= epoch.saturating_mul(epoch_blocks.get());
    let epoch = epoch.saturating_add(if missed { 2 } else { 1 });
    Rejoin { epoch, height: epoch.saturating_mul(epoch_blocks.get()) }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use commonware_utils::NZU64;

    use super::*;

    fn key(seed: u8) -> NetworkKey {
        NetworkKey(B256::repeat_byte(seed))
    }

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn finality_is_the_median_of_a_window() {
        let board = StatusBoard::default();
        for height in 1..=200 {
            let hash = B256::with_last_byte(height as u8);
            // Every tenth block is slow.
            let taken = if height % 10 == 0 { 900 } else { 50 };
            let finality = Some(Duration::from_millis(taken));
            board.finalised(height, hash, at(height * 1_000 + taken), finality);
        }
        let status = board.subscribe().borrow().clone();
        assert_eq!(status.finality, Some(Duration::from_millis(50)));
        let interval = status.block_interval.unwrap();
        assert!((900..1_100).contains(&interval.as_millis()), "{interval:?}");
    }

    #[test]
    fn a_validator_without_a_share_learns_when_it_rejoins() {
        let board = StatusBoard::default();
        let enter = |epoch, seat| {
            board.entered(Epoch::new(epoch), seat, vec![key(1)], NZU64!(256));
            board.subscribe().borrow().rejoins
        };
        let late = |number: u64, second: u64| {
            let header = alloy_consensus::Header { number, timestamp: 100, ..Default::default() };
            board.note_delay(&Block::genesis(header), at(second * 1_000));
            board.subscribe().borrow().rejoins
        };
        late(1_000, 200);
        // It missed the start of epoch 3, when the shares of epoch 4 were dealt.
        assert_eq!(enter(3, Seat::ValidatorWithoutShare), Some(Rejoin { epoch: 5, height: 1_280 }));
        board.finalised(1_022, B256::ZERO, at(0), None);
        board.finalised(1_023, B256::ZERO, at(1_000), None);
        assert_eq!(enter(4, Seat::ValidatorWithoutShare), Some(Rejoin { epoch: 5, height: 1_280 }));
        let status = board.subscribe().borrow().clone();
        assert_eq!(status.rejoins_in(), Some(Duration::from_secs(257)));
        assert_eq!(enter(5, Seat::Validator), None);
        // Blocks of an epoch can be late after it was entered.
        assert_eq!(enter(6, Seat::ValidatorWithoutShare).unwrap().epoch, 7);
        for (number, second, epoch) in [(1_535, 200, 7), (1_536, 103, 7), (1_536, 200, 8), (1_537, 200, 8)] {
            assert_eq!(late(number, second), Some(Rejoin { epoch, height: epoch * 256 }));
        }
    }
}
