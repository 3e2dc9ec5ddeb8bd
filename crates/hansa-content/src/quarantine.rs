//! Copies of damaged bytes, a file for each block, to find out what happened to it. Bounded: a dying disk damages many blocks,
//! and the first ones tell as much as all of them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::ContentError;
use crate::block::Key;
use crate::segments::{create_dir, remove};

/// Copies that are kept; each is at most a block long.
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

    /// Keeps a copy if there is room for it: damage must be found on a full disk too.
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
