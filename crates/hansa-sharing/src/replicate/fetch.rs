//! Fetches one version that is to be kept here, and judges what arrives: its root must be an object root, and everything
//! below it no larger than the chain recorded. Only a root that was decoded is pinned.
//!
//! A crash at any step leaves the version pending: it is fetched again, and what has arrived is found in the store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use cid::Cid;
use hansa_content::{DAG_PB, RAW};
use hansa_envelope::{LEAF_BYTES, Layout, MANIFEST_BYTES_MAX, ObjectRoot};
use hansa_ports::{FetchSink, SwarmFault};
use hansa_types::NetworkKey;
use tokio::{sync::Notify, time::Instant};

use super::{
    room::Full,
    table::{Task, Verdict},
};
use crate::{ReplicationSettings, SharingError, sharing::Inner};

/// Bytes of an inner node for each block that it links to, and some.
const LINK_BYTES: u64 = 128;
/// Bytes set aside for what is stored with a version's content.
const EXTRA_BYTES: u64 = 64 * 1024;

/// What became of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All of it is here and pinned.
    Kept,
    /// It is not to be kept here, or never can be.
    Dropped,
    /// There is no room for it.
    NoRoom(Full),
}

/// How large everything below a root may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) bytes: u64,
    pub(crate) blocks: u64,
}

impl Bounds {
    /// What an honest owner makes of content of this sealed length, with the longest manifest and all deposits.
    pub(crate) const fn of_sealed(length: u64) -> Self {
        const MANIFEST: u64 = MANIFEST_BYTES_MAX as u64;
        const LEAF: u64 = LEAF_BYTES as u64;
        let leaves = length.div_ceil(LEAF).saturating_add(MANIFEST.div_ceil(LEAF));
        // An inner node has up to 1,024 links; this leaves room for nodes that are not full.
        let inner = (leaves / 512).saturating_add(7);
        Self {
            bytes: length
                .saturating_add(MANIFEST)
                .saturating_add(leaves.saturating_mul(LINK_BYTES))
                .saturating_add(EXTRA_BYTES),
            blocks: leaves.saturating_add(inner),
        }
    }
}

/// What is set aside for a version before it is fetched: its content, and something for the rest.
fn expected_bytes(task: &Task) -> u64 {
    let sealed = Layout::of_plaintext(task.size_class).sealed_length();
    sealed
        .saturating_add(sealed.div_ceil(LEAF_BYTES as u64).saturating_mul(LINK_BYTES))
        .saturating_add(EXTRA_BYTES)
}

/// Reads a root as what was recorded for a version.
fn read_root(bytes: &[u8], size_class: u64) -> Result<ObjectRoot, Verdict> {
    let root = ObjectRoot::decode(bytes).map_err(|_| Verdict::NotARoot)?;
    let is_file = |cid: &Cid| matches!(cid.codec(), DAG_PB | RAW);
    let is_leaf = |cid: &Cid| cid.codec() == RAW;
    if !is_file(&root.manifest) || !is_file(&root.content) || !root.deposits.as_ref().is_none_or(is_leaf) {
        return Err(Verdict::NotARoot);
    }
    if root.content_length > Layout::of_plaintext(size_class).sealed_length() {
        return Err(Verdict::TooLarge);
    }
    Ok(root)
}

/// Watches a fetch.
struct Gauge {
    bounds: Bounds,
    blocks: AtomicU64,
    here: AtomicU64,
    known: AtomicU64,
    exceeded: Notify,
}

impl Gauge {
    fn new(bounds: Bounds) -> Arc<Self> {
        let (blocks, here, known, exceeded) = Default::default();
        Arc::new(Self { bounds, blocks, here, known, exceeded })
    }

    /// Takes the swarm's reports, one for each block, and passes them on.
    fn sink(self: &Arc<Self>, on: FetchSink) -> FetchSink {
        let this = Arc::clone(self);
        Arc::new(move |here, known| {
            this.blocks.fetch_add(1, Ordering::Relaxed);
            this.here.store(here, Ordering::Relaxed);
            this.known.store(known, Ordering::Relaxed);
            if this.is_exceeded() {
                this.exceeded.notify_one();
            }
            on(here, known);
        })
    }

    fn is_exceeded(&self) -> bool {
        let most = self.here.load(Ordering::Relaxed).max(self.known.load(Ordering::Relaxed));
        most > self.bounds.bytes || self.blocks.load(Ordering::Relaxed) > self.bounds.blocks
    }

