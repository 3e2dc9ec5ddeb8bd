//! The facts by which consensus paces itself: how far this node is, and when it first saw each proposal.
//!
//! Proposals wait and shrink by the block interval; the release of keys, the deletion of journals and the search for a committee wait
//! for progress. The wait at the start of an epoch is in [`epoch_barrier`](crate::epoch_barrier). The node's report about itself is in
//! [`status`](crate::status): no decision reads it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use alloy_primitives::B256;
use hansa_types::Block;
use parking_lot::Mutex;
use tokio::sync::watch;

/// Maximum number of timed proposals.
const TIMED_MAX: usize = 256;

/// How far this node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The last height that this node has executed durably.
    pub(crate) height: u64,
    /// The last height known to be final; above `height` during catch-up.
    pub(crate) final_height: u64,
    /// Time of execution of the block at `height`, or of the start.
    pub(crate) advanced_at: Option<SystemTime>,
}

/// Collects progress and sightings of proposals. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Pacing {
    progress: watch::Sender<Progress>,
    /// Hash and first sight of each proposal by height.
    seen: Arc<Mutex<BTreeMap<u64, (B256, SystemTime)>>>,
}

impl Pacing {
    /// Progress with change notification.
    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Records the first sight of a proposal.
    pub(crate) fn saw_proposal(&self, number: u64, hash: B256, now: SystemTime) {
        let mut seen = self.seen.lock();
        seen.insert(number, (hash, now));
        while seen.len() > TIMED_MAX {
            seen.pop_first();
        }
    }

    /// The first sight of `block` as a proposal.
    pub(crate) fn proposal_seen(&self, block: &Block) -> Option<SystemTime> {
        self.seen_at(block.number(), block.hash())
    }

    fn seen_at(&self, number: u64, hash: B256) -> Option<SystemTime> {
        let seen = self.seen.lock();
        seen.get(&number).filter(|(seen, _)| *seen == hash).map(|(_, at)| *at)
    }

    /// The block interval: the time between the proposal of `parent` and the one before, or since the former if that is longer.
    pub(crate) fn interval(&self, parent: &Block, now: SystemTime) -> Option<Duration> {
        let last = self.proposal_seen(parent)?;
        let before = self.seen_at(parent.number().checked_sub(1)?, parent.header().parent_hash);
        let between = before.and_then(|before| last.duration_since(before).ok()).unwrap_or_default();
        Some(between.max(now.duration_since(last).unwrap_or_default()))
    }

    /// Records a final height.
    pub(crate) fn saw_tip(&self, height: u64) {
        self.progress.send_if_modified(|progress| {
            let higher = height > progress.final_height;
            progress.final_height = progress.final_height.max(height);
            higher
        });
    }

    /// Records the durable execution of a final block. Returns the time since the first sight of its proposal.
    pub(crate) fn finalised(&self, height: u64, head: B256, now: SystemTime) -> Option<Duration> {
        let timed = {
            let mut seen = self.seen.lock();
            *seen = seen.split_off(&height);
            seen.get(&height).copied().filter(|(hash, _)| *hash == head)
        };
        self.progress.send_modify(|progress| {
            *progress =
                Progress { height, final_height: progress.final_height.max(height), advanced_at: Some(now) };
        });
        timed.and_then(|(_, since)| now.duration_since(since).ok())
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    fn block(number: u64, parent_hash: B256) -> Block {
        Block::genesis(alloy_consensus::Header { number, parent_hash, ..Default::default() })
    }

    #[test]
    fn the_interval_is_between_two_proposals_of_one_branch() {
        let pacing = Pacing::default();
        let grandparent = block(7, B256::ZERO);
        let parent = block(8, grandparent.hash());
        let rival = block(8, B256::repeat_byte(1));
        let saw = |block: &Block, millis| pacing.saw_proposal(block.number(), block.hash(), at(millis));
        let interval = |parent, millis| pacing.interval(parent, at(millis)).map(|time| time.as_millis());
        assert_eq!(interval(&parent, 0), None, "its proposal was not seen");
        saw(&grandparent, 1_000);
        saw(&parent, 1_300);
        assert_eq!(interval(&parent, 1_310), Some(300));
        assert_eq!(interval(&parent, 2_000), Some(700), "a slow successor counts at once");
        // Another proposal of the same height, as after a lost view, starts anew: nothing is known about its parent.
        saw(&rival, 1_400);
        assert_eq!((interval(&parent, 2_000), interval(&rival, 1_450)), (None, Some(50)));
    }

    #[test]
    fn sightings_are_bounded_and_end_with_finality() {
        let pacing = Pacing::default();
        let hash = |height: u64| B256::from(alloy_primitives::U256::from(height));
        for height in 0..1_000 {
            pacing.saw_proposal(height, hash(height), at(height));
        }
        assert_eq!(pacing.seen.lock().len(), TIMED_MAX);
        assert_eq!(
            pacing.finalised(999, B256::ZERO, at(2_000)),
            None,
            "another block is final than was seen"
        );
        assert_eq!(pacing.finalised(999, hash(999), at(2_000)), Some(Duration::from_millis(1_001)));
        assert_eq!(pacing.seen.lock().len(), 1);
    }

    #[test]
    fn progress_keeps_the_highest_final_height_during_catch_up() {
        let pacing = Pacing::default();
        let mut progress = pacing.progress();
        pacing.saw_tip(90);
        pacing.saw_tip(80);
        pacing.finalised(10, B256::ZERO, at(5));
        let expected = Progress { height: 10, final_height: 90, advanced_at: Some(at(5)) };
        assert_eq!(*progress.borrow_and_update(), expected);
        pacing.saw_tip(90);
        assert!(!progress.has_changed().unwrap(), "nothing new wakes nobody");
    }
}
