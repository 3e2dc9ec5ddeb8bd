//! A branch as contiguous bytes, in an arena, in the cache or on its own. Contiguity keeps the cache misses of a lookup low.
//!
//! ```text
//! present ‖ dirty ‖ leaves   2 each: masks of the children, of the dirty branches and of the leaves among them, by nibble
//! start ‖ depth              1 each
//! reference                  33: the parent's reference to the branch; unknown until `BranchBuilder::hash`
//! path                       32: the shared nibbles, then zeros
//! references                 33 for each child
//! ids                        12 for each dirty branch: version (8) ‖ index (4)
//! entries                    32 ‖ value for each leaf
//! ```
//! ChildMasks are ordered by nibble, integers are little-endian. A reference is its length and 32 bytes. This form is never stored.

use std::marker::PhantomData;
use std::sync::Arc;

use alloy_primitives::B256;
use arrayvec::ArrayVec;

use crate::bytes::array;
use crate::node::{Child, Leaf, NodeId, NodeRef, TrieValue};

const PRESENT: usize = 0;
const DIRTY: usize = 2;
const LEAVES: usize = 4;
const START: usize = 6;
const DEPTH: usize = 7;
/// Offset of a branch's own reference.
pub(crate) const REFERENCE: usize = 8;
const PATH: usize = REFERENCE + NodeRef::SIZE;
const REFERENCES: usize = PATH + 32;

/// Masks of the children: bit n for nibble n.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ChildMasks {
    pub(crate) present: u16,
    /// Dirty branches.
    pub(crate) dirty: u16,
    pub(crate) leaves: u16,
}

impl ChildMasks {
    /// Offsets of references, ids and entries.
    fn offsets(self) -> [usize; 3] {
        let ids = REFERENCES + count(self.present) * NodeRef::SIZE;
        [REFERENCES, ids, ids + count(self.dirty) * NodeId::SIZE]
    }

    /// Offset of the reference of the child at a nibble.
    pub(crate) fn reference(self, at: usize) -> usize {
        REFERENCES + count(self.present & below(at)) * NodeRef::SIZE
    }

    /// Offset of the id of the dirty branch at a nibble.
    pub(crate) fn id(self, at: usize) -> usize {
        self.offsets()[1] + count(self.dirty & below(at)) * NodeId::SIZE
    }

    /// Offset of the leaf at a nibble.
    pub(crate) fn entry<V: TrieValue>(self, at: usize) -> usize {
        self.offsets()[2] + count(self.leaves & below(at)) * Entry::<V>::SIZE
    }

    fn length<V: TrieValue>(self) -> usize {
        self.offsets()[2] + count(self.leaves) * Entry::<V>::SIZE
    }
}

const fn count(bits: u16) -> usize {
    bits.count_ones() as usize
}

/// Mask of all nibbles below `at`.
const fn below(at: usize) -> u16 {
    ((1_u32 << at) - 1) as u16
}

/// The nibbles of a mask, ascending.
pub(crate) fn nibbles(mut bits: u16) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (at < 16).then_some(at)
    })
}

/// Key and value of a leaf.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<V> {
    pub(crate) key: B256,
    pub(crate) value: V,
}

impl<V: TrieValue> Entry<V> {
    const SIZE: usize = 32 + V::SIZE;

    pub(crate) fn read(bytes: &[u8]) -> Self {
        Self { key: B256::new(array(bytes, 0)), value: V::read(&bytes[32..]) }
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.key.as_slice());
        self.value.put(out);
    }
}

/// Two or more keys that share their first `depth` nibbles and differ in the next.
pub(crate) struct Branch<'a, V> {
    bytes: &'a [u8],
    value: PhantomData<V>,
}

impl<V> Clone for Branch<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Branch<'_, V> {}

impl<'a, V: TrieValue> Branch<'a, V> {
    /// The branch at the start of these bytes.
    pub(crate) fn at(bytes: &'a [u8]) -> Self {
        let whole = Self { bytes, value: PhantomData };
        Self { bytes: &bytes[..whole.masks().length::<V>()], value: PhantomData }
    }

