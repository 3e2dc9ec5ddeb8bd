//! The finalised state, and how a view becomes it.
//!
//! Every block's record is written with the block; nodes are written out behind it, by a thread of their own to a store of
//! their own: the walk over tens of thousands of them, and their way to the disk, would hold up the block in which it falls
//! due. Nodes never get ahead of the blocks: first the blocks are made durable, then the nodes with the news how far
//! they go, and only then the records that have become needless are removed.

use std::sync::Arc;
use std::thread::JoinHandle;

use alloy_primitives::B256;
use hansa_kv::{Batch, KeyRange, KvStore, Order};
use parking_lot::{Mutex, RwLock};

use crate::account::AccountLeaf;
use crate::bytes::take_array;
use crate::cache::Caches;
use crate::edit::Traces;
use crate::error::TrieError;
use crate::flush::{Flush, Pages};
use crate::node::Child;
use crate::nodes::Base;
use crate::update::Merged;
use crate::view::{Common, Finality, Lineage, Made, StateView};
use crate::{CODE, NODES, RECORDS, page};

/// Where the state is kept.
#[derive(Clone)]
pub struct StateStores {
    /// The store that the caller writes blocks to, with [`crate::BLOCK_SPACES`].
    pub blocks: Arc<dyn KvStore>,
    /// The store of the trie's nodes, with [`crate::NODE_SPACES`]: another one, so that its long batches are in nobody's way.
    /// It belongs to `blocks`: older than that one it is brought up to date only as far as records go back.
    pub nodes: Arc<dyn KvStore>,
}

/// One store for everything, as tests and simulations have it.
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

/// How much memory the state may take.
#[derive(Clone, Debug)]
pub struct TrieConfig {
    /// Cached nodes, in bytes.
    pub cache_bytes_max: usize,
    /// How many changed nodes (of about 600 bytes, each version of one counted) are gathered before they are written. More
    /// means fewer writes, more memory and a longer start after a crash (some 3 µs for each). While they are being written, as
    /// many again are gathered; who is faster than the disk then waits.
    pub unwritten_nodes_max: usize,
    /// How many are counted as changed when the state is opened: who changes the same nodes at the same time as others writes them
    /// at another.
    pub unwritten_nodes_ahead: usize,
    /// After how many blocks nodes are written however few have changed.
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

/// The finalised state. Cloning gives another handle on the same one.
#[derive(Clone)]
pub struct StateStore(Arc<Shared>);

struct Shared {
    common: Arc<Common>,
    config: TrieConfig,
    head: RwLock<StateView>,
    unwritten: Mutex<Unwritten>,
    writer: Mutex<Option<Writer>>,
}

/// The thread that writes nodes out.
type Writer = JoinHandle<Result<(), TrieError>>;

impl Drop for Shared {
    /// Whoever opens the store next finds nobody writing to it.
    fn drop(&mut self) {
        if let Some(writer) = self.writer.get_mut().take() {
            let _ = writer.join();
        }
    }
}

/// What has been finalised since nodes were last written.
#[derive(Default)]
struct Unwritten {
    traces: Traces,
    wiped: Vec<B256>,
    /// The oldest record, where a crash may have left some that the stored nodes have overtaken.
    needless_from: Option<u64>,
}

impl Unwritten {
    fn add(&mut self, made: &Made) {
        self.traces.made += made.traces.made;
        self.traces.vacated.extend_from_slice(&made.traces.vacated);
        self.wiped.extend_from_slice(&made.wiped);
    }
}

/// A view whose data is in a batch, to become the head when the batch has been written.
#[must_use = "the view becomes the head only with `StateStore::adopt`"]
pub struct StagedState(StateView);

impl StateStore {
    /// Opens the state that is in the stores; an empty one if there is none. One [`StateStore`] to a store.
    ///
    /// # Errors
    /// [`TrieError::Store`]; [`TrieError::Record`], [`TrieError::Damaged`] or [`TrieError::RootMismatch`] where the store
    /// does not hold what it should.
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
        let (head, mut unwritten) = replay(head)?;
        unwritten.traces.made += config.unwritten_nodes_ahead;
        unwritten.needless_from = oldest_record(head.0.common.stores.blocks.as_ref())?;
        Ok(Self(Arc::new(Shared {
            common,
            config,
            head: RwLock::new(head),
            unwritten: Mutex::new(unwritten),
            writer: Mutex::default(),
        })))
    }

    /// The finalised state.
    pub fn head(&self) -> StateView {
        self.0.head.read().clone()
    }

