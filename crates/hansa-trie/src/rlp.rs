//! RLP encoding of trie nodes into reused buffers. State roots spend most of their time here and in keccak.
//!
//! There is no decoder: stored nodes are pages, and proofs are not verified here.

use alloy_primitives::B256;

use crate::bytes::trim;
use crate::key::{KEY_NIBBLES, nibble};
use crate::node::{NodeRef, TrieValue};

const EMPTY_STRING: u8 = 0x80;

/// Length of the RLP string of an integer in big-endian bytes.
pub(crate) fn uint_length(value: &[u8]) -> usize {
    match trim(value) {
        [] => 1,
        [byte] if *byte < EMPTY_STRING => 1,
        digits => digits.len() + 1,
    }
}

/// Appends an integer of at most 32 big-endian bytes.
pub(crate) fn put_uint(value: &[u8], out: &mut Vec<u8>) {
    put_string(trim(value), out);
}

/// Appends a 32-byte string.
pub(crate) fn put_hash(hash: &B256, out: &mut Vec<u8>) {
    out.push(EMPTY_STRING + 32);
    out.extend_from_slice(hash.as_slice());
}

/// Appends the header of a list.
pub(crate) fn put_list_header(payload: usize, out: &mut Vec<u8>) {
    put_header(0xc0, payload, out);
}

fn put_string(bytes: &[u8], out: &mut Vec<u8>) {
    match bytes {
        [byte] if *byte < EMPTY_STRING => out.push(*byte),
        bytes => {
            put_header(EMPTY_STRING, bytes.len(), out);
            out.extend_from_slice(bytes);
        }
    }
}

fn put_header(base: u8, payload: usize, out: &mut Vec<u8>) {
    if payload < 56 {
        out.push(base + payload as u8);
    } else {
        let length = payload.to_be_bytes();
        let length = trim(&length);
        out.push(base + 55 + length.len() as u8);
        out.extend_from_slice(length);
    }
}

fn header_length(payload: usize) -> usize {
    if payload < 56 { 1 } else { 1 + trim(&payload.to_be_bytes()).len() }
}

fn string_length(bytes: &[u8]) -> usize {
    match bytes {
        [byte] if *byte < EMPTY_STRING => 1,
        bytes => header_length(bytes.len()) + bytes.len(),
    }
}

/// The hex-prefix encoding of the nibbles from `from` to `to` of a key (yellow paper, appendix C), and its length.
fn hex_prefix(key: &B256, from: usize, to: usize, is_leaf: bool) -> ([u8; 33], usize) {
    let flag = if is_leaf { 0x20 } else { 0 };
    let is_odd = (to - from) & 1 == 1;
    let mut path = [0; 33];
    path[0] = if is_odd { flag | 0x10 | nibble(key, from) as u8 } else { flag };
    let first = from + usize::from(is_odd);
    let length = (to - first) / 2;
    for (at, byte) in path[1..=length].iter_mut().enumerate() {
        let at = first + 2 * at;
        *byte = (nibble(key, at) << 4 | nibble(key, at + 1)) as u8;
    }
    (path, length + 1)
}

/// Appends the RLP of a leaf below `start` nibbles.
pub(crate) fn leaf<V: TrieValue>(
    key: &B256,
    start: usize,
    value: &V,
    out: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
) {
    let (path, length) = hex_prefix(key, start, KEY_NIBBLES, true);
    let path = &path[..length];
    scratch.clear();
    value.put_rlp(scratch);
    put_list_header(string_length(path) + string_length(scratch), out);
    put_string(path, out);
    put_string(scratch, out);
}

/// Appends the RLP of a branch without value, with these references at the nibbles of `present`.
pub(crate) fn branch<'n>(
    present: u16,
    mut references: impl ExactSizeIterator<Item = &'n [u8]> + Clone,
    out: &mut Vec<u8>,
) {
    let payload = references.clone().map(reference_length).sum::<usize>() + 17 - references.len();
    put_list_header(payload, out);
    for at in 0..16 {
        let reference = if present >> at & 1 == 1 { references.next() } else { None };
        match reference {
            Some(reference) => put_reference(reference, out),
            None => out.push(EMPTY_STRING),
        }
    }
    out.push(EMPTY_STRING);
}

/// Appends the RLP of an extension over the nibbles from `start` to `depth` of `path`.
pub(crate) fn extension(path: &B256, start: usize, depth: usize, child: &NodeRef, out: &mut Vec<u8>) {
    let (path, length) = hex_prefix(path, start, depth, false);
    let path = &path[..length];
    put_list_header(string_length(path) + reference_length(child.as_bytes()), out);
    put_string(path, out);
    put_reference(child.as_bytes(), out);
}

/// Length of what [`put_reference`] appends.
const fn reference_length(reference: &[u8]) -> usize {
    if reference.len() == 32 { 33 } else { reference.len() }
}

/// Appends a reference: a hash as a string, a shorter RLP as it is.
fn put_reference(reference: &[u8], out: &mut Vec<u8>) {
    if reference.len() == 32 {
        out.push(EMPTY_STRING + 32);
    }
    out.extend_from_slice(reference);
}
