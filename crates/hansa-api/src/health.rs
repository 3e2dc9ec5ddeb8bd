//! Whether a node can do its work, over the REST interface.
//!
//! One check for each thing an operator can act on. A check that is not `ok` says why, and what to do next.

use serde::{Deserialize, Serialize};

use hansa_types::MemberStatus;

/// How a check came out, from good to bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Nothing to do.
    #[default]
    Ok,
    /// The node works; somebody should look at it.
    Warning,
    /// The node cannot do its work.
    Failed,
}

/// One check: its outcome, and the figures it was judged by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check<T> {
    /// The outcome.
    pub status: Standing,
    /// Why it is not `ok`; empty where it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What to do next; empty where nothing is to be done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub next: String,
    /// The figures, as fields of the check.
    #[serde(flatten)]
    pub figures: T,
}

/// Whether blocks become final.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsensusFigures {
    /// Seconds since the last block became final here, or since the node started.
    pub final_seconds_ago: u64,
    /// Milliseconds after which an idle chain makes an empty block.
    pub heartbeat_ms: u64,
    /// Names of the validators that this node has no connection to.
    pub missing: Vec<String>,
}

/// Whether this node has executed the chain as far as it is final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncFigures {
    /// The last block executed here.
    pub height: u64,
    /// Final blocks that are not executed here yet.
    pub behind: u64,
}

/// Room for data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskFigures {
    /// Free bytes in the file system of the data folder.
    pub free_bytes: u64,
    /// Free bytes below which the check warns.
    pub watermark_bytes: u64,
}

/// The private IPFS node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SwarmFigures {
    /// Other members' nodes connected.
    pub peers: u32,
    /// Other members that may connect.
    pub registered: u32,
    /// Whether this node takes no new replicas.
    pub replication_paused: bool,
}

/// This machine's clock beside the other members'.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClockFigures {
    /// Seconds that this clock is ahead of the others', negative where it is behind; missing while nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_ahead: Option<i64>,
}

/// This node's place in the registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MembershipFigures {
    /// Its status at this node's height; missing where it is no member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberStatus>,
}

/// The keys of this member's own objects, which exist in its data folder alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeysFigures {
    /// Own objects, among the newest 256, whose key is not here.
    pub missing: u64,
}

/// The index that lists are answered from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexFigures {
    /// Blocks executed here that are not in the index yet.
    pub behind: u64,
}

/// All checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checks {
    /// Blocks become final.
    pub consensus: Check<ConsensusFigures>,
    /// This node keeps up with them.
    pub sync: Check<SyncFigures>,
    /// There is room for data.
    pub disk: Check<DiskFigures>,
    /// Other members' nodes are connected.
    pub swarm: Check<SwarmFigures>,
    /// The clock is right.
    pub clock: Check<ClockFigures>,
    /// This node belongs to an active member.
    pub membership: Check<MembershipFigures>,
    /// The keys of own objects are here.
    pub keys: Check<KeysFigures>,
    /// The index keeps up with the chain.
    #[serde(default)]
    pub index: Check<IndexFigures>,
}

/// The answer of `/v1/health`, which needs no token. HTTP 200 where the node can do its work, 503 where it cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The worst of the checks.
    pub status: Standing,
    /// The program's version.
    pub version: String,
    /// The checks by name.
    pub checks: Checks,
}

/// A check that is not `ok`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complaint<'a> {
    /// The check's name, as in [`Checks`].
    pub check: &'static str,
    /// Its outcome.
    pub status: Standing,
    /// Why.
    pub reason: &'a str,
    /// What to do next.
    pub next: &'a str,
}

impl<T> Check<T> {
    /// A check with nothing to say.
    pub const fn ok(figures: T) -> Self {
        Self { status: Standing::Ok, reason: String::new(), next: String::new(), figures }
    }

    /// A check that did not come out well.
    pub fn not_ok(status: Standing, reason: impl Into<String>, next: impl Into<String>, figures: T) -> Self {
        Self { status, reason: reason.into(), next: next.into(), figures }
    }

    fn complaint(&self, check: &'static str) -> Complaint<'_> {
        Complaint { check, status: self.status, reason: &self.reason, next: &self.next }
    }
}

impl Checks {
    /// Every check's outcome, in the order of the fields.
    pub fn all(&self) -> [Complaint<'_>; 8] {
        [
            self.consensus.complaint("consensus"),
            self.sync.complaint("sync"),
            self.disk.complaint("disk"),
            self.swarm.complaint("swarm"),
            self.clock.complaint("clock"),
            self.membership.complaint("membership"),
            self.keys.complaint("keys"),
            self.index.complaint("index"),
        ]
    }
}

impl Health {
    /// The health that these checks add up to.
    pub fn of(version: impl Into<String>, checks: Checks) -> Self {
        let status = checks.all().map(|check| check.status).into_iter().max().unwrap_or_default();
        Self { status, version: version.into(), checks }
    }

    /// The checks that are not `ok`, the worst first.
    pub fn complaints(&self) -> Vec<Complaint<'_>> {
        let mut complaints: Vec<_> =
            self.checks.all().into_iter().filter(|check| check.status > Standing::Ok).collect();
        complaints.sort_by_key(|complaint| core::cmp::Reverse(complaint.status));
        complaints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_check_decides_and_figures_are_fields() {
        let figures =
            ConsensusFigures { final_seconds_ago: 12, heartbeat_ms: 1_000, missing: vec!["riga".into()] };
        let checks = Checks {
            consensus: Check::not_ok(Standing::Failed, "the chain stands still", "start it", figures),
            swarm: Check::not_ok(Standing::Warning, "few peers", "", SwarmFigures::default()),
            ..Checks::default()
        };
        let health = Health::of("1", checks);
        assert_eq!(health.status, Standing::Failed);
        let order: Vec<_> = health.complaints().iter().map(|complaint| complaint.check).collect();
        assert_eq!(order, ["consensus", "swarm"]);
        let json = serde_json::to_value(&health).unwrap();
        assert_eq!(json["status"], "failed");
        assert_eq!(json["checks"]["consensus"]["missing"][0], "riga");
        assert_eq!(
            json["checks"]["disk"],
            serde_json::json!({ "status": "ok", "freeBytes": 0, "watermarkBytes": 0 })
        );
        assert_eq!(serde_json::from_value::<Health>(json).unwrap(), health);
    }
}
