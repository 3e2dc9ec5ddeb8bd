//! Detection of damage in the whole store (scrub) or below a root. Repair is the caller's.

use cid::Cid;

use crate::block::{Key, cid_of};
use crate::dag::links;
use crate::store::{Integrity, Record};
use crate::{BlockStore, ContentError, Visit, Visited};

/// Index entries in one scan.
const PAGE: usize = 256;
/// Cost of a block in a scrub's budget, in addition to its length.
const BLOCK_COST_BYTES: u64 = 4096;

/// Progress of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubProgress {
    /// Blocks read.
    pub blocks: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Blocks found damaged or missing.
    pub faults: u64,
}

impl ScrubProgress {
    fn add(&mut self, bytes: usize) {
        self.blocks = self.blocks.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    fn fault(&mut self) {
        self.blocks = self.blocks.saturating_add(1);
        self.faults = self.faults.saturating_add(1);
    }
}

/// Result of a scrub.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Number of verified blocks, damaged ones included.
    pub blocks: u64,
    /// Bytes of the intact blocks.
    pub bytes: u64,
    /// Damaged blocks, including those in quarantine.
    pub damaged: Vec<Cid>,
}

/// The position of an incremental scrub: its last block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubCursor(Key);

impl ScrubCursor {
    /// The cursor as 32 bytes.
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// The inverse of [`Self::to_bytes`]; any 32 bytes are valid.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// Result of a check of a DAG.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DagReport {
    /// Number of distinct blocks reachable from the root, including faulty ones.
    pub blocks: u64,
    /// Bytes of the intact blocks.
    pub bytes: u64,
    /// Damaged blocks; their descendants are unknown.
    pub damaged: Vec<Cid>,
    /// Absent blocks; their descendants are unknown.
    pub missing: Vec<Cid>,
    /// Intact blocks that do not decode under their codec, or link to an unsupported hash. They cannot be repaired.
    pub malformed: Vec<Cid>,
}

impl DagReport {
    /// Whether all blocks are present, intact and well-formed.
    pub const fn is_healthy(&self) -> bool {
        self.damaged.is_empty() && self.missing.is_empty() && self.malformed.is_empty()
    }
}

impl BlockStore {
    /// Verifies a portion of the store: the blocks after the cursor in the order of their digests, at least one, up to about
    /// `bytes_max`. Returns the cursor of the next portion (`None` at the end) and the result. Damaged blocks move to quarantine. The
    /// caller sets the rate.
    ///
    /// # Errors
    /// [`ContentError::Index`]. A block that the disk cannot read counts as damaged.
    pub fn scrub_some(
        &self,
        cursor: Option<ScrubCursor>,
        bytes_max: u64,
    ) -> Result<(Option<ScrubCursor>, ScrubReport), ContentError> {
        let mut done = ScrubProgress::default();
        let mut damaged = Vec::new();
        let mut last = cursor.map(|cursor| cursor.0);
        let mut cost = 0u64;
        'portion: loop {
            let page = self.records(last.as_ref(), PAGE)?;
            if page.is_empty() {
                last = None;
                break;
            }
            for (key, record) in page {
                self.scrub_block(&key, record, &mut done, &mut damaged)?;
                last = Some(key);
                cost = cost.saturating_add(u64::from(record.size)).saturating_add(BLOCK_COST_BYTES);
                if cost >= bytes_max {
                    break 'portion;
                }
            }
        }
        Ok((last.map(ScrubCursor), ScrubReport { blocks: done.blocks, bytes: done.bytes, damaged }))
    }

    fn scrub_block(
        &self,
        key: &Key,
        record: Record,
        done: &mut ScrubProgress,
        damaged: &mut Vec<Cid>,
    ) -> Result<(), ContentError> {
        match self.read_record(key, record, Integrity::Digest) {
            Ok(bytes) => done.add(bytes.len()),
            Err(ContentError::Missing(_)) => {}
            Err(ContentError::Damaged(_) | ContentError::File { .. }) => {
                done.fault();
                damaged.push(cid_of(record.codec, *key));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Verifies a root and all its descendants. Damaged blocks move to quarantine. `progress` is called after each block.
    ///
    /// # Errors
    /// [`ContentError::Index`]; [`ContentError::UnsupportedHash`] of the root.
    pub fn check_dag(
        &self,
        root: &Cid,
        mut progress: impl FnMut(ScrubProgress),
    ) -> Result<DagReport, ContentError> {
        let mut walk = DagWalk::default();
        walk.enter(&[*root])?;
        while let Some((cid, visit)) = walk.pending.pop() {
            walk.step(self, &cid, visit)?;
            progress(walk.done);
        }
        Ok(DagReport { blocks: walk.done.blocks, bytes: walk.done.bytes, ..walk.report })
    }
}

/// A running check of a DAG.
#[derive(Default)]
struct DagWalk {
    visited: Visited,
    pending: Vec<(Cid, Visit)>,
    done: ScrubProgress,
    report: DagReport,
}

impl DagWalk {
    /// Pushes the nodes that are new; the first one is on top. Fails on an unsupported hash.
    fn enter(&mut self, cids: &[Cid]) -> Result<(), ContentError> {
        for cid in cids.iter().rev() {
            match self.visited.visit(cid)? {
                Visit::Again => {}
                visit => self.pending.push((*cid, visit)),
            }
        }
        Ok(())
    }

    fn step(&mut self, store: &BlockStore, cid: &Cid, visit: Visit) -> Result<(), ContentError> {
        // A digest is counted under its first CID.
        let is_first = visit == Visit::First;
        match store.check(cid) {
            Ok(Some(bytes)) => {
                if is_first {
                    self.done.add(bytes.len());
                }
                let children = links(cid, &bytes)
                    .map(|links| links.into_iter().map(|link| link.cid).collect::<Vec<_>>());
                if children.and_then(|children| self.enter(&children)).is_err() {
                    self.report.malformed.push(*cid);
                }
            }
            Ok(None) | Err(ContentError::Missing(_)) if is_first => {
                self.done.fault();
                self.report.missing.push(*cid);
            }
            Err(ContentError::Damaged(_) | ContentError::File { .. }) if is_first => {
                self.done.fault();
                self.report.damaged.push(*cid);
            }
            Ok(None)
            | Err(ContentError::Missing(_) | ContentError::Damaged(_) | ContentError::File { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