    /// The masks of the children.
    pub(crate) fn masks(self) -> ChildMasks {
        let bits = |at| u16::from_le_bytes(array(self.bytes, at));
        ChildMasks { present: bits(PRESENT), dirty: bits(DIRTY), leaves: bits(LEAVES) }
    }

    /// Nibbles above this node. If `start < depth`, the node begins with an extension.
    pub(crate) fn start(self) -> usize {
        usize::from(self.bytes[START])
    }

    /// Nibbles above the children's own.
    pub(crate) fn depth(self) -> usize {
        usize::from(self.bytes[DEPTH])
    }

    /// The parent's reference to the branch.
    pub(crate) fn reference(self) -> NodeRef {
        NodeRef::read(&self.bytes[REFERENCE..])
    }

    /// The shared nibbles, then zeros.
    pub(crate) fn path(self) -> B256 {
        B256::new(array(self.bytes, PATH))
    }

    /// Size in bytes.
    pub(crate) fn size(self) -> usize {
        self.bytes.len()
    }

    /// The child at a nibble.
    #[inline]
    pub(crate) fn child(self, at: usize) -> Child<V> {
        let bit = 1 << at;
        let masks = self.masks();
        if masks.present & bit == 0 {
            return Child::Empty;
        }
        let reference = NodeRef::read(&self.bytes[masks.reference(at)..]);
        if masks.leaves & bit != 0 {
            let Entry { key, value } = Entry::read(&self.bytes[masks.entry::<V>(at)..]);
            Child::Leaf(Leaf { key, value, reference })
        } else if masks.dirty & bit != 0 {
            Child::Dirty(reference, NodeId::read(&self.bytes[masks.id(at)..]))
        } else {
            Child::Stored(reference)
        }
    }

    fn sections(self) -> [Section<'a>; 3] {
        let masks = self.masks();
        let [references, ids, entries] = masks.offsets();
        [
            Section { bytes: &self.bytes[references..ids], bits: masks.present, size: NodeRef::SIZE },
            Section { bytes: &self.bytes[ids..entries], bits: masks.dirty, size: NodeId::SIZE },
            Section { bytes: &self.bytes[entries..], bits: masks.leaves, size: Entry::<V>::SIZE },
        ]
    }

    /// The children, by nibble.
    pub(crate) fn children(self) -> impl Iterator<Item = (usize, Child<V>)> {
        nibbles(self.masks().present).map(move |at| (at, self.child(at)))
    }

