//! The finalised state, and how a view becomes it.

use std::collections::HashSet;
use std::sync::Arc;

use alloy_primitives::B256;
use hansa_kv::{Batch, KeyRange, KvStore, Order};
use parking_lot::{Mutex, RwLock};

use crate::account::AccountLeaf;
use crate::bytes::take_array;
use crate::cache::Caches;
use crate::edit::Traces;
use crate::error::TrieError;
use crate::flush::Flush;
use crate::node::Child;
use crate::nodes::Base;
use crate::update::Merged;
use crate::view::{Common, Finality, Lineage, Made, StateView};
use crate::{CODE, NODES, RECORDS, page};

/// Where [`RECORDS`] says which state the stored nodes are: `version (8) ‖ root (32)`. Longer than the keys of records,
/// which are versions of 8 bytes.
const CHECKPOINT: &[u8] = b"checkpoint";

/// How much memory the state may take.
#[derive(Clone, Debug)]
pub struct TrieConfig {
    /// Cached nodes, in bytes.
    pub cache_bytes_max: usize,
    /// How many changed nodes (of about 700 bytes) are gathered before they are written. More means fewer writes, a longer
    /// pause when they come, and a longer start after a crash (some 3 µs for each).
    pub unwritten_nodes_max: usize,
    /// After how many blocks nodes are written however few have changed.
    pub unwritten_blocks_max: u64,
}

impl Default for TrieConfig {
    fn default() -> Self {
        Self { cache_bytes_max: 64 * 1024 * 1024, unwritten_nodes_max: 32_768, unwritten_blocks_max: 4_096 }
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
}

/// What has been finalised since nodes were last written.
#[derive(Default)]
struct Unwritten {
    traces: Traces,
    wiped: Vec<B256>,
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
pub struct StagedState {
    view: StateView,
    /// The root as stored, if the nodes are in the batch.
    written: Option<Child<AccountLeaf>>,
}

impl StateStore {
    /// Opens the state in `store`; an empty one if there is none. One [`StateStore`] to a store.
    ///
    /// # Errors
    /// [`TrieError::Store`]; [`TrieError::Record`], [`TrieError::Damaged`] or [`TrieError::RootMismatch`] where the store
    /// does not hold what it should.
    pub fn open(store: Arc<dyn KvStore>, config: TrieConfig) -> Result<Self, TrieError> {
        let caches = Arc::new(Caches::new(config.cache_bytes_max));
        let (version, root) = checkpoint(store.as_ref())?;
        let base = Arc::new(Base { snapshot: store.snapshot(), version, caches: Arc::clone(&caches) });
        let root = Child::<AccountLeaf>::stored(root);
        if let Child::Stored(reference) = &root {
            base.load::<AccountLeaf>(None, &B256::ZERO, 0, reference)?;
        }
        let lineage = Lineage::root();
        let finality = RwLock::new(Finality { head: Arc::clone(&lineage), base: Arc::clone(&base) });
        let common = Arc::new(Common { store, caches, finality });
        let head = StateView::of_stored(Arc::clone(&common), base, lineage, root);
        let (head, unwritten) = replay(head)?;
        Ok(Self(Arc::new(Shared {
            common,
            config,
            head: RwLock::new(head),
            unwritten: Mutex::new(unwritten),
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
    /// [`TrieError::NotChild`] unless `view` is a child of the head; [`TrieError::Store`].
    pub fn stage(&self, view: &StateView, batch: &mut Batch) -> Result<StagedState, TrieError> {
        let base = {
            let finality = self.0.common.finality.read();
            if !view.0.lineage.is_child_of(&finality.head) {
                return Err(TrieError::NotChild);
            }
            Arc::clone(&finality.base)
        };
        for (hash, code) in &view.0.made.code {
            batch.put(CODE, hash.as_slice(), code.as_ref());
        }
        let unwritten = self.0.unwritten.lock();
        let is_due = unwritten.traces.made + view.0.made.traces.made >= self.0.config.unwritten_nodes_max
            || view.0.version - base.version >= self.0.config.unwritten_blocks_max;
        let written = if is_due {
            Some(self.write_nodes(view, &base, &unwritten, batch)?)
        } else {
            batch.put(RECORDS, record_key(view.0.version), view.0.made.record.as_slice());
            None
        };
        Ok(StagedState { view: view.clone(), written })
    }

    /// Makes a staged view the head, after its batch has been written.
    pub fn adopt(&self, staged: StagedState) {
        let StagedState { view, written } = staged;
        let mut unwritten = self.0.unwritten.lock();
        let mut finality = self.0.common.finality.write();
        let lineage = Arc::clone(&view.0.lineage);
        let head = match written {
            None => {
                unwritten.add(&view.0.made);
                view
            }
            Some(root) => {
                *unwritten = Unwritten::default();
                let base = Base {
                    snapshot: self.0.common.store.snapshot(),
                    version: view.0.version,
                    caches: Arc::clone(&self.0.common.caches),
                };
                finality.base = Arc::new(base);
                let (common, base) = (Arc::clone(&self.0.common), Arc::clone(&finality.base));
                StateView::of_stored(common, base, Arc::clone(&lineage), root)
            }
        };
        lineage.finalise();
        finality.head = lineage;
        *self.0.head.write() = head;
    }

    /// Puts the nodes of `view` that are not stored into `batch`, and that the records up to it are done with.
    fn write_nodes(
        &self,
        view: &StateView,
        base: &Base,
        unwritten: &Unwritten,
        batch: &mut Batch,
    ) -> Result<Child<AccountLeaf>, TrieError> {
        let made = &view.0.made;
        let mut vacated = HashSet::new();
        vacated.extend(unwritten.traces.vacated.iter().chain(&made.traces.vacated).cloned());
        for owner in unwritten.wiped.iter().chain(&made.wiped) {
            let pages = base.snapshot.scan(
                NODES,
                KeyRange::prefix(&page::storage_prefix(owner)),
                Order::Ascending,
                usize::MAX,
            )?;
            vacated.extend(pages.into_iter().map(|(key, _)| key));
        }
        let mut flush = Flush { stored: base.version, caches: &self.0.common.caches, batch, vacated };
        let root = flush.tree(None, &view.0.root);
        flush.finish();
        for version in base.version + 1..view.0.version {
            batch.remove(RECORDS, record_key(version));
        }
        let mut checkpoint = record_key(view.0.version).to_vec();
        checkpoint.extend_from_slice(view.0.root_hash.as_slice());
        batch.put(RECORDS, CHECKPOINT, checkpoint);
        Ok(root)
    }
}

/// Version and root of the stored nodes.
fn checkpoint(store: &dyn KvStore) -> Result<(u64, B256), TrieError> {
    let Some(stored) = store.get(RECORDS, CHECKPOINT)? else { return Ok((0, alloy_trie::EMPTY_ROOT_HASH)) };
    let mut stored = stored.as_slice();
    let parts = take_array(&mut stored).zip(take_array(&mut stored));
    let (version, root) = parts.filter(|_| stored.is_empty()).ok_or(TrieError::Record("checkpoint"))?;
    Ok((u64::from_be_bytes(version), B256::new(root)))
}

/// Brings the stored state to where the records lead.
fn replay(stored: StateView) -> Result<(StateView, Unwritten), TrieError> {
    const MALFORMED: TrieError = TrieError::Record("block");
    let common = &stored.0.common;
    let mut merged = Merged::default();
    let mut version = stored.0.version;
    loop {
        let next = version.checked_add(1).ok_or(MALFORMED)?;
        let Some(record) = common.store.get(RECORDS, &record_key(next))? else { break };
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
