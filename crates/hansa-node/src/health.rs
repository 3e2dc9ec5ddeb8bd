//! Judges from figures whether the node can do its work, and says why not and what to do next.
//!
//! Only judgement and words: the figures are gathered in `status`. `next` holds no figure that changes by itself, so that
//! the watchdog can tell a new complaint from an old one.

use std::time::Duration;

use hansa_api::{
    Check, Checks, ClockFigures, ConsensusFigures, DiskFigures, Health, IndexFigures, KeysFigures,
    MembershipFigures, Standing, SwarmFigures, SyncFigures,
};
use hansa_consensus::Trouble;
use hansa_index::IndexState;
use hansa_types::{MemberStatus, printable, units::seconds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Thresholds of health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HealthSettings {
    /// Time without a final block after which the chain stands still. An idle chain makes one each `consensus.idle_block_ms`; a view
    /// without its leader takes up to three seconds.
    #[serde(rename = "stalled_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 4, max = 3_600))]
    pub stalled: Duration,
    /// Blocks that a node may be behind in passing.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub behind_blocks: u64,
    /// Time that the members' clocks may differ.
    #[schemars(range(min = 1, max = 9))]
    pub clock_seconds: u8,
    /// Free bytes of the data folder's file system, in MiB, below which the operator is warned.
    #[schemars(range(min = 64, max = 104_857_600))]
    pub free_mib: u64,
    /// Time that a complaint has to last before the log names it.
    #[serde(rename = "complaint_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 0, max = 3_600))]
    pub complaint: Duration,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            stalled: Duration::from_secs(10),
            behind_blocks: 16,
            clock_seconds: 5,
            free_mib: 1_024,
            complaint: Duration::from_secs(4),
        }
    }
}

/// Names listed in one sentence.
const NAMES_MAX: usize = 8;

/// Another member that may connect.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    /// It has a seat in the committee.
    pub(crate) validator: bool,
    /// Its consensus connection stands.
    pub(crate) connected: bool,
    /// It has a seat and has not voted for a while.
    pub(crate) silent: bool,
    /// Its swarm connection stands.
    pub(crate) in_swarm: bool,
    /// Why its last handshake failed.
    pub(crate) trouble: Option<Trouble>,
}

/// What health is judged by.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) limits: HealthSettings,
    /// Time since the last final block.
    pub(crate) final_ago: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) height: u64,
    pub(crate) final_height: u64,
    pub(crate) peers: Vec<Peer>,
    /// Whether this node has a seat itself.
    pub(crate) validator: bool,
    /// The height from which this node's seat has a share of the group key again.
    pub(crate) rejoins: Option<u64>,
    /// This node in its own registry.
    pub(crate) member: Option<MemberStatus>,
    /// The genesis block's hash.
    pub(crate) genesis: String,
    /// The data folder, and the free bytes of its file system where known.
    pub(crate) data: String,
    pub(crate) free_bytes: Option<u64>,
    /// Whether this node takes no new replicas, because too little of the disk is free.
    pub(crate) replication_paused: bool,
    /// Own objects whose key is not here, once that has been looked for.
    pub(crate) keyless: u64,
    /// Seconds that the clock is ahead of the blocks' times.
    pub(crate) blocks_ahead: Option<i64>,
    pub(crate) index: IndexState,
    /// Blocks that the index may be behind.
    pub(crate) index_lag_max: u64,
}

impl Facts {
    /// The node's health.
    pub(crate) fn health(&self) -> Health {
        let checks = Checks {
            consensus: self.consensus(),
            sync: self.sync(),
            disk: self.disk(),
            swarm: self.swarm(),
            clock: self.clock(),
            membership: self.membership(),
            keys: self.keys(),
            index: self.index(),
        };
        Health::of(env!("CARGO_PKG_VERSION"), checks)
    }

