//! Root of an ordered trie: each item is stored under the RLP of its index. A block's header commits so to transactions and receipts
//! (Yellow Paper, appendix D). Nodes of equal height are hashed in one call. The trie itself is not kept.

use alloy_primitives::{B256, keccak256};
use alloy_rlp::{EMPTY_STRING_CODE, Encodable, Header};

use crate::{digest_all, pieces};

/// Nodes encoded and hashed in one batch: enough to fill all lanes, few enough for the processor's cache.
const BATCH: usize = 64;

/// The root of the ordered trie of these byte strings.
pub fn list_root(items: &[impl AsRef<[u8]>]) -> B256 {
    // Ascending keys: the RLP of 0 is 0x80, which follows all other single bytes.
    let numbers = (1..items.len().min(128)).chain(0..items.len().min(1)).chain(128..items.len());
    let entries: Vec<Entry<'_>> =
        numbers.map(|number| Entry { key: nibbles(number), item: items[number].as_ref() }).collect();
    if entries.is_empty() {
        return keccak256([EMPTY_STRING_CODE]);
    }
    let mut tree = Tree { entries: &entries, nodes: Vec::new() };
    tree.add(0..entries.len(), 0);
    tree.root()
}

struct Entry<'a> {
    key: Vec<u8>,
    item: &'a [u8],
}

fn nibbles(number: usize) -> Vec<u8> {
    alloy_rlp::encode(number).into_iter().flat_map(|byte| [byte >> 4, byte & 15]).collect()
}

struct Tree<'a> {
    entries: &'a [Entry<'a>],
    /// Children before their parents.
    nodes: Vec<Node>,
}

struct Node {
    /// 0 for a leaf; otherwise one more than the highest child.
    height: usize,
    kind: Kind,
}

enum Kind {
    /// An entry; its path is the key from nibble `from` on.
    Leaf { entry: usize, from: usize },
    /// Nibbles `from` to `to` of an entry's key, and the branch below them.
    Extension { entry: usize, from: usize, to: usize, below: usize },
    /// Children by nibble.
    Branch(Box<[Option<usize>; 16]>),
}

/// A node's reference in its parent: the hash, or the encoding if that is shorter.
type Reference = Vec<u8>;

