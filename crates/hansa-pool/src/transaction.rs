//! A transaction that was admitted.

use alloy_consensus::Transaction;
use alloy_primitives::{Address, B256};

use hansa_types::SignedTransaction;

/// Where a transaction came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This node's own users: other nodes must be told.
    Local,
    /// Another node.
    Peer,
}

/// A transaction in the pool.
#[derive(Clone, Debug)]
pub struct PooledTransaction {
    /// Its hash.
    pub hash: B256,
    /// Who signed it, recovered.
    pub sender: Address,
    /// The transaction.
    pub transaction: SignedTransaction,
    /// Length of its EIP-2718 encoding.
    pub bytes: usize,
    /// Where it came from.
    pub origin: Origin,
    /// When it was admitted, by the pool's clock, in seconds.
    pub admitted_at: u64,
}

impl PooledTransaction {
    /// The nonce.
    pub fn nonce(&self) -> u64 {
        self.transaction.nonce()
    }

    /// Whether it offers more than `other` in both respects, as a replacement must.
    pub(crate) fn outbids(&self, other: &Self) -> bool {
        let tip =
            |tx: &SignedTransaction| tx.max_priority_fee_per_gas().unwrap_or_else(|| tx.max_fee_per_gas());
        self.transaction.max_fee_per_gas() > other.transaction.max_fee_per_gas()
            && tip(&self.transaction) > tip(&other.transaction)
    }
}
