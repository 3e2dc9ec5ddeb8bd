//! The finalised state, and the finalisation of views.
//!
//! A block's change record is written with the block. Dirty nodes are flushed in the background, by a thread to a store of its own,
//! so that no block waits for tens of thousands of nodes. The order of writes survives a crash at any point: blocks are delta durable,
//! then nodes with their checkpoint, and then obsolete records are deleted.

use std::sync::Arc;
use std::thread::JoinHandle;

use alloy_primitives::B256;
use hansa_kv::{Batch, KeyRange, KvStore, Order};
use parking_lot::{Mutex, RwLock};

use crate::account::AccountLeaf;
use crate::bytes::take_array;
use crate::cache::Caches;
use crate::edit::Effects;
use crate::error::TrieError;
use crate::flush::{Flush, Pages};
use crate::node::Child;
use crate::nodes::Base;
use crate::update::Merged;
use crate::view::{Common, Delta, Finality, Lineage, StateView};
use crate::{CODE, NODES, RECORDS, page};

/// The stores of the state.
#[derive(Clone)]
pub struct StateStores {
    /// The caller's store of blocks, with [`crate::BLOCK_SPACES`].
    pub blocks: Arc<dyn KvStore>,
    /// The store of the trie's nodes, with [`crate::NODE_SPACES`]. It is a separate store, so that its large batches do not delay
    /// blocks. It must belong to `blocks`: an older copy catches up only as far as the records go back.
    pub nodes: Arc<dyn KvStore>,
}

/// One store for both, for tests and simulation.
impl From<Arc<dyn KvStore>> for StateStores {
    fn from(store: Arc<dyn KvStore>) -> Self {
        Self { blocks: Arc::clone(&store), nodes: store }
    }
}

impl<S: KvStore> From<Arc<S>> for StateStores {
    fn from(store: Arc<S>) -> Self {
        (store as Arc<dyn KvStore>).into()
    }
}

/// Memory of the state, and when to flush.
#[derive(Clone, Debug)]
pub struct TrieConfig {
    /// Node cache, in bytes.
    pub cache_bytes_max: usize,
    /// Dirty nodes at which a flush begins; each version of a node counts, with about 600 bytes. A higher number means fewer writes,
    /// more memory and a longer start after a crash (3 µs a node). As many again can become dirty during a flush; then commits wait.
    pub unwritten_nodes_max: usize,
    /// Initial value of the dirty-node counter. Validators start at different values so that they do not all flush in the same block.
    pub unwritten_nodes_ahead: usize,
    /// Blocks after which a flush begins, however few nodes are dirty.
    pub unwritten_blocks_max: u64,
}

impl Default for TrieConfig {
    fn default() -> Self {
        Self {
            cache_bytes_max: 512 * 1024 * 1024,
            unwritten_nodes_max: 524_288,
            unwritten_nodes_ahead: 0,
            unwritten_blocks_max: 4_096,
        }
    }
}

/// The finalised state. A clone is another handle on the same state.
#[derive(Clone)]
pub struct StateStore(Arc<Shared>);

struct Shared {
    common: Arc<Common>,
    config: TrieConfig,
    head: RwLock<StateView>,
    unflushed: Mutex<Unflushed>,
    writer: Mutex<Option<Writer>>,
}

/// The thread of a flush.
type Writer = JoinHandle<Result<(), TrieError>>;

impl Drop for Shared {
    /// Waits for a running flush, so that the stores can be opened again.
    fn drop(&mut self) {
        if let Some(writer) = self.writer.get_mut().take() {
            let _ = writer.join();
        }
    }
}

/// Changes finalised since the last flush.
#[derive(Default)]
struct Unflushed {
    effects: Effects,
    wiped: Vec<B256>,
    /// The oldest record in the store at the start. A crash may have left obsolete ones.
    obsolete_from: Option<u64>,
}

impl Unflushed {
    fn add(&mut self, delta: &Delta) {
        self.effects.dirty += delta.effects.dirty;
        self.effects.deleted.extend_from_slice(&delta.effects.deleted);
        self.wiped.extend_from_slice(&delta.wiped);
    }
}

/// A view whose change record is in a batch. It becomes the head after the batch is written.
#[must_use = "the view becomes the head only with `StateStore::adopt`"]
pub struct StagedState(StateView);

