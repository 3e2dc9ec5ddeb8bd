//! Folders as tar archives, packed as they are sent.
//!
//! Files and folders only, in the order of their paths, without owners, modes or times. Links are refused: following
//! them could send what nobody meant to share.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream::BoxStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::ClientError;

/// Bytes handed over at a time, and how many such pieces may wait.
const PIECE: usize = 256 * 1024;
const WAITING: usize = 8;

/// What a folder holds, seen once before it is packed.
pub(crate) struct Plan {
    root: PathBuf,
    entries: Vec<Entry>,
    size: u64,
}

struct Entry {
    /// Below the root, segments separated by `/`.
    path: String,
    size: Option<u64>,
}

impl Plan {
    pub(crate) async fn of(root: PathBuf) -> Result<Self, ClientError> {
        let walk = move || {
            let mut plan = Self { root: root.clone(), entries: Vec::new(), size: 0 };
            plan.walk(&root, "")?;
            plan.entries.sort_by(|a, b| a.path.cmp(&b.path));
            Ok(plan)
        };
        tokio::task::spawn_blocking(walk)
            .await
            .map_err(|error| ClientError::Broken(io::Error::other(error)))?
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    fn walk(&mut self, folder: &Path, prefix: &str) -> Result<(), ClientError> {
        for entry in fs::read_dir(folder).map_err(ClientError::file(folder))? {
            let entry = entry.map_err(ClientError::file(folder))?;
            let path = entry.path();
            let refused = |problem| ClientError::Unpackable { path: path.clone(), problem };
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                return Err(refused("has a name that is not UTF-8"));
            };
            if name.contains('\\') {
                return Err(refused("has a backslash in its name"));
            }
            let below = format!("{prefix}{name}");
            let metadata = fs::symlink_metadata(&path).map_err(ClientError::file(&path))?;
            if metadata.is_dir() {
                self.entries.push(Entry { path: below.clone(), size: None });
                self.walk(&path, &format!("{below}/"))?;
            } else if metadata.is_file() {
                self.size = self.size.saturating_add(metadata.len());
                self.entries.push(Entry { path: below, size: Some(metadata.len()) });
            } else {
                return Err(refused("is neither a file nor a folder"));
            }
        }
        Ok(())
    }

    /// The archive, made on a blocking thread as fast as it is taken.
    pub(crate) fn pieces(self) -> BoxStream<'static, io::Result<Bytes>> {
        let (sender, pieces) = mpsc::channel(WAITING);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = self.pack(Pipe { sender: sender.clone(), buffer: Vec::with_capacity(PIECE) })
            {
                // When nobody takes the pieces any more, nobody needs the error.
                let _ = sender.blocking_send(Err(error));
            }
        });
        ReceiverStream::new(pieces).boxed()
    }

    fn pack(&self, out: impl Write) -> io::Result<()> {
        let mut archive = tar::Builder::new(out);
        for entry in &self.entries {
            let mut header = tar::Header::new_gnu();
            let path = self.root.join(&entry.path);
            let named =
                |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
            match entry.size {
                None => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(0o755);
                    header.set_size(0);
                    archive.append_data(&mut header, format!("{}/", entry.path), io::empty())?;
                }
                Some(size) => {
                    header.set_mode(0o644);
                    header.set_size(size);
                    let file = File::open(&path).map_err(named)?;
                    archive
                        .append_data(&mut header, &entry.path, Exactly { file, left: size })
                        .map_err(named)?;
                }
            }
        }
        archive.into_inner()?.flush()
    }
}

/// What a file that became shorter while it was read is reported as.
pub(crate) fn shrunk() -> io::Error {
    io::Error::other("the file became shorter while it was read")
}

/// Exactly as many bytes as the header says.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let read = (&mut self.file).take(self.left).read(buffer)?;
        if read == 0 {
            return Err(shrunk());
        }
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

/// Hands what is written to the stream, in large pieces.
struct Pipe {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        self.sender.blocking_send(Ok(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The first error of a stream, kept for whoever sent it.
#[derive(Clone, Default)]
pub(crate) struct Failure(Arc<Mutex<Option<io::Error>>>);

impl Failure {
    /// The error as the client's own.
    pub(crate) fn take(&self) -> Option<ClientError> {
        let error = self.0.lock().ok()?.take()?;
        Some(ClientError::File { path: "the content cannot be read".into(), source: error })
    }
}

/// Passes pieces on, and keeps the error that ends them.
pub(crate) fn remember_failure(
    pieces: BoxStream<'static, io::Result<Bytes>>,
) -> (Failure, impl Stream<Item = io::Result<Bytes>> + Send + 'static) {
    let failure = Failure::default();
    let kept = failure.clone();
    let pieces = pieces.map(move |piece| {
        piece.map_err(|error| {
            let told = io::Error::new(error.kind(), error.to_string());
            if let Ok(mut slot) = kept.0.lock() {
                slot.get_or_insert(error);
            }
            told
        })
    });
    (failure, pieces)
}
