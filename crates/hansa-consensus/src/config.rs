//! Configuration and timing of the engine.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use hansa_ledger::Ledger;
use hansa_types::{
    ReleaseJudge,
    units::{milliseconds, seconds},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::ConsensusError;

/// Configuration of an [`Engine`](crate::Engine). Genesis file and pool are the ledger's.
#[derive(Clone)]
pub struct Config {
    /// This node's ed25519 secret key (32 bytes); its public key is registered.
    pub secret_key: Zeroizing<[u8; 32]>,
    /// The ledger to extend.
    pub ledger: Ledger,
    /// Folder of the engine's journals, archives and sealed secrets, the same as the ceremony's.
    pub store: PathBuf,
    /// AES-256 key that seals shares of the group key at rest.
    pub storage_key: Zeroizing<[u8; 32]>,
    /// Listen address; members dial the registered endpoint.
    pub listen: SocketAddr,
    /// The operator's settings.
    pub settings: ConsensusSettings,
    /// Intervals and timeouts.
    pub timing: Timing,
    /// Decides for which openings this node, as a validator, releases deposited keys.
    pub judge: Arc<dyn ReleaseJudge>,
}

/// Settings of consensus that need not agree between nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConsensusSettings {
    /// Longest pause between two blocks while there is nothing to record.
    #[serde(rename = "idle_block_ms", with = "milliseconds")]
    #[schemars(with = "u64", range(min = 50, max = 1_000))]
    pub idle_block: Duration,
    /// Threads of the engine's own tasks. Execution of blocks has others.
    #[schemars(range(min = 1, max = 64))]
    pub worker_threads: usize,
    /// Memory, in MiB, for pages of the engine's journals and archives.
    #[schemars(range(min = 1, max = 4_096))]
    pub page_cache_mib: usize,
    /// Blocks of each validator that wait for their turn.
    #[schemars(range(min = 4, max = 1_024))]
    pub broadcast_blocks: usize,
    /// Sustained rate of blocks that one validator may broadcast, in MiB each second.
    #[schemars(range(min = 8, max = 10_240))]
    pub broadcast_mib_per_second: u64,
    /// Sustained rate of transactions that one member may send, in MiB each second. A signature counts as 400 bytes.
    #[schemars(range(min = 1, max = 10_240))]
    pub gossip_mib_per_second: u64,
    /// First pause before a pending transaction is sent to the validators again; it doubles each time.
    #[serde(rename = "resend_ms_min", with = "milliseconds")]
    #[schemars(with = "u64", range(min = 100, max = 600_000))]
    pub resend_min: Duration,
    /// Longest such pause: a validator that restarts with an empty pool waits at most this long.
    #[serde(rename = "resend_seconds_max", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 3_600))]
    pub resend_max: Duration,
    /// Time without a vote after which a lagging validator is reported as silent.
    #[serde(rename = "silent_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 3, max = 3_600))]
    pub silent: Duration,
    /// Time without any connection after which the log says so.
    #[serde(rename = "alone_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 3, max = 86_400))]
    pub alone: Duration,
    /// Releases of deposited keys that this node judges and signs at the same time.
    #[schemars(range(min = 1, max = 64))]
    pub release_judges: usize,
    /// Time in which a release that this node asks for has to come about.
    #[serde(rename = "release_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 600))]
    pub release: Duration,
}

impl Default for ConsensusSettings {
    fn default() -> Self {
        Self {
            idle_block: Duration::from_secs(1),
            worker_threads: 2,
            page_cache_mib: 8,
            broadcast_blocks: 16,
            broadcast_mib_per_second: 32,
            gossip_mib_per_second: 8,
            resend_min: Duration::from_secs(2),
            resend_max: Duration::from_secs(8),
            silent: Duration::from_secs(10),
            alone: Duration::from_secs(30),
            release_judges: 2,
            release: Duration::from_secs(15),
        }
    }
}

impl ConsensusSettings {
    /// The timing of a node with these settings.
    pub fn timing(&self) -> Timing {
        Timing { heartbeat: self.idle_block, ..Timing::default() }
    }
}

