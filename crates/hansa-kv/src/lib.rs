//! Stores ordered key-value pairs in atomic, durable batches.
//!
//! [`KvStore`] is the boundary between the crates that store data and the storage engine: [`FjallStore`] on disk, [`MemoryStore`]
//! for tests and simulation. Keys are ordered as byte strings.
//!
//! The crate does not interpret keys or values. It does not isolate writers: callers own disjoint spaces or serialise their writes.
//! It does not retry. After a failed write the process must stop, because a later write would depend on a missing one; [`Watched`]
//! reports such a failure.
//!
//! ```
//! use hansa_kv::{Batch, KeyRange, KvStore, MemoryStore, Order, Space};
//!
//! const NAMES: Space = Space::new("names");
//! let store = MemoryStore::new();
//! let mut batch = Batch::new();
//! batch.put(NAMES, b"b".to_vec(), b"Bergen".to_vec());
//! batch.put(NAMES, b"a".to_vec(), b"Aalborg".to_vec());
//! store.write(batch)?;
//! let first = store.scan(NAMES, KeyRange::all(), Order::Ascending, 1)?;
//! assert_eq!(first, [(b"a".to_vec(), b"Aalborg".to_vec())]);
//! # Ok::<(), hansa_kv::KvError>(())
//! ```

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

/// The name of a keyspace: 1 to 64 characters of `a-z`, `0-9` and `-`. A space is opened with the store; writing to any other is an
/// error.
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

/// The direction of a scan.
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
    /// Lower bound.
    pub start: Bound<Vec<u8>>,
    /// Upper bound.
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

    /// The same range without the keys up to and including `key`, to continue a scan.
    #[must_use]
    pub fn after(mut self, key: &[u8]) -> Self {
        self.start = Bound::Excluded(key.to_vec());
        self
    }

    /// Whether the range is empty. Engines may panic on such a range.
    fn is_empty(&self) -> bool {
        match (&self.start, &self.end) {
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end))
            | (Bound::Excluded(start), Bound::Included(end)) => start >= end,
            _ => false,
        }
    }
}

/// The smallest byte string greater than every string that starts with `prefix`; `None` if `prefix` is all 0xff.
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
/// A read sees every batch whose write call has returned, and possibly one whose call has not. Two consecutive reads may lie before
/// and after a batch: [`KvStore::snapshot`] reads several keys consistently.
pub trait KvStore: Send + Sync + 'static {
    /// The value of a key.
    ///
    /// # Errors
    /// [`KvError::UnknownSpace`], [`KvError::Read`].
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;

    /// Whether a key has a value.
    ///
    /// # Errors
    /// [`KvError::UnknownSpace`], [`KvError::Read`].
    fn contains(&self, space: Space, key: &[u8]) -> Result<bool, KvError>;

    /// At most `limit` pairs of a range, in the given order.
    ///
    /// # Errors
    /// [`KvError::UnknownSpace`], [`KvError::Read`].
    fn scan(&self, space: Space, range: KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, KvError>;

    /// Writes a batch atomically. Returns when it and every earlier batch are durable. Concurrent writers share one flush.
    ///
    /// # Errors
    /// [`KvError::UnknownSpace`] (nothing was written) or [`KvError::Write`], after which the store accepts no more writes
    /// and the process must stop.
    fn write(&self, batch: Batch) -> Result<(), KvError>;

    /// Writes a batch atomically without a flush. It becomes durable at the latest with the next [`KvStore::write`] or
    /// [`KvStore::sync`], and never without the batches before it. It survives a crash of the process, not of the machine.
    ///
    /// # Errors
    /// As for [`KvStore::write`].
    fn write_buffered(&self, batch: Batch) -> Result<(), KvError>;

    /// Writes many changes of one space atomically. Returns when they and every earlier batch are durable. Nothing is written if
    /// `fill` fails. The changes go into a sorted table, past journal and memtable: half the cost of [`KvStore::write`] for tens of
    /// thousands of changes, several times its cost for a few.
    ///
    /// # Errors
    /// As for [`KvStore::write`] and [`BulkWriter`], and those of `fill`.
    fn ingest(&self, space: Space, fill: Fill<'_>) -> Result<(), KvError>;

    /// Returns when every earlier batch is durable.
    ///
    /// # Errors
    /// As for [`KvStore::write`].
    fn sync(&self) -> Result<(), KvError>;

    /// A consistent view of the whole store. It is cheap to make. While it exists, the engine cannot reclaim overwritten values, so
    /// drop it within minutes under load.
    fn snapshot(&self) -> Box<dyn KvSnapshot>;
}

/// A consistent, unchanging view of a store.
pub trait KvSnapshot: Send + Sync + 'static {
    /// The value of a key in the snapshot.
    ///
    /// # Errors
    /// [`KvError::UnknownSpace`], [`KvError::Read`].
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;

    /// At most `limit` pairs of a range in the snapshot, in the given order.
    ///
    /// # Errors
    /// [`KvError::UnknownSpace`], [`KvError::Read`].
    fn scan(&self, space: Space, range: KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, KvError>;
}