impl Tree<'_> {
    /// Adds the node of a range of entries with a common prefix of `from` nibbles; returns its index.
    fn add(&mut self, range: std::ops::Range<usize>, from: usize) -> usize {
        let (first, last) = (range.start, range.end - 1);
        if first == last {
            return self.push(0, Kind::Leaf { entry: first, from });
        }
        // Keys are sorted: the common prefix of the first and the last is that of all.
        let (a, b) = (&self.entries[first].key, &self.entries[last].key);
        let to = a.iter().zip(b).take_while(|(a, b)| a == b).count();
        let mut children = [None; 16];
        let mut height = 0;
        let mut next = first;
        while next < range.end {
            let nibble = self.entries[next].key[to];
            let same = self.entries[next..range.end].partition_point(|entry| entry.key[to] == nibble);
            let child = self.add(next..next + same, to + 1);
            height = height.max(self.nodes[child].height + 1);
            children[usize::from(nibble)] = Some(child);
            next += same;
        }
        let branch = self.push(height, Kind::Branch(Box::new(children)));
        if from == to {
            return branch;
        }
        self.push(height + 1, Kind::Extension { entry: first, from, to, below: branch })
    }

    fn push(&mut self, height: usize, kind: Kind) -> usize {
        self.nodes.push(Node { height, kind });
        self.nodes.len() - 1
    }

    /// The hash of the last node added.
    fn root(&self) -> B256 {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(|&node| self.nodes[node].height);
        let mut references = vec![Reference::new(); self.nodes.len()];
        let (mut rlp, mut ends, mut digests) = (Vec::new(), Vec::new(), Vec::new());
        let heights = order.chunk_by(|&a, &b| self.nodes[a].height == self.nodes[b].height);
        for nodes in heights.flat_map(|nodes| nodes.chunks(BATCH)) {
            rlp.clear();
            ends.clear();
            for &node in nodes {
                self.encode(&self.nodes[node].kind, &references, &mut rlp);
                ends.push(rlp.len());
            }
            digest_all(pieces(&rlp, &ends), &mut digests);
            for ((&node, encoded), digest) in nodes.iter().zip(pieces(&rlp, &ends)).zip(&digests) {
                references[node] = if encoded.len() < 32 { encoded.to_vec() } else { digest.to_vec() };
            }
        }
        let root = references.pop().unwrap_or_default();
        B256::try_from(root.as_slice()).unwrap_or_else(|_| keccak256(root))
    }

    fn encode(&self, kind: &Kind, references: &[Reference], out: &mut Vec<u8>) {
        let list = |payload_length, out: &mut Vec<u8>| Header { list: true, payload_length }.encode(out);
        match kind {
            &Kind::Leaf { entry, from } => {
                let Entry { key, item } = &self.entries[entry];
                let path = path(&key[from..], true);
                list(path.as_slice().length() + item.length(), out);
                path.as_slice().encode(out);
                item.encode(out);
            }
            &Kind::Extension { entry, from, to, below } => {
                let path = path(&self.entries[entry].key[from..to], false);
                list(path.as_slice().length() + reference_length(&references[below]), out);
                path.as_slice().encode(out);
                put_reference(&references[below], out);
            }
            Kind::Branch(children) => {
                let length =
                    |child: &Option<usize>| child.map_or(1, |child| reference_length(&references[child]));
                // The seventeenth item, a branch's value, is empty: no key is a prefix of another.
                list(children.iter().map(length).sum::<usize>() + 1, out);
                for child in children.iter() {
                    match child {
                        &Some(child) => put_reference(&references[child], out),
                        None => out.push(EMPTY_STRING_CODE),
                    }
                }
                out.push(EMPTY_STRING_CODE);
            }
        }
    }
}

const fn reference_length(reference: &Reference) -> usize {
    reference.len() + if reference.len() == 32 { 1 } else { 0 }
}

fn put_reference(reference: &Reference, out: &mut Vec<u8>) {
    if reference.len() == 32 {
        out.push(EMPTY_STRING_CODE + 32);
    }
    out.extend_from_slice(reference);
}

/// Hex-prefix encoding of nibbles, with flags for leaves and odd lengths (Yellow Paper, appendix C).
fn path(nibbles: &[u8], is_leaf: bool) -> Vec<u8> {
    let flag = if is_leaf { 0x20 } else { 0 };
    let (odd, pairs) = nibbles.split_at(nibbles.len() % 2);
    let first = odd.first().map_or(flag, |nibble| flag | 0x10 | nibble);
    let pairs = pairs.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low);
    std::iter::once(first).chain(pairs).collect()
}

#[cfg(test)]
mod tests {
    use alloy_rlp::BufMut;
    use alloy_trie::root::ordered_trie_root_with_encoder;
    use proptest::prelude::*;

    use super::*;

    fn expected(items: &[Vec<u8>]) -> B256 {
        ordered_trie_root_with_encoder(items, |item, out| out.put_slice(item))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Items of one byte give nodes short enough to be embedded in their parents.
        #[test]
        fn is_that_of_the_trie(
            items in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..300),
        ) {
            prop_assert_eq!(list_root(&items), expected(&items));
        }
    }

    #[test]
    fn is_that_of_the_trie_at_every_length() {
        let items: Vec<Vec<u8>> = (0..700_usize).map(|number| vec![number as u8; number % 90]).collect();
        for length in (0..=300).chain([511, 512, 513, 700]) {
            assert_eq!(list_root(&items[..length]), expected(&items[..length]), "{length}");
        }
        let many: Vec<Vec<u8>> = (0..66_000_u32).map(|number| number.to_be_bytes().to_vec()).collect();
        assert_eq!(list_root(&many), expected(&many));
    }
}
