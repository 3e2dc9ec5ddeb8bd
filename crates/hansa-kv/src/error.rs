//! What can go wrong with a store.

use std::path::PathBuf;

use crate::Space;

/// Why a store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// Another process has the data folder open.
    #[error(
        "the data folder {0} is in use by another process: stop it, or give this node a folder of its own"
    )]
    Locked(PathBuf),
    /// The data folder cannot be opened or what is in it cannot be read.
    #[error(
        "cannot open the data folder {path}: restore it from a backup, or move it away and let the node catch up"
    )]
    Open {
        /// The folder.
        path: PathBuf,
        /// What the engine says.
        #[source]
        source: fjall::Error,
    },
    /// The space was not named when the store was opened.
    #[error("the space {0} was not opened with the store")]
    UnknownSpace(Space),
    /// A name that no space may have.
    #[error("{0:?} is not the name of a space: 1 to 64 characters of a-z, 0-9 and -")]
    SpaceName(&'static str),
    /// A key that no engine takes.
    #[error("a key of {0} bytes: it must have 1 to 65,535")]
    KeyLength(usize),
    /// Stored data cannot be read.
    #[error("cannot read from {space}")]
    Read {
        /// Where from.
        space: Space,
        /// What the engine says.
        #[source]
        source: fjall::Error,
    },
    /// A batch could not be written or made durable. The store takes no more writes; the process must stop.
    #[error("cannot write to the data folder: check the disk's space and health, then start the node again")]
    Write(#[source] fjall::Error),
}

/// Refuses keys that an engine would panic on.
pub(crate) fn check_keys<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> Result<(), KvError> {
    match keys.into_iter().map(<[u8]>::len).find(|&len| len == 0 || len > usize::from(u16::MAX)) {
        Some(len) => Err(KvError::KeyLength(len)),
        None => Ok(()),
    }
}
