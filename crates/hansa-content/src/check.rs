//! Reads blocks only to find damage: of the whole store, or of everything below a root. Repairs nothing.

use cid::Cid;

use crate::block::{Key, cid_of};
use crate::dag::links;
use crate::store::{Proof, Record};
use crate::{BlockStore, ContentError, Visit, Visited};

/// Index entries read at a time.
const PAGE: usize = 256;
/// What a block costs a scrub besides its length.
const BLOCK_COST_BYTES: u64 = 4096;

/// How far a check has come.
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

/// What a scrub found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Blocks in the store.
    pub blocks: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Blocks whose bytes are not theirs, those in quarantine included.
    pub damaged: Vec<Cid>,
}

/// The last block that a scrub in portions has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubCursor(Key);

impl ScrubCursor {
    /// The cursor as 32 bytes, to be kept over a restart.
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// The cursor of such bytes; any 32 bytes are one.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// The state of everything below a root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DagReport {
    /// Different blocks that the root reaches, faulty ones included.
    pub blocks: u64,
    /// Bytes of the healthy ones.
    pub bytes: u64,
    /// Blocks whose bytes are not theirs; what is below them is not known.
    pub damaged: Vec<Cid>,
    /// Blocks that are not here; what is below them is not known.
    pub missing: Vec<Cid>,
    /// Blocks whose bytes are theirs but not what their codec says, or link to what no block can be. No repair helps.
    pub malformed: Vec<Cid>,
}

impl DagReport {
    /// Whether everything is here, healthy and well-formed.
    pub const fn is_healthy(&self) -> bool {
        self.damaged.is_empty() && self.missing.is_empty() && self.malformed.is_empty()
    }
}

impl BlockStore {
    /// Reads and checks a portion of the store: the blocks behind the cursor in the order of their digests, until their length
    /// comes to `bytes_max`, and at least one. Returns the cursor for the next portion, none at the end of the store, and
    /// what this portion showed. Damaged blocks are quarantined and named. How often it is called sets the rate.
    ///
    /// # Errors
    /// [`ContentError::Index`]. A block file that the disk cannot read counts as damaged.
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
        match self.read_record(key, record, Proof::Digest) {
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

    /// Reads and checks a root and everything below it. Damaged blocks are quarantined and named, missing and malformed ones
    /// named. `progress` is called after each block.
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

/// A check of everything below a root, under way.
#[derive(Default)]
struct DagWalk {
    visited: Visited,
    pending: Vec<(Cid, Visit)>,
    done: ScrubProgress,
    report: DagReport,
}

impl DagWalk {
    /// Queues those nodes that are new, the first one next. Fails if a link has a hash that no block has.
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
        // Bytes and faults of a digest are counted under its first name.
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
