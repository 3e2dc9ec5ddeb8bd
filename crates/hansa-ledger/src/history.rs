//! States of earlier final blocks, for calls and proofs below the head.
//!
//! Each block adds an undo record: the previous values of what it changed. The value at a block is the first one in the undo records of
//! later blocks, or the head's. Undo records are in memory, as many as fit: more than a day of an
//! idle chain, a minute of a very busy one. A restart loses them.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use alloy_primitives::{Address, B256, Bytes, U256};
use parking_lot::RwLock;

use hansa_evm::{AccountState, StateChanges, StateError, StateView};
use hansa_trie::{AccountUpdate, StateUpdate, TrieError};

use crate::state::{account_state, recorded_hash, trie_account};

/// Default memory for undo records, in bytes.
pub const PAST_STATES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes that one changed account or slot takes in its block's list and in the index.
const BYTES_PER_CHANGE: usize = 230;

/// Reference to a finalised block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockRef {
    /// The last finalised one.
    #[default]
    Head,
    /// By height.
    Number(u64),
    /// By hash.
    Hash(B256),
}

impl From<u64> for BlockRef {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<B256> for BlockRef {
    fn from(hash: B256) -> Self {
        Self::Hash(hash)
    }
}

/// The undo records of the last blocks.
pub(crate) struct History {
    changes_max: usize,
    /// Newest at the back, each with its number of changes.
    blocks: VecDeque<(u64, Arc<StateChanges>, usize)>,
    changes: usize,
    index: Arc<RwLock<Index>>,
}

/// What blocks left behind, by place and block.
#[derive(Default)]
struct Index {
    /// The lowest block whose state can be read.
    oldest: u64,
    accounts: BTreeMap<(Address, u64), Option<AccountState>>,
    slots: BTreeMap<(Address, U256, u64), U256>,
}

impl History {
    /// Begins at `head`, without undo records.
    pub(crate) fn new(head: u64, bytes_max: usize) -> Self {
        let index = Index { oldest: head, ..Index::default() };
        Self {
            changes_max: bytes_max.checked_div(BYTES_PER_CHANGE).unwrap_or_default(),
            blocks: VecDeque::new(),
            changes: 0,
            index: Arc::new(RwLock::new(index)),
        }
    }

    /// Adds the head's next block, and drops the oldest ones that no longer fit.
    pub(crate) fn push(&mut self, number: u64, changes: Arc<StateChanges>) {
        let count =
            changes.accounts.iter().map(|change| change.storage.len().saturating_add(1)).sum::<usize>();
        let mut index = self.index.write();
        index.insert(number, &changes);
        self.changes = self.changes.saturating_add(count);
        self.blocks.push_back((number, changes, count));
        while self.changes > self.changes_max {
            let Some((number, changes, count)) = self.blocks.pop_front() else { break };
            index.remove(number, &changes);
            self.changes = self.changes.saturating_sub(count);
        }
    }

    /// The lowest block whose state can be read.
    pub(crate) fn oldest(&self) -> u64 {
        self.index.read().oldest
    }

    /// The state after block `number`, seen from a head at or above it.
    pub(crate) fn state(&self, head: hansa_trie::StateView, number: u64) -> PastState {
        PastState { head, index: Arc::clone(&self.index), number, hash: B256::ZERO }
    }
}

impl Index {
    fn insert(&mut self, number: u64, changes: &StateChanges) {
        for change in &changes.accounts {
            self.accounts.insert((change.address, number), change.before);
            let slots = change.storage.iter();
            self.slots.extend(slots.map(|slot| ((change.address, slot.slot, number), slot.before)));
        }
    }

    fn remove(&mut self, number: u64, changes: &StateChanges) {
        self.oldest = number;
        for change in &changes.accounts {
            self.accounts.remove(&(change.address, number));
            for slot in &change.storage {
                self.slots.remove(&(change.address, slot.slot, number));
            }
        }
    }

