//! Folders as tar archives, packed as they are sent.
//!
//! Files and folders in the order of their paths, with the owner's right to run a file, without owners, other rights,
//! times, access lists and extended attributes. Links are not stored: following them could send what nobody meant to
//! share. Stated sizes are hints: a file is read to see how long it is.

use std::{
    fs::{self, File},
    io::{self, Read, Seek as _, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use hansa_types::path_problem;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{ClientError, LeftOut};

/// Bytes handed over at a time, and how many such pieces may wait.
const PIECE: usize = 256 * 1024;
const WAITING: usize = 8;
/// Bytes of a file that are read before its length is told; shorter files are told exactly.
const AHEAD: u64 = 1024 * 1024;
/// Most files and folders of an object.
const ENTRIES_MAX: usize = 1_000_000;
/// The mode bit that makes a file executable by its owner.
const RUN: u32 = 0o100;

/// The treatment of links, devices, pipes, sockets, unreadable files and names that cannot be stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Special {
    /// Store nothing, and name them all.
    #[default]
    Refuse,
    /// Store the rest.
    LeaveOut,
}

/// What a folder holds, seen once before it is packed.
pub(crate) struct Plan {
    root: PathBuf,
    entries: Vec<Entry>,
    size: u64,
    left_out: LeftOut,
}

struct Entry {
    /// Below the root, segments separated by `/`.
    path: String,
    directory: bool,
}

impl Plan {
    pub(crate) async fn of(root: PathBuf, special: Special) -> Result<Self, ClientError> {
        let walk = move || {
            let mut plan =
                Self { root: root.clone(), entries: Vec::new(), size: 0, left_out: LeftOut::default() };
            fs::read_dir(&root).map_err(ClientError::file(&root))?;
            plan.walk(&root, "");
            plan.entries.sort_by(|a, b| a.path.cmp(&b.path));
            if special == Special::Refuse && !plan.left_out.is_empty() {
                return Err(ClientError::Unpackable(plan.left_out));
            }
            Ok(plan)
        };
        tokio::task::spawn_blocking(walk)
            .await
            .map_err(|error| ClientError::Broken(io::Error::other(error)))?
    }

    /// Bytes as the files state them.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    fn walk(&mut self, folder: &Path, prefix: &str) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.left_out.note(folder, unreadable(&error)),
        };
        for entry in entries {
            match entry {
                Ok(entry) => self.take(&entry.path(), prefix),
                Err(error) => self.left_out.note(folder, unreadable(&error)),
            }
        }
    }

    fn take(&mut self, path: &Path, prefix: &str) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return self.left_out.note(path, "has a name that is not UTF-8");
        };
        let below = format!("{prefix}{name}");
        let problem = if self.entries.len() >= ENTRIES_MAX {
            Some("is one more than the million files and folders that an object holds")
        } else {
            path_problem(&below)
        };
        if let Some(problem) = problem {
            return self.left_out.note(path, problem);
        }
        match fs::symlink_metadata(path) {
            Err(error) => self.left_out.note(path, unreadable(&error)),
            Ok(found) if found.is_symlink() => self.left_out.note(path, "is a link"),
            Ok(found) if found.is_dir() => {
                let inside = format!("{below}/");
                self.entries.push(Entry { path: below, directory: true });
                self.walk(path, &inside);
            }
            Ok(found) if found.is_file() => match open_plain(path) {
                Err(error) => self.left_out.note(path, unreadable(&error)),
                Ok(_) => {
                    self.size = self.size.saturating_add(found.len());
                    self.entries.push(Entry { path: below, directory: false });
                }
            },
            Ok(_) => self.left_out.note(path, "is neither a file nor a folder"),
        }
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
            if entry.directory {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o755);
                header.set_size(0);
                archive.append_data(&mut header, format!("{}/", entry.path), io::empty())?;
                continue;
            }
            let path = self.root.join(&entry.path);
            append(&mut archive, &entry.path, &path)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        }
        archive.into_inner()?.flush()
    }
}

fn unreadable(error: &io::Error) -> String {
    format!("cannot be read: {error}")
}

