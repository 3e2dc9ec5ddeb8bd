//! The node's figures for Prometheus, in the OpenMetrics text format.
//!
//! Everything is read when it is asked for: the figures are those of `hansa status` and of the health checks, and the
//! agreement engine's own follow them. Labels come from fixed lists, never from members or callers; members are named by their id.

use std::sync::atomic::AtomicU64;

use hansa_api::{Health, NodeStatus, ReplicationStatus, RequestCount};
use hansa_gateway::Calls;
use hansa_sharing::StoreFigures;
use hansa_types::{DcId, MemberStatus};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

const END: &str = "# EOF\n";

/// What is written.
pub(crate) struct Figures<'a> {
    pub(crate) status: &'a NodeStatus,
    pub(crate) health: &'a Health,
    /// The greatest height known to be final.
    pub(crate) final_height: u64,
    /// Seconds since each member last answered in the swarm.
    pub(crate) heard_seconds_ago: Vec<(DcId, f64)>,
    /// Versions whose blocks are on their way here.
    pub(crate) fetches: usize,
    pub(crate) replication: &'a ReplicationStatus,
    pub(crate) store: &'a StoreFigures,
    pub(crate) requests: &'a [RequestCount],
    pub(crate) calls: &'a Calls,
    /// The agreement engine's own text.
    pub(crate) engine: &'a str,
}

