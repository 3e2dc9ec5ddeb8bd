//! Changes to be written together. Holds them in memory; checks nothing.

use crate::Space;

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The space the key is in.
    pub space: Space,
    /// The key.
    pub key: Vec<u8>,
    /// The new value; none removes the key.
    pub value: Option<Vec<u8>>,
}

/// An ordered list of changes, possibly in several spaces, that are written all or none. Where it changes a key more
/// than once, the last change counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    changes: Vec<Change>,
    size_bytes: usize,
}

impl Batch {
    /// A batch without changes.
    pub const fn new() -> Self {
        Self { changes: Vec::new(), size_bytes: 0 }
    }

    /// Sets the value of a key.
    pub fn put(&mut self, space: Space, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.push(Change { space, key: key.into(), value: Some(value.into()) });
    }

    /// Removes a key; no error if it is not there.
    pub fn remove(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        self.push(Change { space, key: key.into(), value: None });
    }

    /// Adds the changes of `other` after those that are there.
    pub fn append(&mut self, mut other: Self) {
        self.size_bytes = self.size_bytes.saturating_add(other.size_bytes);
        self.changes.append(&mut other.changes);
    }

    /// The number of changes.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The length of all keys and values together: what a bulk writer limits its batches by.
    pub const fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// The changes in the order in which they were added.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The changes in the order in which they were added.
    pub fn into_changes(self) -> Vec<Change> {
        self.changes
    }

    /// The keys that are changed.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.changes.iter().map(|change| change.key.as_slice())
    }

    fn push(&mut self, change: Change) {
        let size_bytes = change.key.len().saturating_add(change.value.as_ref().map_or(0, Vec::len));
        self.size_bytes = self.size_bytes.saturating_add(size_bytes);
        self.changes.push(change);
    }
}

impl FromIterator<Change> for Batch {
    fn from_iter<I: IntoIterator<Item = Change>>(changes: I) -> Self {
        let mut batch = Self::new();
        changes.into_iter().for_each(|change| batch.push(change));
        batch
    }
}
