//! A branch as one stretch of bytes, wherever it is kept: among what a step made, in the cache, by itself. All that is read of a
//! branch lies side by side, because a walk through the trie waits for every place in memory that has not been read lately.
//!
//! ```text
//! there ‖ made ‖ leaves   2 each: which children there are, by nibble; which of them a step made; which are leaves
//! start ‖ depth           1 each
//! name                    33: how the parent names the branch; unknown until `Forge::name`
//! path                    32: the shared nibbles, the rest zero
//! names                   33 for each child
//! ids                     12 for each branch that a step made: version (8) ‖ index (4)
//! entries                 32 ‖ value for each leaf
//! ```
//! Children by nibble, integers little-endian. A name is its length and 32 bytes. Nothing of this is ever stored.

use std::marker::PhantomData;
use std::sync::Arc;

use alloy_primitives::B256;
use arrayvec::ArrayVec;

use crate::bytes::array;
use crate::node::{Child, Leaf, NodeId, NodeRef, TrieValue};

const THERE: usize = 0;
const MADE: usize = 2;
const LEAVES: usize = 4;
const START: usize = 6;
const DEPTH: usize = 7;
/// Where a branch has its own name.
pub(crate) const NAME: usize = 8;
const PATH: usize = NAME + NodeRef::SIZE;
const NAMES: usize = PATH + 32;

/// Which children there are, by nibble: bit n for nibble n.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Children {
    pub(crate) there: u16,
    /// Branches that a step made.
    pub(crate) made: u16,
    pub(crate) leaves: u16,
}

impl Children {
    /// Where names, ids and entries of a branch with such children begin.
    fn begins(self) -> [usize; 3] {
        let ids = NAMES + count(self.there) * NodeRef::SIZE;
        [NAMES, ids, ids + count(self.made) * NodeId::SIZE]
    }

    /// Where the name of the child at a nibble is.
    pub(crate) fn name(self, at: usize) -> usize {
        NAMES + count(self.there & below(at)) * NodeRef::SIZE
    }

    /// Where the id of the branch at a nibble is.
    pub(crate) fn id(self, at: usize) -> usize {
        self.begins()[1] + count(self.made & below(at)) * NodeId::SIZE
    }

    /// Where the leaf at a nibble is.
    pub(crate) fn entry<V: TrieValue>(self, at: usize) -> usize {
        self.begins()[2] + count(self.leaves & below(at)) * Entry::<V>::SIZE
    }

    fn length<V: TrieValue>(self) -> usize {
        self.begins()[2] + count(self.leaves) * Entry::<V>::SIZE
    }
}

const fn count(bits: u16) -> usize {
    bits.count_ones() as usize
}

/// The bits of the nibbles below one.
const fn below(at: usize) -> u16 {
    ((1_u32 << at) - 1) as u16
}

/// The nibbles whose bits are set.
pub(crate) fn nibbles(mut bits: u16) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (at < 16).then_some(at)
    })
}

