//! How fast the chain takes transactions, and how many may wait for it. Plain data: no locks, no clock.
//!
//! The rate is measured over final blocks that leave a backlog; an idle chain says nothing about what it could
//! take. A node that follows only sees its own users' transactions, and the chain's share for them.

/// The rate that is assumed until it has been measured, in transactions a second.
const RATE_ASSUMED: f64 = 4_000.0;
/// So many may wait however slow the chain is, so that one caller's batch passes.
const WAITING_MIN: usize = 256;
/// So many waiting after a block are work that it could not take. Fewer may just have arrived: under light load every block
/// leaves one or two behind, and says nothing of what the chain could take.
const BACKLOG_MIN: usize = WAITING_MIN / 2;
/// Shortest time over which the rate is measured, in milliseconds: several blocks may become final together.
const SAMPLE_MS_MIN: u64 = 250;
/// Longest such time; a longer one includes a pause of the chain or of this node.
const SAMPLE_MS_MAX: u64 = 5_000;
/// The time in which a new rate displaces most of the old one, in milliseconds.
const SMOOTHING_MS: f64 = 2_000.0;
/// While too many wait, so many newcomers for each transaction executed have their signature checked, or a flood would take
/// the processor from those who execute.
const CHECKED_PER_EXECUTED: f64 = 2.0;

/// The measured rate.
#[derive(Debug)]
pub(crate) struct Drain {
    /// Longest wait that a transaction may be expected to have, in seconds.
    wait_max: f64,
    rate: f64,
    sample: Option<Sample>,
    /// Newcomers that may have their signature checked, and when that was last reckoned.
    checks: f64,
    reckoned: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    since: u64,
    executed: usize,
    /// Work was left after every block of the sample.
    backlog: bool,
}

impl Drain {
    pub(crate) fn new(wait_ms_max: u32) -> Self {
        let wait_max = f64::from(wait_ms_max) / 1_000.0;
        Self { wait_max, rate: RATE_ASSUMED, sample: None, checks: 0.0, reckoned: 0 }
    }

    /// A block became final at `now` (milliseconds) that took `executed` transactions and left `ready` ones waiting.
    #[expect(clippy::cast_precision_loss, reason = "counts and milliseconds are far below 2^53")]
    pub(crate) fn finalised(&mut self, now: u64, executed: usize, ready: usize) {
        let Some(sample) = &mut self.sample else {
            self.sample = Some(Sample { since: now, executed: 0, backlog: ready >= BACKLOG_MIN });
            return;
        };
        sample.executed = sample.executed.saturating_add(executed);
        sample.backlog &= ready >= BACKLOG_MIN;
        let elapsed = now.saturating_sub(sample.since);
        if elapsed < SAMPLE_MS_MIN {
            return;
        }
        let measured = sample.executed as f64 * 1_000.0 / elapsed as f64;
        if measured > self.rate || (sample.backlog && elapsed <= SAMPLE_MS_MAX) {
            let weight = (elapsed as f64 / SMOOTHING_MS).min(1.0);
            self.rate += (measured - self.rate) * weight;
        }
        self.sample = Some(Sample { since: now, executed: 0, backlog: ready >= BACKLOG_MIN });
    }

    /// Most transactions that may wait.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float converts to the nearest count"
    )]
    pub(crate) fn waiting_max(&self) -> usize {
        ((self.rate * self.wait_max) as usize).max(WAITING_MIN)
    }

    /// Milliseconds after which a tenth of what may wait will have been executed, on top of what is too much.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a float converts to the nearest count, and is clamped"
    )]
    pub(crate) fn retry_ms(&self, ready: usize) -> u64 {
        let most = self.waiting_max() as f64;
        let excess = (ready as f64 - most).max(0.0) + most / 10.0;
        ((excess * 1_000.0 / self.rate.max(1.0)) as u64).clamp(100, 5_000)
    }

    /// Whether a newcomer to a crowded pool has its signature checked, which tells whose it is. Others are turned away unseen.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds are far below 2^53")]
    pub(crate) fn may_check(&mut self, now: u64) -> bool {
        let elapsed = now.saturating_sub(self.reckoned);
        self.reckoned = now;
        let earned = elapsed as f64 * self.rate.max(16.0) * CHECKED_PER_EXECUTED / 1_000.0;
        self.checks = (self.checks + earned).min(self.checks_max());
        let may = self.checks >= 1.0;
        if may {
            self.checks -= 1.0;
        }
        may
    }

    /// A check that ended with an admission was no waste.
    pub(crate) fn was_worth_it(&mut self) {
        self.checks = (self.checks + 1.0).min(self.checks_max());
    }

    fn checks_max(&self) -> f64 {
        self.rate.max(16.0) * CHECKED_PER_EXECUTED / 4.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds blocks of `executed` every `every` milliseconds, from `from` on; `left` wait after each.
    fn feed(drain: &mut Drain, from: u64, every: u64, blocks: u64, executed: usize, left: usize) -> u64 {
        for block in 1..=blocks {
            drain.finalised(from + block * every, executed, left);
        }
        from + blocks * every
    }

    #[test]
    fn the_rate_is_measured_under_load_alone() {
        let mut drain = Drain::new(2_500);
        let assumed = drain.waiting_max();
        let now = feed(&mut drain, 0, 1_000, 60, 3, 0);
        assert_eq!(drain.waiting_max(), assumed, "an idle chain says nothing");
        let now = feed(&mut drain, now, 50, 200, 1, 2);
        assert_eq!(drain.waiting_max(), assumed, "nor does one under light load");
        let now = feed(&mut drain, now, 200, 100, 80, 5_000);
        assert!((900..=1_100).contains(&drain.waiting_max()), "400 a second for 2.5 s: {drain:?}");
        let now = feed(&mut drain, now, 200, 10, 2_000, 0);
        assert!(drain.waiting_max() > 10_000, "a faster chain is noticed without a queue: {drain:?}");
        let waiting = drain.waiting_max();
        drain.finalised(now + 60_000, 1, 9_000);
        assert_eq!(drain.waiting_max(), waiting, "a pause is no measure");
    }

    #[test]
    fn twice_the_wait_lets_twice_as_many_wait() {
        assert_eq!(Drain::new(5_000).waiting_max(), 2 * Drain::new(2_500).waiting_max());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn every_history_leaves_sane_answers(
            blocks in prop::collection::vec((0_u64..20_000, 0_usize..100_000, 0_usize..100_000), 0..50),
        ) {
            let (mut drain, mut now) = (Drain::new(2_500), 0);
            for (pause, executed, ready) in blocks {
                now += pause;
                drain.finalised(now, executed, ready);
                prop_assert!(drain.rate.is_finite() && drain.rate >= 0.0);
                prop_assert!(drain.waiting_max() >= WAITING_MIN);
                prop_assert!((100..=5_000).contains(&drain.retry_ms(ready)));
                let checked = (0..100_000).filter(|_| drain.may_check(now)).count() as f64;
                prop_assert!(checked <= drain.checks_max() + 1.0);
            }
        }
    }
}
