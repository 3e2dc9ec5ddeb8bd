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

    pub(crate) fn keep(&self, key: &Key, bytes: &[u8]) -> Result<(), ContentError> {
        let path = self.path(key);
        fs::write(&path, bytes).map_err(ContentError::file("write", &path))
    }

    pub(crate) fn release(&self, key: &Key) -> Result<(), ContentError> {
        remove(&self.path(key))
    }
}
