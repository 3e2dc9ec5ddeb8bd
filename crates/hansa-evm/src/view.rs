//! What execution reads: accounts, slots, code and earlier block hashes, by whoever keeps them.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};

/// An account without its storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountState {
    /// Transactions sent, or contracts created.
    pub nonce: u64,
    /// Wei.
    pub balance: U256,
    /// keccak-256 of the code; that of nothing for an account without code.
    pub code_hash: B256,
}

impl Default for AccountState {
    fn default() -> Self {
        Self { nonce: 0, balance: U256::ZERO, code_hash: KECCAK256_EMPTY }
    }
}

impl AccountState {
    /// Empty by EIP-161: such an account does not exist in the state.
    pub fn is_empty(&self) -> bool {
        self.nonce == 0 && self.balance.is_zero() && self.code_hash == KECCAK256_EMPTY
    }
}

/// The store under a view could not answer. Never the fault of a transaction.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the state could not be read")]
pub struct StateError(#[source] pub Arc<dyn std::error::Error + Send + Sync>);

impl StateError {
    /// Wraps the store's own error.
    pub fn new(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }
}

/// The state after some block.
///
/// Every answer belongs to the same block, also when others are finalised meanwhile.
pub trait StateView {
    /// The account, or `None` when it does not exist.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn account(&self, address: Address) -> Result<Option<AccountState>, StateError>;

    /// A storage slot, zero when never written.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError>;

    /// The code with this keccak-256 hash; empty when unknown.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn code(&self, code_hash: B256) -> Result<Bytes, StateError>;

    /// The hash of the block of this number, for the `BLOCKHASH` instruction; zero when unknown.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn block_hash(&self, number: u64) -> Result<B256, StateError>;
}

impl<V: StateView + ?Sized> StateView for &V {
    fn account(&self, address: Address) -> Result<Option<AccountState>, StateError> {
        (**self).account(address)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        (**self).storage(address, slot)
    }

    fn code(&self, code_hash: B256) -> Result<Bytes, StateError> {
        (**self).code(code_hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        (**self).block_hash(number)
    }
}
