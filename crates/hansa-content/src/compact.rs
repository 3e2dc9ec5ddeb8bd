//! Moves the last blocks out of segments that hold little else, so that the number of segment files follows what is kept, not
//! all that was ever written. Part of a collection; the files go with the next one, which finds nothing wanted in them.

use std::collections::{BTreeMap, BTreeSet};

use crate::block::{Key, cid_of};
use crate::segments::Extent;
use crate::store::{Place, Proof, Record, Stored};
use crate::{Block, BlockStore, ContentError};

/// Bytes that one collection moves, about.
const MOVED_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Index entries read at a time.
const PAGE: usize = 1024;

impl BlockStore {
    /// Writes the blocks of sparse segments anew and enters their new places. `wanted` is everything that the index names.
    pub(crate) fn compact(&self, wanted: &[Extent]) -> Result<(), ContentError> {
        let mut sectors: BTreeMap<u32, u32> = BTreeMap::new();
        for extent in wanted {
            let sum = sectors.entry(extent.segment).or_default();
            *sum = sum.saturating_add(extent.sectors());
        }
        let sparse = self.0.segments.sparse(&sectors);
        if sparse.is_empty() {
            return Ok(());
        }
        let mut moved = 0u64;
        let mut after = None;
        while moved < MOVED_BYTES_MAX {
            let page = self.records(after.as_ref(), PAGE)?;
            let Some(&(last, _)) = page.last() else { break };
            moved = moved.saturating_add(self.move_blocks(page, &sparse)?);
            after = Some(last);
        }
        Ok(())
    }

    /// Returns how many bytes were moved.
    fn move_blocks(&self, page: Vec<(Key, Record)>, sparse: &BTreeSet<u32>) -> Result<u64, ContentError> {
        let is_in_sparse = |record: &Record| matches!(record.place, Place::Segment { segment, .. } if sparse.contains(&segment));
        let mut stored = Stored::default();
        let mut moved = 0u64;
        for (key, record) in page.into_iter().filter(|(_, record)| is_in_sparse(record)) {
            let bytes = match self.read_record(&key, record, Proof::Digest) {
                Ok(bytes) => bytes,
                // A scrub names it as well; a block that was removed meanwhile is no loss.
                Err(ContentError::Damaged(_) | ContentError::Missing(_) | ContentError::File { .. }) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            moved = moved.saturating_add(bytes.len() as u64);
            let block = Block::checked(cid_of(record.codec, key), bytes);
            stored.push(Some(self.write_bytes(key, &block)?));
            if stored.is_full() {
                self.index(std::mem::take(&mut stored), false)?;
            }
        }
        self.index(stored, true)?;
        Ok(moved)
    }
}