impl StateStore {
    /// Opens the state in the stores, or an empty one. A store has at most one [`StateStore`].
    ///
    /// # Errors
    /// [`TrieError::Store`]; [`TrieError::Record`], [`TrieError::Damaged`] or [`TrieError::RootMismatch`] if the stores are damaged.
    pub fn open(stores: impl Into<StateStores>, config: TrieConfig) -> Result<Self, TrieError> {
        let stores = stores.into();
        let caches = Arc::new(Caches::new(config.cache_bytes_max));
        let (version, root) = checkpoint(stores.nodes.as_ref())?;
        let base = Arc::new(Base { snapshot: stores.nodes.snapshot(), version, caches: Arc::clone(&caches) });
        let root = Child::<AccountLeaf>::stored(root);
        if let Child::Stored(reference) = &root {
            base.load::<AccountLeaf>(None, &B256::ZERO, 0, reference)?;
        }
        let lineage = Lineage::root();
        let finality = RwLock::new(Finality { head: Arc::clone(&lineage), base: Arc::clone(&base) });
        let common = Arc::new(Common { stores, caches, finality });
        let head = StateView::of_stored(Arc::clone(&common), base, lineage, root);
        let (head, mut unflushed) = replay(head)?;
        unflushed.effects.dirty += config.unwritten_nodes_ahead;
        unflushed.obsolete_from = oldest_record(head.0.common.stores.blocks.as_ref())?;
        Ok(Self(Arc::new(Shared {
            common,
            config,
            head: RwLock::new(head),
            unflushed: Mutex::new(unflushed),
            writer: Mutex::default(),
        })))
    }

    /// The finalised state.
    pub fn head(&self) -> StateView {
        self.0.head.read().clone()
    }

    /// Adds the change record and the code of `view` to `batch`. The caller writes the batch together with the block and then calls
    /// [`Self::adopt`]; if the write fails, it drops the result. One view is staged at a time.
    ///
    /// # Errors
    /// [`TrieError::NotChild`] unless `view` is a child of the head; [`TrieError::Store`], also if an earlier flush has failed.
    pub fn stage(&self, view: &StateView, batch: &mut Batch) -> Result<StagedState, TrieError> {
        if !view.0.lineage.is_child_of(&self.0.common.finality.read().head) {
            return Err(TrieError::NotChild);
        }
        let is_behind = self.0.unflushed.lock().effects.dirty > self.0.config.unwritten_nodes_max;
        self.await_writer(is_behind)?;
        for (hash, code) in &view.0.delta.code {
            batch.put(CODE, hash.as_slice(), code.as_ref());
        }
        batch.put(RECORDS, record_key(view.0.version), view.0.delta.record.as_slice());
        Ok(StagedState(view.clone()))
    }

    /// Makes a staged view the head after its batch has been written. Starts a flush if one is due.
    pub fn adopt(&self, StagedState(view): StagedState) {
        let lineage = Arc::clone(&view.0.lineage);
        lineage.finalise();
        let stored = {
            let mut finality = self.0.common.finality.write();
            finality.head = lineage;
            finality.base.version
        };
        *self.0.head.write() = view.clone();
        let mut unflushed = self.0.unflushed.lock();
        unflushed.add(&view.0.delta);
        let is_due = unflushed.effects.dirty >= self.0.config.unwritten_nodes_max
            || view.0.version - stored >= self.0.config.unwritten_blocks_max;
        let mut writer = self.0.writer.lock();
        if is_due && writer.is_none() {
            let unflushed = std::mem::take(&mut *unflushed);
            *writer = Some(std::thread::spawn(move || flush_nodes(&view, &unflushed)));
        }
    }

    /// Joins the flushing thread if it has ended, or in any case with `wait`.
    fn await_writer(&self, wait: bool) -> Result<(), TrieError> {
        let mut writer = self.0.writer.lock();
        match writer.take_if(|writer| wait || writer.is_finished()) {
            Some(writer) => writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => Ok(()),
        }
    }

    /// Waits for a running flush.
    #[cfg(test)]
    pub(crate) fn settle(&self) {
        self.await_writer(true).unwrap();
    }

