//! Branches in memory. All that one step makes lies in four long lists, which go together when its version is in the store
//! and no view needs it: a branch copied from another copies stretches of those lists, and touches none of its children.

use std::ops::Range;
use std::sync::Arc;

use alloy_primitives::{B256, U256};

use crate::account::AccountLeaf;
use crate::node::{Child, Leaf, Namer, NodeId, NodeRef, TrieValue};

/// Two or more keys that share their first `depth` nibbles and differ in the next; what is known of them besides their
/// children.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// The shared nibbles; the rest zero.
    pub(crate) path: B256,
    /// How the parent names the branch.
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
        let rank = |bits: u16| count(bits & (bit - 1));
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
        (0..16).map(|at| (at, self.child(at))).filter(|(_, child)| !child.is_empty())
    }

    /// The nibbles at which there are children, and their names.
    pub(crate) fn names(&self) -> (u16, &'a [NodeRef]) {
        (self.head.children.there, self.names)
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
    pub(crate) fn new(
        path: B256,
        (start, depth): (usize, usize),
        children: impl IntoIterator<Item = (usize, Child<V>)>,
        namer: &mut Namer,
    ) -> Self {
        let (mut there, mut parts) = (Children::default(), Parts::default());
        children.into_iter().for_each(|(at, child)| parts.push(&mut there, at, &child));
        let Parts { names, ids, entries } = parts;
        let reference = namer.branch(&path, (start, depth), there.there, &names);
        let head = Head { path, reference, start: start as u8, depth: depth as u8, children: there };
        Self { head, names: names.into(), ids: ids.into(), entries: entries.into() }
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

/// Makes the branches of a step.
pub(crate) struct Forge<V> {
    version: u64,
    made: Arena<V>,
    /// The children of branches that are not finished, the innermost branch's last.
    drafts: Parts<V>,
    namer: Namer,
}

/// A branch that is not finished. Those begun later must be finished or discarded before it is touched.
pub(crate) struct Draft {
    children: Children,
    first_name: usize,
    first_id: usize,
    first_entry: usize,
}

impl Draft {
    /// How many children there are.
    pub(crate) const fn len(&self) -> usize {
        count(self.children.there)
    }
}

impl<V> Forge<V> {
    pub(crate) fn new(version: u64) -> Self {
        Self { version, made: Arena::default(), drafts: Parts::default(), namer: Namer::default() }
    }

    pub(crate) fn into_made(self) -> Arena<V> {
        self.made
    }

    /// A branch without children.
    pub(crate) const fn begin(&self) -> Draft {
        Draft {
            children: Children { there: 0, made: 0, leaves: 0 },
            first_name: self.drafts.names.len(),
            first_id: self.drafts.ids.len(),
            first_entry: self.drafts.entries.len(),
        }
    }
}

impl<V: TrieValue> Forge<V> {
    /// Adds a child at a nibble above all that are there; nothing if it is empty.
    pub(crate) fn push(&mut self, draft: &mut Draft, at: usize, child: &Child<V>) {
        self.drafts.push(&mut draft.children, at, child);
    }

    /// Adds the children that another branch has at the nibbles `range`, which are above all that are there.
    pub(crate) fn copy(&mut self, draft: &mut Draft, from: Branch<'_, V>, range: Range<usize>) {
        let before = from.head.children.of(&(0..range.start));
        let copied = from.head.children.of(&range);
        let Branch { names, ids, entries, .. } = from;
        self.drafts.names.extend_from_slice(&names[count(before.there)..][..count(copied.there)]);
        self.drafts.ids.extend_from_slice(&ids[count(before.made)..][..count(copied.made)]);
        self.drafts.entries.extend_from_slice(&entries[count(before.leaves)..][..count(copied.leaves)]);
        draft.children.add(copied);
    }

    /// Gives up a draft; gives the child at its lowest nibble.
    pub(crate) fn discard(&mut self, draft: Draft) -> Option<(usize, Child<V>)> {
        let Draft { children, first_name, first_id, first_entry } = draft;
        let Parts { names, ids, entries } = &mut self.drafts;
        let at = children.there.trailing_zeros() as usize;
        let lowest = (at < 16).then(|| {
            let child = children.child(at, &names[first_name..], &ids[first_id..], &entries[first_entry..]);
            (at, child)
        });
        names.truncate(first_name);
        ids.truncate(first_id);
        entries.truncate(first_entry);
        lowest
    }

    /// Makes a branch of a draft. `path` counts up to `depth`, where it must be truncated.
    pub(crate) fn finish(&mut self, draft: Draft, path: B256, (start, depth): (usize, usize)) -> Child<V> {
        let Draft { children, first_name, first_id, first_entry } = draft;
        let Parts { names, ids, entries } = &mut self.drafts;
        let reference = self.namer.branch(&path, (start, depth), children.there, &names[first_name..]);
        let made = &mut self.made.parts;
        let index = self.made.branches.len() as u32;
        self.made.branches.push(Placed {
            head: Head { path, reference, start: start as u8, depth: depth as u8, children },
            first_name: made.names.len() as u32,
            first_id: made.ids.len() as u32,
            first_entry: made.entries.len() as u32,
        });
        made.names.extend(names.drain(first_name..));
        made.ids.extend(ids.drain(first_id..));
        made.entries.extend(entries.drain(first_entry..));
        Child::Made(reference, NodeId { version: self.version, index })
    }

    /// A leaf below `start` nibbles.
    pub(crate) fn leaf(&mut self, key: B256, value: V, start: usize) -> Child<V> {
        Child::Leaf(self.namer.leaf(key, value, start))
    }

    /// A copy of a branch of the step itself.
    pub(crate) fn made(&self, id: NodeId) -> Option<OwnedBranch<V>> {
        (id.version == self.version).then(|| OwnedBranch::copy(self.made.branch(id.index)))
    }
}
