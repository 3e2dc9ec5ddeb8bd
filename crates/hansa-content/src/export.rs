//! Reads UnixFS files from the store, whole or a range, a leaf at a time. Fetches nothing: a block that is not here is an
//! error.

use std::ops::Range;

use bytes::Bytes;
use cid::Cid;

use crate::dag::FileNode;
use crate::{BlockStore, ContentError};

/// A UnixFS file in the store.
#[derive(Clone, Debug)]
pub struct FileReader {
    store: BlockStore,
    root: Cid,
    size: u64,
}

impl FileReader {
    /// Reads the file's root.
    ///
    /// # Errors
    /// [`ContentError::Missing`], [`ContentError::Damaged`], [`ContentError::Malformed`] if it is no UnixFS file.
    pub fn open(store: &BlockStore, root: &Cid) -> Result<Self, ContentError> {
        let size = FileNode::decode(root, store.expect(root)?)?.size();
        Ok(Self { store: store.clone(), root: *root, size })
    }

    /// The file's length in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The bytes of a range, in pieces of at most one leaf; what lies beyond the end is left out.
    pub fn range(&self, range: Range<u64>) -> RangeReader {
        let root = Pending { cid: self.root, start: 0, size: self.size };
        RangeReader { store: self.store.clone(), range, pending: vec![root] }
    }

    /// All bytes, in pieces of one leaf.
    pub fn all(&self) -> RangeReader {
        self.range(0..self.size)
    }
}

/// A subtree to be read, and where in the file it begins.
#[derive(Debug)]
struct Pending {
    cid: Cid,
    start: u64,
    size: u64,
}

/// The pieces of a range of a file. Ends after the first error.
#[derive(Debug)]
pub struct RangeReader {
    store: BlockStore,
    range: Range<u64>,
    pending: Vec<Pending>,
}

impl RangeReader {
    fn piece(&mut self) -> Result<Option<Bytes>, ContentError> {
        while let Some(Pending { cid, start, size }) = self.pending.pop() {
            let end = start.saturating_add(size);
            if end <= self.range.start || start >= self.range.end {
                continue;
            }
            let node = FileNode::decode(&cid, self.store.expect(&cid)?)?;
            if node.size() != size {
                return Err(ContentError::malformed(cid, "another size than its parent says"));
            }
            match node {
                FileNode::Leaf(bytes) => return Ok(Some(self.cut(bytes, start))),
                FileNode::Inner(children) => self.descend(children, start),
            }
        }
        Ok(None)
    }

    fn descend(&mut self, children: Vec<(Cid, u64)>, start: u64) {
        let mut start = start;
        let first = self.pending.len();
        for (cid, size) in children {
            self.pending.push(Pending { cid, start, size });
            start = start.saturating_add(size);
        }
        if let Some(added) = self.pending.get_mut(first..) {
            added.reverse();
        }
    }

    /// The part of a leaf that lies in the range.
    fn cut(&self, bytes: Bytes, start: u64) -> Bytes {
        let length = bytes.len() as u64;
        let from = self.range.start.saturating_sub(start).min(length);
        let to = self.range.end.saturating_sub(start).min(length).max(from);
        match (usize::try_from(from), usize::try_from(to)) {
            (Ok(from), Ok(to)) => bytes.slice(from..to),
            _ => Bytes::new(),
        }
    }
}

impl Iterator for RangeReader {
    type Item = Result<Bytes, ContentError>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = self.piece().transpose();
        if matches!(piece, Some(Err(_))) {
            self.pending.clear();
        }
        piece
    }
}
