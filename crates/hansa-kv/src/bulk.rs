//! Bulk writes: many sorted changes of one space are streamed into a table. Changes are not collected in memory.

use crate::KvError;
use crate::error::check_key;

/// Takes the changes of [`crate::KvStore::ingest`] in strictly ascending order of keys. They become visible together at the end.
pub trait BulkWriter {
    /// Sets the value of a key.
    ///
    /// # Errors
    /// [`KvError::KeyLength`], [`KvError::KeyOrder`], [`KvError::Write`].
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError>;

    /// Removes a key. Removing an absent key is no error.
    ///
    /// # Errors
    /// As for [`Self::put`].
    fn remove(&mut self, key: &[u8]) -> Result<(), KvError>;
}

/// A callback that passes all changes to a writer.
pub type Fill<'a> = &'a mut dyn FnMut(&mut dyn BulkWriter) -> Result<(), KvError>;

/// Passes changes to an engine and refuses those on which it would panic.
pub(crate) struct Checked<W> {
    last: Vec<u8>,
    write: W,
}

impl<W: FnMut(&[u8], Option<&[u8]>) -> Result<(), KvError>> Checked<W> {
    /// `write` is called with each key and its value; `None` removes the key.
    pub(crate) const fn new(write: W) -> Self {
        Self { last: Vec::new(), write }
    }

    fn change(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), KvError> {
        check_key(key)?;
        if key <= self.last.as_slice() {
            return Err(KvError::KeyOrder);
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        (self.write)(key, value)
    }
}

impl<W: FnMut(&[u8], Option<&[u8]>) -> Result<(), KvError>> BulkWriter for Checked<W> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.change(key, Some(value))
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), KvError> {
        self.change(key, None)
    }
}
