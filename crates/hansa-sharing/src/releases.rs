//! Releases of keys on their way to the chain (D7). A release is noted durably before its key leaves this node, and recorded
//! on the chain afterwards: whoever waits for the key does not wait for a second block, and no crash loses the record.

use std::{sync::Arc, time::Duration};

use hansa_kv::{Batch, KeyRange, KvStore, Order};
use tokio::sync::Notify;

use crate::{SharingError, contracts::Contracts, keyring::SPACE, sharing::Inner};

/// First byte of the keys here; the opening's number follows.
const RELEASE: u8 = b'r';
/// Releases recorded at the same time.
const AT_ONCE: usize = 64;
/// How long to wait before what the chain did not take is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// The openings whose keys were released and which the chain may not say so of yet. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Releases {
    kv: Arc<dyn KvStore>,
    added: Arc<Notify>,
}

fn place(opening: u64) -> Vec<u8> {
    let mut place = vec![RELEASE];
    place.extend(opening.to_be_bytes());
    place
}

impl Releases {
    pub(crate) fn new(kv: Arc<dyn KvStore>) -> Self {
        Self { kv, added: Arc::default() }
    }

    /// Notes a release; durable when it returns.
    pub(crate) async fn add(&self, opening: u64) -> Result<(), SharingError> {
        let kv = Arc::clone(&self.kv);
        Inner::blocking(move || {
            let mut batch = Batch::new();
            batch.put(SPACE, place(opening), Vec::new());
            Ok(kv.write(batch)?)
        })
        .await?;
        self.added.notify_one();
        Ok(())
    }

    /// Records what has been noted, in this run of the node and before, as it comes. Never returns.
    pub(crate) async fn record(self, contracts: Contracts) {
        loop {
            match self.pass(&contracts).await {
                Ok(true) => self.added.notified().await,
                Ok(false) => tokio::time::sleep(RETRY).await,
                Err(error) => {
                    tracing::error!(%error, "the releases that are to be recorded cannot be read");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Goes through all once; whether the chain has taken everything.
    async fn pass(&self, contracts: &Contracts) -> Result<bool, SharingError> {
        let (mut all, mut range) = (true, KeyRange::prefix(&[RELEASE]));
        loop {
            let pairs = self.kv.scan(SPACE, range.clone(), Order::Ascending, AT_ONCE)?;
            let Some((last, _)) = pairs.last() else { return Ok(all) };
            range = range.after(last);
            let one = |place: Vec<u8>| async move {
                let opening = opening_at(&place)?;
                match contracts.record_release(opening).await {
                    Ok(()) => Some(place),
                    Err(error) => {
                        tracing::warn!(opening, %error, "a release is not recorded yet; it is tried again");
                        None
                    }
                }
            };
            let done = futures::future::join_all(pairs.into_iter().map(|(place, _)| one(place))).await;
            all &= done.iter().all(Option::is_some);
            let mut batch = Batch::new();
            done.into_iter().flatten().for_each(|place| batch.remove(SPACE, place));
            // A removal that a crash undoes is made again: the chain answers that the release is recorded already.
            self.kv.write_buffered(batch)?;
        }
    }
}

fn opening_at(place: &[u8]) -> Option<u64> {
    place.split_first().and_then(|(_, number)| number.try_into().ok()).map(u64::from_be_bytes)
}
