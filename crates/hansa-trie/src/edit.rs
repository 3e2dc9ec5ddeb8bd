//! Changes a trie: gives the new root, leaves the old one as it is. Nodes are named when all have been made, each once.

use alloy_primitives::B256;

use crate::arena::Forge;
use crate::branch::{Branch, Changed};
use crate::error::TrieError;
use crate::key::{KEY_NIBBLES, extended, nibble, shared_nibbles, truncated};
use crate::node::{Child, Leaf, TrieValue};
use crate::nodes::{Node, Nodes};
use crate::page;

/// A key's new value; none removes it.
#[derive(Clone, Debug)]
pub(crate) struct Change<V> {
    pub(crate) key: B256,
    pub(crate) value: Option<V>,
}

/// What a change of tries leaves behind.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// Nodes made.
    pub(crate) made: usize,
    /// Keys of pages that are no longer part of the trie. They may never have been written, or be written anew later.
    pub(crate) vacated: Vec<Vec<u8>>,
}

/// Changes one trie.
pub(crate) struct Editor<'a, V> {
    /// The nodes of the view that is changed.
    pub(crate) nodes: Nodes<'a>,
    /// The account whose storage it is; none for the trie of all accounts.
    pub(crate) owner: Option<B256>,
    pub(crate) forge: &'a mut Forge<V>,
    pub(crate) traces: &'a mut Traces,
}

/// A key and its value, to be put in a part of the trie that is built anew.
type Entry<'v, V> = (&'v B256, &'v V);

impl<'a, V: TrieValue> Editor<'a, V> {
    /// The trie with all changes, which are sorted by key and change each key once; none if it stays as it is.
    pub(crate) fn edit(
        &mut self,
        root: &Child<V>,
        changes: &[Change<V>],
    ) -> Result<Option<Child<V>>, TrieError> {
        let root = self.node(root, 0, changes)?;
        self.forge.name();
        Ok(root.map(|root| self.forge.named(root)))
    }

    /// The node below `start` nibbles that all changes share; none if it stays as it is.
    fn node(
        &mut self,
        node: &Child<V>,
        start: usize,
        changes: &[Change<V>],
    ) -> Result<Option<Child<V>>, TrieError> {
        let Some(first) = changes.first() else { return Ok(None) };
        match self.open(&first.key, start, node)? {
            Node::Empty => {
                let entries = entries(changes);
                Ok((!entries.is_empty()).then(|| self.build(start, &entries)))
            }
            Node::Leaf(leaf) => Ok(self.leaf(&leaf, start, changes)),
            Node::Made(branch) => self.branch(branch, changes),
            Node::Loaded(branch) => self.branch(branch.get(), changes),
        }
    }

