//! One trie with keys that hashing does not produce: long shared prefixes, nodes shorter than their hashes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use alloy_primitives::{B256, U256};
use alloy_trie::Nibbles;
use alloy_trie::proof::verify_proof;
use hansa_kv::{Batch, BulkWriter, KeyRange, KvStore, MemoryStore, Order};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};

use super::{rebuilt_root, seeded};
use crate::NODES;
use crate::arena::{BranchBuilder, Layer, Layers};
use crate::cache::Caches;
use crate::edit::{Change, Editor, Effects};
use crate::flush::{Flush, Pages};
use crate::key::nibble;
use crate::node::Child;
use crate::nodes::{Base, Node, Nodes};
use crate::proof::prove;

type Leaves = BTreeMap<B256, U256>;

/// A trie and its expected content.
struct Trie {
    store: MemoryStore,
    base: Base,
    layers: Layers,
    version: u64,
    root: Child<U256>,
    leaves: Leaves,
    deleted: Vec<Vec<u8>>,
    owner: Option<B256>,
}

impl Trie {
    fn new(owner: Option<B256>) -> Self {
        let store = MemoryStore::new();
        let base = base(&store, 0, 0);
        Self {
            store,
            base,
            layers: Layers::none(0),
            version: 0,
            root: Child::Empty,
            leaves: Leaves::new(),
            deleted: Vec::new(),
            owner,
        }
    }

    /// Applies changes and checks the result; `keep` adopts it.
    fn change(&mut self, changes: &BTreeMap<B256, Option<U256>>, keep: bool) {
        let mut leaves = self.leaves.clone();
        for (&key, value) in changes {
            match value {
                Some(value) => leaves.insert(key, *value),
                None => leaves.remove(&key),
            };
        }
        let changes: Vec<_> = changes.iter().map(|(&key, &value)| Change { key, value }).collect();
        let mut effects = Effects::default();
        let mut builder = BranchBuilder::new(self.version + 1);
        let mut editor =
            Editor { nodes: self.nodes(), owner: self.owner, builder: &mut builder, effects: &mut effects };
        let root = editor.edit(&self.root, &changes).unwrap().unwrap_or(self.root);
        assert_eq!(
            root.root_hash(),
            rebuilt_root(leaves.iter().map(|(&key, value)| (key, alloy_rlp::encode(value))))
        );
        if keep {
            self.version += 1;
            self.layers.push(self.version, Layer { storage: builder.into_arena(), ..Layer::default() });
            self.root = root;
            self.leaves = leaves;
            self.deleted.extend(effects.deleted);
        }
    }

    /// Flushes the trie and continues from the stored one.
    fn write(&mut self, cache_bytes_max: usize) {
        let deleted = std::mem::take(&mut self.deleted);
        let Base { version: stored, caches, .. } = &self.base;
        let flush = Flush { stored: *stored, layers: &self.layers, caches };
        let fill = &mut |writer: &mut dyn BulkWriter| {
            let mut pages = Pages::new(writer, deleted.iter().map(Vec::as_slice).collect());
            flush.tree(self.owner.as_ref(), &self.root, &mut pages, &mut |_| {})?;
            pages.finish()
        };
        self.store.ingest(NODES, fill).unwrap();
        self.base = base(&self.store, self.version, cache_bytes_max);
        self.layers = self.layers.above(self.version);
        let mut reached = HashSet::new();
        self.reach(&self.root, &B256::ZERO, 0, &mut reached);
        let stored = self.store.scan(NODES, KeyRange::all(), Order::Ascending, usize::MAX).unwrap();
        assert!(stored.iter().all(|(key, _)| reached.contains(key)), "a page was left behind");
        assert_eq!(stored.len(), reached.len());
    }

    fn reach(&self, node: &Child<U256>, path: &B256, start: usize, reached: &mut HashSet<Vec<u8>>) {
        if matches!(node, Child::Empty | Child::Leaf(_)) && start > 0 {
            return;
        }
        let node = match self.nodes().open(self.owner.as_ref(), path, start, node).unwrap() {
            Node::Empty => return,
            Node::Dirty(_) => panic!("a branch that was written is still in memory only"),
            node => node,
        };
        reached.insert(crate::page::key(self.owner.as_ref(), path, start));
        if let Node::Loaded(branch) = node {
            let branch = branch.get();
            for (at, child) in branch.children() {
                let path = crate::key::extended(&branch.path(), branch.depth(), at);
                self.reach(&child, &path, branch.depth() + 1, reached);
            }
        }
    }

    fn nodes(&self) -> Nodes<'_> {
        Nodes { base: &self.base, layers: &self.layers }
    }

    fn check(&self, key: B256) {
        let expected = self.leaves.get(&key).copied();
        assert_eq!(self.nodes().find(self.owner.as_ref(), &self.root, &key).unwrap(), expected);
        let (proof, value) = prove(self.nodes(), self.owner.as_ref(), &self.root, &key).unwrap();
        assert_eq!(value, expected);
        let expected = expected.map(alloy_rlp::encode);
        verify_proof(self.root.root_hash(), Nibbles::unpack(key), expected, &proof).unwrap();
    }
}

