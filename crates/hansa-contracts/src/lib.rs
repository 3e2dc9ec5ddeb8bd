//! Binds the contract suite: generated ABI, bytecode and typed-data hashes.
//!
//! What is here is what the committed files under `api/` say; `cargo xtask codegen` renews them, and building this crate
//! needs neither npm nor a Solidity compiler. It encodes and decodes; it neither sends transactions nor keeps state.
//! Logs, reverts and registry entries are bytes from outside: nothing here panics on them.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod abi;
mod event;
mod explain;
mod genesis;
mod member;
mod quota;
mod typed;

pub use event::ContractEvent;
pub use explain::{RefusalReason, explain_revert};
pub use genesis::{
    ACCESS_CONTROL_TEMPLATE, DATA_STORE_TEMPLATE, ForeignSuite, GOVERNANCE, REGISTRY,
    REGISTRY_SLOT_OF_ACTIVE, SHARING, SUITE_VERSION, SYSTEM, SuiteState, access_control_of, authority,
    check_draft, data_store_of, draft_genesis, registry_slot_of, runtime_bytecode,
};
pub use member::{
    MemberConversionError, card_from_abi, card_from_types, member_from_abi, members_from_return,
    signed_card_from_abi, signed_card_from_types,
};
pub use quota::{QUOTA_SECONDS, Quota, Usage};
pub use typed::{ChainIdentity, Signable, card_digest, signed_by_call, signing_hash};

/// [`abi::Cell`]'s `state` of a grant that stands.
pub const GRANTED: u8 = 1;
