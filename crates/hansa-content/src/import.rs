//! Import of a byte stream as a UnixFS file with profile unixfs-v1-2025 (CIDv1, raw leaves of 1 MiB, 1,024 links a node, balanced), so
//! that all implementations of the profile compute the same CID. Directories, modes and times are not supported.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cid::Cid;

use crate::dag::{Part, encode_file_node};
use crate::writer::{BlockWriter, Job, Leaf};
use crate::{Block, BlockStore, ContentError, DAG_PB, Hold, RAW, Staged};

/// Length of every leaf except the last, in bytes.
pub const CHUNK_BYTES: usize = 1024 * 1024;
/// Children of every inner node except the last of its level.
pub const LINKS_PER_NODE: usize = 1024;

/// An imported file.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The file's CID.
    pub root: Cid,
    /// The file's length in bytes.
    pub size: u64,
    /// Number of leaves and inner nodes.
    pub blocks: u64,
    /// Protects the blocks from collection. Pin the root before dropping it.
    pub hold: Arc<Hold>,
}

/// Imports one file from consecutive bytes, in constant memory.
#[derive(Debug)]
pub struct Importer {
    store: BlockStore,
    /// The first leaf, delayed: a file of one leaf needs no threads.
    first: Option<Bytes>,
    writer: Option<BlockWriter>,
    /// Bytes of an incomplete chunk.
    rest: BytesMut,
    tree: Tree,
    /// Leaves that have overtaken an earlier one.
    early: BTreeMap<u64, Leaf>,
    leaves: u64,
    size: u64,
    ended: bool,
}

impl Importer {
    /// Begins a file.
    pub fn new(store: &BlockStore) -> Self {
        Self {
            store: store.clone(),
            first: None,
            writer: None,
            rest: BytesMut::new(),
            tree: Tree::default(),
            early: BTreeMap::new(),
            leaves: 0,
            size: 0,
            ended: false,
        }
    }

    /// Appends a leaf without a copy. It has [`CHUNK_BYTES`], or fewer if it is the last. Do not mix with [`Importer::push`].
    ///
    /// # Errors
    /// [`ContentError::LeafLength`], and those of the store, possibly for an earlier leaf.
    pub fn push_leaf(&mut self, leaf: Bytes) -> Result<(), ContentError> {
        if leaf.len() > CHUNK_BYTES || self.ended || !self.rest.is_empty() {
            return Err(ContentError::LeafLength { index: self.leaves, length: leaf.len() });
        }
        self.ended = leaf.len() < CHUNK_BYTES;
        self.size = self.size.saturating_add(leaf.len() as u64);
        let index = self.leaves;
        self.leaves = self.leaves.saturating_add(1);
        match (index, self.first.take()) {
            (0, _) => {
                self.first = Some(leaf);
                return Ok(());
            }
            (_, Some(first)) => self.submit(0, first)?,
            (_, None) => {}
        }
        self.submit(index, leaf)
    }

    /// Appends bytes of any length.
    ///
    /// # Errors
    /// Those of the store, possibly for earlier bytes.
    pub fn push(&mut self, mut bytes: Bytes) -> Result<(), ContentError> {
        while !bytes.is_empty() {
            if self.rest.is_empty() && bytes.len() >= CHUNK_BYTES {
                self.push_leaf(bytes.split_to(CHUNK_BYTES))?;
                continue;
            }
            if self.rest.is_empty() {
                self.rest.reserve(CHUNK_BYTES);
            }
            let room = CHUNK_BYTES.saturating_sub(self.rest.len()).min(bytes.len());
            self.rest.extend_from_slice(&bytes.split_to(room));
            if self.rest.len() == CHUNK_BYTES {
                let leaf = self.rest.split().freeze();
                self.push_leaf(leaf)?;
            }
        }
        Ok(())
    }

