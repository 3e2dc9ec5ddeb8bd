//! The state while a block is being executed: what was read from the parent's, and what differs from it so far.

use std::collections::hash_map::Entry;

use alloy_primitives::{
    Address, B256, Bytes, KECCAK256_EMPTY, U256,
    map::{AddressMap, B256Map, HashMap},
};
use revm::{
    Database,
    bytecode::Bytecode,
    database_interface::DBErrorMarker,
    state::{Account, AccountInfo, EvmState},
};

use crate::{
    AccountChange, AccountOverride, AccountState, SlotChange, StateChanges, StateError, StateView,
    code_cache::CodeCache, executor::Growth,
};

impl DBErrorMarker for StateError {}

#[derive(Clone, Copy)]
struct CachedSlot {
    before: U256,
    current: U256,
}

struct CachedAccount {
    before: Option<AccountState>,
    current: Option<AccountState>,
    slots: HashMap<U256, CachedSlot>,
    /// Whether slots that are not cached read as zero, whatever the view says.
    is_storage_replaced: bool,
}

/// A cache over a [`StateView`] into which transactions commit.
pub(crate) struct BlockState<V> {
    view: V,
    codes: CodeCache,
    accounts: AddressMap<CachedAccount>,
    new_code: B256Map<Bytecode>,
}

impl<V: StateView> BlockState<V> {
    pub(crate) fn new(view: V, codes: CodeCache) -> Self {
        Self { view, codes, accounts: AddressMap::default(), new_code: B256Map::default() }
    }

    fn cached(&mut self, address: Address) -> Result<&mut CachedAccount, StateError> {
        match self.accounts.entry(address) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let before = self.view.account(address)?;
                let slots = HashMap::default();
                Ok(entry.insert(CachedAccount { before, current: before, slots, is_storage_replaced: false }))
            }
        }
    }

    /// The account as the transactions so far left it.
    pub(crate) fn account(&mut self, address: Address) -> Result<AccountState, StateError> {
        Ok(self.cached(address)?.current.unwrap_or_default())
    }

    /// Puts code at an address, with nonce 1 where it is new. A nonce counts the contracts that it has created: one that fell would make it
    /// create at places that are taken.
    pub(crate) fn place(&mut self, address: Address, code: Bytes) -> Result<(), StateError> {
        let code = Bytecode::new_legacy(code);
        let code_hash = code.hash_slow();
        let account = self.cached(address)?;
        let AccountState { nonce, balance, .. } = account.current.unwrap_or_default();
        account.current = Some(AccountState { nonce: nonce.max(1), balance, code_hash });
        self.new_code.insert(code_hash, code);
        Ok(())
    }

    /// Supposes something of an account. For calls alone: a block that is to be recorded supposes nothing.
    pub(crate) fn suppose(&mut self, address: Address, over: &AccountOverride) -> Result<(), StateError> {
        let code = over
            .code
            .clone()
            .map(|raw| Bytecode::new_raw_checked(raw.clone()).unwrap_or_else(|_| Bytecode::new_legacy(raw)));
        let cached = self.cached(address)?;
        let mut account = cached.current.unwrap_or_default();
        account.balance = over.balance.unwrap_or(account.balance);
        account.nonce = over.nonce.unwrap_or(account.nonce);
        if let Some(code) = &code {
            account.code_hash = code.hash_slow();
        }
        cached.current = Some(account);
        if over.replaces_storage {
            cached.slots.clear();
            cached.is_storage_replaced = true;
        }
        let slots = over.slots.iter();
        cached.slots.extend(slots.map(|&(slot, value)| (slot, CachedSlot { before: value, current: value })));
        self.new_code.extend(code.map(|code| (account.code_hash, code)));
        Ok(())
    }

    /// Sets a slot of an account that exists.
    pub(crate) fn set_storage(
        &mut self,
        address: Address,
        slot: U256,
        value: U256,
    ) -> Result<(), StateError> {
        self.storage(address, slot)?;
        if let Some(cached) = self.cached(address)?.slots.get_mut(&slot) {
            cached.current = value;
        }
        Ok(())
    }

    /// Makes a transaction's changes part of the block's, and counts the code, slots and accounts that are new.
    pub(crate) fn commit(&mut self, state: EvmState) -> Result<Growth, StateError> {
        let mut growth = Growth::ZERO;
        for (address, account) in state {
            if account.is_touched() {
                growth.add(self.commit_account(address, account)?);
            }
        }
        Ok(growth)
    }

    fn commit_account(&mut self, address: Address, account: Account) -> Result<Growth, StateError> {
        let mut growth = Growth::ZERO;
        if let Some(code) = account.info.code.as_ref()
            && account.is_created()
            && !code.is_empty()
        {
            self.new_code.insert(account.info.code_hash, code.clone());
            self.codes.keep(account.info.code_hash, code.clone());
            growth.bytes = code.original_byte_slice().len() as u64;
        }
        let cached = self.cached(address)?;
        if account.is_selfdestructed() || account.is_empty() {
            cached.current = None;
            cached.slots.values_mut().for_each(|slot| slot.current = U256::ZERO);
            return Ok(growth);
        }
        growth.slots = u64::from(cached.current.is_none());
        cached.current = Some(AccountState {
            nonce: account.info.nonce,
            balance: account.info.balance,
            code_hash: account.info.code_hash,
        });
        let created = account.is_created();
        for (index, slot) in account.storage {
            let is_new = slot.original_value.is_zero() && !slot.present_value.is_zero();
            growth.slots = growth.slots.saturating_add(is_new.into());
            match cached.slots.entry(index) {
                Entry::Occupied(mut entry) => entry.get_mut().current = slot.present_value,
                Entry::Vacant(entry) if slot.is_changed() || created => {
                    // Not read through this cache: a contract created here starts with empty storage.
                    entry.insert(CachedSlot { before: U256::ZERO, current: slot.present_value });
                }
                Entry::Vacant(_) => {}
            }
        }
        Ok(growth)
    }

    /// Everything that differs from the state the block started from.
    pub(crate) fn into_changes(self) -> StateChanges {
        let mut accounts: Vec<_> =
            self.accounts.into_iter().filter_map(|(a, c)| account_change(a, c)).collect();
        accounts.sort_unstable_by_key(|change| change.address);
        let mut code: Vec<(B256, Bytes)> =
            self.new_code.into_iter().map(|(hash, code)| (hash, code.original_bytes())).collect();
        code.sort_unstable_by_key(|(hash, _)| *hash);
        StateChanges { accounts, code }
    }
}

