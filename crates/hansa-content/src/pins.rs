//! Pins, and the collection of blocks that no pin reaches.

use std::collections::{BTreeMap, HashSet};

use cid::Cid;
use hansa_kv::{Batch, KeyRange, Order};

use crate::block::{Key, key_of};
use crate::dag::{links, may_link};
use crate::store::{PINS, Record};
use crate::{BlockStore, ContentError};

const PAGE: usize = 1024;

/// A root that is kept with everything below it, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The root.
    pub root: Cid,
    /// Whoever pinned it says what for. A root may be pinned under several labels.
    pub label: String,
}

/// What a collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blocks.
    pub blocks: u64,
    /// Their length in bytes.
    pub bytes: u64,
}

impl BlockStore {
    /// Keeps a root and everything reachable from it until it is unpinned under this label; durable when it returns. The
    /// blocks need not be here yet: pin first, then fetch, and no collection takes what has arrived.
    ///
    /// # Errors
    /// [`ContentError::Index`], [`ContentError::UnsupportedHash`].
    pub fn pin(&self, root: &Cid, label: &str) -> Result<(), ContentError> {
        key_of(root)?;
        let _gate = self.0.holds.gate().read();
        let mut batch = Batch::new();
        batch.put(PINS, pin_key(root, label), Vec::new());
        self.0.kv.write(batch)?;
        if let Some(roots) = self.0.pinned_since.lock().as_mut() {
            roots.push(*root);
        }
        Ok(())
    }

    /// Removes a pin; durable when it returns. No error if there is none.
    ///
    /// # Errors
    /// [`ContentError::Index`].
    pub fn unpin(&self, root: &Cid, label: &str) -> Result<(), ContentError> {
        let mut batch = Batch::new();
        batch.remove(PINS, pin_key(root, label));
        Ok(self.0.kv.write(batch)?)
    }

    /// Whether a root is pinned under any label. Blocks below a pinned root are not found by this.
    ///
    /// # Errors
    /// [`ContentError::Index`].
    pub fn is_pinned(&self, root: &Cid) -> Result<bool, ContentError> {
        let range = KeyRange::prefix(&root.to_bytes());
        Ok(!self.0.kv.scan(PINS, range, Order::Ascending, 1)?.is_empty())
    }

    /// All pins, in the order of their roots.
    ///
    /// # Errors
    /// [`ContentError::Index`].
    pub fn pins(&self) -> Result<Vec<Pin>, ContentError> {
        let mut pins = Vec::new();
        let mut range = KeyRange::all();
        loop {
            let page = self.0.kv.scan(PINS, range.clone(), Order::Ascending, PAGE)?;
            pins.extend(page.iter().filter_map(|(key, _)| read_pin(key)));
            match page.last() {
                Some((last, _)) if page.len() == PAGE => range = range.after(last),
                _ => return Ok(pins),
            }
        }
    }

    /// Removes every block that no pin reaches and no hold covers. Imports and fetches may go on meanwhile.
    ///
    /// # Errors
    /// [`ContentError::Damaged`] if a node through which pinned blocks are reached is damaged: nothing is removed, since what is
    /// below it cannot be known; repair it first. [`ContentError::Malformed`], [`ContentError::Index`], [`ContentError::File`].
    pub fn collect_garbage(&self) -> Result<Collected, ContentError> {
        let _only = self.0.collecting.lock();
        *self.0.pinned_since.lock() = Some(Vec::new());
        let collected = self.mark_and_sweep();
        *self.0.pinned_since.lock() = None;
        collected
    }

    fn mark_and_sweep(&self) -> Result<Collected, ContentError> {
        // Before the index is read: nobody looks at what is written from here on.
        let written = self.0.segments.snapshot();
        let mut marked = HashSet::new();
        for pin in self.pins()? {
            self.mark(pin.root, &mut marked)?;
        }
        let mut collected = Collected::default();
        let mut wanted = Vec::new();
        let mut after = None;
        loop {
            let page = self.records(after.as_ref(), PAGE)?;
            let Some(&(last, _)) = page.last() else { break };
            let garbage = self.sweep(&page, &mut marked)?;
            for record in garbage.values() {
                collected.blocks = collected.blocks.saturating_add(1);
                collected.bytes = collected.bytes.saturating_add(u64::from(record.size));
            }
            let kept = page.into_iter().filter(|(key, _)| !garbage.contains_key(key));
            wanted.extend(kept.filter_map(|(_, record)| record.extent()));
            after = Some(last);
        }
        // Besides the garbage: what imports left behind when the process ended amid them, what was stored twice at the same
        // time, what was damaged. The index must not go back, after a crash, to what is discarded here.
        self.0.kv.sync()?;
        self.0.segments.discard_others(written, wanted)?;
        Ok(collected)
    }

    fn mark(&self, root: Cid, marked: &mut HashSet<Key>) -> Result<(), ContentError> {
        let mut pending = vec![root];
        while let Some(cid) = pending.pop() {
            // What cannot be stored cannot be garbage either.
            let Ok(key) = key_of(&cid) else { continue };
            if !marked.insert(key) || !may_link(&cid) {
                continue;
            }
            if let Some(bytes) = self.get(&cid)? {
                pending.extend(links(&cid, &bytes)?.into_iter().map(|link| link.cid));
            }
        }
        Ok(())
    }

    /// Removes what is neither marked nor held, and returns it.
    fn sweep(
        &self,
        page: &[(Key, Record)],
        marked: &mut HashSet<Key>,
    ) -> Result<BTreeMap<Key, Record>, ContentError> {
        if page.iter().all(|(key, _)| marked.contains(key)) {
            return Ok(BTreeMap::new());
        }
        let _gate = self.0.holds.gate().write();
        let pinned = self.0.pinned_since.lock().as_mut().map(std::mem::take).unwrap_or_default();
        for root in pinned {
            self.mark(root, marked)?;
        }
        let is_garbage = |key: &Key| !marked.contains(key) && !self.0.holds.is_held(key);
        let garbage: BTreeMap<_, _> = page.iter().filter(|(key, _)| is_garbage(key)).copied().collect();
        self.remove_keys(garbage.keys())?;
        Ok(garbage)
    }
}

fn pin_key(root: &Cid, label: &str) -> Vec<u8> {
    let mut key = root.to_bytes();
    key.extend_from_slice(label.as_bytes());
    key
}

fn read_pin(key: &[u8]) -> Option<Pin> {
    let mut rest = key;
    let root = Cid::read_bytes(&mut rest).ok()?;
    Some(Pin { root, label: String::from_utf8(rest.to_vec()).ok()? })
}
