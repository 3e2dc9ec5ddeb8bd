//! Compaction: moves the live blocks out of sparse segments, so that the number of segment files follows the live data. It is part of
//! a collection. The emptied files are removed by the next one.

use std::collections::{BTreeMap, BTreeSet};

use crate::block::{Key, cid_of};
use crate::segments::Extent;
use crate::store::{IndexBatch, Integrity, Location, Record};
use crate::{Block, BlockStore, ContentError};

/// Approximate number of bytes that one collection moves.
const MOVED_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Index entries in one scan.
const PAGE: usize = 1024;

impl BlockStore {
    /// Rewrites the blocks of sparse segments and indexes their new locations. `live` are all indexed extents.
    pub(crate) fn compact(&self, live: &[Extent]) -> Result<(), ContentError> {
        let mut sectors: BTreeMap<u32, u32> = BTreeMap::new();
        for extent in live {
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

    /// Moves the blocks of a page that are in sparse segments; returns their length in bytes.
    fn move_blocks(&self, page: Vec<(Key, Record)>, sparse: &BTreeSet<u32>) -> Result<u64, ContentError> {
        let is_in_sparse = |record: &Record| matches!(record.location, Location::Segment { segment, .. } if sparse.contains(&segment));
        let mut stored = IndexBatch::default();
        let mut moved = 0u64;
        for (key, record) in page.into_iter().filter(|(_, record)| is_in_sparse(record)) {
            let bytes = match self.read_record(&key, record, Integrity::Digest) {
                Ok(bytes) => bytes,
                // A scrub reports damage. A block removed in the meantime needs no move.
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