    /// Puts into `batch` all that the store needs for `view` to become the head. The caller writes the batch, with whatever
    /// else belongs to the block, and then calls [`Self::adopt`]; if it cannot, it drops the result. One block at a time.
    ///
    /// # Errors
    /// [`TrieError::NotChild`] unless `view` is a child of the head; [`TrieError::Store`], also when nodes of earlier blocks
    /// could not be written.
    pub fn stage(&self, view: &StateView, batch: &mut Batch) -> Result<StagedState, TrieError> {
        if !view.0.lineage.is_child_of(&self.0.common.finality.read().head) {
            return Err(TrieError::NotChild);
        }
        let is_behind = self.0.unwritten.lock().traces.made > self.0.config.unwritten_nodes_max;
        self.await_writer(is_behind)?;
        for (hash, code) in &view.0.made.code {
            batch.put(CODE, hash.as_slice(), code.as_ref());
        }
        batch.put(RECORDS, record_key(view.0.version), view.0.made.record.as_slice());
        Ok(StagedState(view.clone()))
    }

    /// Makes a staged view the head, after its batch has been written. Nodes that are due are written out from here on.
    pub fn adopt(&self, StagedState(view): StagedState) {
        let lineage = Arc::clone(&view.0.lineage);
        lineage.finalise();
        let stored = {
            let mut finality = self.0.common.finality.write();
            finality.head = lineage;
            finality.base.version
        };
        *self.0.head.write() = view.clone();
        let mut unwritten = self.0.unwritten.lock();
        unwritten.add(&view.0.made);
        let is_due = unwritten.traces.made >= self.0.config.unwritten_nodes_max
            || view.0.version - stored >= self.0.config.unwritten_blocks_max;
        let mut writer = self.0.writer.lock();
        if is_due && writer.is_none() {
            let unwritten = std::mem::take(&mut *unwritten);
            *writer = Some(std::thread::spawn(move || write_out(&view, &unwritten)));
        }
    }

    /// Takes leave of the writer if it is done, or waits until it is.
    fn await_writer(&self, wait: bool) -> Result<(), TrieError> {
        let mut writer = self.0.writer.lock();
        match writer.take_if(|writer| wait || writer.is_finished()) {
            Some(writer) => writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => Ok(()),
        }
    }

    /// Waits until no nodes are being written out.
    #[cfg(test)]
    pub(crate) fn settle(&self) {
        self.await_writer(true).unwrap();
    }

    /// The state whose nodes are in the store.
    #[cfg(test)]
    pub(crate) fn stored(&self) -> StateView {
        let common = Arc::clone(&self.0.common);
        let (_, root) = checkpoint(common.stores.nodes.as_ref()).unwrap();
        let base = Arc::clone(&common.finality.read().base);
        StateView::of_stored(common, base, Lineage::root(), Child::stored(root))
    }
}

/// Writes the nodes of a final view that are not stored, all at once and with the news that they are; then the records up to it
/// are done with.
fn write_out(view: &StateView, unwritten: &Unwritten) -> Result<(), TrieError> {
    let common = &view.0.common;
    let base = Arc::clone(&common.finality.read().base);
    let mut wiped = Vec::new();
    for owner in &unwritten.wiped {
        let range = KeyRange::prefix(&page::storage_prefix(owner));
        wiped.extend(base.snapshot.scan(NODES, range, Order::Ascending, usize::MAX)?);
    }
    let vacated = unwritten.traces.vacated.iter().chain(wiped.iter().map(|(key, _)| key));
    let vacated: Vec<&[u8]> = vacated.map(Vec::as_slice).collect();
    let checkpoint = [&record_key(view.0.version)[..], view.0.root_hash.as_slice()].concat();
    let flush = Flush { stored: base.version, layers: &view.0.layers, caches: &common.caches };
    common.stores.blocks.sync()?;
    common.stores.nodes.ingest(NODES, &mut |writer| {
        let mut pages = Pages::new(writer, vacated.clone());
        flush.state(&view.0.root, &mut pages)?;
        pages.put(|out| out.extend_from_slice(page::CHECKPOINT), |out| out.extend_from_slice(&checkpoint))?;
        pages.finish()
    })?;
    let (snapshot, version) = (common.stores.nodes.snapshot(), view.0.version);
    common.finality.write().base = Arc::new(Base { snapshot, version, caches: Arc::clone(&common.caches) });
    let mut batch = Batch::new();
    let next = base.version + 1;
    for version in unwritten.needless_from.map_or(next, |oldest| oldest.min(next))..=view.0.version {
        batch.remove(RECORDS, record_key(version));
    }
    Ok(common.stores.blocks.write_buffered(batch)?)
}

/// Version and root of the stored nodes.
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

/// Brings the stored state to where the records lead.
fn replay(stored: StateView) -> Result<(StateView, Unwritten), TrieError> {
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
    let Some(expected) = merged.root else { return Ok((stored, Unwritten::default())) };
    let view = stored.changed(merged.into_changes(), version)?;
    if view.root_hash != expected {
        return Err(TrieError::RootMismatch { expected, found: view.root_hash });
    }
    let mut unwritten = Unwritten::default();
    unwritten.add(&view.made);
    view.lineage.finalise();
    common.finality.write().head = Arc::clone(&view.lineage);
    Ok((StateView(Arc::new(view)), unwritten))
}

fn record_key(version: u64) -> [u8; 8] {
    version.to_be_bytes()
}
