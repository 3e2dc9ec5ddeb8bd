//! How far the chain is known to have got, from consensus: what the node must have executed before it releases keys.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hansa_consensus::Status;
use hansa_ledger::FinalisedBlock;
use hansa_sharing::Tip;
use parking_lot::Mutex;
use tokio::sync::{
    broadcast::{Receiver, error::RecvError},
    watch,
};

/// After so long without a block the chain may have gone on without this node: an idle chain makes one a second.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Consensus's own account, and when the last block came.
pub(crate) struct ConsensusTip {
    status: watch::Receiver<Status>,
    last: Mutex<Option<Instant>>,
}

impl ConsensusTip {
    /// Follows the blocks until the ledger stops.
    pub(crate) fn watch(
        status: watch::Receiver<Status>,
        mut blocks: Receiver<Arc<FinalisedBlock>>,
    ) -> Arc<Self> {
        let tip = Arc::new(Self { status, last: Mutex::default() });
        let followed = Arc::downgrade(&tip);
        tokio::spawn(async move {
            while !matches!(blocks.recv().await, Err(RecvError::Closed)) {
                let Some(tip) = followed.upgrade() else { return };
                *tip.last.lock() = Some(Instant::now());
            }
        });
        tip
    }
}

impl Tip for ConsensusTip {
    fn final_height(&self) -> Option<u64> {
        let heard = self.last.lock().is_some_and(|last| last.elapsed() < SILENCE_MAX);
        heard.then(|| self.status.borrow().final_height)
    }
}
