//! Why a transaction is not admitted, in words fit for the sender.

use alloy_primitives::{Address, U256};

/// Why a transaction is not admitted. Nothing in the pool changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// It is in the pool.
    #[error("already known")]
    AlreadyKnown,
    /// The bytes are no EIP-2718 envelope.
    #[error("not a signed transaction")]
    Malformed,
    /// Signed for another chain.
    #[error("invalid chain id {transaction}: this chain is {chain}")]
    WrongChain {
        /// The transaction's.
        transaction: u64,
        /// This chain's.
        chain: u64,
    },
    /// Signed for any chain.
    #[error("only transactions signed with a chain id (EIP-155) are accepted")]
    Unprotected,
    /// No account's signature, or the malleable form of one.
    #[error("invalid signature")]
    Signature,
    /// Not a member's account.
    #[error("account {0} is not registered in this consortium and may not send transactions")]
    UnregisteredSender(Address),
    /// Already used.
    #[error("nonce too low: next nonce {next}, transaction nonce {transaction}")]
    NonceTooLow {
        /// The transaction's.
        transaction: u64,
        /// The account's next.
        next: u64,
    },
    /// Too far ahead to be kept.
    #[error("nonce too high: next nonce {next}, transaction nonce {transaction}")]
    NonceTooHigh {
        /// The transaction's.
        transaction: u64,
        /// The account's next.
        next: u64,
    },
    /// Another with the same nonce waits, and this one does not offer more.
    #[error(
        "replacement transaction underpriced: raise both the fee cap and the tip to replace the pending one with the same nonce"
    )]
    Underpriced,
    /// The sender has too much pending.
    #[error("this account has too many pending transactions; wait until some are final")]
    SenderFull,
    /// Everybody together has too much pending.
    #[error("the transaction pool is full; try again later")]
    PoolFull,
    /// More waits than the chain executes in a few seconds.
    #[error("the chain is busy: {waiting} transactions wait; try again in {retry_ms} ms")]
    Busy {
        /// Transactions that wait: all, or this account's if those are more.
        waiting: usize,
        /// Milliseconds after which there will be room.
        retry_ms: u64,
    },
    /// Longer than accepted.
    #[error("oversized data: transaction of {bytes} bytes, limit {limit}")]
    TooLarge {
        /// Encoded length.
        bytes: usize,
        /// The most accepted.
        limit: usize,
    },
    /// The account's member has used up its quota of what all nodes store.
    #[error(
        "the member has used up its quota of what all nodes store; try again in {wait_seconds} s, or have a ballot raise it (`hansa member quota`)"
    )]
    QuotaUsedUp {
        /// When it may send again.
        wait_seconds: u64,
    },
    /// Asks for more gas than a transaction or a block may have.
    #[error("exceeds block gas limit: gas limit {gas_limit}, at most {limit}")]
    GasLimitTooHigh {
        /// The transaction's.
        gas_limit: u64,
        /// The most accepted.
        limit: u64,
    },
    /// Asks for less gas than any execution takes.
    #[error("intrinsic gas too low: gas limit {gas_limit}, needs {needed}")]
    IntrinsicGas {
        /// The transaction's.
        gas_limit: u64,
        /// What it takes before execution.
        needed: u64,
    },
    /// Sends more than the account has.
    #[error("insufficient funds for transfer: balance {balance}, value {value}")]
    InsufficientBalance {
        /// Wei there are.
        balance: U256,
        /// Wei to be sent.
        value: U256,
    },
    /// The tip is above the fee cap.
    #[error("max priority fee per gas higher than max fee per gas")]
    FeeCap,
    /// Contract creation code over the limit of EIP-3860.
    #[error("max initcode size exceeded: {bytes} bytes, limit {limit}")]
    InitCode {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Blob transactions have no place on this chain.
    #[error("blob transactions (EIP-4844) are not accepted on this chain")]
    BlobTransaction,
    /// Code delegations would detach an account from its registered key.
    #[error("code delegations (EIP-7702) are not accepted on this chain")]
    Delegation,
    /// The node has not opened its ledger yet, or cannot read it.
    #[error("the node is not ready to accept transactions; try again")]
    NotReady,
}

impl PoolError {
    /// Milliseconds after which the same transaction is likely to be taken; `None` when time alone changes nothing.
    pub const fn retry_ms(&self) -> Option<u64> {
        match self {
            Self::Busy { retry_ms, .. } => Some(*retry_ms),
            Self::QuotaUsedUp { wait_seconds } => Some(wait_seconds.saturating_mul(1_000)),
            _ => None,
        }
    }
}
