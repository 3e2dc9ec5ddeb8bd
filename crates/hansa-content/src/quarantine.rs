//! Copies of damaged blocks for diagnosis, one file a block. Their number is bounded, because a failing disk damages many blocks and
//! the first ones suffice. Quarantined bytes are never served.

use std::fs;
use std::path::{Path, PathBuf};

use crate::ContentError;
use crate::block::Key;
use crate::segments::{create_dir, remove};

/// Maximum number of copies; each is at most a block long.
const COPIES_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Quarantine(PathBuf);

impl Quarantine {
    pub(crate) fn open(folder: &Path) -> Result<Self, ContentError> {
        create_dir(folder)?;
        Ok(Self(folder.to_path_buf()))
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.0.join(hex::encode(key))
    }

    /// Stores a copy if possible. A full disk is only logged, because damage must be detected there too.
    pub(crate) fn keep(&self, key: &Key, bytes: &[u8]) {
        let path = self.path(key);
        if fs::read_dir(&self.0).is_ok_and(|listed| listed.count() >= COPIES_MAX) {
            tracing::warn!(folder = %self.0.display(), "the quarantine is full; empty it to keep copies of damaged blocks");
        } else if let Err(error) = fs::write(&path, bytes) {
            tracing::warn!(path = %path.display(), %error, "a damaged block is not kept in quarantine");
        }
    }

    pub(crate) fn release(&self, key: &Key) -> Result<(), ContentError> {
        remove(&self.path(key))
    }
}
