//! Directories in transit: tar archives, read and written as they stream.
//!
//! Only plain files and directories are taken; their paths are relative and stay below the root; each comes once. Long
//! paths in GNU's and in POSIX's form are read, GNU's are written. Of a mode only the owner's right to run a file is kept,
//! and written as 0755 or 0644; owners and times are not kept.

use hansa_api::ContentEntry;
use std::{
    collections::HashSet,
    io::{self, Read},
};

use hansa_types::path_problem;
use tar::{EntryType, Header};

/// Bytes in a block of an archive.
pub(crate) const BLOCK: usize = 512;
/// Longest extension record.
const EXTENSION_MAX: u64 = 64 * 1024;
/// The owner's right to run a file, in a mode.
const RUN: u32 = 0o100;
/// Most entries in one archive.
const ENTRIES_MAX: usize = 1_000_000;

/// What is wrong with an archive. Travels inside an [`io::Error`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// Not a tar archive.
    #[error("not a tar archive: {0}")]
    Malformed(&'static str),
    /// A path that may not be.
    #[error("{path:?} {problem}")]
    Path {
        /// As it stands in the archive.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// More than is taken.
    #[error("an archive holds at most {ENTRIES_MAX} entries")]
    TooMany,
}

impl From<ArchiveError> for io::Error {
    fn from(error: ArchiveError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Reads an archive entry by entry.
pub(crate) struct Archive<R> {
    reader: R,
    /// Bytes of the current entry that are still to be read, and the padding after them.
    left: u64,
    padding: u64,
    seen: HashSet<String>,
    ended: bool,
}

impl<R: Read> Archive<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, left: 0, padding: 0, seen: HashSet::new(), ended: false }
    }

    /// The next entry; what is left of the current one is skipped.
    pub(crate) fn next_entry(&mut self) -> io::Result<Option<ContentEntry>> {
        let (mut long_path, mut long_size) = (None, None);
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = header.entry_size().map_err(|_| ArchiveError::Malformed("a size cannot be read"))?;
            let kind = header.entry_type();
            match kind {
                EntryType::GNULongName => long_path = Some(trim_zeros(self.extension(size)?)),
                EntryType::XHeader => {
                    for (key, value) in records(&self.extension(size)?)? {
                        match key.as_str() {
                            "path" => long_path = Some(value.into_bytes()),
                            "size" => long_size = value.parse().ok(),
                            _ => {}
                        }
                    }
                }
                EntryType::XGlobalHeader => drop(self.extension(size)?),
                _ => {
                    let path = long_path.take().unwrap_or_else(|| header.path_bytes().into_owned());
                    let executable = header.mode().is_ok_and(|mode| mode & RUN != 0);
                    match self.entry(kind, &path, long_size.take().unwrap_or(size))? {
                        Some(entry) => {
                            let executable = executable && !entry.directory;
                            return Ok(Some(ContentEntry { executable, ..entry }));
                        }
                        None => continue,
                    }
                }
            }
        }
    }

    /// Reads bytes of the current entry; 0 at its end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let Some(buffer) = buffer.get_mut(..wanted).filter(|buffer| !buffer.is_empty()) else { return Ok(0) };
        let read = self.reader.read(buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }

    fn entry(&mut self, kind: EntryType, path: &[u8], size: u64) -> io::Result<Option<ContentEntry>> {
        let text = String::from_utf8_lossy(path).into_owned();
        let refused = |problem| ArchiveError::Path { path: text.clone(), problem };
        let directory = match kind {
            EntryType::Regular | EntryType::Continuous => false,
            EntryType::Directory => true,
            EntryType::Symlink | EntryType::Link => {
                return Err(refused("is a link; put the file it points to").into());
            }
            _ => return Err(refused("is neither a file nor a directory").into()),
        };
        if core::str::from_utf8(path).is_err() {
            return Err(refused("is not UTF-8").into());
        }
        let Some(path) = clean(&text).map_err(refused)? else {
            // The root itself, as `tar c .` writes it.
            return Ok(None);
        };
        if self.seen.len() >= ENTRIES_MAX {
            return Err(ArchiveError::TooMany.into());
        }
        if !self.seen.insert(path.clone()) {
            return Err(refused("comes twice").into());
        }
        if !directory {
            self.expect(size);
        }
        Ok(Some(ContentEntry { path, directory, executable: false, size: (!directory).then_some(size) }))
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.padding = padding(size);
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        let rest = self.left.saturating_add(self.padding);
        (self.left, self.padding) = (0, 0);
        let skipped = io::copy(&mut (&mut self.reader).take(rest), &mut io::sink())?;
        if skipped < rest { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn header(&mut self) -> io::Result<Option<Header>> {
        if self.ended {
            return Ok(None);
        }
        let mut header = Header::new_old();
        self.reader.read_exact(header.as_mut_bytes())?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            self.ended = true;
            // The second block of zeros and whatever pads the archive to its record size.
            io::copy(&mut self.reader, &mut io::sink())?;
            return Ok(None);
        }
        let sum: u32 = header.as_bytes().iter().enumerate().map(|(i, byte)| checksum_byte(i, *byte)).sum();
        match header.cksum() {
            Ok(stated) if stated == sum => Ok(Some(header)),
            _ => Err(ArchiveError::Malformed("a header's checksum is wrong").into()),
        }
    }

    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > EXTENSION_MAX {
            return Err(ArchiveError::Malformed("an extension is too long").into());
        }
        self.expect(size);
        let mut bytes = Vec::new();
        (&mut self.reader).take(size).read_to_end(&mut bytes)?;
        self.left = size.saturating_sub(bytes.len() as u64);
        if self.left > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }
}

