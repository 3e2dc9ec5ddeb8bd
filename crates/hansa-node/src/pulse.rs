//! Follows the final blocks as they arrive: how long ago the last one came, and what the clock reads beside their times.
//!
//! Times are arguments, so that tests need no clock.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Blocks whose times are compared with the clock.
const COMPARED_MAX: usize = 9;
/// Fewer comparisons than this say nothing: a block may have waited long for its quorum.
const COMPARED_MIN: usize = 5;

/// What the last final blocks showed.
#[derive(Clone, Debug)]
pub(crate) struct Pulse {
    last: Instant,
    /// The clock less the block's time, in seconds; the latest last.
    ahead: VecDeque<i64>,
}

impl Pulse {
    /// A pulse that begins when the node starts.
    pub(crate) const fn new(now: Instant) -> Self {
        Self { last: now, ahead: VecDeque::new() }
    }

    /// A block became final here.
    pub(crate) fn beat(&mut self, now: Instant) {
        self.last = now;
    }

    /// A block that another member had just proposed, with the time on it: both clocks in Unix seconds.
    pub(crate) fn compare(&mut self, clock: u64, block: u64) {
        if self.ahead.len() == COMPARED_MAX {
            self.ahead.pop_front();
        }
        let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        self.ahead.push_back(signed(clock).saturating_sub(signed(block)));
    }

    /// Time since the last final block.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last)
    }

    /// Median seconds that the clock is ahead of the blocks' times, where enough blocks have come.
    pub(crate) fn seconds_ahead(&self) -> Option<i64> {
        let mut sorted: Vec<i64> = self.ahead.iter().copied().collect();
        sorted.sort_unstable();
        (sorted.len() >= COMPARED_MIN).then(|| sorted.get(sorted.len() / 2).copied()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_late_block_does_not_move_the_clock() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        for _ in 0..4 {
            pulse.compare(1_000, 1_000);
        }
        assert_eq!(pulse.seconds_ahead(), None);
        pulse.compare(1_000, 940);
        assert_eq!(pulse.seconds_ahead(), Some(0));
        for _ in 0..20 {
            pulse.compare(1_000, 4_600);
        }
        assert_eq!((pulse.seconds_ahead(), pulse.ahead.len()), (Some(-3_600), COMPARED_MAX));
        assert_eq!(pulse.age(start + Duration::from_secs(3)), Duration::from_secs(3));
        pulse.beat(start + Duration::from_secs(3));
        assert_eq!(pulse.age(start + Duration::from_secs(3)), Duration::ZERO);
    }
}
