//! Reads blocks only to find damage: of the whole store, or of everything below a root. Repairs nothing.

use std::collections::HashSet;

use cid::Cid;

use crate::block::{cid_of, key_of};
use crate::dag::links;
use crate::store::Proof;
use crate::{BlockStore, ContentError};

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
}

impl DagReport {
    /// Whether everything is here and healthy.
    pub const fn is_healthy(&self) -> bool {
        self.damaged.is_empty() && self.missing.is_empty()
    }
}

impl BlockStore {
    /// Reads and checks every block. Damaged ones are quarantined and named. `progress` is called after each block.
    ///
    /// # Errors
    /// [`ContentError::Index`]. A block file that the disk cannot read counts as damaged.
    pub fn scrub(&self, mut progress: impl FnMut(ScrubProgress)) -> Result<ScrubReport, ContentError> {
        let mut done = ScrubProgress::default();
        let mut damaged = Vec::new();
        let mut after = None;
        loop {
            let page = self.records(after.as_ref(), 256)?;
            let Some(&(last, _)) = page.last() else { break };
            for (key, record) in page {
                match self.read_record(&key, record, Proof::Digest) {
                    Ok(bytes) => done.add(bytes.len()),
                    Err(ContentError::Missing(_)) => continue,
                    Err(ContentError::Damaged(_) | ContentError::File { .. }) => {
                        done.fault();
                        damaged.push(cid_of(record.codec, key));
                    }
                    Err(error) => return Err(error),
                }
                progress(done);
            }
            after = Some(last);
        }
        Ok(ScrubReport { blocks: done.blocks, bytes: done.bytes, damaged })
    }

    /// Reads and checks a root and everything below it. Damaged blocks are quarantined and named, missing ones named.
    /// `progress` is called after each block.
    ///
    /// # Errors
    /// [`ContentError::Index`], [`ContentError::Malformed`], [`ContentError::UnsupportedHash`].
    pub fn check_dag(
        &self,
        root: &Cid,
        mut progress: impl FnMut(ScrubProgress),
    ) -> Result<DagReport, ContentError> {
        let mut done = ScrubProgress::default();
        let mut report = DagReport::default();
        let mut seen = HashSet::new();
        let mut pending = vec![*root];
        while let Some(cid) = pending.pop() {
            if !seen.insert(key_of(&cid)?) {
                continue;
            }
            match self.check(&cid) {
                Ok(Some(bytes)) => {
                    done.add(bytes.len());
                    let children = links(&cid, &bytes)?;
                    pending.extend(children.into_iter().rev().map(|link| link.cid));
                }
                Ok(None) | Err(ContentError::Missing(_)) => {
                    done.fault();
                    report.missing.push(cid);
                }
                Err(ContentError::Damaged(_) | ContentError::File { .. }) => {
                    done.fault();
                    report.damaged.push(cid);
                }
                Err(error) => return Err(error),
            }
            progress(done);
        }
        Ok(DagReport { blocks: done.blocks, bytes: done.bytes, ..report })
    }
}