/// The checksum counts its own field as blanks.
fn checksum_byte(index: usize, byte: u8) -> u32 {
    if (148..156).contains(&index) { u32::from(b' ') } else { u32::from(byte) }
}

fn trim_zeros(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// Reads POSIX extension records: `LENGTH KEY=VALUE\n`, the length counting all of it.
fn records(mut bytes: &[u8]) -> io::Result<Vec<(String, String)>> {
    let malformed = || ArchiveError::Malformed("an extension record cannot be read");
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
        let digits =
            bytes.get(..blank).and_then(|digits| core::str::from_utf8(digits).ok()).ok_or_else(malformed)?;
        let length: usize = digits.parse().map_err(|_| malformed())?;
        let start = blank.saturating_add(1);
        let record = bytes.get(start..length).and_then(|r| r.strip_suffix(b"\n")).ok_or_else(malformed)?;
        let text = core::str::from_utf8(record).map_err(|_| malformed())?;
        let (key, value) = text.split_once('=').ok_or_else(malformed)?;
        found.push((key.to_owned(), value.to_owned()));
        bytes = bytes.get(length..).ok_or_else(malformed)?;
    }
    Ok(found)
}

/// A path in its one form, `None` for the root itself.
fn clean(path: &str) -> Result<Option<String>, &'static str> {
    if path.starts_with('/') {
        return Err("is absolute");
    }
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty() && *s != ".").collect();
    if segments.is_empty() {
        return Ok(None);
    }
    let path = segments.join("/");
    path_problem(&path).map_or(Ok(Some(path)), Err)
}

/// Zeros that follow a file of this size.
pub(crate) fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

/// The header blocks of an entry.
pub(crate) fn header_of(entry: &ContentEntry) -> Vec<u8> {
    let path = if entry.directory { format!("{}/", entry.path) } else { entry.path.clone() };
    let kind = if entry.directory { EntryType::Directory } else { EntryType::Regular };
    let mode = if entry.directory || entry.executable { 0o755 } else { 0o644 };
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(entry.size.unwrap_or_default());
    let mut blocks = Vec::with_capacity(BLOCK);
    let name = path.as_bytes();
    // The name's field ends with a zero; what does not fit stands in an entry of its own before this one.
    let field = &mut header.as_old_mut().name;
    let kept = name.len().min(field.len().saturating_sub(1));
    for (to, from) in field.iter_mut().zip(name.iter().take(kept)) {
        *to = *from;
    }
    if kept < name.len() {
        blocks.extend(long_name(name));
    }
    header.set_cksum();
    blocks.extend_from_slice(header.as_bytes());
    blocks
}

fn long_name(name: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    for (to, from) in header.as_old_mut().name.iter_mut().zip(b"././@LongLink") {
        *to = *from;
    }
    let size = name.len() as u64 + 1;
    header.set_entry_type(EntryType::GNULongName);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    let mut blocks = header.as_bytes().to_vec();
    blocks.extend_from_slice(name);
    blocks.push(0);
    blocks.resize(blocks.len() + padding(size) as usize, 0);
    blocks
}

