//! What a block changed, against the state it started from: enough to apply it, and to undo it.

use alloy_primitives::{Address, B256, Bytes, U256};

use crate::AccountState;

/// A slot that differs from before the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotChange {
    /// The slot's index, unhashed.
    pub slot: U256,
    /// Its value before the block.
    pub before: U256,
    /// Its value after the block, zero where it was cleared.
    pub after: U256,
}

/// An account that differs from before the block, or has slots that do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountChange {
    /// The account.
    pub address: Address,
    /// Before the block; `None` when it did not exist.
    pub before: Option<AccountState>,
    /// After the block; `None` when it does not exist any more.
    pub after: Option<AccountState>,
    /// Changed slots in ascending order.
    pub storage: Vec<SlotChange>,
}

/// All that a block changed, in ascending order of addresses.
///
/// An account that ceases to exist had no storage before the block: since EIP-6780 only a contract created in the
/// same transaction can be destroyed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateChanges {
    /// Changed accounts, in ascending order.
    pub accounts: Vec<AccountChange>,
    /// Code deployed in the block, by its hash.
    pub code: Vec<(B256, Bytes)>,
}
