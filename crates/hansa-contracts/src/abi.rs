//! The suite's types, functions, events and errors, expanded from `api/suite.sol`.
//!
//! One module for all contracts, so that a struct that two of them use is one Rust type. What each item means stands in
//! the interfaces under `contracts/src/interfaces/`; enums appear as their numbers.
#![allow(missing_docs, reason = "documented in the Solidity interfaces")]
#![allow(clippy::too_many_arguments, reason = "as many as a contract's function has")]

alloy_sol_types::sol!(
    #[sol(all_derives)]
    "../../api/suite.sol"
);
