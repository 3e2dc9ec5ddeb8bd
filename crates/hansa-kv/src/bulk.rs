//! Many changes of one space, written as they come: nothing of them is gathered in memory.

use crate::KvError;
use crate::error::check_key;

/// Takes the changes of [`crate::KvStore::ingest`], each key once and in ascending order. They are there when all have been taken.
pub trait BulkWriter {
    /// Sets the value of a key.
    ///
    /// # Errors
    /// [`KvError::KeyLength`], [`KvError::KeyOrder`], [`KvError::Write`].
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError>;

    /// Removes a key; no error if it is not there.
    ///
    /// # Errors
    /// As for [`Self::put`].
    fn remove(&mut self, key: &[u8]) -> Result<(), KvError>;
}

/// Gives the changes to a writer.
pub type Fill<'a> = &'a mut dyn FnMut(&mut dyn BulkWriter) -> Result<(), KvError>;

/// Hands changes on to an engine, but for those that it would panic on.
pub(crate) struct Checked<W> {
    last: Vec<u8>,
    write: W,
}

impl<W: FnMut(&[u8], Option<&[u8]>) -> Result<(), KvError>> Checked<W> {
    /// `write` is given each key with its value, or none where it is removed.
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
