//! Adapts the trie's state view to the one that execution reads.

use alloy_primitives::{Address, B256, Bytes, U256};

use hansa_evm::{AccountState, HISTORY_STORAGE_ADDRESS, StateChanges, StateError, StateView};
use hansa_trie::{Account, AccountUpdate, StateUpdate};

/// Block hashes that the history contract keeps (EIP-2935).
const HISTORY_SERVE_WINDOW: u64 = 8_191;

/// The state after `parent`, on which a block is executed.
pub(crate) struct ParentState<'a> {
    pub(crate) state: &'a hansa_trie::StateView,
    pub(crate) parent_number: u64,
    pub(crate) parent_hash: B256,
    pub(crate) parent_timestamp: u64,
}

impl StateView for ParentState<'_> {
    fn account(&self, address: Address) -> Result<Option<AccountState>, StateError> {
        Ok(self.state.account(address).map_err(StateError::new)?.map(account_state))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        self.state.storage(address, slot).map_err(StateError::new)
    }

    fn code(&self, code_hash: B256) -> Result<Bytes, StateError> {
        Ok(self.state.code(code_hash).map_err(StateError::new)?.unwrap_or_default())
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        if number == self.parent_number {
            return Ok(self.parent_hash);
        }
        recorded_hash(self, number)
    }
}

/// The hash that the history contract holds for a block: the state itself knows its ancestors.
pub(crate) fn recorded_hash(state: &impl StateView, number: u64) -> Result<B256, StateError> {
    let slot = U256::from(number.checked_rem(HISTORY_SERVE_WINDOW).unwrap_or_default());
    Ok(state.storage(HISTORY_STORAGE_ADDRESS, slot)?.into())
}

pub(crate) fn account_state(account: Account) -> AccountState {
    AccountState { nonce: account.nonce, balance: account.balance, code_hash: account.code_hash }
}

pub(crate) fn trie_account(account: AccountState) -> Account {
    Account { nonce: account.nonce, balance: account.balance, code_hash: account.code_hash }
}

/// A block's changes as an update of the trie.
pub(crate) fn update(changes: &StateChanges) -> StateUpdate {
    let accounts = changes
        .accounts
        .iter()
        .map(|change| AccountUpdate {
            address: change.address,
            account: change.after.map(trie_account),
            storage: change.storage.iter().map(|slot| (slot.slot, slot.after)).collect(),
        })
        .collect();
    StateUpdate { accounts, code: changes.code.clone() }
}
