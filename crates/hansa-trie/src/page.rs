//! How nodes are kept: a page for each branch, with its leaves inside; keyed by where it is in the trie.
//!
//! Each value is stored once, and reading a page recomputes its hash. Layout, integers big-endian:
//!
//! ```text
//! key    0 ‖ path                     of the account trie      path: a byte for each nibble, so that keys are in the order of
//!        1 ‖ keccak(address) ‖ path   of a storage trie        a walk that comes to a branch before its children
//!        2                            of the checkpoint
//! page   1 ‖ extension length (1) ‖ extension nibbles packed ‖ mask of stored children (2) ‖ mask of leaves (2)
//!          ‖ for each child by nibble: name length (1) ‖ name, or rest of the key packed ‖ value
//!        2 ‖ rest of the key packed ‖ value          a trie of a single key
//!        version (8) ‖ state root (32)               the checkpoint: which state all other pages are
//! ```

use alloy_primitives::B256;
use arrayvec::ArrayVec;

use crate::arena::Forge;
use crate::branch::{Branch, OwnedBranch};
use crate::bytes::{take, take_array};
use crate::key::{KEY_NIBBLES, extended, nibble, pack, unpack};
use crate::node::{Child, Leaf, NodeRef, TrieValue};
use crate::nodes::Loaded;

/// The key of the checkpoint.
pub(crate) const CHECKPOINT: &[u8] = &[2];

const BRANCH: u8 = 1;
const LEAF: u8 = 2;

/// Where the page of a node below `start` nibbles of `path` is kept, in the trie of `owner` or of all accounts.
pub(crate) fn key(owner: Option<&B256>, path: &B256, start: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(33 + start);
    put_key(owner, path, start, &mut key);
    key
}

/// Appends such a key.
pub(crate) fn put_key(owner: Option<&B256>, path: &B256, start: usize, out: &mut Vec<u8>) {
    match owner {
        Some(owner) => {
            out.push(1);
            out.extend_from_slice(owner.as_slice());
        }
        None => out.push(0),
    }
    out.extend((0..start).map(|at| nibble(path, at) as u8));
}

/// What the keys of all pages of a storage trie begin with.
pub(crate) fn storage_prefix(owner: &B256) -> Vec<u8> {
    let mut prefix = vec![1];
    prefix.extend_from_slice(owner.as_slice());
    prefix
}

/// Appends the page of a branch.
pub(crate) fn put_branch<V: TrieValue>(branch: Branch<'_, V>, page: &mut Vec<u8>) {
    let (path, start, depth) = (branch.path(), branch.start(), branch.depth());
    let kinds = branch.kinds();
    page.push(BRANCH);
    page.push((depth - start) as u8);
    pack(&path, start, depth, page);
    page.extend_from_slice(&(kinds.there & !kinds.leaves).to_be_bytes());
    page.extend_from_slice(&kinds.leaves.to_be_bytes());
    for (_, child) in branch.children() {
        match child {
            Child::Empty => {}
            Child::Leaf(leaf) => put_rest(&leaf, depth + 1, page),
            Child::Stored(reference) | Child::Made(reference, _) => put_reference(&reference, page),
        }
    }
}

/// Appends the page of a trie with a single key.
pub(crate) fn put_leaf<V: TrieValue>(leaf: &Leaf<V>, page: &mut Vec<u8>) {
    page.push(LEAF);
    put_rest(leaf, 0, page);
}

/// Reads the page of the node below `start` nibbles of `path`; none if it is not one. Names are recomputed, so that the
/// caller can tell whether it is the node it looked for.
pub(crate) fn decode<V: TrieValue>(mut page: &[u8], path: &B256, start: usize) -> Option<Loaded<V>> {
    let page = &mut page;
    let node = match take_array(page)? {
        [BRANCH] => Loaded::Branch(take_branch(page, path, start)?),
        [LEAF] => Loaded::Leaf(Box::new(take_leaf(page, path, start)?.named(start))),
        _ => return None,
    };
    page.is_empty().then_some(node)
}

fn take_branch<V: TrieValue>(page: &mut &[u8], path: &B256, start: usize) -> Option<OwnedBranch<V>> {
    let [extension] = take_array(page)?;
    let depth = start + usize::from(extension);
    if depth >= KEY_NIBBLES {
        return None;
    }
    let mut path = *path;
    unpack(&mut path, start, depth, take(page, usize::from(extension).div_ceil(2))?);
    let stored = u16::from_be_bytes(take_array(page)?);
    let leaves = u16::from_be_bytes(take_array(page)?);
    let mut children = ArrayVec::<_, 16>::new();
    for at in 0..16 {
        if stored >> at & 1 == 1 {
            let [length] = take_array(page)?;
            children.push((at, Child::Stored(NodeRef::from_bytes(take(page, usize::from(length))?)?)));
        } else if leaves >> at & 1 == 1 {
            children.push((at, Child::Leaf(take_leaf(page, &extended(&path, depth, at), depth + 1)?)));
        }
    }
    Some(Forge::single(&path, (start, depth), &children))
}

/// Appends what is left of a leaf's key below `start` nibbles, and its value.
fn put_rest<V: TrieValue>(leaf: &Leaf<V>, start: usize, page: &mut Vec<u8>) {
    pack(&leaf.key, start, KEY_NIBBLES, page);
    leaf.value.put_page(page);
}

fn take_leaf<V: TrieValue>(page: &mut &[u8], path: &B256, start: usize) -> Option<Leaf<V>> {
    let mut key = *path;
    unpack(&mut key, start, KEY_NIBBLES, take(page, (KEY_NIBBLES - start).div_ceil(2))?);
    Some(Leaf::unnamed(key, V::take_page(page)?))
}

fn put_reference(reference: &NodeRef, page: &mut Vec<u8>) {
    let bytes = reference.as_bytes();
    page.push(bytes.len() as u8);
    page.extend_from_slice(bytes);
}
