//! The crate's one error type: what could not be sealed, opened or read, and why.

use std::{io, path::PathBuf};

/// Why a key, a ciphertext or a file was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// The key commitment says that this data key is not the one the version was sealed with.
    #[error("this key does not belong to this version of the object; ask the owner for the key of its epoch")]
    WrongKey,
    /// An authentication tag does not fit: bytes were changed, reordered, cut off or added.
    #[error("{0} was altered: its authentication tag does not fit")]
    Tampered(&'static str),
    /// The ciphertext is shorter or longer than its layout says.
    #[error("{what} has {found} bytes where {expected} belong")]
    Length {
        /// Which bytes.
        what: &'static str,
        /// Bytes that the layout asks for.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// Not the encoding that belongs here.
    #[error("{what} is malformed: {why}")]
    Malformed {
        /// Which structure.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A path in a manifest that must not be written to a disk.
    #[error("the path {path:?} cannot be stored: it {why}")]
    Path {
        /// The offending path, shortened.
        path: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// A manifest's signature does not verify.
    #[error("the manifest's signature is not valid under the key it names")]
    Signature,
    /// A public key or secret key that no algorithm accepts.
    #[error("{0} is not a valid key")]
    Key(&'static str),
    /// The operating system's random generator or the cipher failed.
    #[error("{0} failed in the cryptographic library")]
    Crypto(&'static str),
    /// A member's card lacks a signature by one of its own keys.
    #[error(
        "the card is not signed by its own {0}: make it with `hansa keys new` or `hansa keys renew`, and change nothing in it"
    )]
    CardNotSigned(&'static str),
    /// A key store could not be read or written.
    #[error("the key store {path} cannot be {action}")]
    KeyStoreIo {
        /// The file.
        path: PathBuf,
        /// What was attempted: "read" or "written".
        action: &'static str,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// A key store file is already there.
    #[error("{0} already exists and is not overwritten; move it away first")]
    KeyStoreExists(PathBuf),
    /// The file is no Hansa key store.
    #[error("{path} is not a Hansa key store: {why}")]
    KeyStoreForeign {
        /// The file.
        path: PathBuf,
        /// What is missing or different.
        why: String,
    },
    /// The file was a key store and its content no longer fits its checksum.
    #[error("the key store {path} is damaged ({why}); restore it from its backup")]
    KeyStoreDamaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// The passphrase does not open the key store.
    #[error("the passphrase does not open {0}")]
    WrongPassphrase(PathBuf),
}

impl EnvelopeError {
    pub(crate) fn malformed(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Malformed { what, why: why.to_string() }
    }
}