/// Intervals and timeouts of agreement. All nodes should use the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time without a transaction after which a leader proposes an empty block.
    pub heartbeat: Duration,
    /// Minimum interval between two proposals, for each transaction in the first one.
    pub interval_min: Duration,
    /// Maximum of that minimum, after a block of many transactions.
    pub interval_crowd: Duration,
    /// Delay of an epoch's first leader. Validators lose messages that arrive before they enter the epoch; without the delay, a quorum's
    /// votes and so the view could be lost.
    pub epoch_grace: Duration,
    /// Maximum wait for the votes of all validators at the first certification of an epoch. The engine treats a validator without a vote
    /// in this epoch as inactive and skips its views.
    pub epoch_wait: Duration,
    /// Time in which a leader fills a block, while all others wait; `None` fills each block up to its gas and bytes, for simulations
    /// that must not depend on the machine's speed.
    pub filling: Option<Duration>,
    /// Target block interval. With a longer interval, blocks are filled for less time.
    pub interval_aim: Duration,
    /// Timeout of a leader's proposal; well above `heartbeat`.
    pub leader_timeout: Duration,
    /// Timeout of a view's certificate; above `leader_timeout`, and at least `leader_timeout` plus `epoch_wait`.
    pub view_timeout: Duration,
    /// Time of inactivity after which a leader's views are skipped at once; above `view_timeout`.
    pub absence: Duration,
    /// Tolerance for a block's timestamp ahead of the local clock; whole seconds.
    pub clock_skew: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            interval_min: Duration::from_millis(5),
            interval_crowd: Duration::from_millis(60),
            epoch_grace: Duration::from_millis(200),
            epoch_wait: Duration::from_secs(1),
            filling: Some(Duration::from_millis(100)),
            interval_aim: Duration::from_millis(450),
            leader_timeout: Duration::from_secs(2),
            view_timeout: Duration::from_secs(3),
            absence: Duration::from_secs(5),
            clock_skew: Duration::from_secs(2),
        }
    }
}

impl Timing {
    /// Minimum interval after a block of so many transactions. A single transaction delays the next block little. Many transactions
    /// announce more, and agreement costs the same for a block of one and of a hundred, so waiting pays.
    pub(crate) fn interval_after(&self, transactions: usize) -> Duration {
        let crowd = u32::try_from(transactions.max(1)).unwrap_or(u32::MAX);
        self.interval_min.saturating_mul(crowd).min(self.interval_crowd.max(self.interval_min))
    }

    /// Checks the relations between the fields.
    ///
    /// # Errors
    /// [`ConsensusError::Setting`] with the violating field.
    pub(crate) fn check(&self) -> Result<(), ConsensusError> {
        let bad = |name, reason| Err(ConsensusError::Setting { name, reason });
        let patience = self.leader_timeout.saturating_sub(self.epoch_grace);
        if patience.saturating_mul(2) < self.heartbeat.saturating_mul(3) {
            let reason = "it must be at least 1.5 times heartbeat, plus epoch_grace";
            return bad("leader_timeout", reason);
        }
        if self.view_timeout <= self.leader_timeout {
            return bad("view_timeout", "it must be above leader_timeout");
        }
        if self.view_timeout < self.leader_timeout.saturating_add(self.epoch_wait) {
            return bad("view_timeout", "it must be at least leader_timeout plus epoch_wait");
        }
        if self.absence <= self.view_timeout {
            return bad("absence", "it must be above view_timeout");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_after_a_block_grows_with_its_transactions_up_to_a_bound() {
        let timing = Timing::default();
        let waits = [0, 1, 3, 1_000, usize::MAX].map(|transactions| timing.interval_after(transactions));
        let ms = Duration::from_millis;
        assert_eq!(waits, [ms(5), ms(5), ms(15), timing.interval_crowd, timing.interval_crowd]);
        // The minimum interval can be set above its maximum.
        let slow = Timing { interval_min: ms(500), ..timing };
        assert_eq!(slow.interval_after(7), ms(500));
    }
}
