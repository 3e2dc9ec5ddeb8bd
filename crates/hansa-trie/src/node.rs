//! What is at one place of the trie, and how it is named.
//!
//! An extension and the branch below it are one branch here; leaves live in their parent. What has not been changed since it
//! was written is named by [`Child::Stored`] and loaded when it is needed.

use alloy_primitives::{B256, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;
use hansa_keccak::{digest_all, pieces};

use crate::arena::{Arena, Layer};
use crate::bytes::array;
use crate::cache::{Caches, NodeCache};
use crate::rlp;

/// What a trie holds under its keys.
pub(crate) trait TrieValue: Copy + PartialEq + Send + Sync + Sized + 'static {
    /// Length of the form kept in memory.
    const SIZE: usize;
    /// Appends the form kept in memory.
    fn put(&self, out: &mut Vec<u8>);
    /// Reads the form kept in memory, which is there.
    fn read(bytes: &[u8]) -> Self;
    /// Appends the RLP that Ethereum stores in a leaf.
    fn put_rlp(&self, out: &mut Vec<u8>);
    /// Appends the form kept in a page.
    fn put_page(&self, out: &mut Vec<u8>);
    /// Reads the form kept in a page.
    fn take_page(page: &mut &[u8]) -> Option<Self>;
    /// The value that refers to what hangs below it as stored.
    fn stored(self) -> Self {
        self
    }
    /// Where such nodes are cached.
    fn cache(caches: &Caches) -> &NodeCache<Self>;
    /// Where a step keeps such nodes.
    fn arena(layer: &Layer) -> &Arena;
}

/// How a parent names a node: its keccak-256, or its RLP where that is shorter than 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeRef {
    length: u8,
    bytes: [u8; 32],
}

impl NodeRef {
    /// Length of the form kept in memory: length, name, zeros.
    pub(crate) const SIZE: usize = 33;

    /// Appends length, name and zeros.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.push(self.length);
        out.extend_from_slice(&self.bytes);
    }

    /// Writes the form kept in memory to where there is room for it.
    pub(crate) fn write(&self, to: &mut [u8]) {
        to[0] = self.length;
        to[1..Self::SIZE].copy_from_slice(&self.bytes);
    }

    /// Reads the form kept in memory.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        Self { length: bytes[0], bytes: array(bytes, 1) }
    }

    /// What [`Self::as_bytes`] gives of the name that is kept here.
    pub(crate) fn bytes_of(bytes: &[u8]) -> &[u8] {
        &bytes[1..][..usize::from(bytes[0])]
    }

    /// Stands for a name that is not known yet.
    pub(crate) const UNNAMED: Self = Self { length: 0, bytes: [0; 32] };

    pub(crate) const fn is_unnamed(&self) -> bool {
        self.length == 0
    }

    /// The name of a node with this RLP.
    pub(crate) fn of(rlp: &[u8]) -> Self {
        Self::short(rlp).unwrap_or_else(|| Self::hash(keccak256(rlp)))
    }

    /// The name of a node with this RLP, if that is its name.
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

    /// From the bytes of [`Self::as_bytes`].
    pub(crate) fn from_bytes(from: &[u8]) -> Option<Self> {
        let hash = || B256::try_from(from).ok().map(Self::hash);
        Self::short(from).or_else(hash).filter(|name| !name.is_unnamed())
    }

    /// The hash, or the RLP if shorter.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The node's keccak-256: the root hash if the node is the root.
    pub(crate) fn root_hash(&self) -> B256 {
        if self.length == 32 { B256::new(self.bytes) } else { keccak256(self.as_bytes()) }
    }
}

/// Where a branch is in memory. Once its version is in the store, it need not be there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId {
    /// The version of the state that made the branch.
    pub(crate) version: u64,
    /// Where it is among those of that version.
    pub(crate) index: u32,
}

impl NodeId {
    /// Length of the form kept in memory.
    pub(crate) const SIZE: usize = 12;

