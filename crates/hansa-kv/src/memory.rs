//! A store in memory for tests and simulation. It does not outlive the process; a batch in the map counts as durable.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;

use crate::bulk::Checked;
use crate::{Batch, Fill, KeyRange, KvError, KvSnapshot, KvStore, Order, Pair, Space};

/// The pairs of one space, shared with snapshots copy-on-write.
type Pairs = Arc<BTreeMap<Vec<u8>, Vec<u8>>>;

/// Ordered pairs in memory. A clone is another handle on the same store. Every space exists.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    spaces: Arc<RwLock<HashMap<Space, Pairs>>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl KvStore for MemoryStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(get(&self.spaces.read(), space, key))
    }

    fn contains(&self, space: Space, key: &[u8]) -> Result<bool, KvError> {
        Ok(self.spaces.read().get(&space).is_some_and(|pairs| pairs.contains_key(key)))
    }

    fn scan(&self, space: Space, range: KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, KvError> {
        Ok(scan(&self.spaces.read(), space, range, order, limit))
    }

    fn write(&self, batch: Batch) -> Result<(), KvError> {
        crate::error::check_keys(batch.keys())?;
        let mut spaces = self.spaces.write();
        for change in batch.into_changes() {
            let pairs = Arc::make_mut(spaces.entry(change.space).or_default());
            match change.value {
                Some(value) => pairs.insert(change.key, value),
                None => pairs.remove(&change.key),
            };
        }
        Ok(())
    }

    fn write_buffered(&self, batch: Batch) -> Result<(), KvError> {
        self.write(batch)
    }

    fn ingest(&self, space: Space, fill: Fill<'_>) -> Result<(), KvError> {
        let mut batch = Batch::new();
        fill(&mut Checked::new(|key, value| {
            match value {
                Some(value) => batch.put(space, key, value),
                None => batch.remove(space, key),
            }
            Ok(())
        }))?;
        self.write(batch)
    }

    fn sync(&self) -> Result<(), KvError> {
        Ok(())
    }

    fn snapshot(&self) -> Box<dyn KvSnapshot> {
        Box::new(MemorySnapshot { spaces: self.spaces.read().clone() })
    }
}

/// The maps at the time of the snapshot.
struct MemorySnapshot {
    spaces: HashMap<Space, Pairs>,
}

impl KvSnapshot for MemorySnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(get(&self.spaces, space, key))
    }

    fn scan(&self, space: Space, range: KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, KvError> {
        Ok(scan(&self.spaces, space, range, order, limit))
    }
}

fn get(spaces: &HashMap<Space, Pairs>, space: Space, key: &[u8]) -> Option<Vec<u8>> {
    spaces.get(&space)?.get(key).cloned()
}

fn scan(
    spaces: &HashMap<Space, Pairs>,
    space: Space,
    range: KeyRange,
    order: Order,
    limit: usize,
) -> Vec<Pair> {
    let Some(pairs) = spaces.get(&space) else { return Vec::new() };
    if range.is_empty() {
        return Vec::new();
    }
    let pairs = pairs.range((range.start, range.end)).map(|(key, value)| (key.clone(), value.clone()));
    match order {
        Order::Ascending => pairs.take(limit).collect(),
        Order::Descending => pairs.rev().take(limit).collect(),
    }
}
