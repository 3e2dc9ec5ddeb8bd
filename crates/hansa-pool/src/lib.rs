//! Admits pending transactions and puts them in order.
//!
//! Holds signed transactions of registered members until they are finalised or expire, recovers each sender once, and
//! hands a block's proposer executable transactions, the members in turn. What would wait longer than a few seconds is turned
//! away with the time after which to try again. It executes nothing, talks to no peer and
//! keeps nothing on disk; what is admitted here may still turn out invalid in a block.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod admission;
mod best;
mod config;
mod drain;
mod error;
mod policy;
mod pool;
mod queues;
mod senders;
#[cfg(test)]
mod tests;
mod transaction;
mod usage;

pub use best::Best;
pub use config::{PoolConfig, PoolRules};
pub use error::PoolError;
pub use policy::{Clock, SenderPolicy, SenderState, SystemClock};
pub use pool::{Pool, PoolStatus};
pub use transaction::{Origin, PooledTransaction};
pub use usage::ordinary_cost;