    /// Ends when the fetch has taken longer than the bytes that are here justify.
    async fn too_slow(&self, settings: &ReplicationSettings, started: Instant) {
        loop {
            let allowed = allowed_seconds(settings, self.here.load(Ordering::Relaxed));
            let Some(deadline) = started.checked_add(Duration::from_secs(allowed)) else { return };
            if deadline <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}

/// How long a fetch may take that has brought so many bytes.
fn allowed_seconds(settings: &ReplicationSettings, here: u64) -> u64 {
    let transfer = here.checked_div(settings.fetch_bytes_per_second_min).unwrap_or_default();
    settings.fetch_seconds_min.saturating_add(transfer)
}

impl Inner {
    /// Fetches, pins and notes one version.
    pub(super) async fn keep(&self, task: Task, is_own: bool) -> Result<Outcome, SharingError> {
        let (table, cid) = (self.table(), task.cid());
        if table.pending(task.id)? != Some(task) {
            return Ok(Outcome::Dropped);
        }
        let bytes = expected_bytes(&task);
        let known = table.replica(task.id)?;
        let before = known.map_or(0, |replica| replica.bytes);
        let _room = match is_own {
            true => None,
            false => match self.room.admit(&task, before, bytes) {
                Ok(room) => Some(room),
                Err(full) => return Ok(Outcome::NoRoom(full)),
            },
        };
        // The owner has been asked what it holds; what is lost of an own version, the others have.
        let likely = match is_own {
            true => self.keys_of_keepers(task.id.object).await?,
            false => vec![self.contracts.network_key(task.id.object.owner).await?],
        };
        let root = match read_root(&self.fetch_root(&task, &likely).await?, task.size_class) {
            Ok(root) => root,
            Err(verdict) => return self.give_up(&task, verdict),
        };
        if is_own {
            let keyring = self.keyring.clone();
            let (chain_id, object) = (self.contracts.chain.chain_id(), task.id.object);
            let (epoch, owner_key) = (root.key_epoch, root.owner_key.clone());
            Self::blocking(move || keyring.regain(chain_id, object, epoch, &owner_key)).await?;
        } else {
            table.reserve(&task, bytes.max(before))?;
        }
        // Pinned before the rest is fetched: nothing that has arrived is collected before it is whole. The fetch flushes the pin
        // with its blocks.
        self.store.pin_buffered(&cid, &task.id.label())?;
        let gauge = Gauge::new(Bounds::of_sealed(root.content_length));
        let running = self.fetches.begin(task.id.object, task.id.version);
        let fetched = tokio::select! {
            fetched = self.swarm.fetch_dag(cid, &likely, gauge.sink(running.sink())) => fetched,
            () = gauge.exceeded.notified() => return self.give_up(&task, Verdict::TooLarge),
            () = gauge.too_slow(&self.settings.replication, Instant::now()) => Err(SwarmFault::Slow),
        };
        drop(running);
        let here = gauge.here.load(Ordering::Relaxed);
        let _hold = match fetched {
            Ok(_) if gauge.is_exceeded() => return self.give_up(&task, Verdict::TooLarge),
            Ok(hold) => hold,
            Err(SwarmFault::Malformed(_)) => return self.give_up(&task, Verdict::Malformed),
            Err(source) => return Err(SharingError::Unavailable { object: task.id.object, source }),
        };
        table.complete(&task, (!is_own).then_some(here))?;
        if !is_own {
            self.room.correct(task.id.object.owner, bytes.max(before), here);
            self.room.count_kept(known.is_some_and(|replica| replica.whole), true);
        }
        tracing::info!(object = %task.id.object, version = %task.id.version, root = %cid, "keeping a replica");
        Ok(Outcome::Kept)
    }

    async fn fetch_root(&self, task: &Task, likely: &[NetworkKey]) -> Result<Bytes, SharingError> {
        let unavailable = |source| SharingError::Unavailable { object: task.id.object, source };
        let fetch = self.swarm.fetch(task.cid(), likely);
        let fetched =
            tokio::time::timeout(Duration::from_secs(self.settings.replication.fetch_seconds_min), fetch)
                .await;
        fetched.unwrap_or(Err(SwarmFault::Slow)).map_err(unavailable)
    }

    /// Lets go of a version that no node can keep, for good.
    fn give_up(&self, task: &Task, verdict: Verdict) -> Result<Outcome, SharingError> {
        let known = self.table().replica(task.id)?;
        let before = known.map_or(0, |replica| replica.bytes);
        self.store.unpin(&task.cid(), &task.id.label())?;
        self.table().give_up(task, verdict)?;
        self.room.correct(task.id.object.owner, before, 0);
        self.room.count_kept(known.is_some_and(|replica| replica.whole), false);
        self.room.count_given_up();
        tracing::warn!(object = %task.id.object, version = %task.id.version, %verdict, "gave up a version");
        Ok(Outcome::Dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_take_what_an_honest_owner_makes() {
        const GIB: u64 = 1 << 30;
        let manifest = (MANIFEST_BYTES_MAX as u64).div_ceil(1 << 20);
        for gib in [0, 1, 100, 4096] {
            let leaves = gib * 1024;
            let inner = |leaves: u64| leaves.div_ceil(1024) + leaves.div_ceil(1024 * 1024) + 1;
            let bounds = Bounds::of_sealed(gib * GIB);
            // The root, and the deposits beside it.
            let blocks = 2 + leaves + inner(leaves) + manifest + inner(manifest);
            assert!(bounds.blocks >= blocks, "{gib}: {bounds:?} {blocks}");
            assert!(bounds.blocks <= blocks + blocks / 256 + 16, "{gib}: {bounds:?} {blocks}");
            assert!(bounds.bytes >= gib * GIB + MANIFEST_BYTES_MAX as u64 + 60 * blocks);
        }
    }

    #[test]
    fn a_fetch_has_time_by_what_has_arrived() {
        let settings = ReplicationSettings::default();
        assert_eq!(allowed_seconds(&settings, 1), 30);
        assert_eq!(allowed_seconds(&settings, 1 << 30), 30 + 2048);
    }
}
