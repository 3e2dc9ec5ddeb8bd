//! The entries of a folder that cannot be stored. The list is bounded, and decides nothing.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use hansa_types::printable;

/// Most entries that are named one by one.
const NAMED_MAX: usize = 1_000;

/// The entries of a folder that cannot be stored, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    items: Vec<(PathBuf, String)>,
    more: usize,
}

impl LeftOut {
    /// Adds an entry; beyond the first 1,000 they are only counted.
    pub(crate) fn note(&mut self, path: &Path, problem: impl Into<String>) {
        if self.items.len() < NAMED_MAX {
            self.items.push((path.to_owned(), problem.into()));
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// Whether there is nothing of that kind.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// A printable line for each path; the last one counts those beyond the first 1,000.
    pub fn lines(&self) -> Vec<String> {
        let line =
            |(path, problem): &(PathBuf, String)| format!("{} {problem}", printable(&path.to_string_lossy()));
        let mut lines: Vec<String> = self.items.iter().map(line).collect();
        if self.more > 0 {
            lines.push(format!("and {} more", self.more));
        }
        lines
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.items.as_slice(), self.more) {
            ([(path, problem)], 0) => write!(f, "{} {problem}, so it", path.display()),
            (items, more) => write!(f, "{} files and folders", items.len().saturating_add(more)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_what_cannot_be_stored_is_bounded() {
        let mut left_out = LeftOut::default();
        for number in 0..NAMED_MAX + 5 {
            left_out.note(Path::new(&number.to_string()), "is a link");
        }
        assert_eq!(left_out.lines().len(), NAMED_MAX + 1);
        assert_eq!(left_out.lines().last().unwrap(), "and 5 more");
    }
}
