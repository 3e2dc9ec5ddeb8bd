//! The dial schedule: exponential backoff for each member. A state machine without clock and connections.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use crate::{Limits, address::Endpoint};

/// Delay of the member with the larger PeerId, so that two members do not dial each other at the same time.
const SECOND_DIALER_DELAY: Duration = Duration::from_millis(750);

struct Target {
    endpoint: Endpoint,
    connected: bool,
    penalty_until: Option<Instant>,
    failures: u32,
    next: Instant,
}

/// The members to connect to.
pub(crate) struct Dialer {
    local: PeerId,
    limits: Limits,
    targets: BTreeMap<PeerId, Target>,
}

impl Dialer {
    pub(crate) const fn new(local: PeerId, limits: Limits) -> Self {
        Self { local, limits, targets: BTreeMap::new() }
    }

    /// Replaces the members. A remaining member keeps its state unless its endpoint has changed.
    pub(crate) fn set(&mut self, members: &BTreeMap<PeerId, Endpoint>, now: Instant) {
        self.targets.retain(|peer, _| members.contains_key(peer));
        for (peer, endpoint) in members.iter().filter(|(peer, _)| **peer != self.local) {
            let next = now.checked_add(self.delay(peer)).unwrap_or(now);
            let target = self.targets.entry(*peer).or_insert_with(|| Target {
                endpoint: endpoint.clone(),
                connected: false,
                penalty_until: None,
                failures: 0,
                next,
            });
            if target.endpoint != *endpoint {
                target.endpoint = endpoint.clone();
                target.failures = 0;
                target.next = next;
            }
        }
    }

    fn delay(&self, peer: &PeerId) -> Duration {
        if self.local < *peer { Duration::ZERO } else { SECOND_DIALER_DELAY }
    }

    pub(crate) fn connected(&mut self, peer: &PeerId) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.connected = true;
            target.failures = 0;
        }
    }

    pub(crate) fn disconnected(&mut self, peer: &PeerId, now: Instant) {
        let wait = self.delay(peer).saturating_add(self.limits.redial_min);
        if let Some(target) = self.targets.get_mut(peer) {
            target.connected = false;
            target.next = now.checked_add(wait).unwrap_or(now);
        }
    }

    /// Suspends dialling of a member after a protocol violation.
    pub(crate) fn penalise(&mut self, peer: &PeerId, now: Instant) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.penalty_until = now.checked_add(self.limits.penalty);
        }
    }

    /// The members due for dialling, each with its next retry scheduled.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(PeerId, Endpoint)> {
        let mut due = Vec::new();
        let limits = &self.limits;
        for (peer, target) in &mut self.targets {
            let is_penalised = target.penalty_until.is_some_and(|until| until > now);
            if target.connected || target.next > now || is_penalised {
                continue;
            }
            let wait = limits.redial_min.saturating_mul(1 << target.failures.min(6)).min(limits.redial_max);
            target.failures = target.failures.saturating_add(1);
            target.next = now.checked_add(wait).unwrap_or(now);
            due.push((*peer, target.endpoint.clone()));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_slow_down_and_start_anew_after_a_connection() {
        let (a, b) = (PeerId::random(), PeerId::random());
        let (small, large) = (a.min(b), a.max(b));
        let mut dialer = Dialer::new(small, Limits::default());
        let start = Instant::now();
        let endpoint = || Endpoint::parse("/ip4/10.0.0.1/tcp/1").unwrap();
        dialer.set(&BTreeMap::from([(large, endpoint()), (small, endpoint())]), start);
        assert_eq!(dialer.due(start), vec![(large, endpoint())]);
        assert!(dialer.due(start).is_empty());
        let late = start + Duration::from_secs(3600);
        let retries = (0..120u64).filter(|s| !dialer.due(start + Duration::from_secs(*s)).is_empty()).count();
        assert!((9..=16).contains(&retries), "{retries}");
        dialer.connected(&large);
        assert!(dialer.due(late).is_empty());
        dialer.disconnected(&large, late);
        assert_eq!(dialer.due(late + Limits::default().redial_min).len(), 1);
        dialer.penalise(&large, late);
        assert!(dialer.due(late + Limits::default().penalty / 2).is_empty());
        assert_eq!(dialer.due(late + Limits::default().penalty).len(), 1);

        let mut other = Dialer::new(large, Limits::default());
        other.set(&BTreeMap::from([(small, endpoint())]), start);
        assert!(other.due(start).is_empty());
        assert_eq!(other.due(start + SECOND_DIALER_DELAY).len(), 1);
    }
}
