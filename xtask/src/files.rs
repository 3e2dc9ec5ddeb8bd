//! The files of the story: what to protect, and whether what came back is the same.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use crate::Outcome;

/// Writes `bytes` of data that no compressor shortens: a 64-bit xorshift sequence from a fixed seed.
pub(crate) fn generate(path: &Path, bytes: usize) -> Outcome {
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    let mut file = BufWriter::with_capacity(1 << 20, fs::File::create(path).map_err(failed)?);
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut left = bytes;
    while left > 0 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let word = state.to_le_bytes();
        let take = left.min(word.len());
        file.write_all(word.get(..take).unwrap_or_default()).map_err(failed)?;
        left -= take;
    }
    file.flush().map_err(failed)
}

/// Every file below `path` by its relative name, or the file itself under the empty name.
fn tree(path: &Path) -> Outcome<BTreeMap<PathBuf, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut open = vec![path.to_path_buf()];
    while let Some(next) = open.pop() {
        if next.is_dir() {
            let entries = fs::read_dir(&next).map_err(|e| format!("{}: {e}", next.display()))?;
            open.extend(entries.flatten().map(|entry| entry.path()));
        } else {
            let name = next.strip_prefix(path).unwrap_or(Path::new("")).to_path_buf();
            found.insert(name, next);
        }
    }
    Ok(found)
}

/// Compares two files or folders byte for byte and returns how many bytes were equal.
pub(crate) fn same(left: &Path, right: &Path) -> Outcome<u64> {
    let (a, b) = (tree(left)?, tree(right)?);
    if a.keys().ne(b.keys()) {
        return Err(format!("{} and {} do not hold the same names", left.display(), right.display()));
    }
    let mut total = 0;
    for (name, path) in &a {
        let other = b.get(name).ok_or("compared above")?;
        let (x, y) = (read(path)?, read(other)?);
        if x != y {
            return Err(format!("{} differs from {}", other.display(), path.display()));
        }
        total += x.len() as u64;
    }
    Ok(total)
}

/// Bytes in a file, or in all files below a folder.
pub(crate) fn size(path: &Path) -> Outcome<u64> {
    let length =
        |file: &PathBuf| fs::metadata(file).map(|m| m.len()).map_err(|e| format!("{}: {e}", file.display()));
    tree(path)?.values().map(length).sum()
}

/// Makes a copy of a file or folder with a line, or a file, more.
pub(crate) fn amended(original: &Path, copy: &Path) -> Outcome {
    let failed = |e: std::io::Error| format!("{}: {e}", copy.display());
    let place = |name: &Path| if original.is_dir() { copy.join(name) } else { copy.to_path_buf() };
    for (name, file) in tree(original)? {
        let to = place(&name);
        fs::create_dir_all(to.parent().unwrap_or(copy)).map_err(failed)?;
        // Not its permissions: the copy is written to.
        fs::write(&to, read(&file)?).map_err(failed)?;
    }
    let mut options = fs::OpenOptions::new();
    let mut file = options.append(true).create(true).open(place(Path::new("amended.txt"))).map_err(failed)?;
    file.write_all(b"\namended\n").map_err(failed)
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}