    fn consensus(&self) -> Check<ConsensusFigures> {
        let missing: Vec<&Peer> =
            self.peers.iter().filter(|peer| peer.validator && (!peer.connected || peer.silent)).collect();
        let figures = ConsensusFigures {
            final_seconds_ago: self.final_ago.as_secs(),
            heartbeat_ms: u64::try_from(self.heartbeat.as_millis()).unwrap_or(u64::MAX),
            missing: missing.iter().map(|peer| printable(&peer.name)).collect(),
        };
        let names = list(missing.iter().map(|peer| described(peer)));
        if self.final_ago >= self.limits.stalled {
            let (missing_words, next) = if missing.is_empty() {
                (
                    "; all validators are connected".to_owned(),
                    "compare `hansa status` on the other members' nodes".to_owned(),
                )
            } else {
                (format!("; missing: {names}"), self.remedy(&missing))
            };
            let own = self
                .rejoins
                .map_or("", |_| "; this node does not vote itself, it has no share of the group key");
            let seconds = self.final_ago.as_secs();
            let reason = format!("the chain stands still for {seconds} s{missing_words}{own}");
            return Check::not_ok(Standing::Failed, reason, next, figures);
        }
        if let Some(height) = self.rejoins {
            let reason = format!(
                "this node has a seat and no share of the group key, as after the loss of its data; it votes again from block {height}"
            );
            let next = "keep it running: the committee hands it a share when it next reshares the key";
            return Check::not_ok(Standing::Warning, reason, next, figures);
        }
        if missing.is_empty() {
            return Check::ok(figures);
        }
        Check::not_ok(
            Standing::Warning,
            format!("validators missing: {names}"),
            self.remedy(&missing),
            figures,
        )
    }

    /// What to do about missing validators.
    fn remedy(&self, missing: &[&Peer]) -> String {
        let validators = self
            .peers
            .iter()
            .filter(|peer| peer.validator)
            .count()
            .saturating_add(usize::from(self.validator));
        let quorum = validators.saturating_sub(validators.saturating_sub(1) / 3);
        let all = |wanted: fn(&Trouble) -> bool| {
            missing.iter().all(|peer| peer.trouble.as_ref().is_some_and(wanted))
        };
        if all(|trouble| matches!(trouble, Trouble::Signature)) {
            return format!(
                "compare genesis.json on these nodes and here: this chain's genesis is {}",
                self.genesis
            );
        }
        if all(|trouble| matches!(trouble, Trouble::Clock { .. })) {
            return "set the clocks: `hansa status` on each node names its own".to_owned();
        }
        let names = list(missing.iter().map(|peer| printable(&peer.name)));
        format!(
            "start these nodes or mend the network to them ({names}): the chain needs {quorum} of {validators} validators"
        )
    }

    fn sync(&self) -> Check<SyncFigures> {
        let behind = self.final_height.saturating_sub(self.height);
        let figures = SyncFigures { height: self.height, behind };
        if behind < self.limits.behind_blocks {
            return Check::ok(figures);
        }
        let reason = format!("this node is {behind} blocks behind the final chain and catches up");
        Check::not_ok(
            Standing::Failed,
            reason,
            "wait until it has caught up; answers show the past until then",
            figures,
        )
    }

    fn disk(&self) -> Check<DiskFigures> {
        let watermark_bytes = self.limits.free_mib.saturating_mul(1 << 20);
        let figures = DiskFigures { free_bytes: self.free_bytes.unwrap_or_default(), watermark_bytes };
        let next =
            format!("free space in the file system of {}, or move the folder to a larger one", self.data);
        match self.free_bytes {
            None => {
                let reason = format!("the free space of {} cannot be read", self.data);
                Check::not_ok(Standing::Warning, reason, "make sure that the data folder is mounted", figures)
            }
            Some(free) if free >= watermark_bytes => Check::ok(figures),
            Some(free) => {
                let standing = if free < watermark_bytes / 8 { Standing::Failed } else { Standing::Warning };
                let reason = format!("{} has {} MiB left; a node without room stops", self.data, free >> 20);
                Check::not_ok(standing, reason, next, figures)
            }
        }
    }

    fn swarm(&self) -> Check<SwarmFigures> {
        let missing: Vec<&Peer> = self.peers.iter().filter(|peer| !peer.in_swarm).collect();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let figures = SwarmFigures {
            peers: count(self.peers.len().saturating_sub(missing.len())),
            registered: count(self.peers.len()),
            replication_paused: self.replication_paused,
        };
        if self.replication_paused {
            let reason =
                "no new replicas are taken: less of the disk is free than replication.free_percent leaves";
            let next =
                format!("free space in the file system of {}, or lower replication.free_percent", self.data);
            return Check::not_ok(Standing::Warning, reason, next, figures);
        }
        if missing.is_empty() {
            return Check::ok(figures);
        }
        let names = list(missing.iter().map(|peer| printable(&peer.name)));
        let reason = format!("not connected in the swarm: {names}");
        let next = "replicas there cannot be fetched or made until these nodes run and their swarm ports can be reached";
        Check::not_ok(Standing::Warning, reason, format!("{next} ({names})"), figures)
    }