fn account_change(address: Address, account: CachedAccount) -> Option<AccountChange> {
    let mut storage: Vec<_> = account
        .slots
        .into_iter()
        .filter(|(_, slot)| slot.before != slot.current)
        .map(|(slot, value)| SlotChange { slot, before: value.before, after: value.current })
        .collect();
    if storage.is_empty() && account.before == account.current {
        return None;
    }
    storage.sort_unstable_by_key(|change| change.slot);
    Some(AccountChange { address, before: account.before, after: account.current, storage })
}

impl<V: StateView> Database for BlockState<V> {
    type Error = StateError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, StateError> {
        let Some(account) = self.cached(address)?.current else { return Ok(None) };
        let code = if account.code_hash == KECCAK256_EMPTY {
            Some(Bytecode::default())
        } else {
            Some(self.code_by_hash(account.code_hash)?)
        };
        Ok(Some(AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            account_id: None,
            code,
        }))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, StateError> {
        if code_hash == KECCAK256_EMPTY {
            return Ok(Bytecode::default());
        }
        if let Some(code) = self.new_code.get(&code_hash) {
            return Ok(code.clone());
        }
        if let Some(code) = self.codes.find(&code_hash) {
            return Ok(code);
        }
        let raw = self.view.code(code_hash)?;
        // Stored code was checked when it was deployed; bytes that only look like a delegation run as plain code.
        let code = Bytecode::new_raw_checked(raw.clone()).unwrap_or_else(|_| Bytecode::new_legacy(raw));
        self.codes.keep(code_hash, code.clone());
        Ok(code)
    }

    fn storage(&mut self, address: Address, index: U256) -> Result<U256, StateError> {
        let cached = self.cached(address)?;
        if let Some(slot) = cached.slots.get(&index) {
            return Ok(slot.current);
        }
        if cached.is_storage_replaced {
            return Ok(U256::ZERO);
        }
        let value = self.view.storage(address, index)?;
        self.cached(address)?.slots.insert(index, CachedSlot { before: value, current: value });
        Ok(value)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, StateError> {
        self.view.block_hash(number)
    }
}
