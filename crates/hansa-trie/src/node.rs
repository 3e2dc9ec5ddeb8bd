//! Nodes of a trie and the references to them.
//!
//! An extension and the branch below it are one branch here, and leaves are part of their parent. A clean node is a
//! [`Child::Stored`] and loaded on demand.

use alloy_primitives::{B256, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;
use hansa_keccak::{digest_all, pieces};

use crate::arena::{Arena, Layer};
use crate::bytes::array;
use crate::cache::{Caches, NodeCache};
use crate::rlp;

/// The value type of a trie.
pub(crate) trait TrieValue: Copy + PartialEq + Send + Sync + Sized + 'static {
    /// Size of the in-memory form in bytes.
    const SIZE: usize;
    /// Appends the in-memory form.
    fn put(&self, out: &mut Vec<u8>);
    /// Reads the in-memory form. Panics if it is too short.
    fn read(bytes: &[u8]) -> Self;
    /// Appends Ethereum's RLP of the value.
    fn put_rlp(&self, out: &mut Vec<u8>);
    /// Appends the page form.
    fn put_page(&self, out: &mut Vec<u8>);
    /// Reads the page form.
    fn take_page(page: &mut &[u8]) -> Option<Self>;
    /// The value with a clean storage trie.
    fn stored(self) -> Self {
        self
    }
    /// The cache of such nodes.
    fn cache(caches: &Caches) -> &NodeCache<Self>;
    /// The arena of such nodes.
    fn arena(layer: &Layer) -> &Arena;
}

/// A parent's reference to a node: its keccak-256, or its RLP if that is shorter than 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeRef {
    length: u8,
    bytes: [u8; 32],
}

impl NodeRef {
    /// Size of the in-memory form in bytes: length, reference, padding.
    pub(crate) const SIZE: usize = 33;

    /// Appends length, reference and padding.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.push(self.length);
        out.extend_from_slice(&self.bytes);
    }

    /// Overwrites the first [`Self::SIZE`] bytes of `to`.
    pub(crate) fn write(&self, to: &mut [u8]) {
        to[0] = self.length;
        to[1..Self::SIZE].copy_from_slice(&self.bytes);
    }

    /// Reads length, reference and padding.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        Self { length: bytes[0], bytes: array(bytes, 1) }
    }

    /// [`Self::as_bytes`] of an in-memory form.
    pub(crate) fn bytes_of(bytes: &[u8]) -> &[u8] {
        &bytes[1..][..usize::from(bytes[0])]
    }

    /// The reference of a node that is not hashed yet.
    pub(crate) const UNKNOWN: Self = Self { length: 0, bytes: [0; 32] };

    pub(crate) const fn is_unknown(&self) -> bool {
        self.length == 0
    }

    /// The reference of a node with this RLP.
    pub(crate) fn of(rlp: &[u8]) -> Self {
        Self::short(rlp).unwrap_or_else(|| Self::hash(keccak256(rlp)))
    }

    /// The RLP itself, if it is short enough to be the reference.
    fn short(rlp: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        let length = rlp.len();
        if length >= bytes.len() {
            return None;
        }
        bytes[..length].copy_from_slice(rlp);
        Some(Self { length: length as u8, bytes })
    }

    pub(crate) const fn hash(hash: B256) -> Self {
        Self { length: 32, bytes: hash.0 }
    }

    /// The inverse of [`Self::as_bytes`].
    pub(crate) fn from_bytes(from: &[u8]) -> Option<Self> {
        let hash = || B256::try_from(from).ok().map(Self::hash);
        Self::short(from).or_else(hash).filter(|reference| !reference.is_unknown())
    }

    /// The hash, or the RLP if that is shorter than 32 bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The node's keccak-256, which is the root hash of a root.
    pub(crate) fn root_hash(&self) -> B256 {
        if self.length == 32 { B256::new(self.bytes) } else { keccak256(self.as_bytes()) }
    }
}

/// CacheKey of a dirty branch in memory. The branch may be freed once its version is flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId {
    /// The version of the state whose step built the branch.
    pub(crate) version: u64,
    /// Index in the arena of that version.
    pub(crate) index: u32,
}

