//! Unpacks the archive of a directory into a new folder. Nothing is ever written outside it.

use std::{
    fs::{self, File},
    io,
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::ClientError;

/// Pieces that may wait for the disk.
const WAITING: usize = 8;

/// Unpacks `pieces` into the empty folder `into`; its files must hold `size` bytes.
pub(crate) async fn unpack(
    pieces: impl Stream<Item = io::Result<Bytes>>,
    into: &Path,
    size: u64,
) -> Result<(), ClientError> {
    let (sender, waiting) = mpsc::channel::<io::Result<Bytes>>(WAITING);
    let reader = SyncIoBridge::new(StreamReader::new(tokio_stream::wrappers::ReceiverStream::new(waiting)));
    let folder = into.to_owned();
    let work = tokio::task::spawn_blocking(move || extract(reader, &folder));
    let mut pieces = std::pin::pin!(pieces);
    while let Some(piece) = pieces.next().await {
        if sender.send(piece).await.is_err() {
            // The work has ended and says why.
            break;
        }
    }
    drop(sender);
    let written = work.await.map_err(|error| ClientError::Broken(io::Error::other(error)))??;
    if written != size {
        return Err(ClientError::Broken(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(())
}

fn extract(reader: impl io::Read, into: &Path) -> Result<u64, ClientError> {
    let mut archive = tar::Archive::new(reader);
    let mut written = 0_u64;
    for entry in archive.entries().map_err(ClientError::Broken)? {
        let mut entry = entry.map_err(ClientError::Broken)?;
        let named = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = into.join(relative(&named).ok_or_else(|| ClientError::UnsafePath(named.clone()))?);
        match entry.header().entry_type() {
            tar::EntryType::Directory => fs::create_dir_all(&path).map_err(ClientError::file(&path))?,
            tar::EntryType::Regular => {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).map_err(ClientError::file(parent))?;
                }
                let mut file = File::create_new(&path).map_err(ClientError::file(&path))?;
                let copied = io::copy(&mut entry, &mut file).map_err(ClientError::file(&path))?;
                written = written.saturating_add(copied);
            }
            _ => return Err(ClientError::UnsafePath(named)),
        }
    }
    // The padding after the archive's end, so that the sender is not cut off.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(ClientError::Broken)?;
    Ok(written)
}

/// The path, if it is relative and goes only down.
fn relative(name: &str) -> Option<PathBuf> {
    if name.contains(['\\', '\0']) {
        return None;
    }
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(segment) => path.push(segment),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!path.as_os_str().is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(path: &str, kind: tar::EntryType) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(0o644);
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.resize(3 * 512, 0);
        bytes
    }

    #[test]
    fn nothing_is_written_outside_the_folder() {
        for path in ["../x", "/tmp/x", "a/../../x", "a\\..\\x", "."] {
            let folder = tempfile::tempdir().unwrap();
            let inner = folder.path().join("inner");
            fs::create_dir(&inner).unwrap();
            let outcome = extract(archive(path, tar::EntryType::Regular).as_slice(), &inner);
            assert!(matches!(outcome, Err(ClientError::UnsafePath(_))), "{path}: {outcome:?}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
            assert_eq!(fs::read_dir(&inner).unwrap().count(), 0);
        }
        for kind in
            [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo, tar::EntryType::Block]
        {
            let folder = tempfile::tempdir().unwrap();
            let outcome = extract(archive("x", kind).as_slice(), folder.path());
            assert!(matches!(outcome, Err(ClientError::UnsafePath(_))));
        }
    }
}
