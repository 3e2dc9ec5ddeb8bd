//! The dirty branches of a step, concatenated in an arena. An arena is freed as a whole once its version is flushed and no view
//! needs it.

use std::marker::PhantomData;
use std::sync::Arc;

use alloy_primitives::B256;
use arrayvec::ArrayVec;

use crate::branch::{self, Branch, Entry, OwnedBranch, REFERENCE, nibbles};
use crate::node::{Child, NodeHasher, NodeId, NodeRef, TrieValue};

/// Alignment of branches in bytes. An index counts in this unit, so an arena can have 32 GiB.
const ALIGNMENT: usize = 8;

/// The dirty branches of a step, either of accounts or of storage.
#[derive(Debug, Default)]
pub(crate) struct Arena(Vec<u8>);

impl Arena {
    fn branch<V: TrieValue>(&self, index: u32) -> Branch<'_, V> {
        Branch::at(&self.0[offset(index)..])
    }

    /// The index of the next branch.
    fn next(&self) -> u32 {
        (self.0.len() / ALIGNMENT) as u32
    }

    /// The branches from an index on.
    fn from<V: TrieValue>(&self, first: u32) -> impl Iterator<Item = (u32, Branch<'_, V>)> {
        let mut next = first;
        std::iter::from_fn(move || {
            let index = next;
            let branch = (index < self.next()).then(|| self.branch::<V>(index))?;
            next += branch.size().div_ceil(ALIGNMENT) as u32;
            Some((index, branch))
        })
    }
}

/// Byte offset of a branch.
const fn offset(index: u32) -> usize {
    index as usize * ALIGNMENT
}

/// All dirty branches of a step from a view to its child.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    pub(crate) accounts: Arena,
    pub(crate) storage: Arena,
}

/// The layers of all steps from the flushed version to a view.
#[derive(Clone, Debug)]
pub(crate) struct Layers {
    /// The flushed version; the first layer belongs to the next one.
    stored: u64,
    layers: Vec<Arc<Layer>>,
}

impl Layers {
    /// No layers above a flushed version.
    pub(crate) const fn none(stored: u64) -> Self {
        Self { stored, layers: Vec::new() }
    }

    /// The layers above a later flushed version.
    pub(crate) fn above(&self, stored: u64) -> Self {
        let obsolete = usize::try_from(stored.saturating_sub(self.stored)).unwrap_or(usize::MAX);
        Self { stored, layers: self.layers.iter().skip(obsolete).cloned().collect() }
    }

    /// Adds the layer of a later version. Versions in between get empty layers.
    pub(crate) fn push(&mut self, version: u64, layer: Layer) {
        let skipped = usize::try_from(version - self.stored - 1).unwrap_or(usize::MAX);
        self.layers.resize_with(skipped, Arc::default);
        self.layers.push(Arc::new(layer));
    }

    /// A branch of a version above the flushed one.
    pub(crate) fn branch<V: TrieValue>(&self, id: NodeId) -> Branch<'_, V> {
        V::arena(&self.layers[(id.version - self.stored - 1) as usize]).branch(id.index)
    }
}

/// Builds the branches of a step. Their hashes are unknown until [`Self::hash`].
pub(crate) struct BranchBuilder<V> {
    version: u64,
    arena: Arena,
    /// Index of the first branch without a hash.
    unhashed: u32,
    hasher: NodeHasher,
    value: PhantomData<V>,
}

impl<V> BranchBuilder<V> {
    pub(crate) fn new(version: u64) -> Self {
        Self {
            version,
            arena: Arena::default(),
            unhashed: 0,
            hasher: NodeHasher::default(),
            value: PhantomData,
        }
    }

    pub(crate) fn into_arena(self) -> Arena {
        self.arena
    }
}

/// Nodes encoded and hashed in one batch: enough to fill the vector lanes, few enough for the processor's cache.
const HASH_BATCH: usize = 64;

impl<V: TrieValue> BranchBuilder<V> {
    /// Adds a branch with the children of `from`, of which `changed` replace some. `path` must be truncated to `depth` nibbles.
    pub(crate) fn add(
        &mut self,
        path: &B256,
        span: (usize, usize),
        from: Option<Branch<'_, V>>,
        changed: &[(usize, Child<V>)],
    ) -> Child<V> {
        let index = self.arena.next();
        let Arena(bytes) = &mut self.arena;
        branch::put(path, span, from, changed, bytes);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        Child::Dirty(NodeRef::UNKNOWN, NodeId { version: self.version, index })
    }

