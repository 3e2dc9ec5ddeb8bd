//! Errors of stores.

use std::path::PathBuf;

use crate::Space;

/// A failed operation of a store.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// Another process has the data folder open.
    #[error(
        "the data folder {0} is in use by another process: stop it, or give this node a folder of its own"
    )]
    Locked(PathBuf),
    /// The data folder cannot be opened, or its content cannot be read.
    #[error(
        "cannot open the data folder {path}: restore it from a backup, or move it away and let the node catch up"
    )]
    Open {
        /// The folder.
        path: PathBuf,
        /// The engine's error.
        #[source]
        source: fjall::Error,
    },
    /// A space that was not opened with the store.
    #[error("the space {0} was not opened with the store")]
    UnknownSpace(Space),
    /// An invalid name of a space.
    #[error("{0:?} is not the name of a space: 1 to 64 characters of a-z, 0-9 and -")]
    SpaceName(&'static str),
    /// A key whose length is outside 1 to 65,535 bytes.
    #[error("a key has {0} bytes: it must have 1 to 65,535")]
    KeyLength(usize),
    /// The keys of a bulk write are not strictly ascending.
    #[error("the keys of a bulk write are not strictly ascending")]
    KeyOrder,
    /// Stored data cannot be read.
    #[error("cannot read from {space}")]
    Read {
        /// The space.
        space: Space,
        /// The engine's error.
        #[source]
        source: fjall::Error,
    },
    /// A batch could not be written or made durable. The store refuses further writes; the process must stop.
    #[error("cannot write to the data folder: check the disk's space and health, then start the node again")]
    Write(#[source] fjall::Error),
}

/// Refuses keys on which an engine would panic.
pub(crate) fn check_keys<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> Result<(), KvError> {
    keys.into_iter().try_for_each(check_key)
}

/// Refuses a key on which an engine would panic.
pub(crate) fn check_key(key: &[u8]) -> Result<(), KvError> {
    match key.len() {
        0 | 65_536.. => Err(KvError::KeyLength(key.len())),
        _ => Ok(()),
    }
}
