//! What a call supposes in place of the state and the block: the overrides of `eth_call` and its relatives.
//!
//! They apply to one call or simulation and are never written anywhere.

use alloy_primitives::{Address, B256, Bytes, U256};

use crate::BlockEnvironment;

/// Everything one call supposes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Accounts, applied in this order.
    pub accounts: Vec<(Address, AccountOverride)>,
    /// The block.
    pub block: BlockOverride,
}

/// What is supposed of one account. `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountOverride {
    /// Wei.
    pub balance: Option<U256>,
    /// The next nonce.
    pub nonce: Option<u64>,
    /// Its code; empty for an account without code.
    pub code: Option<Bytes>,
    /// Slots with their values.
    pub slots: Vec<(U256, U256)>,
    /// Whether all other slots read as zero.
    pub replaces_storage: bool,
}

/// What is supposed of the block. `None` leaves a field as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockOverride {
    /// What `NUMBER` returns.
    pub number: Option<u64>,
    /// What `TIMESTAMP` returns, in Unix seconds.
    pub timestamp: Option<u64>,
    /// What `GASLIMIT` returns, and the most gas a call may use.
    pub gas_limit: Option<u64>,
    /// What `COINBASE` returns.
    pub beneficiary: Option<Address>,
    /// What `PREVRANDAO` returns.
    pub prevrandao: Option<B256>,
}

impl BlockOverride {
    /// The environment with what is supposed put in place.
    pub fn apply(&self, environment: BlockEnvironment) -> BlockEnvironment {
        BlockEnvironment {
            number: self.number.unwrap_or(environment.number),
            timestamp: self.timestamp.unwrap_or(environment.timestamp),
            parent_hash: environment.parent_hash,
            prevrandao: self.prevrandao.unwrap_or(environment.prevrandao),
            beneficiary: self.beneficiary.unwrap_or(environment.beneficiary),
            gas_limit: self.gas_limit.unwrap_or(environment.gas_limit),
        }
    }
}
