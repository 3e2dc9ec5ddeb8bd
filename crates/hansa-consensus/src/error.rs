//! Errors of the ceremony and the engine.

use std::{io, net::AddrParseError};

/// A failed start or a stop of consensus.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    /// The genesis file has no group key, because the founders have not finished the ceremony.
    #[error("the genesis file has no group key; the founders must run the ceremony first")]
    NoGroupKey,
    /// The genesis file's group key is malformed, or belongs to other founders.
    #[error("the genesis file's group key cannot be used: {0}")]
    GroupKey(&'static str),
    /// A founder's network key is not an ed25519 public key.
    #[error("founder {0} has a network key that is no ed25519 public key")]
    NetworkKey(usize),
    /// This node's network secret key is malformed.
    #[error("the network secret key is not an ed25519 key of 32 bytes")]
    SecretKey,
    /// Only founders take part in the ceremony.
    #[error("this node's network key is not among the founders")]
    NotAFounder,
    /// A setting cannot be used.
    #[error("the consensus setting {name} is unusable: {reason}")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// The violated rule.
        reason: &'static str,
    },
    /// The address to listen on is malformed.
    #[error("the address to listen on is malformed")]
    Listen(#[from] AddrParseError),
    /// The store of secret shares failed.
    #[error("the store of secret shares failed at {path}")]
    Secrets {
        /// The file or folder.
        path: String,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// A stored secret cannot be opened with the given storage key.
    #[error("the stored secret {0} cannot be opened; is it the right storage key?")]
    SecretSealed(String),
    /// The ceremony ended without a key.
    #[error(
        "the founders' key generation failed: {0}; delete the ceremony folder on every founder and try again"
    )]
    Ceremony(&'static str),
    /// The ledger refused a final block, or its storage failed.
    #[error("the ledger cannot follow the finalised chain")]
    Ledger(#[from] hansa_ledger::LedgerError),
    /// A part of the engine stopped. The log has the cause.
    #[error("the consensus engine stopped: {0}")]
    Stopped(String),
    /// The thread of the engine cannot be started.
    #[error("the consensus thread cannot be started")]
    Thread(#[source] io::Error),
}
