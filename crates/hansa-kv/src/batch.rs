//! Changes that are written together. They are in memory and not checked until they are written.

use crate::Space;

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The space the key is in.
    pub space: Space,
    /// The key.
    pub key: Vec<u8>,
    /// The new value; `None` removes the key.
    pub value: Option<Vec<u8>>,
}

/// An ordered list of changes in any spaces, written atomically. The last of several changes of a key wins.
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

    /// Removes a key. Removing an absent key is no error.
    pub fn remove(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        self.push(Change { space, key: key.into(), value: None });
    }

    /// Appends the changes of `other`.
    pub fn append(&mut self, mut other: Self) {
        self.size_bytes = self.size_bytes.saturating_add(other.size_bytes);
        self.changes.append(&mut other.changes);
    }

    /// The number of changes.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether the batch has no changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Total length of all keys and values in bytes. Bulk writers limit their batches by it.
    pub const fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// The changes in insertion order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The changes in insertion order, without a copy.
    pub fn into_changes(self) -> Vec<Change> {
        self.changes
    }

    /// The changed keys.
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
