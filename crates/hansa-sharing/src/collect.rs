//! Gives back the room of blocks that no version needs: of imports that failed or ended with the process, of what was fetched
//! to be read and is not kept here, of what was replaced.

use std::time::Duration;

use hansa_types::api::Collected;

use crate::{Sharing, SharingError, sharing::Inner};

/// How long after the start the first collection is: what a crash left behind need not wait for a day.
const FIRST: Duration = Duration::from_secs(600);

impl Sharing {
    /// Removes every block that no version kept or being written here needs. Other work may go on meanwhile.
    ///
    /// # Errors
    /// When the store fails, or a node through which kept blocks are reached is damaged: nothing is removed then; repair first.
    pub async fn collect_garbage(&self) -> Result<Collected, SharingError> {
        let store = self.0.store.clone();
        let collected = Inner::blocking(move || Ok(store.collect_garbage()?)).await?;
        if collected.blocks > 0 {
            tracing::info!(blocks = collected.blocks, bytes = collected.bytes, "gave back room");
        }
        Ok(Collected { blocks: collected.blocks, bytes: collected.bytes })
    }

    /// Collects soon after the start and then regularly, until it is aborted; failures are logged.
    pub(crate) async fn collect_regularly(self, every: Duration) {
        let mut pause = FIRST.min(every);
        loop {
            tokio::time::sleep(pause).await;
            if let Err(error) = self.collect_garbage().await {
                tracing::warn!(%error, "no room was given back");
            }
            pause = every;
        }
    }
}
