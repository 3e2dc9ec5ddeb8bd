//! Reports of failed writes, so that the process can be stopped. Nothing here stops it.

use std::{error::Error, sync::Arc};

use crate::{Batch, Fill, KeyRange, KvError, KvSnapshot, KvStore, Order, Pair, Space};

/// Called with the error of a failed write.
type Callback = dyn Fn(&(dyn Error + 'static)) + Send + Sync;

/// A callback for failed writes. A clone is another handle on the same alarm; the default one does nothing.
#[derive(Clone, Default)]
pub struct Alarm(Option<Arc<Callback>>);

impl std::fmt::Debug for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Alarm").field(&self.0.is_some()).finish()
    }
}

impl Alarm {
    /// Calls `tell` for each failed write, on the writing thread. It must not block.
    pub fn new(tell: impl Fn(&(dyn Error + 'static)) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// Reports a failed write.
    pub fn raise(&self, error: &(dyn Error + 'static)) {
        if let Some(tell) = &self.0 {
            tell(error);
        }
    }
}

/// A store whose failed writes raise an alarm. Misuse by the caller, such as an unknown space, does not.
pub struct Watched {
    store: Arc<dyn KvStore>,
    alarm: Alarm,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").field("alarm", &self.alarm).finish_non_exhaustive()
    }
}

impl Watched {
    /// Watches a store.
    pub fn new(store: Arc<dyn KvStore>, alarm: Alarm) -> Arc<Self> {
        Arc::new(Self { store, alarm })
    }

    fn told<T>(&self, written: Result<T, KvError>) -> Result<T, KvError> {
        written.inspect_err(|error| {
            if matches!(error, KvError::Write(_)) {
                self.alarm.raise(error);
            }
        })
    }
}

impl KvStore for Watched {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.store.get(space, key)
    }

    fn contains(&self, space: Space, key: &[u8]) -> Result<bool, KvError> {
        self.store.contains(space, key)
    }

    fn scan(&self, space: Space, range: KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, KvError> {
        self.store.scan(space, range, order, limit)
    }

    fn write(&self, batch: Batch) -> Result<(), KvError> {
        self.told(self.store.write(batch))
    }

    fn write_buffered(&self, batch: Batch) -> Result<(), KvError> {
        self.told(self.store.write_buffered(batch))
    }

    fn ingest(&self, space: Space, fill: Fill<'_>) -> Result<(), KvError> {
        self.told(self.store.ingest(space, fill))
    }

    fn sync(&self) -> Result<(), KvError> {
        self.told(self.store.sync())
    }

    fn snapshot(&self) -> Box<dyn KvSnapshot> {
        self.store.snapshot()
    }
}