    fn clock(&self) -> Check<ClockFigures> {
        let connected = self.peers.iter().filter(|peer| peer.connected).count();
        let mut off: Vec<(&Peer, i64)> = self
            .peers
            .iter()
            .filter(|peer| !peer.connected)
            .filter_map(|peer| match peer.trouble {
                Some(Trouble::Clock { ahead_ms }) => Some((peer, ahead_ms / 1_000)),
                _ => None,
            })
            .collect();
        off.sort_by_key(|(_, seconds)| *seconds);
        // Where more clocks disagree with this one than agree, this one is wrong.
        let own = (off.len() > connected.max(1)).then(|| off.get(off.len() / 2).map(|(_, seconds)| -seconds));
        let own = own.flatten();
        let seconds_ahead = own.or(self.blocks_ahead);
        let figures = ClockFigures { seconds_ahead };
        if let Some(seconds) =
            seconds_ahead.filter(|seconds| seconds.abs() > i64::from(self.limits.clock_seconds))
        {
            let standing = if own.is_some() { Standing::Failed } else { Standing::Warning };
            let reason = format!("this node's clock is {} the other members' clocks", apart(seconds));
            let next = "set the clock and keep it right with NTP, for example `timedatectl set-ntp true`";
            return Check::not_ok(standing, reason, next, figures);
        }
        if off.is_empty() {
            return Check::ok(figures);
        }
        let words = list(off.iter().map(|(peer, seconds)| {
            format!("the clock of {} is {} this node's", printable(&peer.name), apart(*seconds))
        }));
        let names = list(off.iter().map(|(peer, _)| printable(&peer.name)));
        let next =
            format!("tell {names}: connections are refused while clocks differ by more than ten seconds");
        Check::not_ok(Standing::Warning, words, next, figures)
    }

    fn membership(&self) -> Check<MembershipFigures> {
        let figures = MembershipFigures { member: self.member };
        let height = self.height;
        match self.member {
            Some(MemberStatus::Removed) => Check::not_ok(
                Standing::Failed,
                "this node's member was removed from the consortium; the others refuse its connections",
                "stop the node; to come back, make a new home and ask a member for a join ballot",
                figures,
            ),
            Some(MemberStatus::Suspended) => Check::not_ok(
                Standing::Warning,
                "this node's member is suspended: it may read the chain, its transactions are refused",
                "ask the other members; `hansa member ballots` shows what was decided",
                figures,
            ),
            Some(MemberStatus::Active) if !self.is_turned_away() => Check::ok(figures),
            Some(MemberStatus::Active) => Check::not_ok(
                Standing::Failed,
                format!(
                    "the other members' nodes turn this one away; it may have been removed after block {height}"
                ),
                "ask another member what `hansa member list` shows there",
                figures,
            ),
            None => Check::not_ok(
                Standing::Warning,
                format!("this node's keys belong to no member at height {height}"),
                "ask a member to open a join ballot for card.json, or wait until this node has caught up",
                figures,
            ),
        }
    }

    fn keys(&self) -> Check<KeysFigures> {
        let figures = KeysFigures { missing: self.keyless };
        if self.keyless == 0 {
            return Check::ok(figures);
        }
        let reason = format!(
            "the keys of {} of this member's newest objects are not here: {} was emptied or restored from an older backup",
            self.keyless, self.data
        );
        let next = "stop the node and restore data/objects from the newest backup: without its key an object cannot be opened again";
        Check::not_ok(Standing::Warning, reason, next, figures)
    }

