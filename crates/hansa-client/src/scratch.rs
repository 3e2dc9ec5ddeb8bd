//! Files and folders in the making, on the file system of their destination.
//!
//! A file has no name until it is complete, where the system can do that: not even a killed process leaves any of it
//! behind. Elsewhere, and for folders, the name is short and hidden, and what has it is removed on every way out but a kill.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::{Builder, NamedTempFile, TempDir};

/// Hidden names begin and end with these; with what is between they are far shorter than the longest name.
const PREFIX: &str = ".hansa-";
const SUFFIX: &str = ".partial";

/// A file in the making.
#[derive(Debug)]
pub(crate) struct ScratchFile(Option<Kind>);

#[derive(Debug)]
enum Kind {
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "files without a name are Linux's"))]
    Unnamed(File),
    Named(NamedTempFile),
}

impl ScratchFile {
    /// Makes it with these rights, less those that the process's mask takes away.
    pub(crate) fn make(folder: &Path, mode: u32) -> io::Result<Self> {
        let kind = match unnamed(folder, mode)? {
            Some(file) => Kind::Unnamed(file),
            None => Kind::Named(builder(mode).tempfile_in(folder)?),
        };
        Ok(Self(Some(kind)))
    }

    pub(crate) fn file(&self) -> &File {
        match self.0.as_ref().expect("invariant: a published file is not written any more") {
            Kind::Unnamed(file) => file,
            Kind::Named(named) => named.as_file(),
        }
    }

    /// Gives the file a free name.
    ///
    /// # Errors
    /// `AlreadyExists` when it is taken; the file can be given another name then.
    pub(crate) fn publish(&mut self, to: &Path) -> io::Result<()> {
        match self.0.take() {
            Some(Kind::Named(named)) => named.persist_noclobber(to).map(drop).map_err(|failed| {
                self.0 = Some(Kind::Named(failed.file));
                failed.error
            }),
            Some(Kind::Unnamed(file)) => {
                let outcome = link(&file, to);
                self.0 = Some(Kind::Unnamed(file));
                outcome
            }
            None => Ok(()),
        }
    }

    /// Gives the file a name, in place of the file or link that has it.
    pub(crate) fn replace(&mut self, to: &Path) -> io::Result<()> {
        match self.0.take() {
            Some(Kind::Named(named)) => named.persist(to).map(drop).map_err(|failed| failed.error),
            Some(Kind::Unnamed(file)) => {
                // A name can only be given to a file without one where it is free; a rename then takes the other's.
                let hidden = to.with_file_name(format!("{PREFIX}{:016x}{SUFFIX}", rand::random::<u64>()));
                link(&file, &hidden)?;
                fs::rename(&hidden, to).inspect_err(|_| drop(fs::remove_file(&hidden)))
            }
            None => Ok(()),
        }
    }
}

/// A folder in the making.
#[derive(Debug)]
pub(crate) struct ScratchFolder(TempDir);

impl ScratchFolder {
    pub(crate) fn make(beside: &Path) -> io::Result<Self> {
        Ok(Self(builder(0o777).tempdir_in(beside)?))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Gives the folder a free name.
    ///
    /// # Errors
    /// `AlreadyExists` or `DirectoryNotEmpty` when it is taken; the folder can be given another name then.
    pub(crate) fn publish(&mut self, to: &Path) -> io::Result<()> {
        rename_free(self.path(), to)?;
        self.0.disable_cleanup(true);
        Ok(())
    }

    /// Gives the folder a name, in place of the file or link that has it.
    pub(crate) fn replace(&mut self, to: &Path) -> io::Result<()> {
        // A folder cannot be renamed over a file, so the file steps aside first, and back if the second step fails.
        let old = self.path().with_extension("old");
        match fs::rename(to, &old) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.publish(to),
            other => other?,
        }
        self.publish(to).inspect_err(|_| drop(fs::rename(&old, to)))?;
        fs::remove_file(&old)
    }
}

fn builder(mode: u32) -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX).rand_bytes(12).permissions(fs::Permissions::from_mode(mode));
    builder
}

/// A file without a name; `None` where the file system or the system has none.
#[cfg(target_os = "linux")]
fn unnamed(folder: &Path, mode: u32) -> io::Result<Option<File>> {
    use rustix::{
        fs::{Mode, OFlags, open},
        io::Errno,
    };
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match open(folder, flags, Mode::from_raw_mode(mode)) {
        // Without /proc it could not be given a name later.
        Ok(file) => {
            let file = File::from(file);
            Ok(handle(&file).exists().then_some(file))
        }
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn unnamed(_: &Path, _: u32) -> io::Result<Option<File>> {
    Ok(None)
}

/// A path that leads to an open file.
fn handle(file: &File) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn link(file: &File, to: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};
    Ok(linkat(CWD, handle(file), CWD, to, AtFlags::SYMLINK_FOLLOW)?)
}

/// Renames a folder where nothing has the new name.
#[cfg(target_os = "linux")]
fn rename_free(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::{
        fs::{CWD, RenameFlags, renameat_with},
        io::Errno,
    };
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => rename_checked(from, to),
        other => Ok(other?),
    }
}

#[cfg(not(target_os = "linux"))]
fn rename_free(from: &Path, to: &Path) -> io::Result<()> {
    rename_checked(from, to)
}

/// For systems that cannot do both in one step. A rename of a folder replaces an empty folder at most.
fn rename_checked(from: &Path, to: &Path) -> io::Result<()> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(from, to)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn both(folder: &Path) -> [ScratchFile; 2] {
        let named = ScratchFile(Some(Kind::Named(builder(0o666).tempfile_in(folder).unwrap())));
        [ScratchFile::make(folder, 0o666).unwrap(), named]
    }

    #[test]
    fn a_file_takes_free_names_only_or_replaces_what_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for mut scratch in both(folder.path()) {
            fs::write(at("taken"), "mine").unwrap();
            scratch.file().write_all(b"new").unwrap();
            let refused = scratch.publish(&at("taken")).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
            let longest = at(&"n".repeat(255));
            scratch.publish(&longest).unwrap();
            drop(scratch);
            assert_eq!(
                (fs::read(&longest).unwrap(), fs::read(at("taken")).unwrap()),
                (b"new".into(), b"mine".into())
            );
            fs::remove_file(longest).unwrap();
        }
        for mut scratch in both(folder.path()) {
            scratch.file().write_all(b"new").unwrap();
            scratch.replace(&at("taken")).unwrap();
            let mut text = String::new();
            File::open(at("taken")).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "new");
        }
        assert_eq!(names(folder.path()), ["taken"]);
    }

    #[test]
    fn a_folder_takes_free_names_only_or_replaces_the_file_that_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("empty")).unwrap();
        fs::write(at("file"), "old").unwrap();
        let mut scratch = ScratchFolder::make(folder.path()).unwrap();
        fs::write(scratch.path().join("x"), "x").unwrap();
        for taken in ["empty", "file"] {
            assert!(scratch.publish(&at(taken)).is_err(), "{taken}");
        }
        scratch.replace(&at("file")).unwrap();
        drop(scratch);
        drop(ScratchFolder::make(folder.path()).unwrap());
        assert_eq!(
            (names(folder.path()), names(&at("file"))),
            (vec!["empty".into(), "file".into()], vec!["x".into()])
        );
    }
}