/// Opens a file that must not have become a link or anything else since it was seen.
fn open_plain(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a plain file any more"))
    }
}

/// Appends a file. An archive tells a file's length before its content, so short files are read first; a long one has the
/// length that it states, unless it holds more than that already: then it is read to its end on the disk first.
fn append(archive: &mut tar::Builder<impl Write>, name: &str, path: &Path) -> io::Result<()> {
    let mut file = open_plain(path)?;
    let metadata = file.metadata()?;
    let mut header = tar::Header::new_gnu();
    header.set_mode(if metadata.permissions().mode() & RUN != 0 { 0o755 } else { 0o644 });
    let mut ahead = Vec::new();
    (&mut file).take(AHEAD).read_to_end(&mut ahead)?;
    let read = ahead.len() as u64;
    if read < AHEAD {
        header.set_size(read);
        return archive.append_data(&mut header, name, ahead.as_slice());
    }
    let stated = metadata.len();
    if stated > read {
        header.set_size(stated);
        let rest = Exactly { file, left: stated.saturating_sub(read) };
        return archive.append_data(&mut header, name, ahead.as_slice().chain(rest));
    }
    let mut spool = tempfile::tempfile()?;
    let length = io::copy(&mut ahead.as_slice().chain(&mut file), &mut spool)?;
    spool.rewind()?;
    header.set_size(length);
    archive.append_data(&mut header, name, spool)
}

/// What a file that became shorter while it was read is reported as.
pub(crate) fn shrunk() -> io::Error {
    io::Error::other("the file became shorter while it was read; try again when nothing changes it")
}

/// Exactly as many bytes as the header says. What is appended meanwhile belongs to another version.
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

#[cfg(test)]
mod tests {
    use std::os::unix::{ffi::OsStrExt as _, fs::symlink};

    use super::*;

    #[tokio::test]
    async fn what_cannot_be_stored_is_named_at_once_and_can_be_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        for name in ["Icon\r", "back\\slash", "sub/plain"] {
            fs::write(at(name), name).unwrap();
        }
        symlink("/etc/passwd", at("sub/link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        fs::write(folder.path().join(std::ffi::OsStr::from_bytes(b"not\xff")), "").unwrap();
        let Err(ClientError::Unpackable(named)) = Plan::of(folder.path().to_owned(), Special::Refuse).await
        else {
            panic!("a link, a socket and a name that is no text are stored");
        };
        let mut lines = named.lines();
        lines.sort();
        assert_eq!(lines.len(), 3, "{lines:?}");
        for (line, end) in lines.iter().zip(["is not UTF-8", "is neither a file nor a folder", "is a link"]) {
            assert!(line.ends_with(end), "{line}");
        }
        let plan = Plan::of(folder.path().to_owned(), Special::LeaveOut).await.unwrap();
        assert_eq!(plan.left_out(), &named);
        let paths: Vec<&str> = plan.entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["Icon\r", "back\\slash", "sub", "sub/plain"]);
    }

    /// Files below /proc state 0 bytes.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_stated_size_is_a_hint() {
        let mut archive = tar::Builder::new(Vec::new());
        append(&mut archive, "version", Path::new("/proc/version")).unwrap();
        let bytes = archive.into_inner().unwrap();
        let mut read = tar::Archive::new(bytes.as_slice());
        let mut content = Vec::new();
        read.entries().unwrap().next().unwrap().unwrap().read_to_end(&mut content).unwrap();
        assert_eq!(
            (fs::metadata("/proc/version").unwrap().len(), content),
            (0, fs::read("/proc/version").unwrap())
        );
    }

    #[test]
    fn a_file_that_becomes_shorter_is_an_error_and_one_that_grows_is_cut() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        for (left, whole) in [(7, true), (6, true), (8, false)] {
            file.rewind().unwrap();
            let mut read = Vec::new();
            let outcome = Exactly { file: file.try_clone().unwrap(), left }.read_to_end(&mut read);
            assert_eq!((outcome.is_ok(), read.len() as u64), (whole, left.min(7)));
        }
    }
}
