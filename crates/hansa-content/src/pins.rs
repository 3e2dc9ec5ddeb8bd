//! Pins, and mark-and-sweep garbage collection of blocks that no pin reaches. Collection is not started here.

use std::collections::BTreeMap;

use cid::Cid;
use hansa_kv::{Batch, KeyRange, Order};

use crate::block::{Key, key_of};
use crate::dag::{links, may_link};
use crate::store::{PINS, Record};
use crate::{BlockStore, ContentError, Visit, Visited};

const PAGE: usize = 1024;
/// Maximum number of reported faults of each kind; the rest is only logged.
const FAULTS_MAX: usize = 64;

/// A root that is kept with all its descendants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The root.
    pub root: Cid,
    /// The purpose, chosen by the caller. A root can have several labels, each a pin of its own.
    pub label: String,
}

/// A faulty node reachable from a pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinFault {
    /// The pin from which the walk first reached the node.
    pub pin: Pin,
    /// The node.
    pub cid: Cid,
}

/// The result of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Number of removed blocks.
    pub blocks: u64,
    /// Length of the removed blocks in bytes.
    pub bytes: u64,
    /// Nodes whose bytes are damaged on this disk; at most 64. The children of such a node are unknown, so no block is removed until it
    /// is repaired or its pin is removed.
    pub damaged: Vec<PinFault>,
    /// Intact nodes that do not decode under their codec; at most 64. They count as leaves and do not stop the collection. Their
    /// objects are unreadable.
    pub malformed: Vec<PinFault>,
}

/// The result of the mark phase.
#[derive(Default)]
struct Marks {
    visited: Visited,
    damaged: Vec<PinFault>,
    malformed: Vec<PinFault>,
}

impl BlockStore {
    /// Keeps a root and all its descendants until it is unpinned under this label; durable when it returns. The blocks may be absent:
    /// pin before fetching, so that no collection removes what has arrived.
    ///
    /// # Errors
    /// [`ContentError::Index`], [`ContentError::UnsupportedHash`].
    pub fn pin(&self, root: &Cid, label: &str) -> Result<(), ContentError> {
        self.pin_buffered(root, label)?;
        Ok(self.0.kv.sync()?)
    }

    /// Like [`BlockStore::pin`], but durable with the store's next flush.
    ///
    /// # Errors
    /// As for [`BlockStore::pin`].
    pub fn pin_buffered(&self, root: &Cid, label: &str) -> Result<(), ContentError> {
        self.pin_with(root, label, |pin| Ok(self.0.kv.write_buffered(pin)?))
    }

    /// Pins a root; `write` receives the change and writes it.
    pub(crate) fn pin_with(
        &self,
        root: &Cid,
        label: &str,
        write: impl FnOnce(Batch) -> Result<(), ContentError>,
    ) -> Result<(), ContentError> {
        key_of(root)?;
        let _gate = self.0.holds.gate().read();
        let mut batch = Batch::new();
        batch.put(PINS, pin_key(root, label), Vec::new());
        write(batch)?;
        if let Some(pins) = self.0.pinned_since.lock().as_mut() {
            pins.push(Pin { root: *root, label: label.to_owned() });
        }
        Ok(())
    }

    /// Removes a pin; durable when it returns. Removing an absent pin is no error.
    ///
    /// # Errors
    /// [`ContentError::Index`].
    pub fn unpin(&self, root: &Cid, label: &str) -> Result<(), ContentError> {
        let mut batch = Batch::new();
        batch.remove(PINS, pin_key(root, label));
        Ok(self.0.kv.write(batch)?)
    }

    /// Whether a root is pinned under any label. Descendants of a pinned root are not pinned themselves.
    ///
    /// # Errors
    /// [`ContentError::Index`].
    pub fn is_pinned(&self, root: &Cid) -> Result<bool, ContentError> {
        let range = KeyRange::prefix(&root.to_bytes());
        Ok(!self.0.kv.scan(PINS, range, Order::Ascending, 1)?.is_empty())
    }

    /// All pins, ordered by root.
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

