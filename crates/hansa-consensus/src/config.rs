//! What the engine needs to start, and the times it keeps.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use hansa_ledger::Ledger;
use hansa_types::ReleaseJudge;
use zeroize::Zeroizing;

use crate::error::ConsensusError;

/// Everything an [`Engine`](crate::Engine) needs. The genesis and the pool are those of the ledger.
#[derive(Clone)]
pub struct Config {
    /// This node's ed25519 secret key (32 bytes), whose public half the registry names.
    pub secret_key: Zeroizing<[u8; 32]>,
    /// The ledger to extend.
    pub ledger: Ledger,
    /// Folder for the engine's journals, archives and sealed secrets; the same that the ceremony used.
    pub store: PathBuf,
    /// AES-256 key that seals shares of the group key at rest.
    pub storage_key: Zeroizing<[u8; 32]>,
    /// Address to listen on; members dial what the registry says.
    pub listen: SocketAddr,
    /// Threads for the engine's own tasks; execution of blocks has its own.
    pub worker_threads: usize,
    /// The times it keeps.
    pub timing: Timing,
    /// Decides for which openings this node, as a validator, releases deposited keys.
    pub judge: Arc<dyn ReleaseJudge>,
}

/// The times that govern agreement. All nodes should use the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long an idle leader waits for a transaction before it proposes an empty block.
    pub heartbeat: Duration,
    /// The least time between a block's proposal and the next one's, for each transaction in the first of them.
    pub interval_min: Duration,
    /// The least time after a block of many transactions.
    pub interval_crowd: Duration,
    /// How long an epoch's first leader waits: the others lose what reaches them before they have entered the epoch too, and if
    /// that is a quorum's votes, the view is lost with them.
    pub epoch_grace: Duration,
    /// How long a validator that has a certificate for an epoch's first block waits at most for votes of all the others:
    /// who has not voted in the epoch yet counts as absent, and its views are skipped.
    pub roll_call: Duration,
    /// How long a leader goes on adding transactions to a block, since everybody else waits for it; `None` fills every
    /// block up to its gas and bytes, as simulations need that must not depend on the machine's speed.
    pub filling: Option<Duration>,
    /// Blocks that come further apart than this are filled for less.
    pub interval_aim: Duration,
    /// How long the others wait for a leader's proposal; well above `heartbeat`.
    pub leader_timeout: Duration,
    /// How long they wait for a view's certificate; above `leader_timeout`, and not below it and `roll_call` together.
    pub view_timeout: Duration,
    /// After this long without a sign of life a leader's views are skipped at once; above `view_timeout`.
    pub absence: Duration,
    /// How far a block's time may run ahead of the local clock; whole seconds.
    pub clock_skew: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            interval_min: Duration::from_millis(5),
            interval_crowd: Duration::from_millis(60),
            epoch_grace: Duration::from_millis(200),
            roll_call: Duration::from_secs(1),
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
    /// The least time between the proposal of a block of so many transactions and the next one's. After one transaction the
    /// next is at most a moment away from its block. Where many come at a time, others soon follow, and agreement costs the
    /// same whether a block holds one or a hundred.
    pub(crate) fn interval_after(&self, transactions: usize) -> Duration {
        let crowd = u32::try_from(transactions.max(1)).unwrap_or(u32::MAX);
        self.interval_min.saturating_mul(crowd).min(self.interval_crowd.max(self.interval_min))
    }

    /// Checks the order that the fields' documentation demands.
    ///
    /// # Errors
    /// Names the field that breaks it.
    pub(crate) fn check(&self) -> Result<(), ConsensusError> {
        let bad = |name, reason| Err(ConsensusError::Setting { name, reason });
        let patience = self.leader_timeout.saturating_sub(self.epoch_grace);
        if patience.saturating_mul(2) < self.heartbeat.saturating_mul(3) {
            let reason = "it must be at least one and a half times the heartbeat, and epoch_grace";
            return bad("leader_timeout", reason);
        }
        if self.view_timeout <= self.leader_timeout {
            return bad("view_timeout", "it must be above leader_timeout");
        }
        if self.view_timeout < self.leader_timeout.saturating_add(self.roll_call) {
            return bad("view_timeout", "it must be at least leader_timeout and roll_call together");
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
        // A lone interval may be set above the crowd's.
        let slow = Timing { interval_min: ms(500), ..timing };
        assert_eq!(slow.interval_after(7), ms(500));
    }
}
