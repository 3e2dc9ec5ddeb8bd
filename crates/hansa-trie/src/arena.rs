//! What a step makes: its branches one after the other in a long list of bytes, which goes as a whole when its version is in the
//! store and no view needs it.

use std::marker::PhantomData;
use std::sync::Arc;

use alloy_primitives::B256;
use arrayvec::ArrayVec;

use crate::branch::{self, Branch, Entry, NAME, OwnedBranch, nibbles};
use crate::node::{Child, Namer, NodeId, NodeRef, TrieValue};

/// Branches begin at multiples of so many bytes, and are numbered by them: those of one step may take 32 GiB.
const ALIGNMENT: usize = 8;

/// The branches of one kind that a step made.
#[derive(Debug, Default)]
pub(crate) struct Arena(Vec<u8>);

impl Arena {
    fn branch<V: TrieValue>(&self, index: u32) -> Branch<'_, V> {
        Branch::at(&self.0[place(index)..])
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

/// Where a branch begins.
const fn place(index: u32) -> usize {
    index as usize * ALIGNMENT
}

/// All that a step from one view to the next made.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    pub(crate) accounts: Arena,
    pub(crate) storage: Arena,
}

/// What the steps made that lead from the stored version to a view's.
#[derive(Clone, Debug)]
pub(crate) struct Layers {
    /// The stored version: the first layer is that of the next one.
    stored: u64,
    layers: Vec<Arc<Layer>>,
}

impl Layers {
    /// No layers above a stored version.
    pub(crate) const fn none(stored: u64) -> Self {
        Self { stored, layers: Vec::new() }
    }

    /// Those above a version that is stored by now.
    pub(crate) fn above(&self, stored: u64) -> Self {
        let needless = usize::try_from(stored.saturating_sub(self.stored)).unwrap_or(usize::MAX);
        Self { stored, layers: self.layers.iter().skip(needless).cloned().collect() }
    }

    /// Adds the layer of a version above all that are there. One may lead over several versions.
    pub(crate) fn push(&mut self, version: u64, layer: Layer) {
        let skipped = usize::try_from(version - self.stored - 1).unwrap_or(usize::MAX);
        self.layers.resize_with(skipped, Arc::default);
        self.layers.push(Arc::new(layer));
    }

    /// A branch of a version above the stored one.
    pub(crate) fn branch<V: TrieValue>(&self, id: NodeId) -> Branch<'_, V> {
        V::arena(&self.layers[(id.version - self.stored - 1) as usize]).branch(id.index)
    }
}

/// Makes the branches of a step. What is made has no name until [`Self::name`].
pub(crate) struct Forge<V> {
    version: u64,
    made: Arena,
    /// The first of the branches that have no name.
    unnamed: u32,
    namer: Namer,
    value: PhantomData<V>,
}

impl<V> Forge<V> {
    pub(crate) fn new(version: u64) -> Self {
        Self { version, made: Arena::default(), unnamed: 0, namer: Namer::default(), value: PhantomData }
    }

    pub(crate) fn into_made(self) -> Arena {
        self.made
    }
}

/// How many nodes are encoded before they are hashed: enough to hash them beside one another, and few enough to stay in the
/// processor's cache.
const NAMED_AT_ONCE: usize = 64;

impl<V: TrieValue> Forge<V> {
    /// Makes a branch of the children of another, if any, with `changed` ones in their places. `path` counts up to `depth`, where
    /// it must be truncated.
    pub(crate) fn make(
        &mut self,
        path: &B256,
        place: (usize, usize),
        from: Option<Branch<'_, V>>,
        changed: &[(usize, Child<V>)],
    ) -> Child<V> {
        let index = self.made.next();
        let Arena(bytes) = &mut self.made;
        branch::put(path, place, from, changed, bytes);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        Child::Made(NodeRef::UNNAMED, NodeId { version: self.version, index })
    }

    /// A copy of a branch of the step itself.
    pub(crate) fn made(&self, id: NodeId) -> Option<OwnedBranch<V>> {
        (id.version == self.version).then(|| OwnedBranch::copy(self.made.branch(id.index)))
    }