/// The two blocks of zeros that end an archive.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size: u64) -> ContentEntry {
        ContentEntry { path: path.to_owned(), directory: false, executable: false, size: Some(size) }
    }

    fn archive(entries: &[(ContentEntry, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (entry, content) in entries {
            bytes.extend(header_of(entry));
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len() + padding(content.len() as u64) as usize, 0);
        }
        bytes.extend(END);
        bytes
    }

    fn read_all(bytes: &[u8]) -> io::Result<Vec<(ContentEntry, Vec<u8>)>> {
        let mut archive = Archive::new(bytes);
        let mut found = Vec::new();
        while let Some(entry) = archive.next_entry()? {
            let mut content = Vec::new();
            let mut buffer = [0; 100];
            loop {
                match archive.read(&mut buffer)? {
                    0 => break,
                    n => content.extend_from_slice(&buffer[..n]),
                }
            }
            found.push((entry, content));
        }
        Ok(found)
    }

    #[test]
    fn what_is_written_is_read_and_the_tar_crate_agrees() {
        let long = format!("{}/ünïcode.txt", "deep/".repeat(60).trim_end_matches('/'));
        let directory =
            ContentEntry { path: "empty".to_owned(), directory: true, executable: false, size: None };
        let program = ContentEntry { executable: true, ..file("run\r\\.sh", 2) };
        let entries: Vec<(ContentEntry, &[u8])> = vec![
            (directory, b""),
            (file("a.txt", 5), b"hello"),
            (file(&long, 600), &[7; 600]),
            (program, b"#!"),
            (file("z", 0), b""),
        ];
        let bytes = archive(&entries);
        let found = read_all(&bytes).unwrap();
        assert_eq!(found.len(), entries.len());
        for ((expected, content), (entry, read)) in entries.iter().zip(&found) {
            assert_eq!((expected, *content), (entry, read.as_slice()));
        }
        let mut other = tar::Archive::new(bytes.as_slice());
        let paths: Vec<String> = other
            .entries()
            .unwrap()
            .map(|e| e.unwrap().path().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(paths, ["empty/", "a.txt", &long, "run\r\\.sh", "z"]);
    }

    #[test]
    fn archives_of_the_tar_crate_are_read() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = Header::new_ustar();
        header.set_size(3);
        header.set_mode(0o600);
        builder.append_data(&mut header, "./sub/./x", &b"abc"[..]).unwrap();
        let bytes = builder.into_inner().unwrap();
        assert_eq!(read_all(&bytes).unwrap(), vec![(file("sub/x", 3), b"abc".to_vec())]);
    }

    #[test]
    fn unsafe_paths_links_and_repetitions_are_refused() {
        let problem = |bytes: &[u8]| {
            let error = read_all(bytes).unwrap_err();
            error.get_ref().and_then(|e| e.downcast_ref::<ArchiveError>()).cloned().unwrap()
        };
        for path in ["/etc/passwd", "../x", "a/../../x", &"x".repeat(256)] {
            assert!(
                matches!(problem(&archive(&[(file(path, 0), b"")])), ArchiveError::Path { .. }),
                "{path}"
            );
        }
        let twice = archive(&[(file("a", 0), b""), (file("./a", 0), b"")]);
        assert!(matches!(problem(&twice), ArchiveError::Path { problem: "comes twice", .. }));
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        header.as_old_mut().name[0] = b'l';
        header.set_cksum();
        assert!(matches!(problem(header.as_bytes()), ArchiveError::Path { .. }));
    }

    #[test]
    fn truncated_and_garbled_archives_are_errors() {
        let bytes = archive(&[(file("a.txt", 600), &[7; 600])]);
        for end in 0..bytes.len() - 2 * BLOCK {
            assert!(read_all(&bytes[..end]).is_err(), "{end}");
        }
        for at in 0..BLOCK {
            let mut garbled = bytes.clone();
            garbled[at] ^= 0x41;
            // Whatever it makes of it, it neither panics nor reads past the end.
            let _ = read_all(&garbled);
        }
        assert!(read_all(&[b'x'; 4 * BLOCK]).is_err());
    }
}
