//! Logs what is wrong with the node when it begins and when it ends, each once.
//!
//! [`Watchdog`] decides from health and time alone; [`watch`] feeds it. [`look_for_keys`] adds what is looked for once.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use hansa_api::{Health, Standing};
use hansa_ledger::FinalisedBlock;
use hansa_types::MemberStatus;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::status::HealthReader;

const TICK: Duration = Duration::from_secs(1);
/// How often the node looks whether it has caught up, to look for keys then.
const KEYS_TICK: Duration = Duration::from_secs(3);

/// What is to be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// A check has come out badly, or for another reason than before.
    Worse { check: &'static str, status: Standing, reason: String, next: String },
    /// A check that was reported has come out well again.
    Better { check: &'static str, after: Duration },
}

/// A check that does not come out well.
struct Seen {
    since: Instant,
    /// Since when for the present cause.
    cause_since: Instant,
    cause: (Standing, String),
    reported: Option<(Standing, String)>,
}

/// Remembers what it has reported, by check.
#[derive(Default)]
pub(crate) struct Watchdog {
    /// Time that a complaint has to last before it is reported.
    grace: Duration,
    seen: BTreeMap<&'static str, Seen>,
}

impl Watchdog {
    pub(crate) const fn new(grace: Duration) -> Self {
        Self { grace, seen: BTreeMap::new() }
    }

    /// What this health adds to what was reported before.
    pub(crate) fn observe(&mut self, health: &Health, now: Instant) -> Vec<Report> {
        let mut reports = Vec::new();
        for complaint in health.checks.all() {
            if complaint.status == Standing::Ok {
                let seen = self.seen.remove(complaint.check).filter(|seen| seen.reported.is_some());
                reports.extend(seen.map(|seen| Report::Better {
                    check: complaint.check,
                    after: now.saturating_duration_since(seen.since),
                }));
                continue;
            }
            let cause = (complaint.status, complaint.next.to_owned());
            let seen = self.seen.entry(complaint.check).or_insert_with(|| Seen {
                since: now,
                cause_since: now,
                cause: cause.clone(),
                reported: None,
            });
            if seen.cause != cause {
                (seen.cause, seen.cause_since) = (cause.clone(), now);
            }
            if seen.reported.as_ref() != Some(&cause)
                && now.saturating_duration_since(seen.cause_since) >= self.grace
            {
                seen.reported = Some(cause);
                reports.push(Report::Worse {
                    check: complaint.check,
                    status: complaint.status,
                    reason: complaint.reason.to_owned(),
                    next: complaint.next.to_owned(),
                });
            }
        }
        reports
    }
}

/// Follows the chain and the node's health until the ledger stops.
pub(crate) async fn watch(reader: HealthReader, mut blocks: Receiver<Arc<FinalisedBlock>>) {
    let mut watchdog = Watchdog::new(reader.limits.complaint);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            block = blocks.recv() => match block {
                Ok(block) => reader.beat(Some(&block.block)),
                Err(RecvError::Lagged(_)) => reader.beat(None),
                Err(RecvError::Closed) => return,
            },
            _ = tick.tick() => {
                watchdog.observe(&reader.read(), Instant::now()).into_iter().for_each(log);
            }
        }
    }
}

/// Looks once, when the node has caught up, whether the keys of its member's own objects are here.
pub(crate) async fn look_for_keys(reader: HealthReader) {
    let mut tick = tokio::time::interval(KEYS_TICK);
    loop {
        tick.tick().await;
        let health = reader.read();
        let (height, behind) = (health.checks.sync.figures.height, health.checks.sync.figures.behind);
        if height == 0 || behind > 0 || health.checks.membership.figures.member != Some(MemberStatus::Active)
        {
            continue;
        }
        match reader.sharing.missing_keys().await {
            Ok(missing) => {
                let count = u64::try_from(missing.len()).unwrap_or(u64::MAX);
                reader.keyless.store(count, Ordering::Relaxed);
            }
            Err(problem) => tracing::warn!(%problem, "the keys of own objects cannot be looked for"),
        }
        return;
    }
}

fn log(report: Report) {
    match report {
        Report::Worse { check, status: Standing::Failed, reason, next } => {
            tracing::error!(check, next, "{reason}");
        }
        Report::Worse { check, reason, next, .. } => tracing::warn!(check, next, "{reason}"),
        Report::Better { check: "consensus", after } => {
            tracing::info!(
                check = "consensus",
                "in order again after {} s: blocks become final",
                after.as_secs()
            );
        }
        Report::Better { check, after } => {
            tracing::info!(check, "in order again after {} s", after.as_secs())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::tests::healthy;

    #[test]
    fn a_standstill_is_reported_once_and_its_end_once() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(Duration::from_secs(4));
        let mut reports = Vec::new();
        let mut facts = healthy();
        for second in 0..60 {
            let (stands, alone) = ((10..40).contains(&second), (20..40).contains(&second));
            facts.final_ago = Duration::from_secs(if stands { second } else { 0 });
            facts.peers[1].connected = !stands;
            facts.peers[2].connected = !alone;
            let now = start + Duration::from_secs(second);
            for report in watchdog.observe(&facts.health(), now) {
                reports.push(match report {
                    Report::Worse { check, reason, .. } => format!("{second} {check}: {reason}"),
                    Report::Better { check, after } => {
                        format!("{second} {check}: better after {}", after.as_secs())
                    }
                });
            }
        }
        assert_eq!(
            reports,
            [
                "14 consensus: the chain stands still for 14 s; missing: riga",
                "24 consensus: the chain stands still for 24 s; missing: riga, visby",
                "40 consensus: better after 30",
            ]
        );
    }

    #[test]
    fn what_passes_is_not_reported() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(Duration::from_secs(4));
        let mut facts = healthy();
        for second in 0..30 {
            facts.peers[0].in_swarm = second % 4 == 0;
            assert_eq!(watchdog.observe(&facts.health(), start + Duration::from_secs(second)), []);
        }
    }
}
