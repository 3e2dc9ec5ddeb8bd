//! Deletion of the engine's journals of past epochs.
//!
//! The engine writes the votes and certificates of each epoch to a partition. It reads the partition only after a restart within the
//! epoch, and never deletes it. Lagging peers are served from the archives of blocks and certificates.

use core::num::NonZeroU64;

use commonware_runtime::{Error, Storage};
use tokio::sync::watch;

use crate::pacing::Progress;

/// Upper bound of the blocks below the executed height that a restart delivers again. Journals of their epochs are kept.
const MARGIN_BLOCKS: u64 = 128;
/// Consecutive epochs without a journal after which the search for old journals ends.
const GAP_MAX: u64 = 4_096;

/// The journals of all epochs.
pub(crate) struct Journals<E> {
    context: E,
    /// The partition prefix of the engine.
    prefix: String,
    epoch_blocks: NonZeroU64,
}

impl<E: Storage> Journals<E> {
    pub(crate) fn new(context: E, prefix: String, epoch_blocks: NonZeroU64) -> Self {
        Self { context, prefix, epoch_blocks }
    }

    /// The partition of an epoch's journal.
    fn partition(&self, epoch: u64) -> String {
        format!("{}_consensus_{epoch}", self.prefix)
    }

    /// The first epoch whose journal is needed after a restart at this executed height.
    fn first_needed(&self, height: u64) -> u64 {
        height.saturating_sub(MARGIN_BLOCKS) / self.epoch_blocks
    }

    /// Deletes obsolete journals, first those of earlier runs, then as the chain grows. Runs until the node stops.
    pub(crate) async fn run(self, mut progress: watch::Receiver<Progress>) {
        let begun = progress.borrow_and_update().height;
        let mut oldest = self.oldest(self.first_needed(begun)).await;
        loop {
            let needed = self.first_needed(progress.borrow_and_update().height);
            for epoch in oldest..needed {
                self.delete(epoch).await;
            }
            oldest = oldest.max(needed);
            if progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// The oldest epoch with a journal below `needed`, or `needed`.
    async fn oldest(&self, needed: u64) -> u64 {
        let mut oldest = needed;
        for epoch in (0..needed).rev() {
            if oldest.saturating_sub(epoch) > GAP_MAX {
                break;
            }
            if self.context.scan(&self.partition(epoch)).await.is_ok() {
                oldest = epoch;
            }
        }
        oldest
    }

    async fn delete(&self, epoch: u64) {
        match self.context.remove(&self.partition(epoch), None).await {
            Ok(()) => tracing::debug!(epoch, "deleted the journal of an epoch that is over"),
            Err(Error::PartitionMissing(_)) => {}
            Err(error) => {
                tracing::warn!(epoch, %error, "the journal of an epoch that is over cannot be deleted; it takes up room until the next start");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use commonware_runtime::{Clock as _, Runner as _, Spawner as _, Supervisor as _, deterministic};
    use commonware_utils::NZU64;

    use super::*;
    use crate::pacing::Pacing;

    async fn kept(context: &deterministic::Context, epochs: u64) -> Vec<u64> {
        let mut kept = Vec::new();
        for epoch in 0..epochs {
            if context.scan(&format!("node_consensus_{epoch}")).await.is_ok() {
                kept.push(epoch);
            }
        }
        kept
    }

    #[test]
    fn journals_of_earlier_runs_go_and_recent_ones_stay() {
        deterministic::Runner::default().start(|context| async move {
            let write = async |epoch: u64| {
                let partition = format!("node_consensus_{epoch}");
                drop(context.open(&partition, b"journal").await.unwrap());
            };
            // 600 epochs of 32 blocks; one of them left no journal.
            for epoch in (0..600).filter(|epoch| *epoch != 77) {
                write(epoch).await;
            }
            let pacing = Pacing::default();
            pacing.finalised(500 * 32, Default::default(), context.current());
            let journals = Journals::new(context.child("journals"), "node".into(), NZU64!(32));
            let progress = pacing.progress();
            let running = context.child("run").spawn(move |_| journals.run(progress));
            context.sleep(std::time::Duration::from_secs(1)).await;
            assert_eq!(kept(&context, 600).await, (496..600).collect::<Vec<_>>());
            for epoch in 501..600 {
                pacing.finalised(epoch * 32, Default::default(), context.current());
                context.sleep(std::time::Duration::from_millis(10)).await;
            }
            assert_eq!(kept(&context, 600).await, (595..600).collect::<Vec<_>>());
            running.abort();
        });
    }
}
