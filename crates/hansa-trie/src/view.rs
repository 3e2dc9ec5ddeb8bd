//! The state after one block.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use alloy_primitives::map::AddressMap;
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use hansa_keccak::digest_all;
use parking_lot::{Mutex, RwLock};

use crate::account::{Account, AccountLeaf};
use crate::arena::{BranchBuilder, Layer, Layers};
use crate::cache::Caches;
use crate::edit::{Change, Editor, Effects};
use crate::error::TrieError;
use crate::node::Child;
use crate::nodes::{Base, Nodes};
use crate::proof::{AccountProof, SlotProof, prove};
use crate::store::StateStores;
use crate::update::{AccountChange, StateUpdate, record};
use crate::{AccountUpdate, CODE};

/// The state after one block: immutable, consistent, readable from any thread.
///
/// Cloning is cheap. A view holds a snapshot of the store and all dirty nodes since the last flush in memory. Drop views at and below
/// the head when their readers have finished.
#[derive(Clone)]
pub struct StateView(pub(crate) Arc<View>);

impl std::fmt::Debug for StateView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateView")
            .field("version", &self.0.version)
            .field("root", &self.0.root_hash)
            .finish()
    }
}

/// Shared by all views of a store.
pub(crate) struct Common {
    pub(crate) stores: StateStores,
    pub(crate) caches: Arc<Caches>,
    pub(crate) finality: RwLock<Finality>,
}

/// The head and the flushed trie.
pub(crate) struct Finality {
    pub(crate) head: Arc<Lineage>,
    pub(crate) base: Arc<Base>,
}

/// A view's ancestry.
pub(crate) struct Lineage {
    is_final: AtomicBool,
    /// `None` once the view is final.
    parent: Mutex<Option<Arc<Self>>>,
}

impl Lineage {
    /// The lineage of a final view.
    pub(crate) fn root() -> Arc<Self> {
        Arc::new(Self { is_final: AtomicBool::new(true), parent: Mutex::new(None) })
    }

    fn child(parent: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self { is_final: AtomicBool::new(false), parent: Mutex::new(Some(Arc::clone(parent))) })
    }

    pub(crate) fn is_child_of(&self, other: &Arc<Self>) -> bool {
        self.parent.lock().as_ref().is_some_and(|parent| Arc::ptr_eq(parent, other))
    }

    pub(crate) fn finalise(&self) {
        self.is_final.store(true, Ordering::Release);
        *self.parent.lock() = None;
    }

    fn is_final(&self) -> bool {
        self.is_final.load(Ordering::Acquire)
    }

    /// Whether the final view `head` is this view or its nearest final ancestor.
    fn descends_from(self: &Arc<Self>, head: &Arc<Self>) -> bool {
        let mut at = Arc::clone(self);
        while !at.is_final() {
            let Some(parent) = at.parent.lock().clone() else { break };
            at = parent;
        }
        Arc::ptr_eq(&at, head)
    }
}

/// Code of a block that is possibly not stored yet.
pub(crate) struct CodeLayer {
    lineage: Arc<Lineage>,
    code: Vec<(B256, Bytes)>,
    below: Option<Arc<Self>>,
}

/// The parts of a [`StateView`].
pub(crate) struct View {
    pub(crate) common: Arc<Common>,
    pub(crate) base: Arc<Base>,
    /// The dirty nodes above `base`.
    pub(crate) layers: Layers,
    pub(crate) lineage: Arc<Lineage>,
    /// Number of ancestors up to the empty state.
    pub(crate) version: u64,
    pub(crate) root: Child<AccountLeaf>,
    pub(crate) root_hash: B256,
    pub(crate) delta: Delta,
    code: Option<Arc<CodeLayer>>,
    recent: Recent,
}

/// Cache of accounts: a reader of one slot usually reads more slots of the account.
type Recent = Mutex<AddressMap<(B256, Option<AccountLeaf>)>>;

/// Accounts in a view's cache.
const RECENT_MAX: usize = 512;

/// The difference from the parent, as far as finalisation needs it.
#[derive(Default)]
pub(crate) struct Delta {
    pub(crate) record: Vec<u8>,
    pub(crate) code: Vec<(B256, Bytes)>,
    pub(crate) effects: Effects,
    /// Hashed addresses of accounts whose whole storage is deleted.
    pub(crate) wiped: Vec<B256>,
}

