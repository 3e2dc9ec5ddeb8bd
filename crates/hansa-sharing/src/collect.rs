//! Gives back the room of blocks that no version needs: of imports that failed or ended with the process, of what was fetched
//! to be read and is not kept here, of what was replaced.

use std::time::Duration;

use hansa_api::Collected;

use crate::{Sharing, SharingError, sharing::Inner};

impl Sharing {
    /// Removes every block that no version kept or being written here needs. Other work may go on meanwhile.
    ///
    /// # Errors
    /// When the store fails. A damaged node through which kept blocks are reached is logged, and nothing is removed until it is
    /// repaired.
    pub async fn collect_garbage(&self) -> Result<Collected, SharingError> {
        let store = self.0.store.clone();
        let collected = Inner::blocking(move || Ok(store.collect_garbage()?)).await?;
        if collected.blocks > 0 {
            tracing::info!(blocks = collected.blocks, bytes = collected.bytes, "gave back room");
        }
        for fault in &collected.malformed {
            tracing::warn!(root = %fault.pin.root, label = fault.pin.label, cid = %fault.cid, "a kept object is malformed");
        }
        for fault in &collected.damaged {
            tracing::warn!(root = %fault.pin.root, label = fault.pin.label, cid = %fault.cid,
                "no room is given back while this block is damaged; run `hansa repair`");
        }
        Ok(Collected { blocks: collected.blocks, bytes: collected.bytes })
    }

    /// Collects soon after the start and then regularly, until it is aborted; failures are logged.
    pub(crate) async fn collect_regularly(self, every: Duration) {
        let mut pause = self.0.settings.collection.first.min(every);
        loop {
            tokio::time::sleep(pause).await;
            if let Err(error) = self.collect_garbage().await {
                tracing::warn!(%error, "no room was given back");
            }
            pause = every;
        }
    }
}