    /// The node below `start` nibbles of `path`; it may be one that has just been made.
    fn open(&self, path: &B256, start: usize, node: &Child<V>) -> Result<Node<'a, V>, TrieError> {
        if let Child::Made(_, id) = node
            && let Some(branch) = self.forge.made(*id)
        {
            return Ok(Node::Loaded(branch));
        }
        self.nodes.open(self.owner.as_ref(), path, start, node)
    }

    fn leaf(&mut self, leaf: &Leaf<V>, start: usize, changes: &[Change<V>]) -> Option<Child<V>> {
        let own = changes.binary_search_by(|change| change.key.cmp(&leaf.key));
        let mut entries = entries(changes);
        match own {
            Ok(at) if changes.len() == 1 && changes[at].value.as_ref() == Some(&leaf.value) => return None,
            Ok(_) => {}
            Err(_) if entries.is_empty() => return None,
            Err(_) => {
                let at = entries.partition_point(|(key, _)| **key < leaf.key);
                entries.insert(at, (&leaf.key, &leaf.value));
            }
        }
        if entries.is_empty() && start == 0 {
            self.vacate(&B256::ZERO, 0);
        }
        Some(self.build(start, &entries))
    }

    fn branch(
        &mut self,
        branch: Branch<'_, V>,
        changes: &[Change<V>],
    ) -> Result<Option<Child<V>>, TrieError> {
        let (start, depth) = (branch.start(), branch.depth());
        let path = branch.path();
        let mut changes = changes;
        if start < depth {
            let shared = |change: &Change<V>| shared_nibbles(&change.key, &path).min(depth);
            let inserted = changes.iter().filter(|change| change.value.is_some());
            let fork = inserted.map(shared).min().unwrap_or(depth);
            // What is removed off the extension's path is not there.
            let begin = changes.iter().position(|change| shared(change) >= fork).unwrap_or(changes.len());
            changes = &changes[begin..];
            let end = changes.iter().position(|change| shared(change) < fork).unwrap_or(changes.len());
            changes = &changes[..end];
            if fork < depth {
                return self.fork(branch, fork, changes).map(Some);
            }
        }
        let mut changed = Changed::new();
        for group in groups(changes, depth) {
            let at = nibble(&group[0].key, depth);
            if let Some(child) = self.node(&branch.child(at), depth + 1, group)? {
                changed.push((at, child));
            }
        }
        if changed.is_empty() {
            return Ok(None);
        }
        self.join(path, (start, depth), Some(branch), &changed).map(Some)
    }

    /// Splits the extension above `branch` at `fork`, where some of the changes leave it.
    fn fork(
        &mut self,
        branch: Branch<'_, V>,
        fork: usize,
        changes: &[Change<V>],
    ) -> Result<Child<V>, TrieError> {
        let path = branch.path();
        let old = nibble(&path, fork);
        let mut moved = Some(self.moved(branch, fork + 1));
        let mut children = Changed::new();
        for group in groups(changes, fork) {
            let at = nibble(&group[0].key, fork);
            children.extend(moved.take_if(|_| old < at).map(|moved| (old, moved)));
            let before = moved.take_if(|_| old == at).unwrap_or(Child::Empty);
            let child = self.node(&before, fork + 1, group)?;
            children.push((at, child.unwrap_or(before)));
        }
        children.extend(moved.map(|moved| (old, moved)));
        self.join(truncated(&path, fork), (branch.start(), fork), None, &children)
    }

    /// What stands for a branch with the children of `from`, some of them changed: nothing, the only child, or the branch.
    fn join(
        &mut self,
        path: B256,
        (start, depth): (usize, usize),
        from: Option<Branch<'_, V>>,
        changed: &Changed<V>,
    ) -> Result<Child<V>, TrieError> {
        let replaced = changed.iter().fold(0, |bits, (at, _)| bits | 1 << at);
        let kept = from.map_or(0, |from| from.kinds().there & !replaced);
        let mut left = changed.iter().filter(|(_, child)| !child.is_empty());
        let only = match (kept.count_ones(), left.next(), left.next()) {
            (0, None, _) => {
                self.vacate(&path, start);
                return Ok(Child::Empty);
            }
            (0, Some(only), None) => *only,
            (1, None, _) => {
                let at = kept.trailing_zeros() as usize;
                (at, from.map_or(Child::Empty, |from| from.child(at)))
            }
            _ => return Ok(self.make(&path, (start, depth), from, changed)),
        };
        self.lift(extended(&path, depth, only.0), (start, depth + 1), &only.1)
    }

    fn make(
        &mut self,
        path: &B256,
        place: (usize, usize),
        from: Option<Branch<'_, V>>,
        changed: &[(usize, Child<V>)],
    ) -> Child<V> {
        self.traces.made += 1;
        self.forge.make(path, place, from, changed)
    }

    /// Moves a node below `from` nibbles of `path` up, to below `start` nibbles.
    fn lift(
        &mut self,
        path: B256,
        (start, from): (usize, usize),
        node: &Child<V>,
    ) -> Result<Child<V>, TrieError> {
        let node = self.open(&path, from, node)?;
        let branch = match &node {
            Node::Empty => return Ok(Child::Empty),
            Node::Leaf(leaf) => {
                self.vacate(&path, start);
                return Ok(Child::Leaf(Leaf::unnamed(leaf.key, leaf.value)));
            }
            Node::Made(branch) => *branch,
            Node::Loaded(branch) => branch.get(),
        };
        self.vacate(&path, from);
        Ok(self.moved(branch, start))
    }

    /// The same branch with a longer or shorter extension above it.
    fn moved(&mut self, branch: Branch<'_, V>, start: usize) -> Child<V> {
        self.make(&branch.path(), (start, branch.depth()), Some(branch), &[])
    }

    /// A part of the trie that holds just these entries, which are sorted and share `start` nibbles.
    fn build(&mut self, start: usize, entries: &[Entry<'_, V>]) -> Child<V> {
        match entries {
            [] => Child::Empty,
            [(key, value)] => Child::Leaf(Leaf::unnamed(**key, **value)),
            [(first, _), .., (last, _)] => {
                let depth = shared_nibbles(first, last);
                let groups = entries.chunk_by(|a, b| nibble(a.0, depth) == nibble(b.0, depth));
                let children: Changed<V> =
                    groups.map(|group| (nibble(group[0].0, depth), self.build(depth + 1, group))).collect();
                self.make(&truncated(first, depth), (start, depth), None, &children)
            }
        }
    }

    fn vacate(&mut self, path: &B256, start: usize) {
        self.traces.vacated.push(page::key(self.owner.as_ref(), path, start));
    }
}

/// The changes that are not removals.
fn entries<V>(changes: &[Change<V>]) -> Vec<Entry<'_, V>> {
    changes.iter().filter_map(|change| Some((&change.key, change.value.as_ref()?))).collect()
}

/// The changes by their nibble at `depth`.
fn groups<V>(changes: &[Change<V>], depth: usize) -> impl Iterator<Item = &[Change<V>]> {
    debug_assert!(depth < KEY_NIBBLES);
    changes.chunk_by(move |a, b| nibble(&a.key, depth) == nibble(&b.key, depth))
}