impl StateView {
    /// The view of the flushed state.
    pub(crate) fn of_stored(
        common: Arc<Common>,
        base: Arc<Base>,
        lineage: Arc<Lineage>,
        root: Child<AccountLeaf>,
    ) -> Self {
        let root_hash = root.root_hash();
        let version = base.version;
        Self(Arc::new(View {
            common,
            layers: Layers::none(version),
            base,
            lineage,
            version,
            root,
            root_hash,
            delta: Delta::default(),
            code: None,
            recent: Recent::default(),
        }))
    }

    /// keccak-256 of the root node: the header's `stateRoot`.
    pub fn root(&self) -> B256 {
        self.0.root_hash
    }

    /// An account; `None` if it does not exist.
    ///
    /// # Errors
    /// [`TrieError::Store`], [`TrieError::Damaged`].
    pub fn account(&self, address: Address) -> Result<Option<Account>, TrieError> {
        Ok(self.owner(address)?.1.map(|leaf| leaf.account))
    }

    /// The value of a storage slot; zero if the slot is not set or the account does not exist.
    ///
    /// # Errors
    /// [`TrieError::Store`], [`TrieError::Damaged`].
    pub fn storage(&self, address: Address, slot: U256) -> Result<U256, TrieError> {
        let (owner, Some(leaf)) = self.owner(address)? else { return Ok(U256::ZERO) };
        let value = self.nodes().find(Some(&owner), &leaf.storage, &slot_key(slot))?;
        Ok(value.unwrap_or_default())
    }

    /// Code by its keccak-256; `None` if no block up to this one has deployed it, empty for the hash of the empty string.
    ///
    /// # Errors
    /// [`TrieError::Store`].
    pub fn code(&self, code_hash: B256) -> Result<Option<Bytes>, TrieError> {
        if code_hash == KECCAK256_EMPTY {
            return Ok(Some(Bytes::new()));
        }
        let mut layer = self.0.code.as_ref();
        while let Some(CodeLayer { code, below, .. }) = layer.map(Arc::as_ref) {
            if let Some((_, code)) = code.iter().find(|(hash, _)| *hash == code_hash) {
                return Ok(Some(code.clone()));
            }
            layer = below.as_ref();
        }
        Ok(self.0.common.stores.blocks.get(CODE, code_hash.as_slice())?.map(Bytes::from))
    }

    /// The state after a block with this update. Nothing is written. A view can have any number of children.
    ///
    /// # Errors
    /// [`TrieError::Store`], [`TrieError::Damaged`].
    pub fn apply(&self, update: &StateUpdate) -> Result<Self, TrieError> {
        let change = |update: &AccountUpdate| AccountChange {
            address: update.address,
            account: update.account,
            is_wiped: false,
            storage: update.storage.clone(),
        };
        let changes = update.accounts.iter().map(change).collect();
        let mut view = self.changed(changes, self.0.version + 1)?;
        view.delta.record = record(view.root_hash, update);
        view.delta.code.clone_from(&update.code);
        if !update.code.is_empty() {
            let (lineage, below) = (Arc::clone(&view.lineage), view.code.take());
            view.code = Some(Arc::new(CodeLayer { lineage, code: update.code.clone(), below }));
        }
        Ok(Self(Arc::new(view)))
    }

    /// An account and slots with proofs of their values or their absence against the state root (EIP-1186).
    ///
    /// # Errors
    /// [`TrieError::Store`], [`TrieError::Damaged`].
    pub fn proof(&self, address: Address, slots: &[U256]) -> Result<AccountProof, TrieError> {
        let owner = keccak256(address);
        let (proof, leaf) = prove(self.nodes(), None, &self.0.root, &owner)?;
        let storage = leaf.map_or(Child::Empty, |leaf| leaf.storage);
        let slot_proof = |&slot: &U256| {
            let (proof, value) = prove(self.nodes(), Some(&owner), &storage, &slot_key(slot))?;
            Ok(SlotProof { slot, value: value.unwrap_or_default(), proof })
        };
        Ok(AccountProof {
            address,
            account: leaf.map(|leaf| leaf.account),
            storage_root: storage.root_hash(),
            proof,
            slots: slots.iter().map(slot_proof).collect::<Result<_, TrieError>>()?,
        })
    }

    /// The hash of an address and its leaf.
    fn owner(&self, address: Address) -> Result<(B256, Option<AccountLeaf>), TrieError> {
        if let Some(found) = self.0.recent.lock().get(&address) {
            return Ok(*found);
        }
        let key = keccak256(address);
        let found = (key, self.nodes().find(None, &self.0.root, &key)?);
        let mut recent = self.0.recent.lock();
        if recent.len() >= RECENT_MAX {
            recent.clear();
        }
        recent.insert(address, found);
        Ok(found)
    }

