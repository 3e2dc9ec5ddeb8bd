//! Stored form of nodes: a page for each branch with its leaves, keyed by path.
//!
//! Each value is stored once, and reading a page recomputes its hash. Layout, integers big-endian:
//!
//! ```text
//! key    0 ‖ path                     of the account trie      path: a byte for each nibble, so keys are in the order of a
//!        1 ‖ keccak(address) ‖ path   of a storage trie        pre-order walk
//!        2                            of the checkpoint
//! page   1 ‖ extension length (1) ‖ extension nibbles packed ‖ mask of child branches (2) ‖ mask of leaves (2)
//!          ‖ for each child by nibble: reference length (1) ‖ reference, or rest of the key packed ‖ value
//!        2 ‖ rest of the key packed ‖ value          a trie of a single key
//!        version (8) ‖ state root (32)               the checkpoint: the state of all other pages
//! ```

use alloy_primitives::B256;
use arrayvec::ArrayVec;

use crate::arena::BranchBuilder;
use crate::branch::{Branch, OwnedBranch};
use crate::bytes::{take, take_array};
use crate::key::{KEY_NIBBLES, extended, nibble, pack, unpack};
use crate::node::{Child, Leaf, NodeRef, TrieValue};
use crate::nodes::Loaded;

/// The key of the checkpoint.
pub(crate) const CHECKPOINT: &[u8] = &[2];

const BRANCH: u8 = 1;
const LEAF: u8 = 2;

/// The key of the node below `start` nibbles of `path`, in the storage trie of `owner` or in the account trie.
pub(crate) fn key(owner: Option<&B256>, path: &B256, start: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(33 + start);
    put_key(owner, path, start, &mut key);
    key
}

/// Appends [`key`].
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

/// The common prefix of a storage trie's keys.
pub(crate) fn storage_prefix(owner: &B256) -> Vec<u8> {
    let mut prefix = vec![1];
    prefix.extend_from_slice(owner.as_slice());
    prefix
}

/// Appends the page of a branch.
pub(crate) fn put_branch<V: TrieValue>(branch: Branch<'_, V>, page: &mut Vec<u8>) {
    let (path, start, depth) = (branch.path(), branch.start(), branch.depth());
    let masks = branch.masks();
    page.push(BRANCH);
    page.push((depth - start) as u8);
    pack(&path, start, depth, page);
    page.extend_from_slice(&(masks.present & !masks.leaves).to_be_bytes());
    page.extend_from_slice(&masks.leaves.to_be_bytes());
    for (_, child) in branch.children() {
        match child {
            Child::Empty => {}
            Child::Leaf(leaf) => put_rest(&leaf, depth + 1, page),
            Child::Stored(reference) | Child::Dirty(reference, _) => put_reference(&reference, page),
        }
    }
}

/// Appends the page of a trie with a single key.
pub(crate) fn put_leaf<V: TrieValue>(leaf: &Leaf<V>, page: &mut Vec<u8>) {
    page.push(LEAF);
    put_rest(leaf, 0, page);
}

/// Decodes the page of the node below `start` nibbles of `path`; `None` if it is malformed. Hashes are recomputed, so that the caller
/// can compare them.
pub(crate) fn decode<V: TrieValue>(mut page: &[u8], path: &B256, start: usize) -> Option<Loaded<V>> {
    let page = &mut page;
    let node = match take_array(page)? {
        [BRANCH] => Loaded::Branch(take_branch(page, path, start)?),
        [LEAF] => Loaded::Leaf(Box::new(take_leaf(page, path, start)?.hashed(start))),
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
    Some(BranchBuilder::single(&path, (start, depth), &children))
}

/// Appends the rest of a leaf's key below `start` nibbles, and its value.
fn put_rest<V: TrieValue>(leaf: &Leaf<V>, start: usize, page: &mut Vec<u8>) {
    pack(&leaf.key, start, KEY_NIBBLES, page);
    leaf.value.put_page(page);
}

fn take_leaf<V: TrieValue>(page: &mut &[u8], path: &B256, start: usize) -> Option<Leaf<V>> {
    let mut key = *path;
    unpack(&mut key, start, KEY_NIBBLES, take(page, (KEY_NIBBLES - start).div_ceil(2))?);
    Some(Leaf::unhashed(key, V::take_page(page)?))
}

fn put_reference(reference: &NodeRef, page: &mut Vec<u8>) {
    let bytes = reference.as_bytes();
    page.push(bytes.len() as u8);
    page.extend_from_slice(bytes);
}
