//! Unpacks the archive of a directory into a new folder. Nothing is ever written outside it.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Component, Path, PathBuf},
};

use crate::ClientError;

/// Bytes that are copied at a time.
const PIECE: usize = 256 * 1024;
/// Any right to run a file, in a mode.
const RUN: u32 = 0o111;

/// Unpacks an archive into the empty folder `into`; its files must hold `size` bytes. Files that can be run stay so for
/// whoever the process's mask lets; nothing else of a mode is taken over.
pub(crate) fn unpack(reader: impl Read, into: &Path, size: u64) -> Result<(), ClientError> {
    let written = extract(reader, into)?;
    if written != size {
        return Err(ClientError::Broken(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(())
}

fn extract(reader: impl Read, into: &Path) -> Result<u64, ClientError> {
    let mut archive = tar::Archive::new(reader);
    let mut buffer = vec![0; PIECE];
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
                let runs = entry.header().mode().is_ok_and(|mode| mode & RUN != 0);
                let mode = if runs { 0o777 } else { 0o666 };
                let file = File::options().write(true).create_new(true).mode(mode).open(&path);
                let mut file = file.map_err(ClientError::file(&path))?;
                let copied = copy(&mut entry, &mut file, &path, &mut buffer)?;
                written = written.saturating_add(copied);
            }
            _ => return Err(ClientError::UnsafePath(named)),
        }
    }
    // The padding after the archive's end, so that the sender is not cut off.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(ClientError::Broken)?;
    Ok(written)
}

/// Copies a file, and tells a connection that broke off from a disk that is full.
fn copy(
    from: &mut impl Read,
    to: &mut impl Write,
    path: &Path,
    buffer: &mut [u8],
) -> Result<u64, ClientError> {
    let mut copied = 0_u64;
    loop {
        let count = from.read(buffer).map_err(ClientError::Broken)?;
        let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else { return Ok(copied) };
        to.write_all(piece).map_err(ClientError::file(path))?;
        copied = copied.saturating_add(count as u64);
    }
}

/// The path, if it is relative and goes only down.
fn relative(name: &str) -> Option<PathBuf> {
    if name.contains('\0') {
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

    /// An owner's archive cannot make a program that runs as its owner, nor a file that anybody may write.
    #[test]
    fn of_a_mode_only_the_right_to_run_is_taken_over() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let mut builder = tar::Builder::new(Vec::new());
        for (name, mode) in [("setuid", 0o7777), ("plain", 0o666), ("shut", 0o000), ("Icon\r", 0o4666)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            header.set_mode(mode);
            builder.append_data(&mut header, name, &b"x"[..]).unwrap();
        }
        unpack(builder.into_inner().unwrap().as_slice(), folder.path(), 4).unwrap();
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode("setuid") & 0o7700, 0o700);
        for name in ["plain", "shut", "Icon\r"] {
            assert_eq!(mode(name) & 0o7711, 0o600, "{name:?}");
        }
    }

    #[test]
    fn nothing_is_written_outside_the_folder() {
        for path in ["../x", "/tmp/x", "a/../../x", "."] {
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