fn base(store: &MemoryStore, version: u64, cache_bytes_max: usize) -> Base {
    Base { snapshot: store.snapshot(), version, caches: Arc::new(Caches::new(cache_bytes_max)) }
}

/// Few prefixes and few suffixes: two keys can share any number of nibbles.
fn a_key(random: &mut StdRng) -> B256 {
    let length = *[0, 1, 2, 57, 61, 62, 63].choose(random).unwrap();
    let stem = random.random_range(0..3);
    let nibbles: Vec<u8> =
        (0..64)
            .map(|at| {
                if at < length {
                    [0, 7, 15][(stem + at / 40) % 3]
                } else {
                    *[0, 1, 15].choose(random).unwrap()
                }
            })
            .collect();
    let key = B256::from_slice(&nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect::<Vec<_>>());
    assert_eq!(nibble(&key, 63), usize::from(nibbles[63]));
    key
}

#[test]
fn any_change_gives_the_root_of_a_rebuild() {
    for seed in 0..60 {
        let mut random = seeded(seed);
        let mut trie = Trie::new(random.random_bool(0.7).then(|| B256::repeat_byte(0x42)));
        for _ in 0..60 {
            let removing = *[0.0, 0.3, 0.7, 1.0].choose(&mut random).unwrap();
            let mut changes = BTreeMap::new();
            for _ in 0..*[1, 1, 2, 5, 20].choose(&mut random).unwrap() {
                let known = trie.leaves.keys().choose(&mut random).copied();
                let key = known.filter(|_| random.random_bool(0.6)).unwrap_or_else(|| a_key(&mut random));
                let value =
                    U256::from(random.random_range(1..1000u64)) << *[0, 0, 200].choose(&mut random).unwrap();
                changes.insert(key, (!random.random_bool(removing)).then_some(value));
            }
            let keep = random.random_bool(0.8);
            trie.change(&changes, keep);
            if random.random_bool(0.3) {
                trie.write(*[0, 1 << 20].choose(&mut random).unwrap());
            }
            changes.keys().for_each(|&key| trie.check(key));
            trie.check(a_key(&mut random));
        }
        let all = trie.leaves.keys().map(|&key| (key, None)).collect();
        trie.change(&all, true);
        assert!(trie.root.is_empty());
        trie.write(0);
        assert!(trie.store.scan(NODES, KeyRange::all(), Order::Ascending, 1).unwrap().is_empty());
    }
}

/// The changes of a full block: levels of thousands of branches, which are hashed in several batches.
#[test]
fn thousands_of_changes_give_the_root_of_a_rebuild() {
    let key = |number: u64| alloy_primitives::keccak256(number.to_be_bytes());
    let mut trie = Trie::new(Some(B256::repeat_byte(0x42)));
    trie.change(&(0..6_000).map(|number| (key(number), Some(U256::from(number + 1)))).collect(), true);
    trie.write(1 << 20);
    let value = |number: u64| (!number.is_multiple_of(3)).then(|| U256::from(number) << 200);
    trie.change(&(3_000..9_000).map(|number| (key(number), value(number))).collect(), true);
    (0..9_000).step_by(101).for_each(|number| trie.check(key(number)));
    trie.write(0);
    trie.change(&(0..9_000).map(|number| (key(number), None)).collect(), true);
    assert!(trie.root.is_empty());
}

#[test]
fn damaged_pages_are_never_read_as_state() {
    let mut random = seeded(1);
    let mut trie = Trie::new(None);
    let changes = (0..200u64)
        .map(|n| (alloy_primitives::keccak256(n.to_be_bytes()), Some(U256::from(n + 1))))
        .collect();
    trie.change(&changes, true);
    trie.write(0);
    let pages = trie.store.scan(NODES, KeyRange::all(), Order::Ascending, usize::MAX).unwrap();
    for (key, page) in pages {
        let mut damaged = page.clone();
        match random.random_range(0..3) {
            0 => damaged.truncate(random.random_range(0..page.len())),
            1 => damaged.push(0),
            _ => damaged[random.random_range(0..page.len())] ^= 1 << random.random_range(0..8),
        }
        let mut batch = Batch::new();
        batch.put(NODES, key.clone(), damaged);
        trie.store.write(batch).unwrap();
        trie.base = base(&trie.store, trie.version, 0);
        let mut refused = 0;
        for (hashed, value) in &trie.leaves {
            match trie.nodes().find(None, &trie.root, hashed) {
                Ok(found) => assert_eq!(found, Some(*value)),
                Err(_) => refused += 1,
            }
        }
        // Only the padding of a leaf's key has no meaning.
        assert!(refused > 0 || key.len() > 1);
        let mut batch = Batch::new();
        batch.put(NODES, key, page);
        trie.store.write(batch).unwrap();
    }
}