impl NodeId {
    /// Size of the in-memory form in bytes.
    pub(crate) const SIZE: usize = 12;

    /// Appends version and index, little-endian.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.index.to_le_bytes());
    }

    /// Reads version and index.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        Self { version: u64::from_le_bytes(array(bytes, 0)), index: u32::from_le_bytes(array(bytes, 8)) }
    }
}

/// A child of a branch, or a root.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Child<V> {
    /// No node.
    Empty,
    /// A clean branch (or, as a root, a leaf) in the store.
    Stored(NodeRef),
    /// A dirty branch, in memory until its version is flushed.
    Dirty(NodeRef, NodeId),
    /// A single key.
    Leaf(Leaf<V>),
}

/// One key with its value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf<V> {
    pub(crate) key: B256,
    pub(crate) value: V,
    /// The parent's reference to it, which depends on the depth.
    pub(crate) reference: NodeRef,
}

impl<V> Leaf<V> {
    /// A leaf that is not hashed yet.
    pub(crate) const fn unhashed(key: B256, value: V) -> Self {
        Self { key, value, reference: NodeRef::UNKNOWN }
    }
}

impl<V: TrieValue> Leaf<V> {
    /// The same leaf with its reference below `start` nibbles.
    pub(crate) fn hashed(self, start: usize) -> Self {
        let mut rlp = Vec::new();
        rlp::leaf(&self.key, start, &self.value, &mut rlp, &mut Vec::new());
        Self { reference: NodeRef::of(&rlp), ..self }
    }
}

impl<V> Child<V> {
    /// A clean trie by its root hash.
    pub(crate) fn stored(root: B256) -> Self {
        if root == EMPTY_ROOT_HASH { Self::Empty } else { Self::Stored(NodeRef::hash(root)) }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// The root hash of the trie with this root.
    pub(crate) fn root_hash(&self) -> B256 {
        match self {
            Self::Empty => EMPTY_ROOT_HASH,
            Self::Stored(reference) | Self::Dirty(reference, _) => reference.root_hash(),
            Self::Leaf(leaf) => leaf.reference.root_hash(),
        }
    }
}

/// Hashes nodes in batches.
#[derive(Default)]
pub(crate) struct NodeHasher {
    /// Concatenated RLP of the pending nodes; `ends` has the end of each.
    rlp: Vec<u8>,
    ends: Vec<usize>,
    value: Vec<u8>,
    digests: Vec<B256>,
    references: Vec<NodeRef>,
}

impl NodeHasher {
    /// Adds a leaf below `start` nibbles.
    pub(crate) fn add_leaf<V: TrieValue>(&mut self, key: &B256, value: &V, start: usize) {
        rlp::leaf(key, start, value, &mut self.rlp, &mut self.value);
        self.ends.push(self.rlp.len());
    }

    /// Adds a branch with these references at the nibbles of `present`.
    pub(crate) fn add_branch<'n>(
        &mut self,
        present: u16,
        references: impl ExactSizeIterator<Item = &'n [u8]> + Clone,
    ) {
        rlp::branch(present, references, &mut self.rlp);
        self.ends.push(self.rlp.len());
    }

    /// Adds an extension over the nibbles from `start` to `depth` of `path`.
    pub(crate) fn add_extension(&mut self, path: &B256, (start, depth): (usize, usize), child: &NodeRef) {
        rlp::extension(path, start, depth, child, &mut self.rlp);
        self.ends.push(self.rlp.len());
    }

    /// Hashes the pending nodes; returns their references in insertion order.
    pub(crate) fn references(&mut self) -> impl Iterator<Item = NodeRef> {
        let Self { rlp, ends, digests, references, .. } = self;
        digest_all(pieces(rlp, ends), digests);
        let reference =
            |(rlp, digest): (&[u8], &B256)| NodeRef::short(rlp).unwrap_or_else(|| NodeRef::hash(*digest));
        references.extend(pieces(rlp, ends).zip(&*digests).map(reference));
        ends.clear();
        rlp.clear();
        references.drain(..)
    }
}
