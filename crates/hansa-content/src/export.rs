//! Reads UnixFS files or ranges of them from the store, a leaf at a time. An absent block is an error; nothing is fetched.
//!
//! Files come from other members. A node may link to one child many times, so few blocks can describe unbounded work. A reader
//! bounds the visited nodes by the number of bytes, and the depth of the tree.

use std::ops::Range;

use bytes::Bytes;
use cid::Cid;

use crate::dag::FileNode;
use crate::{BlockStore, ContentError};

/// Minimum average number of file bytes in a node. Real writers use leaves of 256 KiB and more.
const BYTES_PER_NODE_MIN: u64 = 1024;
/// Nodes allowed in addition, for the path to the first byte of a range.
const NODES_FREE: u64 = 64;
/// Maximum depth of a tree. Eight levels of 174 links exceed 64 bits of bytes.
const DEPTH_MAX: u32 = 16;

/// A UnixFS file in the store.
#[derive(Clone, Debug)]
pub struct FileReader {
    store: BlockStore,
    root: Cid,
    size: u64,
}

impl FileReader {
    /// Opens a file by its root.
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

    /// The bytes of a range, in pieces of at most one leaf. A range beyond the end is cut.
    pub fn range(&self, range: Range<u64>) -> RangeReader {
        let length = range.end.min(self.size).saturating_sub(range.start);
        let nodes_left =
            length.checked_div(BYTES_PER_NODE_MIN).unwrap_or_default().saturating_add(NODES_FREE);
        let root = Pending { cid: self.root, start: 0, size: self.size, depth: 0 };
        let pending = if length > 0 { vec![root] } else { Vec::new() };
        RangeReader { store: self.store.clone(), range, nodes_left, pending }
    }

    /// The whole file in memory. A file of more than `bytes_max` is refused before it is read.
    ///
    /// # Errors
    /// [`ContentError::FileTooLong`], and those of [`FileReader::open`].
    pub fn read(&self, bytes_max: u64) -> Result<Vec<u8>, ContentError> {
        if self.size > bytes_max {
            return Err(ContentError::FileTooLong { cid: self.root, size: self.size, limit: bytes_max });
        }
        let mut content = Vec::new();
        for piece in self.all() {
            content.extend_from_slice(&piece?);
        }
        Ok(content)
    }

    /// All bytes, in pieces of one leaf.
    pub fn all(&self) -> RangeReader {
        self.range(0..self.size)
    }
}

/// A subtree to read, with its offset in the file.
#[derive(Debug)]
struct Pending {
    cid: Cid,
    start: u64,
    size: u64,
    depth: u32,
}

/// Iterator over the pieces of a range. Ends after the first error.
#[derive(Debug)]
pub struct RangeReader {
    store: BlockStore,
    range: Range<u64>,
    /// Remaining number of nodes to visit.
    nodes_left: u64,
    pending: Vec<Pending>,
}

impl RangeReader {
    fn piece(&mut self) -> Result<Option<Bytes>, ContentError> {
        while let Some(Pending { cid, start, size, depth }) = self.pending.pop() {
            self.nodes_left = self
                .nodes_left
                .checked_sub(1)
                .ok_or(ContentError::malformed(cid, "a file of more nodes than its size calls for"))?;
            let node = FileNode::decode(&cid, self.store.expect(&cid)?)?;
            if node.size() != size {
                return Err(ContentError::malformed(cid, "another size than its parent says"));
            }
            match node {
                FileNode::Leaf(bytes) => return Ok(Some(self.cut(bytes, start))),
                FileNode::Inner(_) if depth >= DEPTH_MAX => {
                    return Err(ContentError::malformed(cid, "a file with too many levels"));
                }
                FileNode::Inner(children) => self.descend(children, start, depth.saturating_add(1)),
            }
        }
        Ok(None)
    }

    /// Pushes the children within the range; the first one is on top.
    fn descend(&mut self, children: Vec<(Cid, u64)>, start: u64, depth: u32) {
        let mut start = start;
        let first = self.pending.len();
        for (cid, size) in children {
            let end = start.saturating_add(size);
            if size > 0 && end > self.range.start && start < self.range.end {
                self.pending.push(Pending { cid, start, size, depth });
            }
            start = end;
        }
        if let Some(added) = self.pending.get_mut(first..) {
            added.reverse();
        }
    }

    /// The part of a leaf within the range.
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
