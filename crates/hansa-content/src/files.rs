//! One file for each large block, in up to 256 folders by the first byte of the digest. Knows no index and no CIDs.
//!
//! A block is written beside, made durable, and renamed to its place; its name is durable only once its folder has been
//! synchronised ([`Files::sync_folders`]). The page cache is bypassed where the file system allows it: blocks are written
//! once and read rarely, and copying them through the cache costs more than hashing them does.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Buf, Bytes};

use crate::block::Key;
use crate::{ContentError, MAX_BLOCK_BYTES};

#[derive(Debug)]
pub(crate) struct Files {
    blocks: PathBuf,
    incoming: PathBuf,
    quarantine: PathBuf,
    next: AtomicU64,
    /// Whether the file system has not refused to bypass the page cache.
    direct: AtomicBool,
}

/// Address, offset and length of direct transfers are multiples of this.
const ALIGNMENT: usize = 4096;

thread_local! {
    /// Where a thread aligns what it writes: reused, because fresh memory is slow.
    static STAGE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Files {
    pub(crate) fn open(dir: &Path) -> Result<Self, ContentError> {
        let files = Self {
            blocks: dir.join("blocks"),
            incoming: dir.join("incoming"),
            quarantine: dir.join("quarantine"),
            next: AtomicU64::new(0),
            direct: AtomicBool::new(true),
        };
        if files.incoming.exists() {
            fs::remove_dir_all(&files.incoming).map_err(ContentError::file("clear", &files.incoming))?;
        }
        for dir in [&files.blocks, &files.incoming, &files.quarantine] {
            create_dir(dir)?;
        }
        sync_dir(dir)?;
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
        let write =
            || match self.open_file(&beside, OpenOptions::new().write(true).create(true).truncate(true)) {
                (Ok(mut file), true) => write_direct(&mut file, bytes).and_then(|()| file.sync_data()),
                (Ok(mut file), false) => file.write_all(bytes).and_then(|()| file.sync_data()),
                (Err(error), _) => Err(error),
            };
        write().map_err(ContentError::file("write", &beside))?;
        let path = self.path(key);
        match fs::rename(&beside, &path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let [first, ..] = *key;
                create_dir(&self.folder(first))?;
                sync_dir(&self.blocks)?;
                fs::rename(&beside, &path).map_err(ContentError::file("name", &path))
            }
            result => result.map_err(ContentError::file("name", &path)),
        }
    }

    /// Makes the names of blocks with these first bytes durable.
    pub(crate) fn sync_folders(&self, firsts: &BTreeSet<u8>) -> Result<(), ContentError> {
        firsts.iter().try_for_each(|&first| sync_dir(&self.folder(first)))
    }

    /// The bytes of a block of this size; none if there is no file, or a longer one.
    pub(crate) fn read(&self, key: &Key, size: usize) -> Result<Option<Bytes>, ContentError> {
        let path = self.path(key);
        let (file, direct) = match self.open_file(&path, OpenOptions::new().read(true)) {
            (Ok(file), direct) => (file, direct),
            (Err(error), _) if error.kind() == ErrorKind::NotFound => return Ok(None),
            (Err(error), _) => return Err(ContentError::file("open", &path)(error)),
        };
        let size = size.min(MAX_BLOCK_BYTES);
        let bytes = if direct { read_direct(file, size) } else { read_buffered(file, size) };
        bytes.map_err(ContentError::file("read", &path))
    }

    /// Opens a file, and says whether it bypasses the page cache.
    fn open_file(&self, path: &Path, options: &mut OpenOptions) -> (io::Result<File>, bool) {
        if self.direct.load(Ordering::Relaxed) {
            match options.clone().custom_flags(libc::O_DIRECT).open(path) {
                Err(error) if error.kind() == ErrorKind::InvalidInput => {
                    self.direct.store(false, Ordering::Relaxed);
                }
                result => return (result, true),
            }
        }
        (options.open(path), false)
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
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(keys),
            entries => entries.map_err(ContentError::file("list", &folder))?,
        };
        for entry in entries {
            let name = entry.map_err(ContentError::file("list", &folder))?.file_name();
            let mut key = Key::default();
            if hex::decode_to_slice(name.as_encoded_bytes(), &mut key).is_ok() {
                keys.push(key);
            }
        }
        Ok(keys)
    }
}

/// Room for `size` bytes, starting at an aligned address.
fn aligned(buffer: &mut Vec<u8>, size: usize) -> &mut [u8] {
    let length = size.next_multiple_of(ALIGNMENT);
    if buffer.len() < length.saturating_add(ALIGNMENT) {
        buffer.resize(length.saturating_add(ALIGNMENT), 0);
    }
    let start = buffer.as_ptr().align_offset(ALIGNMENT);
    buffer.get_mut(start..start.saturating_add(length)).unwrap_or_default()
}

/// Writes whole sectors and cuts the file to its length.
fn write_direct(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    STAGE.with_borrow_mut(|stage| {
        let sectors = aligned(stage, bytes.len());
        let (content, padding) = sectors.split_at_mut_checked(bytes.len()).unwrap_or_default();
        content.copy_from_slice(bytes);
        padding.fill(0);
        file.write_all(sectors)
    })?;
    if bytes.len().is_multiple_of(ALIGNMENT) { Ok(()) } else { file.set_len(bytes.len() as u64) }
}

/// Reads a block of this size; none if the file is longer. A shorter one is returned as it is.
fn read_direct(mut file: File, size: usize) -> io::Result<Option<Bytes>> {
    let mut buffer = Vec::new();
    // One more sector, so that a longer file shows.
    let sectors = aligned(&mut buffer, size.saturating_add(1));
    let mut length = 0usize;
    while let Some(rest) = sectors.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => length = length.saturating_add(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        // A part of a sector is the end of the file, and nothing can be read at such an offset.
        if !length.is_multiple_of(ALIGNMENT) {
            break;
        }
    }
    if length > size {
        return Ok(None);
    }
    let start = buffer.as_ptr().align_offset(ALIGNMENT);
    let mut bytes = Bytes::from(buffer);
    bytes.advance(start.min(bytes.len()));
    bytes.truncate(length);
    Ok(Some(bytes))
}

fn read_buffered(file: File, size: usize) -> io::Result<Option<Bytes>> {
    let mut bytes = Vec::with_capacity(size.saturating_add(1));
    file.take((size as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= size).then(|| bytes.into()))
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