    /// The flushed state.
    #[cfg(test)]
    pub(crate) fn stored(&self) -> StateView {
        let common = Arc::clone(&self.0.common);
        let (_, root) = checkpoint(common.stores.nodes.as_ref()).unwrap();
        let base = Arc::clone(&common.finality.read().base);
        StateView::of_stored(common, base, Lineage::root(), Child::stored(root))
    }
}

/// Writes all dirty nodes of a final view with the checkpoint, atomically; then deletes the records up to it.
fn flush_nodes(view: &StateView, unflushed: &Unflushed) -> Result<(), TrieError> {
    let common = &view.0.common;
    let base = Arc::clone(&common.finality.read().base);
    let mut wiped = Vec::new();
    for owner in &unflushed.wiped {
        let range = KeyRange::prefix(&page::storage_prefix(owner));
        wiped.extend(base.snapshot.scan(NODES, range, Order::Ascending, usize::MAX)?);
    }
    let deleted = unflushed.effects.deleted.iter().chain(wiped.iter().map(|(key, _)| key));
    let deleted: Vec<&[u8]> = deleted.map(Vec::as_slice).collect();
    let checkpoint = [&record_key(view.0.version)[..], view.0.root_hash.as_slice()].concat();
    let flush = Flush { stored: base.version, layers: &view.0.layers, caches: &common.caches };
    common.stores.blocks.sync()?;
    common.stores.nodes.ingest(NODES, &mut |writer| {
        let mut pages = Pages::new(writer, deleted.clone());
        flush.state(&view.0.root, &mut pages)?;
        pages.put(|out| out.extend_from_slice(page::CHECKPOINT), |out| out.extend_from_slice(&checkpoint))?;
        pages.finish()
    })?;
    let (snapshot, version) = (common.stores.nodes.snapshot(), view.0.version);
    common.finality.write().base = Arc::new(Base { snapshot, version, caches: Arc::clone(&common.caches) });
    let mut batch = Batch::new();
    let next = base.version + 1;
    for version in unflushed.obsolete_from.map_or(next, |oldest| oldest.min(next))..=view.0.version {
        batch.remove(RECORDS, record_key(version));
    }
    Ok(common.stores.blocks.write_buffered(batch)?)
}

/// Version and root of the flushed nodes.
fn checkpoint(store: &dyn KvStore) -> Result<(u64, B256), TrieError> {
    let Some(stored) = store.get(NODES, page::CHECKPOINT)? else {
        return Ok((0, alloy_trie::EMPTY_ROOT_HASH));
    };
    let mut stored = stored.as_slice();
    let parts = take_array(&mut stored).zip(take_array(&mut stored));
    let (version, root) = parts.filter(|_| stored.is_empty()).ok_or(TrieError::Record("checkpoint"))?;
    Ok((u64::from_be_bytes(version), B256::new(root)))
}

fn oldest_record(store: &dyn KvStore) -> Result<Option<u64>, TrieError> {
    let oldest = store.scan(RECORDS, KeyRange::all(), Order::Ascending, 1)?;
    let version = |(key, _): &(Vec<u8>, Vec<u8>)| key.as_slice().try_into().map(u64::from_be_bytes);
    oldest.first().map(version).transpose().map_err(|_| TrieError::Record("version"))
}

/// Applies the change records above the flushed state.
fn replay(stored: StateView) -> Result<(StateView, Unflushed), TrieError> {
    const MALFORMED: TrieError = TrieError::Record("block");
    let common = &stored.0.common;
    let mut merged = Merged::default();
    let mut version = stored.0.version;
    loop {
        let next = version.checked_add(1).ok_or(MALFORMED)?;
        let Some(record) = common.stores.blocks.get(RECORDS, &record_key(next))? else { break };
        merged.add(&record).ok_or(MALFORMED)?;
        version = next;
    }
    let Some(expected) = merged.root else { return Ok((stored, Unflushed::default())) };
    let view = stored.changed(merged.into_changes(), version)?;
    if view.root_hash != expected {
        return Err(TrieError::RootMismatch { expected, found: view.root_hash });
    }
    let mut unflushed = Unflushed::default();
    unflushed.add(&view.delta);
    view.lineage.finalise();
    common.finality.write().head = Arc::clone(&view.lineage);
    Ok((StateView(Arc::new(view)), unflushed))
}

fn record_key(version: u64) -> [u8; 8] {
    version.to_be_bytes()
}
