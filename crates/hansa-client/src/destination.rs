//! Where an opened object goes. Everything that can be known beforehand is checked before the opening is asked for, so
//! that a refused destination costs no opening.
//!
//! Nothing that exists is removed, emptied or replaced unless it was named itself and replacing was asked for; a folder
//! keeps what is in it. Content is made without a name or under a hidden one, and appears at the destination when it is
//! complete. Content that has arrived is never thrown away because its place was taken meanwhile: it is put beside it
//! under a free name.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use hansa_types::NAME_BYTES_MAX;

use crate::{
    ClientError,
    scratch::{ScratchFile, ScratchFolder},
};

/// Names that are tried when one is taken.
const NAMES_MAX: u32 = 10_000;

/// A checked destination.
#[derive(Debug)]
pub struct Destination {
    place: Place,
    /// Where content is made; on the destination's file system.
    folder: PathBuf,
    /// Proves that a file can be made there, and becomes the object's file.
    scratch: ScratchFile,
}

#[derive(Debug)]
enum Place {
    /// Exactly this path.
    At { path: PathBuf, replace: bool },
    /// In the folder, under the object's own name or one like it.
    In,
    /// A folder that exists: a directory's files go into it, a file under its own name or one like it.
    Into,
}

impl Destination {
    /// The path `to`. With `replace`, a file or link there is replaced; an object of many files is merged into a folder
    /// there, and an object of one file is added to it.
    ///
    /// # Errors
    /// When something is there and `replace` is not set, when it is a device, pipe or socket, when the folder is missing
    /// or takes no new file, when the file system has no such names.
    pub fn at(to: &Path, replace: bool) -> Result<Self, ClientError> {
        let path = to.to_owned();
        let found = match fs::symlink_metadata(to) {
            Ok(_) if !replace => return Err(ClientError::Exists { path }),
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(ClientError::File { path, source }),
        };
        let is_folder = found.is_some() && fs::metadata(to).is_ok_and(|target| target.is_dir());
        if is_folder {
            return Self::new(Place::Into, path);
        }
        if found.is_some_and(|found| !found.is_file() && !found.is_symlink()) {
            return Err(ClientError::Special { path });
        }
        if to.file_name().is_none() {
            return Err(ClientError::File { path, source: io::ErrorKind::InvalidFilename.into() });
        }
        let folder = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = folder.to_owned();
        Self::new(Place::At { path, replace }, folder)
    }

    /// In `folder`, under the object's own name; with a number behind it where that is taken.
    ///
    /// # Errors
    /// When the folder is missing or takes no new file.
    pub fn within(folder: &Path) -> Result<Self, ClientError> {
        Self::new(Place::In, folder.to_owned())
    }

    fn new(place: Place, folder: PathBuf) -> Result<Self, ClientError> {
        match ScratchFile::make(&folder) {
            Ok(scratch) => Ok(Self { place, folder, scratch }),
            Err(source) => Err(ClientError::Folder { path: folder, source }),
        }
    }

    /// Checks that content of at least `needed` bytes has room.
    ///
    /// # Errors
    /// [`ClientError::NoRoom`]. A file system that does not say how much it has left is taken to have enough.
    pub fn room(&self, needed: u64) -> Result<(), ClientError> {
        let Ok(system) = rustix::fs::statvfs(&self.folder) else { return Ok(()) };
        let free = system.f_bavail.saturating_mul(system.f_frsize);
        if free >= needed {
            return Ok(());
        }
        Err(ClientError::NoRoom { path: self.folder.clone(), free, needed })
    }

    /// The file in the making, for errors.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file to write an object's content to.
    pub(crate) fn file(&self) -> &File {
        self.scratch.file()
    }

    /// A folder to unpack a directory into, beside the destination.
    pub(crate) fn scratch_folder(&self) -> Result<ScratchFolder, ClientError> {
        ScratchFolder::make(&self.folder)
            .map_err(|source| ClientError::Folder { path: self.folder.clone(), source })
    }

    /// Gives the written file its place; `name` is its own. Answers where it is.
    pub(crate) fn publish_file(self, name: &str, executable: bool) -> Result<PathBuf, ClientError> {
        let Self { place, folder, mut scratch } = self;
        let mode = match &place {
            Place::At { path, replace: true } => {
                fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)
            }
            _ => None,
        };
        let set = set_mode(scratch.file(), mode.map(|old| old.mode()), executable);
        set.map_err(ClientError::file(&folder))?;
        let path = match &place {
            Place::At { path, replace: true } if !is_folder(path) => {
                scratch.replace(path).map_err(ClientError::file(path))?;
                return Ok(path.clone());
            }
            Place::At { path, .. } => path.clone(),
            Place::In | Place::Into => folder.join(name),
        };
        let kept = under_free_name(&path, |free| scratch.publish(free))?;
        settled(place, path, kept)
    }

    /// Gives the unpacked folder its place; `name` is its own. Answers where it is.
    pub(crate) fn publish_folder(self, mut made: ScratchFolder, name: &str) -> Result<PathBuf, ClientError> {
        let Self { place, folder, .. } = self;
        let path = match &place {
            Place::Into if conflict(made.path(), &folder).map_err(ClientError::file(&folder))?.is_none() => {
                merge(made.path(), &folder)?;
                return Ok(folder);
            }
            Place::At { path, replace: true } if !is_folder(path) => {
                made.replace(path).map_err(ClientError::file(path))?;
                return Ok(path.clone());
            }
            Place::At { path, .. } => path.clone(),
            Place::In | Place::Into => folder.join(name),
        };
        let kept = under_free_name(&path, |free| made.publish(free))?;
        match place {
            // A file of the object meets a folder of the same name, or the reverse: neither is removed for the other.
            Place::Into => Err(ClientError::Kept { wanted: folder, kept }),
            place => settled(place, path, kept),
        }
    }
}