/// A leaf without its name.
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
    /// The branch that begins here.
    pub(crate) fn at(bytes: &'a [u8]) -> Self {
        let whole = Self { bytes, value: PhantomData };
        Self { bytes: &bytes[..whole.kinds().length::<V>()], value: PhantomData }
    }

    /// Which children there are.
    pub(crate) fn kinds(self) -> Children {
        let bits = |at| u16::from_le_bytes(array(self.bytes, at));
        Children { there: bits(THERE), made: bits(MADE), leaves: bits(LEAVES) }
    }

    /// Nibbles spent above this node: where `start < depth`, the node begins with an extension.
    pub(crate) fn start(self) -> usize {
        usize::from(self.bytes[START])
    }

    /// Nibbles spent above the children's own.
    pub(crate) fn depth(self) -> usize {
        usize::from(self.bytes[DEPTH])
    }

    /// How the parent names it.
    pub(crate) fn name(self) -> NodeRef {
        NodeRef::read(&self.bytes[NAME..])
    }

    /// The shared nibbles; the rest zero.
    pub(crate) fn path(self) -> B256 {
        B256::new(array(self.bytes, PATH))
    }

    /// What it takes in memory, in bytes.
    pub(crate) fn size(self) -> usize {
        self.bytes.len()
    }

    /// The child at a nibble.
    #[inline]
    pub(crate) fn child(self, at: usize) -> Child<V> {
        let bit = 1 << at;
        let kinds = self.kinds();
        if kinds.there & bit == 0 {
            return Child::Empty;
        }
        let reference = NodeRef::read(&self.bytes[kinds.name(at)..]);
        if kinds.leaves & bit != 0 {
            let Entry { key, value } = Entry::read(&self.bytes[kinds.entry::<V>(at)..]);
            Child::Leaf(Leaf { key, value, reference })
        } else if kinds.made & bit != 0 {
            Child::Made(reference, NodeId::read(&self.bytes[kinds.id(at)..]))
        } else {
            Child::Stored(reference)
        }
    }

    fn sections(self) -> [Section<'a>; 3] {
        let kinds = self.kinds();
        let [names, ids, entries] = kinds.begins();
        [
            Section { bytes: &self.bytes[names..ids], bits: kinds.there, size: NodeRef::SIZE },
            Section { bytes: &self.bytes[ids..entries], bits: kinds.made, size: NodeId::SIZE },
            Section { bytes: &self.bytes[entries..], bits: kinds.leaves, size: Entry::<V>::SIZE },
        ]
    }

    /// The children that are there, by nibble.
    pub(crate) fn children(self) -> impl Iterator<Item = (usize, Child<V>)> {
        nibbles(self.kinds().there).map(move |at| (at, self.child(at)))
    }

    /// The names of the children that are there, by nibble.
    pub(crate) fn names(self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone {
        let [names, ..] = self.sections();
        names.bytes.chunks_exact(NodeRef::SIZE).map(NodeRef::bytes_of)
    }

    /// Where the children are that a step made.
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

/// Children of a branch that are new, by nibble in ascending order; empty ones have gone.
pub(crate) type Changed<V> = ArrayVec<(usize, Child<V>), 16>;

/// Appends a branch without a name, of the children of another, if any, with `changed` ones in their places. `path` counts up to
/// `depth`, where it must be truncated.
pub(crate) fn put<V: TrieValue>(
    path: &B256,
    (start, depth): (usize, usize),
    from: Option<Branch<'_, V>>,
    changed: &[(usize, Child<V>)],
    out: &mut Vec<u8>,
) {
    let before = from.map(Branch::kinds).unwrap_or_default();
    let kept = !changed.iter().fold(0, |bits, (at, _)| bits | 1 << at);
    let mut kinds =
        Children { there: before.there & kept, made: before.made & kept, leaves: before.leaves & kept };
    for (at, child) in changed {
        let bit = 1 << at;
        kinds.there |= if child.is_empty() { 0 } else { bit };
        kinds.made |= if matches!(child, Child::Made(..)) { bit } else { 0 };
        kinds.leaves |= if matches!(child, Child::Leaf(_)) { bit } else { 0 };
    }
    out.reserve(kinds.length::<V>());
    put_head(kinds, (start as u8, depth as u8), path, out);
    let [names, ids, entries] = from.map(Branch::sections).unwrap_or_default();
    names.merge(changed, out, |child, out| match child {
        Child::Empty => {}
        Child::Stored(name) | Child::Made(name, _) => name.put(out),
        Child::Leaf(leaf) => leaf.reference.put(out),
    });
    ids.merge(changed, out, |child, out| {
        if let Child::Made(_, id) = child {
            id.put(out);
        }
    });
    entries.merge(changed, out, |child, out| {
        if let Child::Leaf(Leaf { key, value, .. }) = *child {
            Entry { key, value }.put(out);
        }
    });
}

fn put_head(kinds: Children, (start, depth): (u8, u8), path: &B256, out: &mut Vec<u8>) {
    for bits in [kinds.there, kinds.made, kinds.leaves] {
        out.extend_from_slice(&bits.to_le_bytes());
    }
    out.extend_from_slice(&[start, depth]);
    NodeRef::UNNAMED.put(out);
    out.extend_from_slice(path.as_slice());
}

/// What a branch has of one kind, each `size` bytes, for the nibbles in `bits`.
#[derive(Clone, Copy, Default)]
struct Section<'a> {
    bytes: &'a [u8],
    bits: u16,
    size: usize,
}

impl Section<'_> {
    /// Appends it with what `put` appends of the changed children in their places.
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

/// A branch by itself. Cloning gives another handle on the same one.
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

    /// A copy that refers to everything below as stored, put together in `scratch`.
    pub(crate) fn stored(branch: Branch<'_, V>, scratch: &mut Vec<u8>) -> Self {
        let kinds = Children { made: 0, ..branch.kinds() };
        let [_, ids, _] = branch.kinds().begins();
        scratch.clear();
        scratch.extend_from_slice(&branch.bytes[..ids]);
        scratch[MADE..LEAVES].fill(0);
        for Entry { key, value } in branch.entries() {
            Entry { key, value: value.stored() }.put(scratch);
        }
        debug_assert_eq!(scratch.len(), kinds.length::<V>());
        Self { bytes: scratch.as_slice().into(), value: PhantomData }
    }

    pub(crate) fn get(&self) -> Branch<'_, V> {
        Branch { bytes: &self.bytes, value: PhantomData }
    }
}