    /// Ends the file, which is durable when this returns. An empty file is one empty leaf.
    ///
    /// # Errors
    /// Those of the store, possibly for an earlier leaf.
    pub fn finish(self) -> Result<Imported, ContentError> {
        let (store, mut staged) = (self.store.clone(), Staged::default());
        let imported = self.finish_staged(&mut staged)?;
        store.index(staged.0, true)?;
        Ok(imported)
    }

    /// Like [`Importer::finish`], but stages the last blocks. The file becomes durable with [`BlockStore::commit`].
    ///
    /// # Errors
    /// As for [`Importer::finish`].
    pub fn finish_staged(mut self, staged: &mut Staged) -> Result<Imported, ContentError> {
        if !self.rest.is_empty() || self.leaves == 0 {
            let leaf = self.rest.split().freeze();
            self.push_leaf(leaf)?;
        }
        let Some(mut writer) = self.writer.take() else {
            return self.end_single(staged);
        };
        for leaf in writer.settle()? {
            self.early.insert(leaf.index, leaf);
        }
        let mut nodes = self.grow()?;
        let (root, rest) = self.tree.finish()?;
        nodes.extend(rest);
        let hold = writer.finish_staged(&nodes, staged)?;
        Ok(Imported { root, size: self.size, blocks: self.leaves.saturating_add(self.tree.nodes), hold })
    }

    fn end_single(mut self, staged: &mut Staged) -> Result<Imported, ContentError> {
        let block = Block::new(RAW, self.first.take().unwrap_or_default())?;
        let hold = self.store.hold();
        self.store.stage(&block, &hold, staged)?;
        Ok(Imported { root: *block.cid(), size: self.size, blocks: 1, hold: Arc::new(hold) })
    }

    fn submit(&mut self, index: u64, bytes: Bytes) -> Result<(), ContentError> {
        let store = &self.store;
        let writer = self.writer.get_or_insert_with(|| BlockWriter::new(store));
        writer.submit(Job::Hash { index, bytes })?;
        self.early.extend(writer.drain_leaves().map(|leaf| (leaf.index, leaf)));
        for node in self.grow()? {
            self.writer.as_mut().ok_or(ContentError::WriterLost)?.push(node)?;
        }
        Ok(())
    }

    /// Adds the next leaves in order to the tree; returns the completed inner nodes.
    fn grow(&mut self) -> Result<Vec<Block>, ContentError> {
        let mut nodes = Vec::new();
        while let Some(leaf) = self.early.remove(&self.tree.leaves) {
            self.tree
                .push(Part { cid: leaf.cid, dag_bytes: leaf.size, file_bytes: leaf.size }, &mut nodes)?;
        }
        Ok(nodes)
    }
}

/// Imports all bytes of a reader.
///
/// # Errors
/// [`ContentError::Source`] if the reader fails, and those of the store.
pub fn import(store: &BlockStore, mut reader: impl Read) -> Result<Imported, ContentError> {
    let mut importer = Importer::new(store);
    loop {
        let mut leaf = Vec::with_capacity(CHUNK_BYTES);
        match reader.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut leaf) {
            Ok(0) => return importer.finish(),
            Ok(_) => importer.push_leaf(leaf.into())?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(ContentError::Source(error)),
        }
    }
}

/// The balanced tree over the leaves, bottom-up: for each level the parts without a parent.
#[derive(Debug, Default)]
struct Tree {
    levels: Vec<Vec<Part>>,
    leaves: u64,
    nodes: u64,
}

impl Tree {
    fn push(&mut self, leaf: Part, made: &mut Vec<Block>) -> Result<(), ContentError> {
        self.leaves = self.leaves.saturating_add(1);
        let mut part = leaf;
        let mut level = 0usize;
        loop {
            if self.levels.len() <= level {
                self.levels.push(Vec::new());
            }
            let Some(parts) = self.levels.get_mut(level) else { return Ok(()) };
            parts.push(part);
            if parts.len() < LINKS_PER_NODE {
                return Ok(());
            }
            let parts = std::mem::take(parts);
            part = self.join(&parts, made)?;
            level = level.saturating_add(1);
        }
    }

