//! Changes of a trie: a persistent update that returns a new root. Nodes are hashed once, after all have been built.

use alloy_primitives::B256;

use crate::arena::BranchBuilder;
use crate::branch::{Branch, Changed};
use crate::error::TrieError;
use crate::key::{KEY_NIBBLES, extended, nibble, shared_nibbles, truncated};
use crate::node::{Child, Leaf, TrieValue};
use crate::nodes::{Node, Nodes};
use crate::page;

/// A key's new value; `None` removes the key.
#[derive(Clone, Debug)]
pub(crate) struct Change<V> {
    pub(crate) key: B256,
    pub(crate) value: Option<V>,
}

/// Side effects of a change.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Number of dirty nodes.
    pub(crate) dirty: usize,
    /// Keys of pages that left the trie. Some were never written; some are written again later.
    pub(crate) deleted: Vec<Vec<u8>>,
}

/// Changes one trie.
pub(crate) struct Editor<'a, V> {
    /// The nodes of the parent view.
    pub(crate) nodes: Nodes<'a>,
    /// The account of a storage trie; `None` for the account trie.
    pub(crate) owner: Option<B256>,
    pub(crate) builder: &'a mut BranchBuilder<V>,
    pub(crate) effects: &'a mut Effects,
}

/// A key and its value in a new subtrie.
type Entry<'v, V> = (&'v B256, &'v V);

impl<'a, V: TrieValue> Editor<'a, V> {
    /// The new root after all changes; `None` if nothing changes. `changes` are sorted by key and unique.
    pub(crate) fn edit(
        &mut self,
        root: &Child<V>,
        changes: &[Change<V>],
    ) -> Result<Option<Child<V>>, TrieError> {
        let root = self.node(root, 0, changes)?;
        self.builder.hash();
        Ok(root.map(|root| self.builder.hashed(root)))
    }

    /// The new node below the `start` nibbles that all changes share; `None` if it does not change.
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
            Node::Dirty(branch) => self.branch(branch, changes),
            Node::Loaded(branch) => self.branch(branch.get(), changes),
        }
    }

    /// The node below `start` nibbles of `path`, which may be dirty from the same step.
    fn open(&self, path: &B256, start: usize, node: &Child<V>) -> Result<Node<'a, V>, TrieError> {
        if let Child::Dirty(_, id) = node
            && let Some(branch) = self.builder.own(*id)
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
            self.delete(&B256::ZERO, 0);
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
            // A removal off the extension's path has no effect.
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

    /// Splits the extension above `branch` at nibble `fork`, where insertions diverge from it.
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

    /// A branch with the children of `from`, of which `changed` replace some. With one child left, it collapses into the child; with
    /// none, into nothing.
    fn join(
        &mut self,
        path: B256,
        (start, depth): (usize, usize),
        from: Option<Branch<'_, V>>,
        changed: &Changed<V>,
    ) -> Result<Child<V>, TrieError> {
        let replaced = changed.iter().fold(0, |bits, (at, _)| bits | 1 << at);
        let kept = from.map_or(0, |from| from.masks().present & !replaced);
        let mut left = changed.iter().filter(|(_, child)| !child.is_empty());
        let only = match (kept.count_ones(), left.next(), left.next()) {
            (0, None, _) => {
                self.delete(&path, start);
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
        span: (usize, usize),
        from: Option<Branch<'_, V>>,
        changed: &[(usize, Child<V>)],
    ) -> Child<V> {
        self.effects.dirty += 1;
        self.builder.add(path, span, from, changed)
    }

    /// Moves the node below `from` nibbles of `path` up to `start` nibbles, after its branch has collapsed.
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
                self.delete(&path, start);
                return Ok(Child::Leaf(Leaf::unhashed(leaf.key, leaf.value)));
            }
            Node::Dirty(branch) => *branch,
            Node::Loaded(branch) => branch.get(),
        };
        self.delete(&path, from);
        Ok(self.moved(branch, start))
    }

    /// The same branch with an extension of another length.
    fn moved(&mut self, branch: Branch<'_, V>, start: usize) -> Child<V> {
        self.make(&branch.path(), (start, branch.depth()), Some(branch), &[])
    }

    /// A subtrie of these entries, which are sorted and share `start` nibbles.
    fn build(&mut self, start: usize, entries: &[Entry<'_, V>]) -> Child<V> {
        match entries {
            [] => Child::Empty,
            [(key, value)] => Child::Leaf(Leaf::unhashed(**key, **value)),
            [(first, _), .., (last, _)] => {
                let depth = shared_nibbles(first, last);
                let groups = entries.chunk_by(|a, b| nibble(a.0, depth) == nibble(b.0, depth));
                let children: Changed<V> =
                    groups.map(|group| (nibble(group[0].0, depth), self.build(depth + 1, group))).collect();
                self.make(&truncated(first, depth), (start, depth), None, &children)
            }
        }
    }

    fn delete(&mut self, path: &B256, start: usize) {
        self.effects.deleted.push(page::key(self.owner.as_ref(), path, start));
    }
}

/// The insertions among the changes.
fn entries<V>(changes: &[Change<V>]) -> Vec<Entry<'_, V>> {
    changes.iter().filter_map(|change| Some((&change.key, change.value.as_ref()?))).collect()
}

/// Groups the changes by their nibble at `depth`.
fn groups<V>(changes: &[Change<V>], depth: usize) -> impl Iterator<Item = &[Change<V>]> {
    debug_assert!(depth < KEY_NIBBLES);
    changes.chunk_by(move |a, b| nibble(&a.key, depth) == nibble(&b.key, depth))
}
