//! Executes transactions: (state view, block) in, outcome out.
//!
//! The only user of revm. It knows the chain's rules of execution (Osaka, no fees, no blobs, no delegations, one
//! system call per block) and nothing about where state is kept, how it is hashed, or which block follows which.
//! Bytecode and calldata come from strangers, so nothing in this crate panics on them.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod block_state;
mod call;
mod changes;
mod code_cache;
mod executor;
mod overrides;
mod rules;
mod signatures;
mod simulation;
#[cfg(test)]
mod tests;
mod view;

pub use call::{CALL_GAS_MAX, CallOutcome, CallRequest, Estimate};
pub use changes::{AccountChange, SlotChange, StateChanges};
pub use executor::{
    BlockEnvironment, BlockExecutor, ExecutedTransaction, ExecutionError, Executor, Growth, InvalidReason,
    Payer,
};
pub use overrides::{AccountOverride, BlockOverride, Overrides};
pub use rules::{HISTORY_STORAGE_ADDRESS, SYSTEM_ADDRESS, history_storage_code};
pub use signatures::{Signatures, question};
pub use simulation::{Accessed, Simulation};
pub use view::{AccountState, StateError, StateView};
