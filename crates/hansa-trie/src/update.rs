//! What a block changes in the state, and the record of it that is kept until the trie's nodes are written.
//!
//! Record: `root (32)`, then for each account `address (20) ‖ flag (1)`, and where the flag says the account exists:
//! `nonce ‖ balance ‖ code hash (32) ‖ number of slots (4) ‖ (slot ‖ value)…`, integers as length byte and big-endian
//! bytes.

use alloy_primitives::map::{AddressMap, U256Map};
use alloy_primitives::{Address, B256, Bytes, U256};

use crate::account::Account;
use crate::bytes::{put_uint, take_array, take_uint};

/// An account that changes, or some of whose slots do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountUpdate {
    /// The account.
    pub address: Address,
    /// What it is afterwards, also where only slots change; none where it does not exist any more, nor any of its slots.
    pub account: Option<Account>,
    /// New values of slots, in any order, each slot once. Zero removes a slot.
    pub storage: Vec<(U256, U256)>,
}

/// All that a block changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateUpdate {
    /// Changed accounts, in any order, each once.
    pub accounts: Vec<AccountUpdate>,
    /// Code that is new, by its keccak-256.
    pub code: Vec<(B256, Bytes)>,
}

const GONE: u8 = 0;
const THERE: u8 = 1;

/// The record of an update that leads to `root`.
pub(crate) fn record(root: B256, update: &StateUpdate) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + update.accounts.len() * 128);
    out.extend_from_slice(root.as_slice());
    for change in &update.accounts {
        out.extend_from_slice(change.address.as_slice());
        let Some(account) = &change.account else {
            out.push(GONE);
            continue;
        };
        out.push(THERE);
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

/// The updates of several blocks, later ones overwriting earlier ones.
#[derive(Default)]
pub(crate) struct Merged {
    /// The root that the last record claims.
    pub(crate) root: Option<B256>,
    accounts: AddressMap<MergedAccount>,
}

struct MergedAccount {
    account: Option<Account>,
    /// Whether the storage from before is gone.
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
    /// Adds the next block's record; none if it is malformed.
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
                [GONE] => {
                    *merged = MergedAccount { account: None, is_wiped: true, storage: U256Map::default() };
                }
                [THERE] => {
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
