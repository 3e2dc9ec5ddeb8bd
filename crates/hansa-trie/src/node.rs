//! The trie in memory: immutable nodes, shared between all versions that contain them.
//!
//! An extension and the branch below it are one [`Branch`] here; leaves live in their parent. What has not been changed
//! since it was written is named by [`Child::Stored`] and loaded when it is needed.

use std::sync::Arc;

use alloy_primitives::{B256, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;

use crate::cache::{Caches, NodeCache};
use crate::flush::Flush;
use crate::rlp;

/// What a trie holds under its keys.
pub(crate) trait TrieValue: Clone + PartialEq + Send + Sync + Sized + 'static {
    /// Appends the RLP that Ethereum stores in a leaf.
    fn put_rlp(&self, out: &mut Vec<u8>);
    /// Appends the form kept in a page.
    fn put_page(&self, out: &mut Vec<u8>);
    /// Reads the form kept in a page.
    fn take_page(page: &mut &[u8]) -> Option<Self>;
    /// Whether nothing that hangs below the value is in memory.
    fn is_settled(&self) -> bool {
        true
    }
    /// Writes out what hangs below the value; gives the value that refers to it as stored, if that differs.
    fn written(&self, _key: &B256, _flush: &mut Flush<'_>) -> Option<Self> {
        None
    }
    /// The value that refers to what hangs below it as stored, if that is in memory though `version` is in the store.
    fn settled(&self, _version: u64) -> Option<Self> {
        None
    }
    /// Where such nodes are cached.
    fn cache(caches: &Caches) -> &NodeCache<Self>;
}

/// How a parent names a node: its keccak-256, or its RLP where that is shorter than 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeRef {
    length: u8,
    bytes: [u8; 32],
}

impl NodeRef {
    /// The name of a node with this RLP.
    pub(crate) fn of(rlp: &[u8]) -> Self {
        match rlp.len() {
            length @ 0..32 => {
                let mut bytes = [0; 32];
                bytes[..length].copy_from_slice(rlp);
                Self { length: length as u8, bytes }
            }
            _ => Self::hash(keccak256(rlp)),
        }
    }

    pub(crate) const fn hash(hash: B256) -> Self {
        Self { length: 32, bytes: hash.0 }
    }

    /// From the bytes of [`Self::as_bytes`].
    pub(crate) fn from_bytes(from: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Self { length: from.len() as u8, bytes })
    }

    /// The hash, or the RLP if shorter.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The node's keccak-256: the root hash if the node is the root.
    pub(crate) fn root_hash(&self) -> B256 {
        if self.length == 32 { B256::new(self.bytes) } else { keccak256(self.as_bytes()) }
    }

    pub(crate) const fn rlp_length(&self) -> usize {
        if self.length == 32 { 33 } else { self.length as usize }
    }

    pub(crate) fn put_rlp(&self, out: &mut Vec<u8>) {
        if self.length == 32 {
            out.push(0xa0);
        }
        out.extend_from_slice(self.as_bytes());
    }
}

/// What is at one place of a trie.
#[derive(Debug)]
pub(crate) enum Child<V> {
    /// Nothing.
    Empty,
    /// A branch (or, at the root, a leaf) that is in the store.
    Stored(NodeRef),
    /// A branch in memory.
    Branch(Arc<Branch<V>>),
    /// A single key.
    Leaf(Leaf<V>),
}

/// Two or more keys that share their first `depth` nibbles and differ in the next.
#[derive(Debug)]
pub(crate) struct Branch<V> {
    /// The shared nibbles; the rest zero.
    pub(crate) path: B256,
    /// Nibbles spent above this node: where `start < depth`, the node begins with an extension.
    pub(crate) start: usize,
    /// Nibbles spent above the children's own.
    pub(crate) depth: usize,
    /// The version of the state that made this node; 0 if it came from the store.
    pub(crate) born: u64,
    /// How the parent names it.
    pub(crate) reference: NodeRef,
    /// By the nibble at `depth`.
    pub(crate) children: Children<V>,
}

