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
    /// The keys of a bulk of changes are not in ascending order, each once.
    #[error("the keys of many changes at once must ascend, each of them once")]
    KeyOrder,
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
    keys.into_iter().try_for_each(check_key)
}

/// Refuses a key that an engine would panic on.
pub(crate) fn check_key(key: &[u8]) -> Result<(), KvError> {
    match key.len() {
        0 | 65_536.. => Err(KvError::KeyLength(key.len())),
        _ => Ok(()),
    }
}
