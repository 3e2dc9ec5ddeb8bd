//! Errors of the ledger: refusals, faults of a block, faults of this node.

use alloy_primitives::{Address, B256};

use hansa_evm::{ExecutionError, InvalidReason, StateError};
use hansa_kv::KvError;
use hansa_trie::TrieError;

use crate::history::NotKept;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The parent is neither the finalised head nor an executed block. Retry after it has been executed.
    #[error("the parent {0} has not been executed here")]
    UnknownParent(B256),
    /// The block breaks a rule of the chain. Its proposer is at fault.
    #[error("block {number} ({hash}) is invalid")]
    InvalidBlock {
        /// Its height.
        number: u64,
        /// Its hash.
        hash: B256,
        /// Which rule.
        #[source]
        fault: BlockFault,
    },
    /// A block to be finalised is not the child of the head.
    #[error("block {number} cannot be finalised on the head {head}: it is not its child")]
    NotNext {
        /// The block's height.
        number: u64,
        /// The head's height.
        head: u64,
    },
    /// The store was started with another genesis file.
    #[error(
        "the data folder belongs to another chain (genesis {stored}, here it is {given}): start with the genesis file that it was founded with, or use another folder"
    )]
    WrongChain {
        /// Genesis hash in the store.
        stored: B256,
        /// Genesis hash of the file.
        given: B256,
    },
    /// The genesis state cannot be computed from the genesis file.
    #[error("the genesis state cannot be built")]
    Genesis(#[source] ExecutionError),
    /// No such finalised block.
    #[error("unknown block {0}")]
    UnknownBlock(BlockName),
    /// The state after that block is no longer kept.
    #[error("the state of block {requested} is no longer kept; the oldest is that of block {oldest}")]
    StateNotKept {
        /// The block asked for.
        requested: u64,
        /// The oldest block whose state can be read.
        oldest: u64,
    },
    /// A block begins a version of the system contracts that this node does not have.
    #[error(
        "block {height} begins version {version} of the system contracts (digest {digest}), which this node cannot run: install a version of Hansa that knows it, or put the suite's file into the folder `suites` of the home folder, and start the node again"
    )]
    SuiteMissing {
        /// Version of the suite.
        version: u32,
        /// Digest of the suite.
        digest: B256,
        /// The first block under it.
        height: u64,
    },
    /// The epoch's last block is not final yet.
    #[error("the last block of epoch {0} is not final yet")]
    EpochNotFinal(u64),
    /// A log query matches more than was allowed.
    #[error("more than {0} logs match; narrow the range of blocks or the filter")]
    TooManyLogs(usize),
    /// A call was refused before execution.
    #[error("the call cannot be made: {0}")]
    InvalidCall(InvalidReason),
    /// The state's trie failed. The node must stop.
    #[error("the state cannot be read or written")]
    State(#[from] TrieError),
    /// Execution could not read the state, or the machine failed. The node must stop.
    #[error("execution failed for a reason other than the transaction")]
    Execution(#[source] ExecutionError),
    /// The store failed. The node must stop.
    #[error("the ledger cannot be read or written")]
    Store(#[from] KvError),
    /// A stored record is damaged. The node must stop.
    #[error("the ledger's {what} is damaged; rebuild the node from the other members")]
    Damaged {
        /// The record.
        what: &'static str,
    },
    /// The registry's answer cannot be decoded.
    #[error("the registry's list of members cannot be read: {0}")]
    Members(String),
}

impl LedgerError {
    /// The block, not this node, is at fault: vote against it.
    pub const fn is_invalid_block(&self) -> bool {
        matches!(self, Self::InvalidBlock { .. })
    }
}

impl From<StateError> for LedgerError {
    fn from(error: StateError) -> Self {
        if let Some(NotKept { requested, oldest }) = error.0.downcast_ref() {
            return Self::StateNotKept { requested: *requested, oldest: *oldest };
        }
        Self::Execution(ExecutionError::State(error))
    }
}

/// How a caller named a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockName {
    /// By height.
    Number(u64),
    /// By hash.
    Hash(B256),
}

impl core::fmt::Display for BlockName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Hash(hash) => hash.fmt(f),
        }
    }
}

/// The rule that a block breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockFault {
    /// Another block is final at this height.
    #[error("another block is final at its height")]
    Superseded,
    /// A header field differs from its only valid value.
    #[error("the header's {0} is wrong")]
    Header(&'static str),
    /// The body exceeds `BODY_BYTES_MAX`.
    #[error("its transactions have {0} bytes, more than a block may carry")]
    BodyTooLong(usize),
    /// A transaction exceeds `TRANSACTION_BYTES_MAX`. Index in the block.
    #[error("transaction {0} is too long")]
    TransactionTooLong(usize),
    /// A signature recovers to no account. Index in the block.
    #[error("the signature of transaction {0} is invalid")]
    Signature(usize),
    /// The sender is not registered in the parent's state.
    #[error("transaction {index} was sent by {sender}, who is not a member")]
    UnregisteredSender {
        /// Place in the block.
        index: usize,
        /// The sender.
        sender: Address,
    },
    /// A transaction is invalid at its place.
    #[error("transaction {index} is invalid there")]
    Transaction {
        /// Place in the block.
        index: usize,
        /// Which rule.
        #[source]
        reason: InvalidReason,
    },
}
