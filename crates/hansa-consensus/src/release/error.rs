//! Errors of sealing, releasing and opening deposits.

use hansa_types::{DepositError, ReleaseRefusal};

/// Why a deposit was not sealed, released or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// The identity names another network's genesis block.
    #[error("the identity of the deposit belongs to another network")]
    OtherChain,
    /// More bytes than a deposit seals.
    #[error("{0} bytes are to be deposited; a deposit seals at most 2,048")]
    TooLong(usize),
    /// The bytes are no deposit.
    #[error(transparent)]
    Deposit(#[from] DepositError),
    /// The deposit was altered, or sealed under another identity.
    #[error("the deposit does not open with the released key; ask the owner to share again")]
    Damaged,
    /// So many validators refuse that a quorum cannot sign any more.
    #[error("the validators do not release the key: {0}")]
    Refused(ReleaseRefusal),
    /// No quorum signed in time.
    #[error("{signed} of the {needed} validators that are needed released the key in time; try again later")]
    TooFew {
        /// Validators that signed.
        signed: usize,
        /// Validators that have to.
        needed: usize,
    },
    /// Too many releases are under way.
    #[error("too many releases are under way at this node; try again later")]
    Busy,
    /// The engine stopped.
    #[error("the consensus engine has stopped; restart the node")]
    Ended,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed while {0}")]
    Crypto(&'static str),
}