    /// A child without record and code.
    pub(crate) fn changed(&self, changes: Vec<AccountChange>, version: u64) -> Result<View, TrieError> {
        let base = self.latest_base();
        let mut layers = self.0.layers.above(base.version);
        let mut step = Step {
            nodes: Nodes { base: &base, layers: &layers },
            accounts: BranchBuilder::new(version),
            storage: BranchBuilder::new(version),
            effects: Effects::default(),
            wiped: Vec::new(),
        };
        let mut accounts = Vec::with_capacity(changes.len());
        for change in changes {
            accounts.push(step.account(&self.0.root, change)?);
        }
        sort(&mut accounts);
        let root = step.accounts().edit(&self.0.root, &accounts)?.unwrap_or(self.0.root);
        let Step { accounts, storage, effects, wiped, .. } = step;
        layers.push(version, Layer { accounts: accounts.into_arena(), storage: storage.into_arena() });
        Ok(View {
            common: Arc::clone(&self.0.common),
            base,
            layers,
            lineage: Lineage::child(&self.0.lineage),
            version,
            root_hash: root.root_hash(),
            root,
            delta: Delta { effects, wiped, ..Delta::default() },
            code: self.unstored_code(),
            recent: Recent::default(),
        })
    }

    /// The nodes of this view.
    fn nodes(&self) -> Nodes<'_> {
        Nodes { base: &self.0.base, layers: &self.0.layers }
    }

    /// The latest flushed trie if its version is an ancestor, so that flushed nodes can be freed; else this view's base.
    fn latest_base(&self) -> Arc<Base> {
        let finality = self.0.common.finality.read();
        match self.0.lineage.descends_from(&finality.head) {
            true => Arc::clone(&finality.base),
            false => Arc::clone(&self.0.base),
        }
    }

    fn unstored_code(&self) -> Option<Arc<CodeLayer>> {
        self.0.code.clone().filter(|layer| !layer.lineage.is_final())
    }
}

/// One step from a view to its child.
struct Step<'a> {
    /// The nodes of the parent.
    nodes: Nodes<'a>,
    accounts: BranchBuilder<AccountLeaf>,
    storage: BranchBuilder<U256>,
    effects: Effects,
    wiped: Vec<B256>,
}

impl Step<'_> {
    fn accounts(&mut self) -> Editor<'_, AccountLeaf> {
        Editor { nodes: self.nodes, owner: None, builder: &mut self.accounts, effects: &mut self.effects }
    }

    fn storage(&mut self, owner: B256) -> Editor<'_, U256> {
        Editor {
            nodes: self.nodes,
            owner: Some(owner),
            builder: &mut self.storage,
            effects: &mut self.effects,
        }
    }

    /// Changes an account's storage; returns the change of its leaf.
    fn account(
        &mut self,
        root: &Child<AccountLeaf>,
        change: AccountChange,
    ) -> Result<Change<AccountLeaf>, TrieError> {
        let key = keccak256(change.address);
        let before = self.nodes.find(None, root, &key)?.map_or(Child::Empty, |leaf| leaf.storage);
        let is_wiped = change.is_wiped || change.account.is_none();
        if is_wiped && !before.is_empty() {
            self.wiped.push(key);
        }
        let before = if is_wiped { Child::Empty } else { before };
        let Some(account) = change.account else { return Ok(Change { key, value: None }) };
        let preimages: Vec<[u8; 32]> = change.storage.iter().map(|(slot, _)| slot.to_be_bytes()).collect();
        let mut keys = Vec::new();
        digest_all(preimages.iter().map(<[u8; 32]>::as_slice), &mut keys);
        let values = change.storage.iter().map(|(_, value)| Some(*value).filter(|value| !value.is_zero()));
        let mut slots: Vec<_> =
            keys.into_iter().zip(values).map(|(key, value)| Change { key, value }).collect();
        sort(&mut slots);
        let storage = self.storage(key).edit(&before, &slots)?.unwrap_or(before);
        Ok(Change { key, value: Some(AccountLeaf { account, storage }) })
    }
}

/// Sorts by key; the last of several changes of a key wins.
fn sort<V>(changes: &mut Vec<Change<V>>) {
    changes.sort_by_key(|change| change.key);
    changes.dedup_by(|later, earlier| {
        let is_same = later.key == earlier.key;
        if is_same {
            std::mem::swap(later, earlier);
        }
        is_same
    });
}

fn slot_key(slot: U256) -> B256 {
    keccak256(slot.to_be_bytes::<32>())
}
