//! The error type of the crate.

use std::{io, path::PathBuf};

/// A refused key, ciphertext or file, or a failed operation on one.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// The data key does not match the version's key commitment.
    #[error("this key does not belong to this version of the object; ask the owner for the key of its epoch")]
    WrongKey,
    /// Authentication failed: bytes were changed, reordered, removed or added.
    #[error("{0} was altered: its authentication tag is wrong")]
    Tampered(&'static str),
    /// A ciphertext of another length than its layout requires.
    #[error("{what} has {found} bytes instead of {expected}")]
    Length {
        /// The structure.
        what: &'static str,
        /// Required length in bytes.
        expected: u64,
        /// Actual length in bytes.
        found: u64,
    },
    /// An invalid encoding.
    #[error("{what} is malformed: {why}")]
    Malformed {
        /// The structure.
        what: &'static str,
        /// The violated rule.
        why: String,
    },
    /// An unsafe path in a manifest.
    #[error("the path {path:?} cannot be stored: it {why}")]
    Path {
        /// The path, shortened.
        path: String,
        /// The violated rule.
        why: &'static str,
    },
    /// A manifest with an invalid signature.
    #[error("the manifest's signature is not valid under the key it names")]
    Signature,
    /// An invalid public or secret key.
    #[error("{0} is not a valid key")]
    Key(&'static str),
    /// A failure of the operating system's random generator or of the cipher.
    #[error("{0} failed in the cryptographic library")]
    Crypto(&'static str),
    /// A member's card lacks a signature by one of its own keys.
    #[error(
        "the card is not signed by its own {0}: make it with `hansa keys new` or `hansa keys renew`, and change nothing in it"
    )]
    CardNotSigned(&'static str),
    /// The bytes are no backup of this recovery key.
    #[error(
        "this is no backup that the recovery key opens: it is another member's, of another key, or damaged"
    )]
    ForeignBackup,
    /// The text is no recovery key.
    #[error(
        "this is no recovery key: nine groups of eight hexadecimal digits, as `hansa keys recovery` printed them"
    )]
    RecoveryKeyText,
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
    /// The key store file exists.
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
    /// The key store's content does not match its checksum.
    #[error("the key store {path} is damaged ({why}); restore it from its backup")]
    KeyStoreDamaged {
        /// The file.
        path: PathBuf,
        /// The violated rule.
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
