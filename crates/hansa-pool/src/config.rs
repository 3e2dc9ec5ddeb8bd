//! Sizes of the pool.

use hansa_types::TRANSACTION_BYTES_MAX;

/// What a pool accepts and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// The chain that transactions must be signed for.
    pub chain_id: u64,
    /// Gas of a block; a transaction that asks for more can never be executed.
    pub block_gas: u64,
    /// Most transactions held.
    pub transactions_max: usize,
    /// Most bytes of encoded transactions held.
    pub bytes_max: usize,
    /// Most transactions of one sender.
    pub sender_transactions_max: usize,
    /// Most bytes of one sender's encoded transactions.
    pub sender_bytes_max: usize,
    /// Longest transaction, encoded.
    pub transaction_bytes_max: usize,
    /// How far a nonce may lie ahead of the account's next.
    pub nonce_window: u64,
    /// Seconds after which a transaction that was not executed is dropped.
    pub lifetime_seconds: u64,
}

impl PoolConfig {
    /// Room for bursts of 50,000 transactions from a single member, in at most 256 MiB.
    pub const fn new(chain_id: u64, block_gas: u64) -> Self {
        Self {
            chain_id,
            block_gas,
            transactions_max: 131_072,
            bytes_max: 256 * 1024 * 1024,
            sender_transactions_max: 65_536,
            sender_bytes_max: 128 * 1024 * 1024,
            transaction_bytes_max: TRANSACTION_BYTES_MAX,
            nonce_window: 65_536,
            lifetime_seconds: 3 * 3600,
        }
    }
}