    /// Removes every block that no pin reaches and no hold covers. Imports and fetches can run at the same time. Faults of single pins
    /// are in the result; see [`Collected`].
    ///
    /// # Errors
    /// [`ContentError::Index`], [`ContentError::File`].
    pub fn collect_garbage(&self) -> Result<Collected, ContentError> {
        let _only = self.0.collecting.lock();
        *self.0.pinned_since.lock() = Some(Vec::new());
        let collected = self.mark_and_sweep();
        *self.0.pinned_since.lock() = None;
        collected
    }

    fn mark_and_sweep(&self) -> Result<Collected, ContentError> {
        // Taken before the index is read: extents written from here on are not considered.
        let written = self.0.segments.snapshot();
        let mut marks = Marks::default();
        for pin in self.pins()? {
            self.mark(&pin, &mut marks)?;
        }
        let mut collected = Collected::default();
        let mut live = Vec::new();
        let mut after = None;
        loop {
            let page = self.records(after.as_ref(), PAGE)?;
            let Some(&(last, _)) = page.last() else { break };
            let garbage = self.sweep(&page, &mut marks)?;
            for record in garbage.values() {
                collected.blocks = collected.blocks.saturating_add(1);
                collected.bytes = collected.bytes.saturating_add(u64::from(record.size));
            }
            let kept = page.into_iter().filter(|(key, _)| !garbage.contains_key(key));
            live.extend(kept.filter_map(|(_, record)| record.extent()));
            after = Some(last);
        }
        // This also frees extents of interrupted imports, of concurrent duplicates and of damaged blocks. The index is flushed first: after
        // a crash no entry may refer to a freed extent.
        self.0.kv.sync()?;
        self.0.segments.discard_others(written, live.iter().copied())?;
        self.compact(&live)?;
        Ok(Collected { damaged: marks.damaged, malformed: marks.malformed, ..collected })
    }

    /// Marks a pin's root and all its descendants.
    fn mark(&self, pin: &Pin, marks: &mut Marks) -> Result<(), ContentError> {
        // A CID with an unsupported hash cannot be stored, so it is skipped.
        let mut is_new = |cid: &Cid| marks.visited.visit(cid).is_ok_and(|visit| visit != Visit::Again);
        let mut pending: Vec<Cid> = Some(pin.root).filter(&mut is_new).into_iter().collect();
        while let Some(cid) = pending.pop() {
            if !may_link(&cid) {
                continue;
            }
            let fault = || PinFault { pin: pin.clone(), cid };
            match self.children(&cid) {
                Ok(children) => pending.extend(children.into_iter().filter(&mut is_new)),
                Err(ContentError::Malformed { .. }) => note(&mut marks.malformed, fault()),
                Err(error @ (ContentError::Damaged(_) | ContentError::File { .. })) => {
                    tracing::warn!(root = %pin.root, label = pin.label, %error, "a pinned node is lost: nothing is collected");
                    note(&mut marks.damaged, fault());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The links of a stored node; empty if the node is absent.
    fn children(&self, cid: &Cid) -> Result<Vec<Cid>, ContentError> {
        // Verified by digest: a forged node would hide its true children.
        match self.check(cid) {
            Ok(Some(bytes)) => Ok(links(cid, &bytes)?.into_iter().map(|link| link.cid).collect()),
            Ok(None) | Err(ContentError::Missing(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Removes the blocks of a page that are neither marked nor held, and returns them; none if a damaged node was found.
    fn sweep(
        &self,
        page: &[(Key, Record)],
        marks: &mut Marks,
    ) -> Result<BTreeMap<Key, Record>, ContentError> {
        if page.iter().all(|(key, _)| marks.visited.contains(key)) {
            return Ok(BTreeMap::new());
        }
        let _gate = self.0.holds.gate().write();
        let pinned = self.0.pinned_since.lock().as_mut().map(std::mem::take).unwrap_or_default();
        for pin in pinned {
            self.mark(&pin, marks)?;
        }
        if !marks.damaged.is_empty() {
            return Ok(BTreeMap::new());
        }
        let is_garbage = |key: &Key| !marks.visited.contains(key) && !self.0.holds.is_held(key);
        let garbage: BTreeMap<_, _> = page.iter().filter(|(key, _)| is_garbage(key)).copied().collect();
        self.remove_keys(garbage.keys())?;
        Ok(garbage)
    }
}

fn note(faults: &mut Vec<PinFault>, fault: PinFault) {
    if faults.len() < FAULTS_MAX {
        faults.push(fault);
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