    /// The references of the children, by nibble.
    pub(crate) fn references(self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone {
        let [references, ..] = self.sections();
        references.bytes.chunks_exact(NodeRef::SIZE).map(NodeRef::bytes_of)
    }

    /// The ids of the dirty children.
    pub(crate) fn ids(self) -> impl Iterator<Item = NodeId> {
        let [_, ids, _] = self.sections();
        ids.bytes.chunks_exact(NodeId::SIZE).map(NodeId::read)
    }

    /// The leaves.
    pub(crate) fn entries(self) -> impl Iterator<Item = Entry<V>> {
        let [.., entries] = self.sections();
        entries.bytes.chunks_exact(Entry::<V>::SIZE).map(Entry::read)
    }
}

/// New children of a branch, ascending by nibble; an empty one is a deletion.
pub(crate) type Changed<V> = ArrayVec<(usize, Child<V>), 16>;

/// Appends a branch without a hash, with the children of `from`, of which `changed` replace some. `path` must be truncated to `depth`
/// nibbles.
pub(crate) fn put<V: TrieValue>(
    path: &B256,
    (start, depth): (usize, usize),
    from: Option<Branch<'_, V>>,
    changed: &[(usize, Child<V>)],
    out: &mut Vec<u8>,
) {
    let before = from.map(Branch::masks).unwrap_or_default();
    let kept = !changed.iter().fold(0, |bits, (at, _)| bits | 1 << at);
    let mut masks = ChildMasks {
        present: before.present & kept,
        dirty: before.dirty & kept,
        leaves: before.leaves & kept,
    };
    for (at, child) in changed {
        let bit = 1 << at;
        masks.present |= if child.is_empty() { 0 } else { bit };
        masks.dirty |= if matches!(child, Child::Dirty(..)) { bit } else { 0 };
        masks.leaves |= if matches!(child, Child::Leaf(_)) { bit } else { 0 };
    }
    out.reserve(masks.length::<V>());
    put_head(masks, (start as u8, depth as u8), path, out);
    let [references, ids, entries] = from.map(Branch::sections).unwrap_or_default();
    references.merge(changed, out, |child, out| match child {
        Child::Empty => {}
        Child::Stored(reference) | Child::Dirty(reference, _) => reference.put(out),
        Child::Leaf(leaf) => leaf.reference.put(out),
    });
    ids.merge(changed, out, |child, out| {
        if let Child::Dirty(_, id) = child {
            id.put(out);
        }
    });
    entries.merge(changed, out, |child, out| {
        if let Child::Leaf(Leaf { key, value, .. }) = *child {
            Entry { key, value }.put(out);
        }
    });
}

fn put_head(masks: ChildMasks, (start, depth): (u8, u8), path: &B256, out: &mut Vec<u8>) {
    for bits in [masks.present, masks.dirty, masks.leaves] {
        out.extend_from_slice(&bits.to_le_bytes());
    }
    out.extend_from_slice(&[start, depth]);
    NodeRef::UNKNOWN.put(out);
    out.extend_from_slice(path.as_slice());
}

/// The references, ids or entries of a branch: `size` bytes for each nibble in `bits`.
#[derive(Clone, Copy, Default)]
struct Section<'a> {
    bytes: &'a [u8],
    bits: u16,
    size: usize,
}

impl Section<'_> {
    /// Appends the section; `put` encodes the changed children.
    fn merge<V>(
        self,
        changed: &[(usize, Child<V>)],
        out: &mut Vec<u8>,
        put: impl Fn(&Child<V>, &mut Vec<u8>),
    ) {
        let end = |at: usize| count(self.bits & below(at)) * self.size;
        let mut done = 0;
        for (at, child) in changed {
            out.extend_from_slice(&self.bytes[done..end(*at)]);
            put(child, out);
            done = end(at + 1);
        }
        out.extend_from_slice(&self.bytes[done..]);
    }
}

/// A shared branch outside an arena. A clone is another handle on the same bytes.
pub(crate) struct OwnedBranch<V> {
    bytes: Arc<[u8]>,
    value: PhantomData<V>,
}

impl<V> Clone for OwnedBranch<V> {
    fn clone(&self) -> Self {
        Self { bytes: Arc::clone(&self.bytes), value: PhantomData }
    }
}

impl<V: TrieValue> OwnedBranch<V> {
    /// A copy of a branch.
    pub(crate) fn copy(branch: Branch<'_, V>) -> Self {
        Self { bytes: branch.bytes.into(), value: PhantomData }
    }

    /// A copy whose children are all [`Child::Stored`] or leaves; `scratch` is a buffer.
    pub(crate) fn stored(branch: Branch<'_, V>, scratch: &mut Vec<u8>) -> Self {
        let masks = ChildMasks { dirty: 0, ..branch.masks() };
        let [_, ids, _] = branch.masks().offsets();
        scratch.clear();
        scratch.extend_from_slice(&branch.bytes[..ids]);
        scratch[DIRTY..LEAVES].fill(0);
        for Entry { key, value } in branch.entries() {
            Entry { key, value: value.stored() }.put(scratch);
        }
        debug_assert_eq!(scratch.len(), masks.length::<V>());
        Self { bytes: scratch.as_slice().into(), value: PhantomData }
    }

    pub(crate) fn get(&self) -> Branch<'_, V> {
        Branch { bytes: &self.bytes, value: PhantomData }
    }
}
