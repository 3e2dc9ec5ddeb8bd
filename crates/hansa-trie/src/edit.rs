//! Changes a trie: gives the new root, leaves the old one as it is. Nodes are hashed as they are made, each once.

use std::ops::Range;

use alloy_primitives::B256;

use crate::error::TrieError;
use crate::key::{KEY_NIBBLES, extended, nibble, shared_nibbles, truncated};
use crate::node::{Branch, Child, Children, Forge, Leaf, TrieValue};
use crate::nodes::Base;
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
pub(crate) struct Editor<'a> {
    pub(crate) base: &'a Base,
    /// The account whose storage it is; none for the trie of all accounts.
    pub(crate) owner: Option<B256>,
    /// The version being made.
    pub(crate) version: u64,
    pub(crate) forge: &'a mut Forge,
    pub(crate) traces: &'a mut Traces,
}

/// A key and its value, to be put in a part of the trie that is built anew.
type Entry<'v, V> = (&'v B256, &'v V);

impl Editor<'_> {
    /// The trie with all changes, which are sorted by key and change each key once; none if it stays as it is.
    pub(crate) fn edit<V: TrieValue>(
        &mut self,
        root: &Child<V>,
        changes: &[Change<V>],
    ) -> Result<Option<Child<V>>, TrieError> {
        self.node(root, 0, changes)
    }

    /// The node below `start` nibbles that all changes share; none if it stays as it is.
    fn node<V: TrieValue>(
        &mut self,
        node: &Child<V>,
        start: usize,
        changes: &[Change<V>],
    ) -> Result<Option<Child<V>>, TrieError> {
        let Some(first) = changes.first() else { return Ok(None) };
        match node {
            Child::Empty => {
                let entries = entries(changes);
                Ok((!entries.is_empty()).then(|| self.build(start, &entries)))
            }
            Child::Leaf(leaf) => Ok(self.leaf(leaf, start, changes)),
            Child::Branch(branch) => self.branch(branch, changes),
            Child::Stored(reference) => {
                let loaded = self.base.load(self.owner.as_ref(), &first.key, start, reference)?;
                self.node(&loaded, start, changes)
            }
        }
    }

    fn leaf<V: TrieValue>(
        &mut self,
        leaf: &Leaf<V>,
        start: usize,
        changes: &[Change<V>],
    ) -> Option<Child<V>> {
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

    fn branch<V: TrieValue>(
        &mut self,
        branch: &Branch<V>,
        changes: &[Change<V>],
    ) -> Result<Option<Child<V>>, TrieError> {
        let mut changes = changes;
        if branch.start < branch.depth {
            let shared = |change: &Change<V>| shared_nibbles(&change.key, &branch.path).min(branch.depth);
            let inserted = changes.iter().filter(|change| change.value.is_some());
            let fork = inserted.map(shared).min().unwrap_or(branch.depth);
            // What is removed off the extension's path is not there.
            let begin = changes.iter().position(|change| shared(change) >= fork).unwrap_or(changes.len());
            changes = &changes[begin..];
            let end = changes.iter().position(|change| shared(change) < fork).unwrap_or(changes.len());
            changes = &changes[..end];
            if fork < branch.depth {
                return self.fork(branch, fork, changes).map(Some);
            }
        }
        let mut children = None;
        let mut next = 0;
        for group in groups(changes, branch.depth) {
            let at = nibble(&group[0].key, branch.depth);
            let before = branch.children.at(at).unwrap_or(&Child::Empty);
            if let Some(child) = self.node(before, branch.depth + 1, group)? {
                let children =
                    children.get_or_insert_with(|| Children::with_capacity(branch.children.len() + 1));
                self.settle(&branch.children, next..at, children);
                children.push(at, child);
                next = at + 1;
            }
        }
        let Some(mut children) = children else { return Ok(None) };
        self.settle(&branch.children, next..16, &mut children);
        self.join(branch.path, (branch.start, branch.depth), children).map(Some)
    }

    /// Splits the extension above `branch` at `fork`, where some of the changes leave it.
    fn fork<V: TrieValue>(
        &mut self,
        branch: &Branch<V>,
        fork: usize,
        changes: &[Change<V>],
    ) -> Result<Child<V>, TrieError> {
        let mut children = Children::with_capacity(16);
        let old = nibble(&branch.path, fork);
        let mut moved = Some(self.moved(branch, fork + 1));
        for group in groups(changes, fork) {
            let at = nibble(&group[0].key, fork);
            if let Some(moved) = moved.take_if(|_| old < at) {
                children.push(old, moved);
            }
            let before = moved.take_if(|_| old == at).unwrap_or(Child::Empty);
            let child = self.node(&before, fork + 1, group)?;
            children.push(at, child.unwrap_or(before));
        }
        if let Some(moved) = moved {
            children.push(old, moved);
        }
        self.join(truncated(&branch.path, fork), (branch.start, fork), children)
    }

    /// What stands for a branch with these children: nothing, the only child, or the branch.
    fn join<V: TrieValue>(
        &mut self,
        path: B256,
        (start, depth): (usize, usize),
        children: Children<V>,
    ) -> Result<Child<V>, TrieError> {
        if let Some((at, only)) = children.only() {
            return self.lift(extended(&path, depth, at), (start, depth + 1), only);
        }
        if children.len() == 0 {
            self.vacate(&path, start);
            return Ok(Child::Empty);
        }
        self.traces.made += 1;
        Ok(Child::Branch(self.forge.branch(path, (start, depth), children, self.version)))
    }

    /// Moves a node below `from` nibbles of `path` up, to below `start` nibbles.
    fn lift<V: TrieValue>(
        &mut self,
        path: B256,
        (start, from): (usize, usize),
        node: &Child<V>,
    ) -> Result<Child<V>, TrieError> {
        match node {
            Child::Empty => Ok(Child::Empty),
            Child::Stored(reference) => {
                let loaded = self.base.load(self.owner.as_ref(), &path, from, reference)?;
                self.lift(path, (start, from), &loaded)
            }
            Child::Leaf(leaf) => {
                self.vacate(&path, start);
                Ok(self.forge_leaf(leaf.key, leaf.value.clone(), start))
            }
            Child::Branch(branch) => {
                self.vacate(&path, from);
                Ok(self.moved(branch, start))
            }
        }
    }

    /// The same branch with a longer or shorter extension above it.
    fn moved<V: TrieValue>(&mut self, branch: &Branch<V>, start: usize) -> Child<V> {
        self.traces.made += 1;
        let mut children = Children::with_capacity(branch.children.len());
        self.settle(&branch.children, 0..16, &mut children);
        Child::Branch(self.forge.branch(branch.path, (start, branch.depth), children, self.version))
    }

    /// A part of the trie that holds just these entries, which are sorted and share `start` nibbles.
    fn build<V: TrieValue>(&mut self, start: usize, entries: &[Entry<'_, V>]) -> Child<V> {
        match entries {
            [] => Child::Empty,
            [(key, value)] => self.forge_leaf(**key, (*value).clone(), start),
            [(first, _), .., (last, _)] => {
                let depth = shared_nibbles(first, last);
                let mut children = Children::with_capacity(entries.len());
                for group in entries.chunk_by(|a, b| nibble(a.0, depth) == nibble(b.0, depth)) {
                    children.push(nibble(group[0].0, depth), self.build(depth + 1, group));
                }
                self.traces.made += 1;
                Child::Branch(self.forge.branch(
                    truncated(first, depth),
                    (start, depth),
                    children,
                    self.version,
                ))
            }
        }
    }

    fn forge_leaf<V: TrieValue>(&mut self, key: B256, value: V, start: usize) -> Child<V> {
        Child::Leaf(self.forge.leaf(key, value, start))
    }

    /// Copies the children at the nibbles `range`; those that are in the store by now by name only, so that they need not
    /// stay in memory.
    fn settle<V: TrieValue>(&self, from: &Children<V>, range: Range<usize>, into: &mut Children<V>) {
        let version = self.base.version;
        for (at, child) in from.iter().filter(|(at, _)| range.contains(at)) {
            let child = match child {
                Child::Branch(branch) if branch.born <= version => Child::Stored(branch.reference),
                Child::Leaf(leaf) => match leaf.value.settled(version) {
                    Some(value) => Child::Leaf(Leaf { value, ..*leaf }),
                    None => child.clone(),
                },
                _ => child.clone(),
            };
            into.push(at, child);
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
