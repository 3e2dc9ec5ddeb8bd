//! Notices that the clock was set back under a running node.
//!
//! The agreement engine notes by the clock's time when it may dial, send or vote again. After the clock has been set back, all of
//! that waits until the former time comes again. So the node is started anew.

use std::time::{Duration, Instant, SystemTime};

/// Clocks are slewed, and stepped by little, without harm: members' clocks may differ by as much.
const STEP_MAX: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_secs(1);

/// The clock beside one that nobody can set.
struct Clocks {
    wall: SystemTime,
    running: Instant,
}

impl Clocks {
    /// By how much the clock is behind the greatest time that it has shown, if that is more than a small step.
    fn observe(&mut self, wall: SystemTime, running: Instant) -> Option<Duration> {
        let expected = self.wall.checked_add(running.saturating_duration_since(self.running))?;
        let Ok(behind) = expected.duration_since(wall) else {
            // Set forward, or the machine has slept.
            *self = Self { wall, running };
            return None;
        };
        (behind > STEP_MAX).then_some(behind)
    }
}

/// Waits until the clock is set back, and says by how much.
pub(crate) async fn set_back() -> Duration {
    let mut clocks = Clocks { wall: SystemTime::now(), running: Instant::now() };
    let mut tick = tokio::time::interval(TICK);
    loop {
        tick.tick().await;
        if let Some(behind) = clocks.observe(SystemTime::now(), Instant::now()) {
            return behind;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_large_step_back_is_told() {
        let (wall, running) = (SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000), Instant::now());
        let mut clocks = Clocks { wall, running };
        let seconds = Duration::from_secs;
        let mut at = |clock: u64, run: u64| clocks.observe(wall + seconds(clock), running + seconds(run));
        assert_eq!(at(1, 1), None);
        assert_eq!(at(5, 10), None, "a small step");
        assert_eq!(at(3_620, 20), None, "forward");
        assert_eq!(at(3_640, 40), None);
        assert_eq!(at(3_611, 21 + 40), Some(seconds(50)), "and back by small steps");
        assert_eq!(at(50, 50), Some(seconds(3_600)));
    }
}
