//! Branches in memory. All that one step makes lies in four long lists, which go together when its version is in the store
//! and no view needs it: a branch copied from another copies stretches of those lists, and touches none of its children.

use std::ops::Range;
use std::sync::Arc;

use alloy_primitives::{B256, U256};
use arrayvec::ArrayVec;

use crate::account::AccountLeaf;
use crate::node::{Child, Leaf, Namer, NodeId, NodeRef, TrieValue};

/// Two or more keys that share their first `depth` nibbles and differ in the next; what is known of them besides their
/// children.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// The shared nibbles; the rest zero.
    pub(crate) path: B256,
    /// How the parent names the branch; unknown until [`Forge::name`].
    pub(crate) reference: NodeRef,
    start: u8,
    depth: u8,
    children: Children,
}

impl Head {
    /// Nibbles spent above this node: where `start < depth`, the node begins with an extension.
    pub(crate) fn start(&self) -> usize {
        usize::from(self.start)
    }

    /// Nibbles spent above the children's own.
    pub(crate) fn depth(&self) -> usize {
        usize::from(self.depth)
    }
}

/// Which children there are, by nibble: bit n for nibble n.
#[derive(Clone, Copy, Debug, Default)]
struct Children {
    there: u16,
    /// Branches that a step made.
    made: u16,
    leaves: u16,
}

impl Children {
    fn of(self, range: &Range<usize>) -> Self {
        let bits = ((1u32 << range.end) - (1 << range.start.min(range.end))) as u16;
        Self { there: self.there & bits, made: self.made & bits, leaves: self.leaves & bits }
    }

    fn add(&mut self, other: Self) {
        self.there |= other.there;
        self.made |= other.made;
        self.leaves |= other.leaves;
    }

    /// The child at a nibble, of these in the order of their nibbles.
    fn child<V: Copy>(self, at: usize, names: &[NodeRef], ids: &[NodeId], entries: &[Entry<V>]) -> Child<V> {
        let bit = 1 << at;
        let rank = |bits: u16| count(bits & below(at));
        if self.there & bit == 0 {
            return Child::Empty;
        }
        let reference = names[rank(self.there)];
        if self.leaves & bit != 0 {
            let Entry { key, value } = entries[rank(self.leaves)];
            Child::Leaf(Leaf { key, value, reference })
        } else if self.made & bit != 0 {
            Child::Made(reference, ids[rank(self.made)])
        } else {
            Child::Stored(reference)
        }
    }
}

const fn count(bits: u16) -> usize {
    bits.count_ones() as usize
}

/// The bits of the nibbles below one.
const fn below(at: usize) -> u16 {
    (1 << at) - 1
}

/// The nibbles whose bits are set.
fn nibbles(mut bits: u16) -> impl Iterator<Item = usize> {
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

/// Children of one branch or many: the names of all, where those are that a step made, and the leaves.
#[derive(Debug)]
struct Parts<V> {
    names: Vec<NodeRef>,
    ids: Vec<NodeId>,
    entries: Vec<Entry<V>>,
}

impl<V> Default for Parts<V> {
    fn default() -> Self {
        Self { names: Vec::new(), ids: Vec::new(), entries: Vec::new() }
    }
}

impl<V: Copy> Parts<V> {
    /// Adds a child at a nibble above all of `children`, which are the last ones here; nothing if it is empty.
    fn push(&mut self, children: &mut Children, at: usize, child: &Child<V>) {
        let there = 1 << at;
        let (name, made, leaves) = match *child {
            Child::Empty => return,
            Child::Stored(name) => (name, 0, 0),
            Child::Made(name, id) => {
                self.ids.push(id);
                (name, there, 0)
            }
            Child::Leaf(Leaf { key, value, reference }) => {
                self.entries.push(Entry { key, value });
                (reference, 0, there)
            }
        };
        self.names.push(name);
        children.add(Children { there, made, leaves });
    }

    /// Adds the children that a branch has at the nibbles `range`, which are above all of `children`.
    fn copy(&mut self, children: &mut Children, from: Branch<'_, V>, range: Range<usize>) {
        let before = from.head.children.of(&(0..range.start));
        let copied = from.head.children.of(&range);
        self.names.extend_from_slice(&from.names[count(before.there)..][..count(copied.there)]);
        self.ids.extend_from_slice(&from.ids[count(before.made)..][..count(copied.made)]);
        self.entries.extend_from_slice(&from.entries[count(before.leaves)..][..count(copied.leaves)]);
        children.add(copied);
    }
}

/// A branch, wherever it is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Branch<'a, V> {
    pub(crate) head: &'a Head,
    names: &'a [NodeRef],
    pub(crate) ids: &'a [NodeId],
    pub(crate) entries: &'a [Entry<V>],
}

