//! The ledger from outside, on the real contract suite, engine and stores.

mod blocks;
mod branches;
mod concurrency;
mod crash;
mod members;
mod network;
mod queries;
mod quota;
mod refusals;
mod support;
mod upgrades;
