//! The root of a list: of the trie that holds each item under the RLP of its number, as a block's header commits to transactions and
//! receipts (Yellow Paper, appendix D). All nodes of a height are hashed together.

use alloy_primitives::{B256, keccak256};
use alloy_rlp::{EMPTY_STRING_CODE, Encodable, Header};

use crate::{digest_all, pieces};

/// Nodes that are encoded before they are hashed: enough to fill all lanes, and few enough to stay in the processor's cache.
const TOGETHER: usize = 64;

/// The root of a list of byte strings, whatever they are.
pub fn list_root(items: &[impl AsRef<[u8]>]) -> B256 {
    // In the order of the keys: 0 is 0x80, which comes after all other single bytes.
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
    /// 0 for a leaf, one more than that of the highest child for others.
    height: usize,
    kind: Kind,
}

enum Kind {
    /// An entry with what its key has from a nibble on.
    Leaf { entry: usize, from: usize },
    /// Some nibbles of an entry's key, and the branch below them.
    Extension { entry: usize, from: usize, to: usize, below: usize },
    /// Nodes by nibble.
    Branch(Box<[Option<usize>; 16]>),
}

/// What a parent has of a node: its hash, or all of it where that is shorter.
type Name = Vec<u8>;

impl Tree<'_> {
    /// Adds the node for some entries that agree in all nibbles before `from`, and gives its number.
    fn add(&mut self, range: std::ops::Range<usize>, from: usize) -> usize {
        let (first, last) = (range.start, range.end - 1);
        if first == last {
            return self.push(0, Kind::Leaf { entry: first, from });
        }
        // Those between agree in as much as the first and the last.
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

    /// The hash of the node that was added last.
    fn root(&self) -> B256 {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(|&node| self.nodes[node].height);
        let mut names = vec![Name::new(); self.nodes.len()];
        let (mut rlp, mut ends, mut digests) = (Vec::new(), Vec::new(), Vec::new());
        let heights = order.chunk_by(|&a, &b| self.nodes[a].height == self.nodes[b].height);
        for nodes in heights.flat_map(|nodes| nodes.chunks(TOGETHER)) {
            rlp.clear();
            ends.clear();
            for &node in nodes {
                self.encode(&self.nodes[node].kind, &names, &mut rlp);
                ends.push(rlp.len());
            }
            digest_all(pieces(&rlp, &ends), &mut digests);
            for ((&node, encoded), digest) in nodes.iter().zip(pieces(&rlp, &ends)).zip(&digests) {
                names[node] = if encoded.len() < 32 { encoded.to_vec() } else { digest.to_vec() };
            }
        }
        let root = names.pop().unwrap_or_default();
        B256::try_from(root.as_slice()).unwrap_or_else(|_| keccak256(root))
    }

    fn encode(&self, kind: &Kind, names: &[Name], out: &mut Vec<u8>) {
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
                list(path.as_slice().length() + name_length(&names[below]), out);
                path.as_slice().encode(out);
                put_name(&names[below], out);
            }
            Kind::Branch(children) => {
                let length = |child: &Option<usize>| child.map_or(1, |child| name_length(&names[child]));
                // The last of seventeen is the value that a branch may have; here no key begins with another.
                list(children.iter().map(length).sum::<usize>() + 1, out);
                for child in children.iter() {
                    match child {
                        &Some(child) => put_name(&names[child], out),
                        None => out.push(EMPTY_STRING_CODE),
                    }
                }
                out.push(EMPTY_STRING_CODE);
            }
        }
    }
}

const fn name_length(name: &Name) -> usize {
    name.len() + if name.len() == 32 { 1 } else { 0 }
}

fn put_name(name: &Name, out: &mut Vec<u8>) {
    if name.len() == 32 {
        out.push(EMPTY_STRING_CODE + 32);
    }
    out.extend_from_slice(name);
}

/// Nibbles in bytes, with a flag for leaves and one for odd numbers (Yellow Paper, appendix C).
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

        /// Items of a byte make nodes so short that their parents contain them.
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