    /// Appends version and index, little-endian.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.index.to_le_bytes());
    }

    /// Reads the form kept in memory.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        Self { version: u64::from_le_bytes(array(bytes, 0)), index: u32::from_le_bytes(array(bytes, 8)) }
    }
}

/// What is at one place of a trie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Child<V> {
    /// Nothing.
    Empty,
    /// A branch (or, at the root, a leaf) that is in the store.
    Stored(NodeRef),
    /// A branch that a step made: to be found in memory until its version is in the store.
    Made(NodeRef, NodeId),
    /// A single key.
    Leaf(Leaf<V>),
}

/// One key with its value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf<V> {
    pub(crate) key: B256,
    pub(crate) value: V,
    /// How the parent names it, at the depth where it is.
    pub(crate) reference: NodeRef,
}

impl<V> Leaf<V> {
    /// A leaf that has no name yet.
    pub(crate) const fn unnamed(key: B256, value: V) -> Self {
        Self { key, value, reference: NodeRef::UNNAMED }
    }
}

impl<V: TrieValue> Leaf<V> {
    /// The same leaf with its name below `start` nibbles.
    pub(crate) fn named(self, start: usize) -> Self {
        let mut rlp = Vec::new();
        rlp::leaf(&self.key, start, &self.value, &mut rlp, &mut Vec::new());
        Self { reference: NodeRef::of(&rlp), ..self }
    }
}

impl<V> Child<V> {
    /// A trie in the store, by its root hash.
    pub(crate) fn stored(root: B256) -> Self {
        if root == EMPTY_ROOT_HASH { Self::Empty } else { Self::Stored(NodeRef::hash(root)) }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// The root hash of the trie that has this node as its root.
    pub(crate) fn root_hash(&self) -> B256 {
        match self {
            Self::Empty => EMPTY_ROOT_HASH,
            Self::Stored(reference) | Self::Made(reference, _) => reference.root_hash(),
            Self::Leaf(leaf) => leaf.reference.root_hash(),
        }
    }
}

/// Names nodes, many at a time.
#[derive(Default)]
pub(crate) struct Namer {
    /// The RLP of all nodes that wait for their names, and where that of each ends.
    rlp: Vec<u8>,
    ends: Vec<usize>,
    value: Vec<u8>,
    digests: Vec<B256>,
    names: Vec<NodeRef>,
}

impl Namer {
    /// Adds a leaf below `start` nibbles.
    pub(crate) fn add_leaf<V: TrieValue>(&mut self, key: &B256, value: &V, start: usize) {
        rlp::leaf(key, start, value, &mut self.rlp, &mut self.value);
        self.ends.push(self.rlp.len());
    }

    /// Adds a branch that has children of these names at the nibbles `there`.
    pub(crate) fn add_branch<'n>(
        &mut self,
        there: u16,
        names: impl ExactSizeIterator<Item = &'n [u8]> + Clone,
    ) {
        rlp::branch(there, names, &mut self.rlp);
        self.ends.push(self.rlp.len());
    }

    /// Adds an extension over the nibbles from `start` to `depth` of `path`.
    pub(crate) fn add_extension(&mut self, path: &B256, (start, depth): (usize, usize), child: &NodeRef) {
        rlp::extension(path, start, depth, child, &mut self.rlp);
        self.ends.push(self.rlp.len());
    }

    /// The names of those that wait, in the order in which they were added.
    pub(crate) fn names(&mut self) -> impl Iterator<Item = NodeRef> {
        let Self { rlp, ends, digests, names, .. } = self;
        digest_all(pieces(rlp, ends), digests);
        let name =
            |(rlp, digest): (&[u8], &B256)| NodeRef::short(rlp).unwrap_or_else(|| NodeRef::hash(*digest));
        names.extend(pieces(rlp, ends).zip(&*digests).map(name));
        ends.clear();
        rlp.clear();
        names.drain(..)
    }
}