    /// The node works without its index; only lists wait.
    fn index(&self) -> Check<IndexFigures> {
        let behind = self.index.height.map_or(self.height, |height| self.height.saturating_sub(height));
        let figures = IndexFigures { behind };
        // Health is told to anybody, the cause only to those with the token.
        if self.index.problem.is_some() {
            let reason = "the index does not follow the chain";
            let next =
                "`hansa index status` names the cause; once that is mended, the index catches up by itself";
            return Check::not_ok(Standing::Warning, reason, next, figures);
        }
        if behind <= self.index_lag_max {
            return Check::ok(figures);
        }
        let reason = format!("the index is {behind} blocks behind this node's chain; lists wait for it");
        let next = "wait until it has caught up; `hansa index status` shows how far it is";
        Check::not_ok(Standing::Warning, reason, next, figures)
    }

    /// Whether every node that was reached closed the connection without a cause that can be told.
    fn is_turned_away(&self) -> bool {
        let mut reached = self.peers.iter().filter(|peer| peer.trouble.is_some()).peekable();
        reached.peek().is_some()
            && self.peers.iter().all(|peer| !peer.connected)
            && reached.all(|peer| peer.trouble == Some(Trouble::TurnedAway))
    }
}

/// A missing member with the cause where it is known.
fn described(peer: &Peer) -> String {
    let name = printable(&peer.name);
    match peer.trouble {
        _ if peer.connected => format!("{name} (connected, does not vote)"),
        Some(trouble) => format!("{name} ({})", words(trouble)),
        None => name,
    }
}

/// A failed handshake in words.
pub(crate) fn words(trouble: Trouble) -> String {
    match trouble {
        Trouble::Clock { ahead_ms } => format!("its clock is {} this node's", apart(ahead_ms / 1_000)),
        Trouble::Signature => {
            "it signs for another chain: its genesis file differs from this node's".to_owned()
        }
        Trouble::TurnedAway => "it turns this node's connections away".to_owned(),
    }
}

fn apart(seconds: i64) -> String {
    let side = if seconds < 0 { "behind" } else { "ahead of" };
    format!("{} s {side}", seconds.unsigned_abs())
}

