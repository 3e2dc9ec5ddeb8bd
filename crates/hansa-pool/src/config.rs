//! Sizes of the pool: what the chain rules, and what the operator decides.

use std::time::Duration;

use hansa_types::units::seconds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the chain rules about transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolRules {
    /// The chain that transactions must be signed for.
    pub chain_id: u64,
    /// Gas of a block; a transaction that asks for more can never be executed.
    pub block_gas: u64,
}

/// How many pending transactions a node holds. By default there is room for bursts of 50,000 transactions of a single member, in at
/// most 256 MiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PoolConfig {
    /// Transactions held.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub transactions_max: usize,
    /// Bytes, in MiB, of encoded transactions held.
    #[schemars(range(min = 1, max = 65_536))]
    pub mib_max: usize,
    /// Transactions of one sender.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub sender_transactions_max: usize,
    /// Bytes, in MiB, of one sender's encoded transactions.
    #[schemars(range(min = 1, max = 65_536))]
    pub sender_mib_max: usize,
    /// Distance of a nonce from the account's next.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub nonce_window: u64,
    /// Time after which a transaction that was not executed is dropped.
    #[serde(rename = "lifetime_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 10, max = 604_800))]
    pub lifetime: Duration,
    /// Longest expected wait of a new transaction; more are turned away with the time after which to try again.
    #[schemars(range(min = 100, max = 600_000))]
    pub wait_ms_max: u32,
    /// Senders remembered of transactions that came in blocks and were never in the pool.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub senders_remembered: usize,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            transactions_max: 131_072,
            mib_max: 256,
            sender_transactions_max: 65_536,
            sender_mib_max: 128,
            nonce_window: 65_536,
            lifetime: Duration::from_secs(3 * 3600),
            wait_ms_max: 2_500,
            senders_remembered: 16_384,
        }
    }
}

impl PoolConfig {
    /// Most bytes held, and most of one sender.
    pub(crate) const fn bytes_max(&self) -> (usize, usize) {
        const MIB: usize = 1024 * 1024;
        (self.mib_max.saturating_mul(MIB), self.sender_mib_max.saturating_mul(MIB))
    }
}