    fn join(&mut self, parts: &[Part], made: &mut Vec<Block>) -> Result<Part, ContentError> {
        let block = Block::new(DAG_PB, encode_file_node(parts).into())?;
        let own = block.bytes().len() as u64;
        let part = Part {
            cid: *block.cid(),
            dag_bytes: parts.iter().fold(own, |sum, part| sum.saturating_add(part.dag_bytes)),
            file_bytes: parts.iter().fold(0, |sum, part| sum.saturating_add(part.file_bytes)),
        };
        self.nodes = self.nodes.saturating_add(1);
        made.push(block);
        Ok(part)
    }

    /// Joins the parts without a parent, level by level, to one root.
    fn finish(&mut self) -> Result<(Cid, Vec<Block>), ContentError> {
        let mut made = Vec::new();
        let mut levels = std::mem::take(&mut self.levels).into_iter().peekable();
        let mut below: Option<Part> = None;
        while let Some(mut parts) = levels.next() {
            parts.extend(below.take());
            below = match (parts.as_slice(), levels.peek()) {
                ([], _) => None,
                ([only], None) => Some(*only),
                (parts, _) => Some(self.join(parts, &mut made)?),
            };
        }
        below.map(|root| (root.cid, made)).ok_or(ContentError::WriterLost)
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::{RngCore, SeedableRng};

    use super::*;
    use crate::block::sha256;

    /// The root of a file with these leaves; nothing is stored.
    fn root_of(leaves: impl Iterator<Item = Part>) -> String {
        let (mut tree, mut made) = (Tree::default(), Vec::new());
        for leaf in leaves {
            tree.push(leaf, &mut made).unwrap();
        }
        tree.finish().unwrap().0.to_string()
    }

    fn leaf(bytes: Vec<u8>) -> Part {
        let size = bytes.len() as u64;
        Part { cid: *Block::new(RAW, bytes.into()).unwrap().cid(), dag_bytes: size, file_bytes: size }
    }

    /// The bytes of Kubo's tests: a ChaCha20 key stream keyed by the digest of a seed.
    fn leaves(seed: &str, count: usize, last: usize) -> Vec<Part> {
        let mut stream = ChaCha20Rng::from_seed(sha256(seed.as_bytes()));
        let length = |index| if index + 1 == count { last } else { CHUNK_BYTES };
        let mut next = |index| {
            let mut bytes = vec![0; length(index)];
            stream.fill_bytes(&mut bytes);
            leaf(bytes)
        };
        (0..count).map(&mut next).collect()
    }

    /// Vectors of Kubo's `test/cli/cid_profiles_test.go` for the profile unixfs-v1-2025.
    #[test]
    fn cids_equal_those_of_kubo() {
        let hello = std::iter::once(leaf(b"hello world".to_vec()));
        assert_eq!(root_of(hello), "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
        for (seed, count, last, cid) in [
            ("chunk-v1-seed", 1, CHUNK_BYTES, "bafkreiacndfy443ter6qr2tmbbdhadvxxheowwf75s6zehscklu6ezxmta"),
            ("chunk-v1-seed", 2, 1, "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64"),
        ] {
            assert_eq!(root_of(leaves(seed, count, last).into_iter()), cid);
        }
        let mut many = leaves("v1-2025-seed", LINKS_PER_NODE + 1, 1);
        let two_levels = "bafybeibdsi225ugbkmpbdohnxioyab6jsqrmkts3twhpvfnzp77xtzpyhe";
        assert_eq!(root_of(many.iter().copied()), two_levels);
        many.pop();
        let one_level = "bafybeihmf37wcuvtx4hpu7he5zl5qaf2ineo2lqlfrapokkm5zzw7zyhvm";
        assert_eq!(root_of(many.into_iter()), one_level);
    }
}
