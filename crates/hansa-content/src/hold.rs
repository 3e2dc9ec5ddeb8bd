//! Protects blocks that nothing pins yet from garbage collection.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cid::Cid;
use parking_lot::{Mutex, RwLock};

use crate::ContentError;
use crate::block::{Key, key_of};

/// Blocks that are being worked with, over all holds, and the gate between them and the collector.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    counts: Mutex<HashMap<Key, u32>>,
    /// Held for writing while the collector decides about some blocks and removes them; for reading while a block becomes
    /// held or pinned. So the collector either sees the hold or has removed the block before it was asked for.
    gate: RwLock<()>,
}

impl Holds {
    pub(crate) const fn gate(&self) -> &RwLock<()> {
        &self.gate
    }

    pub(crate) fn is_held(&self, key: &Key) -> bool {
        self.counts.lock().contains_key(key)
    }
}

/// Keeps the blocks written under it from being collected until it is dropped. Pin the root before dropping it.
#[derive(Debug)]
pub struct Hold {
    holds: Arc<Holds>,
    keys: Mutex<HashSet<Key>>,
}

impl Hold {
    pub(crate) fn new(holds: &Arc<Holds>) -> Self {
        Self { holds: Arc::clone(holds), keys: Mutex::default() }
    }

    /// Keeps a block that is here already. To be called before looking whether it is.
    ///
    /// # Errors
    /// [`ContentError::UnsupportedHash`].
    pub fn cover(&self, cid: &Cid) -> Result<(), ContentError> {
        self.add(key_of(cid)?);
        Ok(())
    }

    /// Covers what another hold does as well.
    pub fn absorb(&self, other: &Self) {
        for key in other.keys.lock().iter() {
            self.add(*key);
        }
    }

    /// Whether the block was not held by this hold before.
    pub(crate) fn add(&self, key: Key) -> bool {
        if !self.keys.lock().insert(key) {
            return false;
        }
        let _gate = self.holds.gate.read();
        let mut counts = self.holds.counts.lock();
        let count = counts.entry(key).or_default();
        *count = count.saturating_add(1);
        true
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut counts = self.holds.counts.lock();
        for key in self.keys.get_mut().drain() {
            if let Some(count) = counts.get_mut(&key) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    counts.remove(&key);
                }
            }
        }
    }
}