/// One key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Leaf<V> {
    pub(crate) key: B256,
    pub(crate) value: V,
    /// How the parent names it, at the depth where it is.
    pub(crate) reference: NodeRef,
}

/// What is below a branch. Most branches have few children, so only those are kept.
#[derive(Debug)]
pub(crate) struct Children<V> {
    mask: u16,
    there: Vec<Child<V>>,
}

impl<V> Children<V> {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { mask: 0, there: Vec::with_capacity(capacity.min(16)) }
    }

    /// Adds a child at a nibble above all that are there; nothing if it is empty.
    pub(crate) fn push(&mut self, at: usize, child: Child<V>) {
        debug_assert!(self.mask >> at == 0);
        if !child.is_empty() {
            self.mask |= 1 << at;
            self.there.push(child);
        }
    }

    pub(crate) fn at(&self, at: usize) -> Option<&Child<V>> {
        let bit = 1 << at;
        let below = (self.mask & (bit - 1)).count_ones() as usize;
        if self.mask & bit == 0 { None } else { self.there.get(below) }
    }

    /// The children that are there, by nibble.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Child<V>)> {
        (0..16).filter(|at| self.mask >> at & 1 == 1).zip(&self.there)
    }

    pub(crate) fn len(&self) -> usize {
        self.there.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.there.capacity()
    }

    /// Whether all that is below is named, or a leaf with nothing in memory below it.
    pub(crate) fn are_settled(&self) -> bool
    where
        V: TrieValue,
    {
        self.there.iter().all(|child| match child {
            Child::Empty | Child::Stored(_) => true,
            Child::Branch(_) => false,
            Child::Leaf(leaf) => leaf.value.is_settled(),
        })
    }

    /// The only child; none if there are none or several.
    pub(crate) fn only(&self) -> Option<(usize, &Child<V>)> {
        self.iter().next().filter(|_| self.len() == 1)
    }
}

impl<V: Clone> Clone for Child<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Stored(reference) => Self::Stored(*reference),
            Self::Branch(branch) => Self::Branch(Arc::clone(branch)),
            Self::Leaf(leaf) => Self::Leaf(leaf.clone()),
        }
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

    /// How a parent names it; none if there is nothing.
    pub(crate) fn reference(&self) -> Option<&NodeRef> {
        match self {
            Self::Empty => None,
            Self::Stored(reference) => Some(reference),
            Self::Branch(branch) => Some(&branch.reference),
            Self::Leaf(leaf) => Some(&leaf.reference),
        }
    }

    /// The root hash of the trie that has this node as its root.
    pub(crate) fn root_hash(&self) -> B256 {
        self.reference().map_or(EMPTY_ROOT_HASH, NodeRef::root_hash)
    }
}

/// Makes nodes, with the buffers their encoding needs.
#[derive(Default)]
pub(crate) struct Forge {
    rlp: Vec<u8>,
    value: Vec<u8>,
}

impl Forge {
    pub(crate) fn leaf<V: TrieValue>(&mut self, key: B256, value: V, start: usize) -> Leaf<V> {
        rlp::leaf(&key, start, &value, &mut self.rlp, &mut self.value);
        Leaf { key, value, reference: NodeRef::of(&self.rlp) }
    }

    /// `path` counts up to `depth`, where it must be truncated.
    pub(crate) fn branch<V: TrieValue>(
        &mut self,
        path: B256,
        (start, depth): (usize, usize),
        children: Children<V>,
        born: u64,
    ) -> Arc<Branch<V>> {
        rlp::branch(&children, &mut self.rlp);
        let mut reference = NodeRef::of(&self.rlp);
        if start < depth {
            rlp::extension(&path, start, depth, &reference, &mut self.rlp);
            reference = NodeRef::of(&self.rlp);
        }
        Arc::new(Branch { path, start, depth, born, reference, children })
    }
}
