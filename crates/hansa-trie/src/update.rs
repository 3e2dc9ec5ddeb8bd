//! A block's changes of the state, and their record, which is stored until the nodes are flushed.
//!
//! Record: `root (32)`, then for each account `address (20) ‖ flag (1)`, and with flag 1
//! `nonce ‖ balance ‖ code hash (32) ‖ number of slots (4) ‖ (slot ‖ value)…`. Integers are a length byte and big-endian bytes.
//! Flag 0 deletes the account and its storage.

use alloy_primitives::map::{AddressMap, U256Map};
use alloy_primitives::{Address, B256, Bytes, U256};

use crate::account::Account;
use crate::bytes::{put_uint, take_array, take_uint};

/// Changes of an account and its slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountUpdate {
    /// The account.
    pub address: Address,
    /// The account after the block, also if only slots change. `None` deletes the account and all its slots.
    pub account: Option<Account>,
    /// New values of slots, in any order, each slot once. Zero removes a slot.
    pub storage: Vec<(U256, U256)>,
}

/// All state changes of a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateUpdate {
    /// Changed accounts, in any order, each once.
    pub accounts: Vec<AccountUpdate>,
    /// New code by its keccak-256.
    pub code: Vec<(B256, Bytes)>,
}

const DELETED: u8 = 0;
const EXISTS: u8 = 1;

/// The change record of an update; `root` is the state root after it.
pub(crate) fn record(root: B256, update: &StateUpdate) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + update.accounts.len() * 128);
    out.extend_from_slice(root.as_slice());
    for change in &update.accounts {
        out.extend_from_slice(change.address.as_slice());
        let Some(account) = &change.account else {
            out.push(DELETED);
            continue;
        };
        out.push(EXISTS);
        put_uint(&account.nonce.to_be_bytes(), &mut out);
        put_uint(&account.balance.to_be_bytes::<32>(), &mut out);
        out.extend_from_slice(account.code_hash.as_slice());
        out.extend_from_slice(&(change.storage.len() as u32).to_be_bytes());
        for (slot, value) in &change.storage {
            put_uint(&slot.to_be_bytes::<32>(), &mut out);
            put_uint(&value.to_be_bytes::<32>(), &mut out);
        }
    }
    out
}

/// The merged updates of several blocks; later values replace earlier ones.
#[derive(Default)]
pub(crate) struct Merged {
    /// The root in the last record.
    pub(crate) root: Option<B256>,
    accounts: AddressMap<MergedAccount>,
}

struct MergedAccount {
    account: Option<Account>,
    /// Whether all earlier storage is deleted.
    is_wiped: bool,
    storage: U256Map<U256>,
}

/// A merged change of one account.
pub(crate) struct AccountChange {
    pub(crate) address: Address,
    pub(crate) account: Option<Account>,
    pub(crate) is_wiped: bool,
    pub(crate) storage: Vec<(U256, U256)>,
}

impl Merged {
    /// Adds the next block's record; `None` if it is malformed.
    pub(crate) fn add(&mut self, mut record: &[u8]) -> Option<()> {
        let record = &mut record;
        self.root = Some(take_array(record)?.into());
        while !record.is_empty() {
            let address = Address::from(take_array::<20>(record)?);
            let merged = self.accounts.entry(address).or_insert_with(|| MergedAccount {
                account: None,
                is_wiped: false,
                storage: U256Map::default(),
            });
            match take_array(record)? {
                [DELETED] => {
                    *merged = MergedAccount { account: None, is_wiped: true, storage: U256Map::default() };
                }
                [EXISTS] => {
                    merged.account = Some(take_account(record)?);
                    let slots = u32::from_be_bytes(take_array(record)?);
                    for _ in 0..slots {
                        let slot = U256::from_be_bytes::<32>(take_uint(record)?);
                        merged.storage.insert(slot, U256::from_be_bytes::<32>(take_uint(record)?));
                    }
                }
                _ => return None,
            }
        }
        Some(())
    }

    pub(crate) fn into_changes(self) -> Vec<AccountChange> {
        let change = |(address, merged): (Address, MergedAccount)| AccountChange {
            address,
            account: merged.account,
            is_wiped: merged.is_wiped,
            storage: merged.storage.into_iter().collect(),
        };
        self.accounts.into_iter().map(change).collect()
    }
}

fn take_account(record: &mut &[u8]) -> Option<Account> {
    Some(Account {
        nonce: u64::from_be_bytes(take_uint(record)?),
        balance: U256::from_be_bytes::<32>(take_uint(record)?),
        code_hash: B256::from(take_array(record)?),
    })
}