/// A registry with a shorter way to fill it.
struct Page(Registry);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        self.0.register(name, help, gauge);
    }

    fn labelled(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl IntoIterator<Item = (impl ToString, f64)>,
    ) {
        let family = Family::<[(&'static str, String); 1], Gauge<f64, AtomicU64>>::default();
        for (of, value) in values {
            family.get_or_create(&[(label, of.to_string())]).set(value);
        }
        self.0.register(name, help, family);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        self.0.register(name, help, counter);
    }
}

impl Figures<'_> {
    /// The page as Prometheus reads it.
    pub(crate) fn text(&self) -> String {
        let mut page = Page(Registry::with_prefix("hansa"));
        self.node(&mut page);
        self.chain(&mut page);
        self.data(&mut page);
        self.store(&mut page);
        self.requests(&mut page);
        self.calls(&mut page);
        let mut text = String::new();
        if let Err(problem) = prometheus_client::encoding::text::encode(&mut text, &page.0) {
            tracing::warn!(%problem, "the metrics cannot be written");
        }
        let own = text.strip_suffix(END).unwrap_or(&text);
        let engine = self.engine.strip_suffix(END).unwrap_or(self.engine);
        format!("{own}{engine}{END}")
    }

    fn node(&self, page: &mut Page) {
        let NodeStatus { version, uptime_seconds, members, .. } = self.status;
        page.labelled("build", "The program's version, as a label.", "version", [(version.as_str(), 1.0)]);
        page.gauge("uptime_seconds", "Seconds since the node started.", as_f64(*uptime_seconds));
        page.gauge("members", "Members of the consortium.", f64::from(*members));
        let checks = self.health.checks.all().map(|check| (check.check, f64::from(check.status as u8)));
        page.labelled("health", "Outcome of each check: 0 ok, 1 warning, 2 failed.", "check", checks);
        let member = self.health.checks.membership.figures.member;
        let member = match member {
            None => 0.0,
            Some(MemberStatus::Active) => 1.0,
            Some(MemberStatus::Suspended) => 2.0,
            Some(MemberStatus::Removed) => 3.0,
        };
        page.gauge("member", "0 no member, 1 active, 2 suspended, 3 removed.", member);
        if let Some(seconds) = self.health.checks.clock.figures.seconds_ahead {
            let help = "Seconds that the clock is ahead of the other members' clocks.";
            page.gauge("clock_ahead_seconds", help, f64::from(i32::try_from(seconds).unwrap_or(i32::MAX)));
        }
    }

    fn chain(&self, page: &mut Page) {
        let (head, consensus) = (&self.status.head, &self.status.consensus);
        let checked = &self.health.checks.consensus.figures;
        page.gauge("chain_height", "Height of the last block executed here.", as_f64(head.number));
        page.gauge("chain_final_height", "Greatest height known to be final.", as_f64(self.final_height));
        page.gauge(
            "chain_time_seconds",
            "Unix time of the last block executed here.",
            as_f64(head.timestamp),
        );
        let help = "Seconds since the last block became final here.";
        page.gauge("chain_final_age_seconds", help, as_f64(checked.final_seconds_ago));
        if let Some(ms) = consensus.finality_ms {
            let help = "Seconds from a block's proposal to its finality, as status shows it.";
            page.gauge("chain_finality_seconds", help, ms / 1e3);
        }
        page.gauge("consensus_epoch", "Epoch.", as_f64(consensus.epoch));
        page.gauge("consensus_view", "View within the epoch.", as_f64(consensus.view));
        page.gauge(
            "consensus_validating",
            "1 where this node votes.",
            f64::from(u8::from(consensus.validating)),
        );
        page.gauge("consensus_validators", "Validators.", f64::from(consensus.validators));
        page.gauge("consensus_peers", "Members' nodes connected.", f64::from(consensus.peers));
        let help = "Validators that are not connected.";
        page.gauge("consensus_missing_validators", help, as_f64(checked.missing.len() as u64));
        page.gauge("pool_pending", "Transactions that wait for a block.", as_f64(self.status.pool.pending));
    }

    fn data(&self, page: &mut Page) {
        let (swarm, checks) = (&self.status.swarm, &self.health.checks);
        page.gauge("swarm_peers", "Members' nodes connected in the swarm.", f64::from(swarm.peers));
        let help = "Other members that may connect in the swarm.";
        page.gauge("swarm_registered", help, f64::from(checks.swarm.figures.registered));
        page.gauge("swarm_refused", "Connections turned away since the start.", as_f64(swarm.refused));
        let help = "Seconds since a member last answered in the swarm, connected or not.";
        page.labelled("swarm_heard_age_seconds", help, "member", self.heard_seconds_ago.iter().copied());
        let paused = f64::from(u8::from(checks.swarm.figures.replication_paused));
        page.gauge("replication_paused", "1 where this node takes no new replicas.", paused);
        let kept = self.replication;
        page.gauge("replica_bytes", "Bytes of replicas kept for other members.", as_f64(kept.bytes));
        let help = "Versions given up because what was recorded is no object.";
        page.gauge("replicas_given_up", help, as_f64(kept.given_up));
        page.gauge("fetches", "Versions whose blocks are on their way here.", as_f64(self.fetches as u64));
        page.gauge(
            "disk_free_bytes",
            "Free bytes for the data folder.",
            as_f64(checks.disk.figures.free_bytes),
        );
        let help = "Free bytes below which the disk check warns.";
        page.gauge("disk_watermark_bytes", help, as_f64(checks.disk.figures.watermark_bytes));
    }

    fn store(&self, page: &mut Page) {
        let StoreFigures { segment_bytes, replicas, replicas_waiting, scrubbed } = self.store;
        page.gauge("segment_bytes", "Length of the files with large blocks.", as_f64(*segment_bytes));
        page.gauge("replicas", "Versions of other members that are wholly kept here.", as_f64(*replicas));
        let help = "Versions to be fetched that wait in memory, of each owner 2048 at most.";
        page.gauge("replicas_waiting", help, as_f64(*replicas_waiting));
        page.counter("scrubbed_blocks", "Stored blocks compared with their CIDs.", scrubbed.blocks);
        page.counter("damaged_blocks", "Stored blocks found damaged by that.", scrubbed.damaged);
        page.counter("repaired_blocks", "Of those, blocks fetched anew.", scrubbed.repaired);
    }

    fn calls(&self, page: &mut Page) {
        let requests = Family::<[(&'static str, &'static str); 2], Counter>::default();
        let seconds = Family::<[(&'static str, &'static str); 1], Counter<f64, AtomicU64>>::default();
        for of in self.calls.counted() {
            for (outcome, count) in [("ok", of.answered), ("error", of.failed)] {
                requests.get_or_create(&[("method", of.method), ("outcome", outcome)]).inc_by(count);
            }
            seconds.get_or_create(&[("method", of.method)]).inc_by(of.time.as_secs_f64());
        }
        page.0.register("rpc_requests", "JSON-RPC requests answered since the start.", requests);
        page.0.register("rpc_seconds", "Seconds that answering them took together.", seconds);
    }

    fn requests(&self, page: &mut Page) {
        let family = Family::<[(&'static str, String); 2], Counter>::default();
        for RequestCount { endpoint, status, count } in self.requests.iter().cloned() {
            family.get_or_create(&[("endpoint", endpoint), ("status", status.to_string())]).inc_by(count);
        }
        page.0.register("rest_requests", "REST requests answered since the start.", family);
    }
}

/// Exact up to 2^53, which no figure here reaches.
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows floating-point numbers only")]
fn as_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::tests::healthy;

    #[test]
    fn the_page_ends_once_and_holds_the_figures() {
        let status: NodeStatus = serde_json::from_value(serde_json::json!({
            "version": "0.1.0", "name": "acme", "account": alloy_primitives::Address::ZERO, "chainId": 7,
            "genesis": alloy_primitives::B256::ZERO,
            "head": { "number": 12, "hash": alloy_primitives::B256::ZERO,
                      "stateRoot": alloy_primitives::B256::ZERO, "timestamp": 1_700_000_000 },
            "members": 4,
            "consensus": { "epoch": 1, "view": 2, "validating": true, "validators": 4, "peers": 3, "finalityMs": 250.0 },
            "swarm": { "peerId": "p", "peers": 3 }, "pool": { "pending": 5, "queued": 0 }, "uptimeSeconds": 9
        }))
        .unwrap();
        let health = healthy().health();
        let calls = Calls::default();
        calls.count("x", true, std::time::Duration::from_millis(250));
        let replication = ReplicationStatus { bytes: 77, ..ReplicationStatus::default() };
        let engine = "# TYPE engine_x counter\nengine_x_total 1\n# EOF\n";
        let figures = Figures {
            status: &status,
            health: &health,
            final_height: 13,
            heard_seconds_ago: vec![(DcId::new(3).unwrap(), 1.5)],
            fetches: 2,
            replication: &replication,
            store: &StoreFigures { replicas: 3, replicas_waiting: 4, ..StoreFigures::default() },
            requests: &[],
            calls: &calls,
            engine,
        };
        let text = figures.text();
        for line in [
            "hansa_build{version=\"0.1.0\"} 1.0",
            "hansa_chain_height 12.0",
            "hansa_chain_final_height 13.0",
            "hansa_chain_finality_seconds 0.25",
            "hansa_consensus_peers 3.0",
            "hansa_swarm_heard_age_seconds{member=\"3\"} 1.5",
            "hansa_health{check=\"clock\"} 0.0",
            "hansa_disk_free_bytes 2147483648.0",
            "hansa_replica_bytes 77.0",
            "hansa_replicas 3.0",
            "hansa_replicas_waiting 4.0",
            "hansa_damaged_blocks_total 0",
            "hansa_rpc_requests_total{method=\"other\",outcome=\"error\"} 1",
            "hansa_rpc_seconds_total{method=\"other\"} 0.25",
            "engine_x_total 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert_eq!(text.matches(END).count(), 1);
        assert!(text.ends_with(END));
        assert!(!text.contains("acme"), "names are no labels");
    }
}
