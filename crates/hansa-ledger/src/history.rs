//! The states of the last finalised blocks: what each block changed is kept in memory, so that calls and proofs can
//! look back from the head. Older states, and those from before a restart, are not kept.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use alloy_primitives::{Address, B256, Bytes, U256};

use hansa_evm::{AccountState, StateChanges, StateError, StateView};
use hansa_trie::{AccountUpdate, StateUpdate, TrieError};

use crate::state::{account_state, recorded_hash, trie_account};

/// Blocks below the head whose states can be read, as long as they changed no more than [`CHANGES_MAX`] slots.
pub const STATES_KEPT: usize = 256;

/// Changed accounts and slots that are kept in all, some 100 bytes each.
const CHANGES_MAX: usize = 400_000;

/// Names a finalised block.
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

/// What the last blocks changed, newest at the back.
#[derive(Default)]
pub(crate) struct History {
    blocks: VecDeque<(Arc<StateChanges>, usize)>,
    weight: usize,
}

impl History {
    pub(crate) fn push(&mut self, changes: Arc<StateChanges>) {
        let weight =
            changes.accounts.iter().map(|change| change.storage.len().saturating_add(1)).sum::<usize>();
        self.weight = self.weight.saturating_add(weight);
        self.blocks.push_back((changes, weight));
        while self.blocks.len() > STATES_KEPT || self.weight > CHANGES_MAX {
            let Some((_, weight)) = self.blocks.pop_front() else { break };
            self.weight = self.weight.saturating_sub(weight);
        }
    }

    /// How many blocks below the head can be looked back.
    pub(crate) fn depth(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// What the last `depth` blocks changed, oldest first.
    pub(crate) fn last(&self, depth: u64) -> Vec<Arc<StateChanges>> {
        let skip = self.blocks.len().saturating_sub(usize::try_from(depth).unwrap_or(usize::MAX));
        self.blocks.iter().skip(skip).map(|(changes, _)| Arc::clone(changes)).collect()
    }
}

/// The state after a finalised block, read through what the later ones changed.
pub(crate) struct PastState {
    head: hansa_trie::StateView,
    later: Vec<Arc<StateChanges>>,
    number: u64,
    hash: B256,
}

impl PastState {
    pub(crate) fn new(
        head: hansa_trie::StateView,
        later: Vec<Arc<StateChanges>>,
        number: u64,
        hash: B256,
    ) -> Self {
        Self { head, later, number, hash }
    }

    /// The same state as a view of the trie.
    pub(crate) fn rebuild(&self) -> Result<hansa_trie::StateView, TrieError> {
        if self.later.is_empty() {
            return Ok(self.head.clone());
        }
        let mut accounts: BTreeMap<Address, (Option<AccountState>, BTreeMap<U256, U256>)> = BTreeMap::new();
        for change in self.later.iter().rev().flat_map(|changes| &changes.accounts) {
            let (account, slots) = accounts.entry(change.address).or_default();
            *account = change.before;
            slots.extend(change.storage.iter().map(|slot| (slot.slot, slot.before)));
        }
        let accounts = accounts
            .into_iter()
            .map(|(address, (account, slots))| AccountUpdate {
                address,
                account: account.map(trie_account),
                storage: if account.is_some() { slots.into_iter().collect() } else { Vec::new() },
            })
            .collect();
        self.head.apply(&StateUpdate { accounts, code: Vec::new() })
    }
}

impl StateView for PastState {
    fn account(&self, address: Address) -> Result<Option<AccountState>, StateError> {
        for changes in &self.later {
            let found = changes.accounts.binary_search_by_key(&address, |change| change.address);
            if let Some(change) = found.ok().and_then(|at| changes.accounts.get(at)) {
                return Ok(change.before);
            }
        }
        Ok(self.head.account(address).map_err(StateError::new)?.map(account_state))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        for changes in &self.later {
            let found = changes.accounts.binary_search_by_key(&address, |change| change.address);
            let Some(change) = found.ok().and_then(|at| changes.accounts.get(at)) else { continue };
            let found = change.storage.binary_search_by_key(&slot, |change| change.slot);
            if let Some(slot) = found.ok().and_then(|at| change.storage.get(at)) {
                return Ok(slot.before);
            }
        }
        self.head.storage(address, slot).map_err(StateError::new)
    }

    fn code(&self, code_hash: B256) -> Result<Bytes, StateError> {
        Ok(self.head.code(code_hash).map_err(StateError::new)?.unwrap_or_default())
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        if number == self.number { Ok(self.hash) } else { recorded_hash(self, number) }
    }
}
