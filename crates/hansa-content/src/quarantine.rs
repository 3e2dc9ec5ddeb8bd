//! Copies of damaged bytes, a file for each block, for whoever wants to know what happened to it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::ContentError;
use crate::block::Key;
use crate::segments::{create_dir, remove};

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
        if let Err(error) = fs::write(&path, bytes) {
            tracing::warn!(path = %path.display(), %error, "a damaged block is not kept in quarantine");
        }
    }

    pub(crate) fn release(&self, key: &Key) -> Result<(), ContentError> {
        remove(&self.path(key))
    }
}