impl<'a, V: Copy> Branch<'a, V> {
    /// The child at a nibble.
    pub(crate) fn child(&self, at: usize) -> Child<V> {
        self.head.children.child(at, self.names, self.ids, self.entries)
    }

    /// The children that are there, by nibble.
    pub(crate) fn children(&self) -> impl Iterator<Item = (usize, Child<V>)> {
        let Children { there, made, leaves } = self.head.children;
        let (mut ids, mut entries) = (self.ids.iter(), self.entries.iter());
        nibbles(there).zip(self.names).filter_map(move |(at, &reference)| {
            let bit = 1 << at;
            let child = if leaves & bit != 0 {
                let &Entry { key, value } = entries.next()?;
                Child::Leaf(Leaf { key, value, reference })
            } else if made & bit != 0 {
                Child::Made(reference, *ids.next()?)
            } else {
                Child::Stored(reference)
            };
            Some((at, child))
        })
    }

    /// The names of the children that are there, by nibble.
    pub(crate) fn names(&self) -> &'a [NodeRef] {
        self.names
    }

    /// The nibbles at which there are children.
    pub(crate) fn there(&self) -> u16 {
        self.head.children.there
    }

    /// The nibbles at which there are leaves.
    pub(crate) fn leaves(&self) -> u16 {
        self.head.children.leaves
    }
}

/// A branch by itself.
#[derive(Debug)]
pub(crate) struct OwnedBranch<V> {
    head: Head,
    names: Box<[NodeRef]>,
    ids: Box<[NodeId]>,
    entries: Box<[Entry<V>]>,
}

impl<V: TrieValue> OwnedBranch<V> {
    /// The branch with these children, in the order of their nibbles: none of them one that a step made.
    pub(crate) fn new(path: B256, place: (usize, usize), children: &[(usize, Child<V>)]) -> Self {
        let mut forge = Forge::new(0);
        forge.make(path, place, None, children);
        forge.name();
        Self::copy(forge.made.branch(0))
    }

    /// A copy of a branch.
    pub(crate) fn copy(branch: Branch<'_, V>) -> Self {
        let Branch { head, names, ids, entries } = branch;
        Self { head: *head, names: names.into(), ids: ids.into(), entries: entries.into() }
    }

    /// A copy that refers to everything below as stored.
    pub(crate) fn stored(branch: Branch<'_, V>) -> Self {
        let Branch { head, names, entries, .. } = branch;
        let entry = |entry: &Entry<V>| Entry { key: entry.key, value: entry.value.stored() };
        Self {
            head: Head { children: Children { made: 0, ..head.children }, ..*head },
            names: names.into(),
            ids: Box::default(),
            entries: entries.iter().map(entry).collect(),
        }
    }

    pub(crate) fn get(&self) -> Branch<'_, V> {
        let Self { head, names, ids, entries } = self;
        Branch { head, names, ids, entries }
    }

    /// What it takes in memory, in bytes.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.names) + size_of_val(&*self.ids) + size_of_val(&*self.entries)
    }
}

/// The branches of one kind that a step made.
#[derive(Debug)]
pub(crate) struct Arena<V> {
    branches: Vec<Placed>,
    parts: Parts<V>,
}

#[derive(Debug)]
struct Placed {
    head: Head,
    first_name: u32,
    first_id: u32,
    first_entry: u32,
}

impl<V> Default for Arena<V> {
    fn default() -> Self {
        Self { branches: Vec::new(), parts: Parts::default() }
    }
}

impl<V> Arena<V> {
    fn branch(&self, index: u32) -> Branch<'_, V> {
        let Placed { head, first_name, first_id, first_entry } = &self.branches[index as usize];
        let Children { there, made, leaves } = head.children;
        let Parts { names, ids, entries } = &self.parts;
        Branch {
            head,
            names: &names[*first_name as usize..][..count(there)],
            ids: &ids[*first_id as usize..][..count(made)],
            entries: &entries[*first_entry as usize..][..count(leaves)],
        }
    }
}

/// All that a step from one view to the next made.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    pub(crate) accounts: Arena<AccountLeaf>,
    pub(crate) storage: Arena<U256>,
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

/// Children of a branch that are new, by nibble in ascending order; empty ones have gone.
pub(crate) type Changed<V> = ArrayVec<(usize, Child<V>), 16>;

/// Makes the branches of a step. What is made has no name until [`Self::name`].
pub(crate) struct Forge<V> {
    version: u64,
    made: Arena<V>,
    /// How many of the branches have their names.
    named: usize,
    namer: Namer,
}

impl<V> Forge<V> {
    pub(crate) fn new(version: u64) -> Self {
        Self { version, made: Arena::default(), named: 0, namer: Namer::default() }
    }

