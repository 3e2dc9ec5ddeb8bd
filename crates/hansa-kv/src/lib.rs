//! Stores ordered key-value pairs in atomic, durable batches.
//!
//! [`KvStore`] is the boundary between everything that keeps data and the engine that keeps it: [`FjallStore`] on disk,
//! [`MemoryStore`] for tests and simulation. Keys are compared as byte strings. The crate knows nothing about what is
//! stored, promises no isolation between writers (the callers own disjoint spaces or serialise themselves), and never
//! retries: a failed write is an error after which the process must stop, because what it acknowledged later could rest
//! on a hole. [`Watched`] tells whoever runs the process.

mod batch;
mod bulk;
mod error;
mod fjall_store;
mod memory;
mod watched;

#[cfg(test)]
mod tests;

use std::ops::Bound;

pub use batch::{Batch, Change};
pub use bulk::{BulkWriter, Fill};
pub use error::KvError;
pub use fjall_store::{FjallOptions, FjallStore};
pub use memory::MemoryStore;
pub use watched::{Alarm, Watched};

/// The name of a keyspace. Spaces are opened together with the store; writing to one that was not is an error.
///
/// A name has 1 to 64 characters of `a-z`, `0-9` and `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Space(&'static str);

impl Space {
    /// Names a space.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The name as given.
    pub const fn name(self) -> &'static str {
        self.0
    }
}

impl std::fmt::Display for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// A key with its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// In which order a scan runs through its range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    #[default]
    Ascending,
    /// Largest key first.
    Descending,
}

/// A range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// Where it begins.
    pub start: Bound<Vec<u8>>,
    /// Where it ends.
    pub end: Bound<Vec<u8>>,
}

impl KeyRange {
    /// Every key of a space.
    pub const fn all() -> Self {
        Self { start: Bound::Unbounded, end: Bound::Unbounded }
    }

    /// Every key that starts with `prefix`, `prefix` itself included.
    pub fn prefix(prefix: &[u8]) -> Self {
        let end = match successor(prefix) {
            Some(end) => Bound::Excluded(end),
            None => Bound::Unbounded,
        };
        Self { start: Bound::Included(prefix.to_vec()), end }
    }

    /// Every key from `start` on.
    pub fn from(start: &[u8]) -> Self {
        Self { start: Bound::Included(start.to_vec()), end: Bound::Unbounded }
    }

    /// Every key up to and including `end`.
    pub fn up_to(end: &[u8]) -> Self {
        Self { start: Bound::Unbounded, end: Bound::Included(end.to_vec()) }
    }

    /// Every key from `start` (included) to `end` (excluded).
    pub fn between(start: &[u8], end: &[u8]) -> Self {
        Self { start: Bound::Included(start.to_vec()), end: Bound::Excluded(end.to_vec()) }
    }

    /// The same range without the keys up to and including `key`: how a scan is continued.
    #[must_use]
    pub fn after(mut self, key: &[u8]) -> Self {
        self.start = Bound::Excluded(key.to_vec());
        self
    }

    /// Whether no key can lie in the range, so that an engine need not be asked.
    fn is_void(&self) -> bool {
        match (&self.start, &self.end) {
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end))
            | (Bound::Excluded(start), Bound::Included(end)) => start >= end,
            _ => false,
        }
    }
}

/// The smallest byte string greater than every string that starts with `prefix`; none if `prefix` is all 0xff.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix.get(..=keep)?.to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.wrapping_add(1);
    }
    Some(end)
}

/// Ordered key-value pairs in named spaces, written in atomic batches.
///
/// A read sees every batch whose write call has returned, and possibly one that is just being written. Two reads one after
/// the other may lie before and after a batch: use [`KvStore::snapshot`] to read several keys as of one moment.
pub trait KvStore: Send + Sync + 'static {
    /// The value of a key.
    ///
    /// # Errors
    /// [`KvError::UnknownSpace`], [`KvError::Read`].
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;

    /// Whether a key is there.
    ///
    /// # Errors
    /// [`KvError::UnknownSpace`], [`KvError::Read`].
    fn contains(&self, space: Space, key: &[u8]) -> Result<bool, KvError>;

    /// At most `limit` pairs of a range, in the given order.
    ///
    /// # Errors
    /// [`KvError::UnknownSpace`], [`KvError::Read`].
    fn scan(&self, space: Space, range: KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, KvError>;

    /// Writes a batch, atomically, and returns when it and every batch written before it is on durable storage.
    /// Writers that call at the same time share one flush.
    ///
    /// # Errors
    /// [`KvError::UnknownSpace`] (nothing was written) or [`KvError::Write`], after which the store accepts no more writes
    /// and the process must stop.
    fn write(&self, batch: Batch) -> Result<(), KvError>;

    /// Writes a batch atomically without waiting for the disk: it is durable, whole, at the latest with the next
    /// [`KvStore::write`] or [`KvStore::sync`], and never without the batches written before it. It survives the end of the
    /// process, but not of the machine.
    ///
    /// # Errors
    /// As for [`KvStore::write`].
    fn write_buffered(&self, batch: Batch) -> Result<(), KvError>;

    /// Writes many changes of one space, atomically, and returns when they and every batch written before are on durable
    /// storage; nothing is written if `fill` fails. They go straight into a sorted table instead of through a journal and memory:
    /// half the cost for tens of thousands of changes at once, several times that of [`KvStore::write`] for a few.
    ///
    /// # Errors
    /// As for [`KvStore::write`] and [`BulkWriter`], and those of `fill`.
    fn ingest(&self, space: Space, fill: Fill<'_>) -> Result<(), KvError>;

    /// Returns when every batch written before is on durable storage.
    ///
    /// # Errors
    /// As for [`KvStore::write`].
    fn sync(&self) -> Result<(), KvError>;

    /// The whole store as it is at this moment, whatever is written later. Cheap to make; while it lives, the engine
    /// cannot reclaim what has been overwritten since, so let it go within minutes under load.
    fn snapshot(&self) -> Box<dyn KvSnapshot>;
}

/// A store as it was at one moment.
pub trait KvSnapshot: Send + Sync + 'static {
    /// The value of a key at that moment.
    ///
    /// # Errors
    /// [`KvError::UnknownSpace`], [`KvError::Read`].
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;

    /// At most `limit` pairs of a range at that moment, in the given order.
    ///
    /// # Errors
    /// [`KvError::UnknownSpace`], [`KvError::Read`].
    fn scan(&self, space: Space, range: KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, KvError>;
}