    /// A copy of a branch of this step; `None` for an earlier one.
    pub(crate) fn own(&self, id: NodeId) -> Option<OwnedBranch<V>> {
        (id.version == self.version).then(|| OwnedBranch::copy(self.arena.branch(id.index)))
    }

    /// A single branch with these children, none of them dirty.
    pub(crate) fn single(
        path: &B256,
        span: (usize, usize),
        children: &[(usize, Child<V>)],
    ) -> OwnedBranch<V> {
        let mut builder = Self::new(0);
        builder.add(path, span, None, children);
        builder.hash();
        OwnedBranch::copy(builder.arena.branch(0))
    }

    /// The root with its hash, after [`Self::hash`].
    pub(crate) fn hashed(&self, root: Child<V>) -> Child<V> {
        match root {
            Child::Dirty(_, id) if id.version == self.version => {
                Child::Dirty(self.arena.branch::<V>(id.index).reference(), id)
            }
            Child::Leaf(leaf) if leaf.reference.is_unknown() => Child::Leaf(leaf.hashed(0)),
            root => root,
        }
    }

    /// Hashes all nodes added since the last call: leaves first, then branches bottom-up by depth. Branches of one depth do not
    /// depend on each other and are hashed in batches.
    pub(crate) fn hash(&mut self) {
        let added = self.arena.from::<V>(self.unhashed);
        let mut order: Vec<(usize, u32)> = added.map(|(index, branch)| (branch.start(), index)).collect();
        self.hash_leaves(&order);
        order.sort_by_key(|(start, _)| std::cmp::Reverse(*start));
        for level in order.chunk_by(|a, b| a.0 == b.0) {
            level.chunks(HASH_BATCH).for_each(|branches| self.hash_branches(branches));
        }
        self.unhashed = self.arena.next();
    }

    fn hash_leaves(&mut self, branches: &[(usize, u32)]) {
        let Self { arena: Arena(bytes), hasher, .. } = self;
        let mut references = ArrayVec::<usize, HASH_BATCH>::new();
        for (_, index) in branches {
            let start = offset(*index);
            let branch = Branch::<V>::at(&bytes[start..]);
            let (masks, depth) = (branch.masks(), branch.depth());
            for at in nibbles(masks.leaves) {
                let reference = start + masks.reference(at);
                if !NodeRef::bytes_of(&bytes[reference..]).is_empty() {
                    continue;
                }
                let Entry { key, value } = Entry::<V>::read(&bytes[start + masks.entry::<V>(at)..]);
                hasher.add_leaf(&key, &value, depth + 1);
                references.push(reference);
                if references.is_full() {
                    write_references(references.drain(..), hasher, bytes);
                }
            }
        }
        write_references(references.drain(..), hasher, bytes);
    }

    /// Hashes branches of one depth, all of whose children have hashes.
    fn hash_branches(&mut self, branches: &[(usize, u32)]) {
        let Self { arena: Arena(bytes), hasher, .. } = self;
        let starts = branches.iter().map(|(_, index)| offset(*index));
        for start in starts.clone() {
            let masks = Branch::<V>::at(&bytes[start..]).masks();
            for at in nibbles(masks.dirty) {
                let reference = start + masks.reference(at);
                if NodeRef::bytes_of(&bytes[reference..]).is_empty() {
                    let child = offset(NodeId::read(&bytes[start + masks.id(at)..]).index) + REFERENCE;
                    bytes.copy_within(child..child + NodeRef::SIZE, reference);
                }
            }
            hasher.add_branch(masks.present, Branch::<V>::at(&bytes[start..]).references());
        }
        write_references(starts.clone().map(|start| start + REFERENCE), hasher, bytes);
        let extended = |start: &usize| {
            let branch = Branch::<V>::at(&bytes[*start..]);
            branch.start() < branch.depth()
        };
        let extended: ArrayVec<usize, HASH_BATCH> = starts.filter(extended).collect();
        for start in &extended {
            let branch = Branch::<V>::at(&bytes[*start..]);
            hasher.add_extension(&branch.path(), (branch.start(), branch.depth()), &branch.reference());
        }
        write_references(extended.into_iter().map(|start| start + REFERENCE), hasher, bytes);
    }
}

/// Writes the references of all pending nodes at these offsets.
fn write_references(offsets: impl Iterator<Item = usize>, hasher: &mut NodeHasher, bytes: &mut [u8]) {
    offsets.zip(hasher.references()).for_each(|(offset, reference)| reference.write(&mut bytes[offset..]));
}