    pub(crate) fn into_made(self) -> Arena<V> {
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
        path: B256,
        (start, depth): (usize, usize),
        from: Option<Branch<'_, V>>,
        changed: &[(usize, Child<V>)],
    ) -> Child<V> {
        let Arena { branches, parts } = &mut self.made;
        let index = branches.len() as u32;
        let (first_name, first_id, first_entry) =
            (parts.names.len() as u32, parts.ids.len() as u32, parts.entries.len() as u32);
        let mut children = Children::default();
        let mut next = 0;
        for (at, child) in changed {
            if let Some(from) = from {
                parts.copy(&mut children, from, next..*at);
            }
            parts.push(&mut children, *at, child);
            next = at + 1;
        }
        if let Some(from) = from {
            parts.copy(&mut children, from, next..16);
        }
        let reference = NodeRef::UNNAMED;
        let head = Head { path, reference, start: start as u8, depth: depth as u8, children };
        branches.push(Placed { head, first_name, first_id, first_entry });
        Child::Made(reference, NodeId { version: self.version, index })
    }

    /// A copy of a branch of the step itself.
    pub(crate) fn made(&self, id: NodeId) -> Option<OwnedBranch<V>> {
        (id.version == self.version).then(|| OwnedBranch::copy(self.made.branch(id.index)))
    }

    /// The root of a trie whose branches have been named, with its own name.
    pub(crate) fn named(&self, root: Child<V>) -> Child<V> {
        match root {
            Child::Made(_, id) if id.version == self.version => {
                Child::Made(self.made.branch(id.index).head.reference, id)
            }
            Child::Leaf(leaf) if leaf.reference.is_unnamed() => Child::Leaf(leaf.named(0)),
            root => root,
        }
    }

    /// Names all that has been made since the last time: the leaves, then the branches from those that are furthest below, so
    /// that what is named together waits for nothing but what has been.
    pub(crate) fn name(&mut self) {
        self.name_leaves();
        let start = |index: &u32| self.made.branches[*index as usize].head.start;
        let mut order: Vec<u32> = (self.named as u32..self.made.branches.len() as u32).collect();
        order.sort_by_key(|index| std::cmp::Reverse(start(index)));
        let levels: Vec<&[u32]> = order.chunk_by(|a, b| start(a) == start(b)).collect();
        for level in levels {
            level.chunks(NAMED_AT_ONCE).for_each(|branches| self.name_branches(branches));
        }
        self.named = self.made.branches.len();
    }

    fn name_leaves(&mut self) {
        let Self { made: Arena { branches, parts }, named, namer, .. } = self;
        let Parts { names, entries, .. } = parts;
        let mut places = ArrayVec::<usize, NAMED_AT_ONCE>::new();
        for Placed { head, first_name, first_entry, .. } in &branches[*named..] {
            let Children { there, leaves, .. } = head.children;
            for (entry, at) in (*first_entry as usize..).zip(nibbles(leaves)) {
                let place = *first_name as usize + count(there & below(at));
                if names[place].is_unnamed() {
                    let Entry { key, value } = &entries[entry];
                    namer.add_leaf(key, value, head.depth() + 1);
                    places.push(place);
                }
                if places.is_full() {
                    places.drain(..).zip(namer.names()).for_each(|(place, name)| names[place] = name);
                }
            }
        }
        places.drain(..).zip(namer.names()).for_each(|(place, name)| names[place] = name);
    }

    /// Names branches whose children have their names, or have been given them since the branches were made.
    fn name_branches(&mut self, indices: &[u32]) {
        let Self { made: Arena { branches, parts }, namer, .. } = self;
        let Parts { names, ids, .. } = parts;
        for &index in indices {
            let Placed { head, first_name, first_id, .. } = &branches[index as usize];
            let Children { there, made, .. } = head.children;
            let names = &mut names[*first_name as usize..][..count(there)];
            for (id, at) in ids[*first_id as usize..].iter().zip(nibbles(made)) {
                let name = &mut names[count(there & below(at))];
                if name.is_unnamed() {
                    *name = branches[id.index as usize].head.reference;
                }
            }
            namer.add_branch(there, names);
        }
        for (&index, name) in indices.iter().zip(namer.names()) {
            branches[index as usize].head.reference = name;
        }
        let extended = |branches: &[Placed], index: u32| {
            let head = &branches[index as usize].head;
            head.start < head.depth
        };
        let indices: ArrayVec<u32, NAMED_AT_ONCE> =
            indices.iter().copied().filter(|&index| extended(branches, index)).collect();
        for &index in &indices {
            let head = &branches[index as usize].head;
            namer.add_extension(&head.path, (head.start(), head.depth()), &head.reference);
        }
        for (index, name) in indices.into_iter().zip(namer.names()) {
            branches[index as usize].head.reference = name;
        }
    }
}
