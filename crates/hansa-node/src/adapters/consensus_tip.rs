//! The port [`Tip`] over the consensus engine: the height that the node must have executed before it releases keys.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use hansa_consensus::Status;
use hansa_ledger::FinalisedBlock;
use hansa_ports::Tip;
use tokio::{
    sync::{
        broadcast::{Receiver, error::RecvError},
        watch,
    },
    time::timeout,
};

/// After so long without a block the chain may have gone on without this node: an idle chain makes one a second.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How long a request waits for the next block. A node that has just started hears of one within a second or two.
const PATIENCE: Duration = Duration::from_secs(8);

/// Consensus's own account, and when the last block came.
pub(crate) struct ConsensusTip {
    status: watch::Receiver<Status>,
    last: watch::Sender<Option<Instant>>,
}

impl ConsensusTip {
    /// Follows the blocks until the ledger stops.
    pub(crate) fn watch(
        status: watch::Receiver<Status>,
        mut blocks: Receiver<Arc<FinalisedBlock>>,
    ) -> Arc<Self> {
        let tip = Arc::new(Self { status, last: watch::Sender::default() });
        let followed = Arc::downgrade(&tip);
        tokio::spawn(async move {
            while !matches!(blocks.recv().await, Err(RecvError::Closed)) {
                let Some(tip) = followed.upgrade() else { return };
                tip.last.send_replace(Some(Instant::now()));
            }
        });
        tip
    }
}

#[async_trait]
impl Tip for ConsensusTip {
    async fn final_height(&self) -> Option<u64> {
        let mut last = self.last.subscribe();
        let heard = last.wait_for(|last| last.is_some_and(|at| at.elapsed() < SILENCE_MAX));
        timeout(PATIENCE, heard).await.ok()?.ok()?;
        Some(self.status.borrow().final_height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_waits_for_the_first_block_after_a_start() {
        let (status, watched) = watch::channel(Status::default());
        let tip = ConsensusTip { status: watched, last: watch::Sender::default() };
        status.send_modify(|status| status.final_height = 7);
        let (height, ()) = tokio::join!(tip.final_height(), async {
            tip.last.send_replace(Some(Instant::now()));
        });
        assert_eq!(height, Some(7));
        assert_eq!(tip.final_height().await, Some(7), "heard of a moment ago");
    }
}
