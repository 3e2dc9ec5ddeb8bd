//! One file for each large block, in 256 folders by the first byte of the digest. Knows no index and no CIDs.
//!
//! A block is written beside, made durable, and renamed to its place; its name is durable only once its folder has been
//! synchronised ([`Files::sync_folders`]).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::block::Key;
use crate::{ContentError, MAX_BLOCK_BYTES};

#[derive(Debug)]
pub(crate) struct Files {
    blocks: PathBuf,
    incoming: PathBuf,
    quarantine: PathBuf,
    next: AtomicU64,
}

impl Files {
    pub(crate) fn open(dir: &Path) -> Result<Self, ContentError> {
        let files = Self {
            blocks: dir.join("blocks"),
            incoming: dir.join("incoming"),
            quarantine: dir.join("quarantine"),
            next: AtomicU64::new(0),
        };
        if files.incoming.exists() {
            fs::remove_dir_all(&files.incoming).map_err(ContentError::file("clear", &files.incoming))?;
        }
        for dir in [&files.incoming, &files.quarantine] {
            create_dir(dir)?;
        }
        for first in 0..=u8::MAX {
            create_dir(&files.folder(first))?;
        }
        for dir in [files.blocks.as_path(), dir] {
            sync_dir(dir)?;
        }
        Ok(files)
    }

    pub(crate) fn folder(&self, first: u8) -> PathBuf {
        self.blocks.join(hex::encode([first]))
    }

    pub(crate) fn path(&self, key: &Key) -> PathBuf {
        let [first, ..] = *key;
        self.folder(first).join(hex::encode(key))
    }

    /// Writes a block; its content is durable when this returns, its name is not.
    pub(crate) fn write(&self, key: &Key, bytes: &[u8]) -> Result<(), ContentError> {
        let beside = self.incoming.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let write = || {
            let mut file = File::create(&beside)?;
            file.write_all(bytes)?;
            file.sync_data()
        };
        write().map_err(ContentError::file("write", &beside))?;
        let path = self.path(key);
        fs::rename(&beside, &path).map_err(ContentError::file("name", &path))
    }

    /// Makes the names of blocks with these first bytes durable.
    pub(crate) fn sync_folders(&self, firsts: &BTreeSet<u8>) -> Result<(), ContentError> {
        firsts.iter().try_for_each(|&first| sync_dir(&self.folder(first)))
    }

    /// The bytes of a block; none if there is no file, or one that is too long to be a block.
    pub(crate) fn read(&self, key: &Key, size: usize) -> Result<Option<Bytes>, ContentError> {
        let path = self.path(key);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ContentError::file("open", &path)(error)),
        };
        let mut bytes = Vec::with_capacity(size.min(MAX_BLOCK_BYTES).saturating_add(1));
        let limit = (MAX_BLOCK_BYTES as u64).saturating_add(1);
        file.take(limit).read_to_end(&mut bytes).map_err(ContentError::file("read", &path))?;
        Ok((bytes.len() <= MAX_BLOCK_BYTES).then(|| bytes.into()))
    }

    pub(crate) fn remove(&self, key: &Key) -> Result<(), ContentError> {
        remove(&self.path(key))
    }

    /// Moves a block's file out of the way, for whoever wants to know what happened to it.
    pub(crate) fn quarantine(&self, key: &Key) -> Result<(), ContentError> {
        let path = self.path(key);
        match fs::rename(&path, self.quarantine.join(hex::encode(key))) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(ContentError::file("quarantine", &path)(error))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn release_from_quarantine(&self, key: &Key) -> Result<(), ContentError> {
        remove(&self.quarantine.join(hex::encode(key)))
    }

    /// The keys of all files in one folder, index or not.
    pub(crate) fn keys(&self, first: u8) -> Result<Vec<Key>, ContentError> {
        let folder = self.folder(first);
        let mut keys = Vec::new();
        for entry in fs::read_dir(&folder).map_err(ContentError::file("list", &folder))? {
            let name = entry.map_err(ContentError::file("list", &folder))?.file_name();
            let mut key = Key::default();
            if hex::decode_to_slice(name.as_encoded_bytes(), &mut key).is_ok() {
                keys.push(key);
            }
        }
        Ok(keys)
    }
}

fn create_dir(path: &Path) -> Result<(), ContentError> {
    fs::create_dir_all(path).map_err(ContentError::file("create", path))
}

fn sync_dir(path: &Path) -> Result<(), ContentError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(ContentError::file("synchronise", path))
}

fn remove(path: &Path) -> Result<(), ContentError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(ContentError::file("remove", path)(error)),
        _ => Ok(()),
    }
}
