//! Reads the block store slowly, again and again, and repairs what has rotted from other members (E5, by itself).
//!
//! How far a pass has come is durable, so that restarts do not keep it from ever reaching the end. A damaged block is in
//! quarantine from the moment it is found: it is not served, and a repair or the next fetch replaces it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use cid::Cid;
use hansa_api::ScrubStatus;
use hansa_content::{ScrubCursor, ScrubReport};
use hansa_kv::Batch;

use crate::{ScrubSettings, Sharing, SharingError, keyring::SPACE, sharing::Inner};

const CURSOR: &[u8] = b"scrub";

/// Counts for status and metrics, since the node started.
#[derive(Default)]
pub(crate) struct Scrubbed {
    blocks: AtomicU64,
    bytes: AtomicU64,
    damaged: AtomicU64,
    repaired: AtomicU64,
    passes: AtomicU64,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Scrubbed {
    pub(crate) fn status(&self) -> ScrubStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ScrubStatus {
            blocks: read(&self.blocks),
            bytes: read(&self.bytes),
            damaged: read(&self.damaged),
            repaired: read(&self.repaired),
            passes: read(&self.passes),
        }
    }
}

/// Scrubs until it is aborted; failures are logged.
pub(crate) async fn run(sharing: Sharing) {
    let ScrubSettings { portion_bytes, portion_pause, pass_pause } = sharing.0.settings.scrub;
    loop {
        let pause = match sharing.0.scrub_portion(portion_bytes).await {
            Ok(true) => portion_pause,
            Ok(false) => pass_pause,
            Err(SharingError::NotMember) => pass_pause,
            Err(error) => {
                tracing::warn!(%error, "the block store could not be scrubbed");
                pass_pause
            }
        };
        tokio::time::sleep(pause).await;
    }
}

impl Inner {
    /// Scrubs the next portion of the store and repairs what is damaged in it; whether there is more in this pass.
    pub(crate) async fn scrub_portion(self: &Arc<Self>, bytes: u64) -> Result<bool, SharingError> {
        let this = Arc::clone(self);
        let (cursor, report) = Self::blocking(move || {
            let cursor = this.kv.get(SPACE, CURSOR)?;
            let cursor = cursor.and_then(|bytes| bytes.try_into().ok()).map(ScrubCursor::from_bytes);
            Ok(this.store.scrub_some(cursor, bytes)?)
        })
        .await?;
        let ScrubReport { blocks, bytes, damaged } = report;
        add(&self.scrubbed.blocks, blocks);
        add(&self.scrubbed.bytes, bytes);
        add(&self.scrubbed.damaged, damaged.len() as u64);
        self.repair_scrubbed(&damaged).await?;
        let mut batch = Batch::new();
        match cursor {
            Some(cursor) => batch.put(SPACE, CURSOR, cursor.to_bytes()),
            None => {
                batch.remove(SPACE, CURSOR);
                add(&self.scrubbed.passes, 1);
            }
        }
        self.kv.write_buffered(batch)?;
        Ok(cursor.is_some())
    }

    async fn repair_scrubbed(&self, damaged: &[Cid]) -> Result<(), SharingError> {
        if damaged.is_empty() {
            return Ok(());
        }
        let sources = self.sources(self.contracts.me().await?.dc_id, None).await?;
        for cid in damaged {
            if self.repair_block(*cid, &sources).await? {
                add(&self.scrubbed.repaired, 1);
            } else {
                tracing::warn!(%cid, "a block is damaged, and no connected member has it; it is tried again with the next pass");
            }
        }
        Ok(())
    }
}