fn list(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMES_MAX);
    let shown: Vec<String> = names.take(NAMES_MAX).collect();
    let shown = shown.join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn healthy() -> Facts {
        let peer = |name: &str| Peer {
            name: name.into(),
            validator: true,
            connected: true,
            silent: false,
            in_swarm: true,
            trouble: None,
        };
        Facts {
            limits: HealthSettings::default(),
            final_ago: Duration::from_millis(900),
            heartbeat: Duration::from_secs(1),
            height: 100,
            final_height: 101,
            peers: ["gdansk", "riga", "visby"].map(peer).into(),
            validator: true,
            rejoins: None,
            member: Some(MemberStatus::Active),
            genesis: "0xabc".into(),
            data: "/home/data".into(),
            free_bytes: Some(2 << 30),
            replication_paused: false,
            keyless: 0,
            blocks_ahead: Some(0),
            index: IndexState { height: Some(100), problem: None },
            index_lag_max: 10,
        }
    }

    /// The complaints about a healthy node after `spoil`: check, outcome, reason.
    fn check(spoil: impl FnOnce(&mut Facts), expected: &[(&str, Standing, &str)]) {
        let mut facts = healthy();
        spoil(&mut facts);
        let health = facts.health();
        let complaints = health.complaints();
        let found: Vec<_> = complaints.iter().map(|c| (c.check, c.status, c.reason)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_cause_is_named() {
        use Standing::{Failed, Warning};
        check(|_| {}, &[]);
        let stalled = |facts: &mut Facts| facts.final_ago = Duration::from_secs(12);
        check(
            stalled,
            &[("consensus", Failed, "the chain stands still for 12 s; all validators are connected")],
        );
        check(
            |facts| {
                stalled(facts);
                facts.peers[1].connected = false;
            },
            &[("consensus", Failed, "the chain stands still for 12 s; missing: riga")],
        );
        check(
            |facts| facts.peers[1].connected = false,
            &[("consensus", Warning, "validators missing: riga")],
        );
        check(
            |facts| {
                facts.peers[1].connected = false;
                facts.peers[1].trouble = Some(Trouble::Signature);
            },
            &[(
                "consensus",
                Warning,
                "validators missing: riga (it signs for another chain: its genesis file differs from this node's)",
            )],
        );
        check(
            |facts| facts.replication_paused = true,
            &[(
                "swarm",
                Warning,
                "no new replicas are taken: less of the disk is free than replication.free_percent leaves",
            )],
        );
        check(
            |facts| facts.peers[0].silent = true,
            &[("consensus", Warning, "validators missing: gdansk (connected, does not vote)")],
        );
        check(
            |facts| facts.rejoins = Some(512),
            &[(
                "consensus",
                Warning,
                "this node has a seat and no share of the group key, as after the loss of its data; it votes again from block 512",
            )],
        );
        check(
            |facts| facts.final_height = 150,
            &[("sync", Failed, "this node is 50 blocks behind the final chain and catches up")],
        );
        check(
            |facts| facts.free_bytes = Some(512 << 20),
            &[("disk", Warning, "/home/data has 512 MiB left; a node without room stops")],
        );
        check(
            |facts| facts.free_bytes = Some(1 << 20),
            &[("disk", Failed, "/home/data has 1 MiB left; a node without room stops")],
        );
        check(
            |facts| facts.peers[2].in_swarm = false,
            &[("swarm", Warning, "not connected in the swarm: visby")],
        );
        check(
            |facts| facts.blocks_ahead = Some(-40),
            &[("clock", Warning, "this node's clock is 40 s behind the other members' clocks")],
        );
        check(
            |facts| facts.member = Some(MemberStatus::Removed),
            &[(
                "membership",
                Failed,
                "this node's member was removed from the consortium; the others refuse its connections",
            )],
        );
    }

    #[test]
    fn an_index_that_lags_or_stands_is_told() {
        use Standing::Warning;
        let at = |height, problem: Option<&str>| IndexState { height, problem: problem.map(str::to_owned) };
        check(|facts| facts.index = at(Some(90), None), &[]);
        let behind = "the index is 11 blocks behind this node's chain; lists wait for it";
        check(|facts| facts.index = at(Some(89), None), &[("index", Warning, behind)]);
        let empty = "the index is 100 blocks behind this node's chain; lists wait for it";
        check(|facts| facts.index = at(None, None), &[("index", Warning, empty)]);
        let away = "the index does not follow the chain";
        check(|facts| facts.index = at(Some(100), Some("no server")), &[("index", Warning, away)]);
    }

    #[test]
    fn lost_object_keys_are_told() {
        let mut facts = healthy();
        facts.keyless = 3;
        let keys = facts.health().checks.keys;
        assert_eq!((keys.status, keys.figures.missing), (Standing::Warning, 3));
        assert!(keys.reason.contains("emptied or restored") && keys.next.contains("backup"), "{keys:?}");
    }

    #[test]
    fn a_clock_that_nobody_agrees_with_is_the_wrong_one() {
        let behind = Some(Trouble::Clock { ahead_ms: -3_600_400 });
        let mut facts = healthy();
        for peer in &mut facts.peers {
            peer.connected = false;
            peer.trouble = behind;
        }
        let clock = facts.health().checks.clock;
        assert_eq!(clock.status, Standing::Failed);
        assert_eq!(clock.reason, "this node's clock is 3600 s ahead of the other members' clocks");
        assert_eq!(clock.figures.seconds_ahead, Some(3_600));

        let mut facts = healthy();
        facts.peers[0].connected = false;
        facts.peers[0].trouble = behind;
        let clock = facts.health().checks.clock;
        assert_eq!(clock.status, Standing::Warning);
        assert_eq!(clock.reason, "the clock of gdansk is 3600 s behind this node's");
    }

    #[test]
    fn a_node_that_everybody_turns_away_is_told() {
        let mut facts = healthy();
        for peer in &mut facts.peers {
            peer.connected = false;
        }
        facts.peers[0].trouble = Some(Trouble::TurnedAway);
        let membership = facts.health().checks.membership;
        assert_eq!(membership.status, Standing::Failed);
        assert!(membership.reason.contains("may have been removed after block 100"), "{}", membership.reason);
        facts.peers[1].connected = true;
        assert_eq!(facts.health().checks.membership.status, Standing::Ok);
    }

    #[test]
    fn names_do_not_steer_a_terminal_and_lists_end() {
        let names = (0..20).map(|i| printable(&format!("\u{1b}{i}")));
        let shown = list(names.collect::<Vec<_>>().into_iter());
        assert!(!shown.contains('\u{1b}') && shown.ends_with("and 12 more"), "{shown}");
    }
}