    /// A branch by itself with these children, none of them one that a step made.
    pub(crate) fn single(
        path: &B256,
        place: (usize, usize),
        children: &[(usize, Child<V>)],
    ) -> OwnedBranch<V> {
        let mut forge = Self::new(0);
        forge.make(path, place, None, children);
        forge.name();
        OwnedBranch::copy(forge.made.branch(0))
    }

    /// The root of a trie whose branches have been named, with its own name.
    pub(crate) fn named(&self, root: Child<V>) -> Child<V> {
        match root {
            Child::Made(_, id) if id.version == self.version => {
                Child::Made(self.made.branch::<V>(id.index).name(), id)
            }
            Child::Leaf(leaf) if leaf.reference.is_unnamed() => Child::Leaf(leaf.named(0)),
            root => root,
        }
    }

    /// Names all that has been made since the last time: the leaves, then the branches from those that are furthest below, so
    /// that what is named together waits for nothing but what has been.
    pub(crate) fn name(&mut self) {
        let made = self.made.from::<V>(self.unnamed);
        let mut order: Vec<(usize, u32)> = made.map(|(index, branch)| (branch.start(), index)).collect();
        self.name_leaves(&order);
        order.sort_by_key(|(start, _)| std::cmp::Reverse(*start));
        for level in order.chunk_by(|a, b| a.0 == b.0) {
            level.chunks(NAMED_AT_ONCE).for_each(|branches| self.name_branches(branches));
        }
        self.unnamed = self.made.next();
    }

    fn name_leaves(&mut self, branches: &[(usize, u32)]) {
        let Self { made: Arena(bytes), namer, .. } = self;
        let mut names = ArrayVec::<usize, NAMED_AT_ONCE>::new();
        for (_, index) in branches {
            let begin = place(*index);
            let branch = Branch::<V>::at(&bytes[begin..]);
            let (kinds, depth) = (branch.kinds(), branch.depth());
            for at in nibbles(kinds.leaves) {
                let name = begin + kinds.name(at);
                if !NodeRef::bytes_of(&bytes[name..]).is_empty() {
                    continue;
                }
                let Entry { key, value } = Entry::<V>::read(&bytes[begin + kinds.entry::<V>(at)..]);
                namer.add_leaf(&key, &value, depth + 1);
                names.push(name);
                if names.is_full() {
                    write_names(names.drain(..), namer, bytes);
                }
            }
        }
        write_names(names.drain(..), namer, bytes);
    }

    /// Names branches whose children have their names, or have been given them since the branches were made.
    fn name_branches(&mut self, branches: &[(usize, u32)]) {
        let Self { made: Arena(bytes), namer, .. } = self;
        let begins = branches.iter().map(|(_, index)| place(*index));
        for begin in begins.clone() {
            let kinds = Branch::<V>::at(&bytes[begin..]).kinds();
            for at in nibbles(kinds.made) {
                let name = begin + kinds.name(at);
                if NodeRef::bytes_of(&bytes[name..]).is_empty() {
                    let child = place(NodeId::read(&bytes[begin + kinds.id(at)..]).index) + NAME;
                    bytes.copy_within(child..child + NodeRef::SIZE, name);
                }
            }
            namer.add_branch(kinds.there, Branch::<V>::at(&bytes[begin..]).names());
        }
        write_names(begins.clone().map(|begin| begin + NAME), namer, bytes);
        let extended = |begin: &usize| {
            let branch = Branch::<V>::at(&bytes[*begin..]);
            branch.start() < branch.depth()
        };
        let extended: ArrayVec<usize, NAMED_AT_ONCE> = begins.filter(extended).collect();
        for begin in &extended {
            let branch = Branch::<V>::at(&bytes[*begin..]);
            namer.add_extension(&branch.path(), (branch.start(), branch.depth()), &branch.name());
        }
        write_names(extended.into_iter().map(|begin| begin + NAME), namer, bytes);
    }
}

/// Writes the names of all nodes that wait for them to these places.
fn write_names(places: impl Iterator<Item = usize>, namer: &mut Namer, bytes: &mut [u8]) {
    places.zip(namer.names()).for_each(|(place, name)| name.write(&mut bytes[place..]));
}
