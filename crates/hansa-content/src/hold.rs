//! Holds protect blocks from garbage collection until they are pinned. They are in memory only.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cid::Cid;
use parking_lot::{Mutex, RwLock};

use crate::ContentError;
use crate::block::{Key, key_of};

/// Reference counts of held blocks, and the lock between holders and the collector.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    counts: Mutex<HashMap<Key, u32>>,
    /// The collector write-locks it while it removes a page of garbage; holding or pinning a block read-locks it. So the collector
    /// either sees the hold, or removes the block before the holder looks for it.
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

/// Protects the blocks written under it from collection until it is dropped. Pin the root before dropping it.
#[derive(Debug)]
pub struct Hold {
    holds: Arc<Holds>,
    keys: Mutex<HashSet<Key>>,
}

impl Hold {
    pub(crate) fn new(holds: &Arc<Holds>) -> Self {
        Self { holds: Arc::clone(holds), keys: Mutex::default() }
    }

    /// Protects a stored block. Call it before checking whether the block is present.
    ///
    /// # Errors
    /// [`ContentError::UnsupportedHash`].
    pub fn cover(&self, cid: &Cid) -> Result<(), ContentError> {
        self.add(key_of(cid)?);
        Ok(())
    }

    /// Adds the blocks of another hold.
    pub fn absorb(&self, other: &Self) {
        for key in other.keys.lock().iter() {
            self.add(*key);
        }
    }

    /// Protects a block; returns whether it is new to this hold.
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
