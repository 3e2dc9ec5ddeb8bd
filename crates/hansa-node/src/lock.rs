//! Holds a folder for one process, so that no second one works in it.
//!
//! An advisory lock on a file `lock`, which ends with its process however that one ends. The file says who holds it and
//! what it is doing, for people: nothing is decided from its text.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use crate::NodeError;

const FILE: &str = "lock";
/// How often a lock is tried for, and the pause between: a process that is just ending, or one that only looks, gives way.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(50);
/// Longest text that is read from a lock.
const TEXT_BYTES_MAX: u64 = 4_096;

/// A folder that belongs to this process until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct FolderLock(Arc<Mutex<File>>);

/// The process that holds a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: String,
    /// What it is doing, where it has said so.
    pub doing: String,
}

fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

fn open(folder: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path(folder))
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing tells when another process gives up a lock, and no task waits here"
)]
fn pause() {
    std::thread::sleep(PAUSE);
}

impl FolderLock {
    /// Takes the folder, making it if need be. Waits for a second at most.
    ///
    /// # Errors
    /// [`NodeError::InUse`] when another process holds it; when the folder cannot be written.
    pub fn take(folder: &Path) -> Result<Self, NodeError> {
        let failed = |source| NodeError::Write { path: path(folder), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let file = open(folder).map_err(failed)?;
        for _ in 0..TRIES {
            match file.try_lock() {
                Ok(()) => {
                    let lock = Self(Arc::new(Mutex::new(file)));
                    lock.say("").map_err(failed)?;
                    return Ok(lock);
                }
                Err(TryLockError::WouldBlock) => pause(),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        let pid = read(&file).map_or_else(|_| "?".to_owned(), |holder| holder.pid);
        Err(NodeError::InUse { path: folder.to_owned(), pid })
    }

    /// Notes what this process is doing.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn say(&self, doing: &str) -> io::Result<()> {
        let mut file = self.0.lock();
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}\n{doing}\n", std::process::id())
    }

    /// Who holds a folder; `None` where nobody does.
    pub fn holder(folder: &Path) -> Option<Holder> {
        let file = File::open(path(folder)).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => read(&file).ok(),
            _ => None,
        }
    }
}

fn read(mut file: &File) -> io::Result<Holder> {
    let mut text = String::new();
    file.rewind()?;
    file.take(TEXT_BYTES_MAX).read_to_string(&mut text)?;
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap_or_default().trim().to_owned();
    Ok(Holder { pid: next(), doing: next() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_one_at_a_time_and_names_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("data");
        assert_eq!(FolderLock::holder(&folder), None);
        let lock = FolderLock::take(&folder).unwrap();
        let pid = std::process::id().to_string();
        match FolderLock::take(&folder) {
            Err(NodeError::InUse { pid: holder, .. }) => assert_eq!(holder, pid),
            other => panic!("{other:?}"),
        }
        lock.say("founding: waiting for riga").unwrap();
        let doing = "founding: waiting for riga".to_owned();
        assert_eq!(FolderLock::holder(&folder), Some(Holder { pid, doing }));
        drop(lock);
        assert_eq!(FolderLock::holder(&folder), None);
        FolderLock::take(&folder).unwrap();
    }
}
