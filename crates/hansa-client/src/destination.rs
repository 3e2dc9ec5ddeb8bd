//! Destinations of opened objects and of files that a command makes itself. A destination is checked before the opening is
//! requested, so that a refused one costs no opening.
//!
//! Nothing that exists is removed, emptied or replaced unless it was named itself and replacing was asked for; a folder
//! keeps what is in it. Content is made without a name or under a hidden one, and appears at the destination when it is
//! complete. Content that has arrived is never thrown away because its place was taken meanwhile: it is put beside it
//! under a free name.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
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
/// Rights of a file that others may read, less those that the process's mask takes away.
const ANYBODY: u32 = 0o666;
/// Rights of a file with a secret.
const OWNER_ALONE: u32 = 0o600;

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
        let found = found(to, replace)?;
        let path = to.to_owned();
        let is_folder = found.is_some() && fs::metadata(to).is_ok_and(|target| target.is_dir());
        if is_folder {
            return Self::new(Place::Into, path, ANYBODY);
        }
        if found.is_some_and(|found| !is_replaceable(&found)) {
            return Err(ClientError::Special { path });
        }
        Self::new(Place::At { path, replace }, folder_of(to)?, ANYBODY)
    }

    /// The path `to` for a file that the command makes itself and gives to [`Destination::write`]. With `replace`, a file
    /// or link there is replaced.
    ///
    /// # Errors
    /// When something is there and `replace` is not set, when it is neither file nor link, when the folder is missing or
    /// takes no new file, when the file system has no such names.
    pub fn of_file(to: &Path, replace: bool) -> Result<Self, ClientError> {
        Self::of_own(to, replace, ANYBODY)
    }

    /// As [`Destination::of_file`], for a file that never anybody but this account can read.
    ///
    /// # Errors
    /// As there.
    pub fn of_secret(to: &Path, replace: bool) -> Result<Self, ClientError> {
        Self::of_own(to, replace, OWNER_ALONE)
    }

    fn of_own(to: &Path, replace: bool, mode: u32) -> Result<Self, ClientError> {
        let path = to.to_owned();
        if found(to, replace)?.is_some_and(|found| !is_replaceable(&found)) {
            return Err(ClientError::NotAFile { path });
        }
        Self::new(Place::At { path, replace }, folder_of(to)?, mode)
    }

    /// In `folder`, under the object's own name; with a number behind it where that is taken.
    ///
    /// # Errors
    /// When the folder is missing or takes no new file.
    pub fn within(folder: &Path) -> Result<Self, ClientError> {
        Self::new(Place::In, folder.to_owned(), ANYBODY)
    }

    fn new(place: Place, folder: PathBuf, mode: u32) -> Result<Self, ClientError> {
        match ScratchFile::make(&folder, mode) {
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

    /// Writes the file and gives it its place. It is durable when this returns.
    ///
    /// # Errors
    /// When it cannot be written, when its place was taken meanwhile; nothing is left of it then.
    pub fn write(self, bytes: &[u8]) -> Result<(), ClientError> {
        let Self { place, folder, mut scratch } = self;
        let (path, replace) = match place {
            Place::At { path, replace } => (path, replace),
            Place::In | Place::Into => return Err(ClientError::NotAFile { path: folder }),
        };
        let mut file = scratch.file();
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(ClientError::file(&path))?;
        let published = if replace { scratch.replace(&path) } else { scratch.publish(&path) };
        match published {
            Err(error) if taken(&error) => return Err(ClientError::Exists { path }),
            other => other.map_err(ClientError::file(&path))?,
        }
        File::open(&folder).and_then(|folder| folder.sync_all()).map_err(ClientError::file(folder))
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

/// The file, folder or link at a destination.
///
/// # Errors
/// When it must not be replaced.
fn found(to: &Path, replace: bool) -> Result<Option<fs::Metadata>, ClientError> {
    let path = to.to_owned();
    match fs::symlink_metadata(to) {
        Ok(_) if !replace => Err(ClientError::Exists { path }),
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ClientError::File { path, source }),
    }
}

fn is_replaceable(found: &fs::Metadata) -> bool {
    found.is_file() || found.is_symlink()
}

/// The folder that a path's file is in.
fn folder_of(path: &Path) -> Result<PathBuf, ClientError> {
    if path.file_name().is_none() {
        let source = io::ErrorKind::InvalidFilename.into();
        return Err(ClientError::File { path: path.to_owned(), source });
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok(folder.unwrap_or(Path::new(".")).to_owned())
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

    #[test]
    fn a_commands_own_file_replaces_what_was_named_and_a_secret_is_never_readable_by_others() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mode = |name: &str| fs::symlink_metadata(at(name)).unwrap().mode() & 0o777;
        fs::write(at("target"), "kept").unwrap();
        std::os::unix::fs::symlink(at("target"), at("link")).unwrap();
        fs::write(at("open"), "old").unwrap();
        fs::set_permissions(at("open"), Permissions::from_mode(0o644)).unwrap();
        fs::create_dir(at("folder")).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for name in ["link", "open", "folder", "socket"] {
            let refused = Destination::of_secret(&at(name), false);
            assert!(matches!(refused, Err(ClientError::Exists { .. })), "{name}");
        }
        for name in ["folder", "socket"] {
            let refused = Destination::of_file(&at(name), true);
            assert!(matches!(refused, Err(ClientError::NotAFile { .. })), "{name}");
        }
        for name in ["link", "open", "free"] {
            let secret = Destination::of_secret(&at(name), name != "free").unwrap();
            assert_eq!(
                secret.file().metadata().unwrap().mode() & 0o777,
                OWNER_ALONE,
                "before its first byte"
            );
            secret.write(b"secret").unwrap();
            assert_eq!((fs::read(at(name)).unwrap(), mode(name)), (b"secret".into(), OWNER_ALONE), "{name}");
        }
        assert_eq!(fs::read(at("target")).unwrap(), b"kept", "what a link points to stays");
        let late = Destination::of_file(&at("late"), false).unwrap();
        fs::write(at("late"), "mine").unwrap();
        assert!(matches!(late.write(b"x"), Err(ClientError::Exists { .. })));
        assert_eq!(fs::read(at("late")).unwrap(), b"mine");
        drop(socket);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 7, "nothing else is left");
    }
}