    /// The account's value before the first block after `number` that changed it.
    fn account(&self, number: u64, address: Address) -> Option<Option<AccountState>> {
        let later = (address, number.saturating_add(1))..=(address, u64::MAX);
        self.accounts.range(later).next().map(|(_, before)| *before)
    }

    fn slot(&self, number: u64, address: Address, slot: U256) -> Option<U256> {
        let later = (address, slot, number.saturating_add(1))..=(address, slot, u64::MAX);
        self.slots.range(later).next().map(|(_, before)| *before)
    }
}

/// The state was dropped while it was being read.
#[derive(Debug, thiserror::Error)]
#[error("the state of block {requested} is no longer kept; the oldest is that of block {oldest}")]
pub(crate) struct NotKept {
    pub(crate) requested: u64,
    pub(crate) oldest: u64,
}

/// The state after a finalised block, read through the undo records of later blocks.
pub(crate) struct PastState {
    head: hansa_trie::StateView,
    index: Arc<RwLock<Index>>,
    number: u64,
    hash: B256,
}

impl PastState {
    /// The same, knowing its block's hash.
    pub(crate) fn of(self, hash: B256) -> Self {
        Self { hash, ..self }
    }

    /// Looks a value up in the index. Blocks that became final after `head` do no harm: their previous values are those at `head`.
    fn look_up<T>(&self, find: impl FnOnce(&Index) -> Option<T>) -> Result<Option<T>, StateError> {
        let index = self.index.read();
        if self.number < index.oldest {
            return Err(StateError::new(NotKept { requested: self.number, oldest: index.oldest }));
        }
        Ok(find(&index))
    }

    /// The same state as a view of the trie.
    pub(crate) fn rebuild(&self) -> Result<hansa_trie::StateView, TrieError> {
        let accounts = self.reverted();
        if accounts.is_empty() {
            return Ok(self.head.clone());
        }
        self.head.apply(&StateUpdate { accounts, code: Vec::new() })
    }

    /// The previous value of every account that later blocks changed.
    fn reverted(&self) -> Vec<AccountUpdate> {
        let index = self.index.read();
        let mut accounts: BTreeMap<Address, (Option<AccountState>, BTreeMap<U256, U256>)> = BTreeMap::new();
        // In ascending order of blocks: the first one after this state counts.
        for ((address, _), before) in index.accounts.iter().filter(|((_, block), _)| *block > self.number) {
            accounts.entry(*address).or_insert_with(|| (*before, BTreeMap::new()));
        }
        for ((address, slot, _), before) in
            index.slots.iter().filter(|((_, _, block), _)| *block > self.number)
        {
            if let Some((Some(_), slots)) = accounts.get_mut(address) {
                slots.entry(*slot).or_insert(*before);
            }
        }
        accounts
            .into_iter()
            .map(|(address, (account, slots))| AccountUpdate {
                address,
                account: account.map(trie_account),
                storage: slots.into_iter().collect(),
            })
            .collect()
    }
}

impl StateView for PastState {
    fn account(&self, address: Address) -> Result<Option<AccountState>, StateError> {
        match self.look_up(|index| index.account(self.number, address))? {
            Some(before) => Ok(before),
            None => Ok(self.head.account(address).map_err(StateError::new)?.map(account_state)),
        }
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        match self.look_up(|index| index.slot(self.number, address, slot))? {
            Some(before) => Ok(before),
            None => self.head.storage(address, slot).map_err(StateError::new),
        }
    }

    fn code(&self, code_hash: B256) -> Result<Bytes, StateError> {
        Ok(self.head.code(code_hash).map_err(StateError::new)?.unwrap_or_default())
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        match number.cmp(&self.number) {
            Ordering::Less => recorded_hash(self, number),
            Ordering::Equal => Ok(self.hash),
            // A call may suppose a later block than the state's.
            Ordering::Greater => Ok(B256::ZERO),
        }
    }
}