/// Content that went elsewhere than it was told is an error, so that no script goes on as if it were there.
fn settled(place: Place, wanted: PathBuf, kept: PathBuf) -> Result<PathBuf, ClientError> {
    match place {
        Place::At { .. } if kept != wanted => Err(ClientError::Kept { wanted, kept }),
        _ => Ok(kept),
    }
}

fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// Rights of a new file: those of the file it replaces, or else as the process's mask has it; to run it for whoever may
/// read it.
fn set_mode(file: &File, replaced: Option<u32>, executable: bool) -> io::Result<()> {
    let own = file.metadata()?.mode() & 0o666;
    let mode = replaced.map_or(own, |old| old & 0o666);
    let run = if executable { (mode & 0o444) >> 2 } else { 0 };
    if replaced.is_none() && run == 0 {
        Ok(())
    } else {
        file.set_permissions(Permissions::from_mode(mode | run))
    }
}

/// Publishes under the first free name of `x`, `x.1`, `x.2`, …
fn under_free_name(
    path: &Path,
    mut publish: impl FnMut(&Path) -> io::Result<()>,
) -> Result<PathBuf, ClientError> {
    for number in 0..NAMES_MAX {
        let free = numbered(path, number);
        match publish(&free) {
            Ok(()) => return Ok(free),
            Err(error) if taken(&error) => {}
            Err(source) => return Err(ClientError::File { path: free, source }),
        }
    }
    Err(ClientError::Exists { path: path.to_owned() })
}

fn taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty)
}

/// `x` for 0, else `x.NUMBER`; the name is shortened where it would become too long.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let (Some(name), true) = (path.file_name(), number > 0) else { return path.to_owned() };
    let (mut name, suffix) = (name.to_string_lossy().into_owned(), format!(".{number}"));
    let mut end = name.len().min(NAME_BYTES_MAX.saturating_sub(suffix.len()));
    while !name.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    name.truncate(end);
    path.with_file_name(name + &suffix)
}

/// The first path of `made` that does not fit into `into`: a folder where there is something else, or a file where there
/// is no file. Links in `into` are never followed.
fn conflict(made: &Path, into: &Path) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(made)? {
        let entry = entry?;
        let there = into.join(entry.file_name());
        let is_folder = entry.file_type()?.is_dir();
        match fs::symlink_metadata(&there) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(found) if is_folder && found.is_dir() => {
                if let Some(inner) = conflict(&entry.path(), &there)? {
                    return Ok(Some(inner));
                }
            }
            Ok(found) if !is_folder && (found.is_file() || found.is_symlink()) => {}
            Ok(_) => return Ok(Some(there)),
        }
    }
    Ok(None)
}

/// Moves all of `made` into `into`. Each file is replaced as a whole; what `made` does not hold stays.
fn merge(made: &Path, into: &Path) -> Result<(), ClientError> {
    for entry in fs::read_dir(made).map_err(ClientError::file(made))? {
        let entry = entry.map_err(ClientError::file(made))?;
        let there = into.join(entry.file_name());
        let both_folders = entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_folder(&there);
        if both_folders {
            merge(&entry.path(), &there)?;
        } else {
            fs::rename(entry.path(), &there).map_err(ClientError::file(&there))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_names_stay_legal() {
        assert_eq!(numbered(Path::new("a/x.txt"), 0), Path::new("a/x.txt"));
        assert_eq!(numbered(Path::new("a/x.txt"), 12), Path::new("a/x.txt.12"));
        let long = "ü".repeat(127);
        let name = numbered(Path::new(&long), 7);
        assert_eq!(name.as_os_str().len(), 254);
        assert!(name.to_str().unwrap().ends_with("ü.7"));
    }

    #[test]
    fn destinations_are_refused_before_anything_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("taken"), "mine").unwrap();
        std::os::unix::fs::symlink("/nowhere", at("dangling")).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        assert!(matches!(Destination::at(&at("taken"), false), Err(ClientError::Exists { .. })));
        assert!(matches!(Destination::at(&at("dangling"), false), Err(ClientError::Exists { .. })));
        assert!(matches!(Destination::at(&at("socket"), true), Err(ClientError::Special { .. })));
        assert!(matches!(Destination::at(Path::new("/dev/null"), true), Err(ClientError::Special { .. })));
        assert!(matches!(Destination::at(&at("none/x"), false), Err(ClientError::Folder { .. })));
        assert!(matches!(Destination::at(&at("taken/x"), false), Err(ClientError::File { .. })));
        assert!(matches!(Destination::at(&at(&"n".repeat(256)), false), Err(ClientError::File { .. })));
        assert!(matches!(Destination::at(Path::new(""), false), Err(ClientError::File { .. })));
        assert!(matches!(Destination::within(&at("none")), Err(ClientError::Folder { .. })));
        let free = Destination::at(&at("free"), false).unwrap();
        assert!(free.room(1).is_ok());
        assert!(matches!(free.room(u64::MAX), Err(ClientError::NoRoom { .. })));
        drop((free, socket));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "the checks leave nothing behind");
    }
}
