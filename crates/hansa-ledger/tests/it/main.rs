//! The ledger from outside, on the real contract suite, engine and stores.

mod blocks;
mod branches;
mod crash;
mod members;
mod queries;
mod refusals;
mod support;
