//! Whole states: branches of blocks, finality, readers, restarts.

use std::collections::HashSet;
use std::sync::Arc;

use alloy_primitives::{B256, U256, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;
use hansa_kv::{Batch, FjallOptions, FjallStore, KeyRange, KvStore, Order, Space};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};

use super::{Model, a_slot, an_address, an_update, memory, seeded};
use crate::account::AccountLeaf;
use crate::node::{Child, TrieValue};
use crate::nodes::{self, Nodes};
use crate::page::CHECKPOINT;
use crate::{
    Account, AccountUpdate, BLOCK_SPACES, NODE_SPACES, NODES, RECORDS, StateStore, StateStores, StateUpdate,
    StateView, TrieConfig, TrieError,
};

/// A block's state, its expected content, and the code deployed up to it.
#[derive(Clone)]
struct Node {
    view: StateView,
    model: Model,
    parent: Option<usize>,
}

fn a_config(random: &mut StdRng) -> TrieConfig {
    TrieConfig {
        cache_bytes_max: *[0, 1 << 14, 1 << 24].choose(random).unwrap(),
        unwritten_nodes_max: *[0, 20, 200, 100_000].choose(random).unwrap(),
        unwritten_nodes_ahead: *[0, 15, 100].choose(random).unwrap(),
        unwritten_blocks_max: *[1, 5, 1000].choose(random).unwrap(),
    }
}

fn finalise(state: &StateStore, store: &dyn KvStore, view: &StateView) {
    let mut batch = Batch::new();
    let staged = state.stage(view, &mut batch).unwrap();
    store.write(batch).unwrap();
    state.adopt(staged);
    assert_eq!(state.head().root(), view.root());
}

/// The store holds exactly the nodes of the flushed state; of an empty one not even a checkpoint.
fn check_pages(state: &StateStore, nodes: &dyn KvStore) {
    state.settle();
    let mut reached: HashSet<_> =
        nodes.get(NODES, CHECKPOINT).unwrap().map(|_| CHECKPOINT.to_vec()).into_iter().collect();
    let stored = state.stored();
    reach(&stored, None, &stored.0.root, (&B256::ZERO, 0), &mut reached);
    for (key, _) in nodes.scan(NODES, KeyRange::all(), Order::Ascending, usize::MAX).unwrap() {
        assert!(reached.remove(&key), "a page was left behind");
    }
    assert!(reached.is_empty());
}

/// The keys of the pages of a trie, and of all tries below it.
fn reach<V: TrieValue + Storage>(
    view: &StateView,
    owner: Option<&B256>,
    node: &Child<V>,
    (path, start): (&B256, usize),
    reached: &mut HashSet<Vec<u8>>,
) {
    if matches!(node, Child::Stored(_)) {
        reached.insert(crate::page::key(owner, path, start));
    }
    let at_hand = Nodes { base: &view.0.base, layers: &view.0.layers };
    match at_hand.open(owner, path, start, node).unwrap() {
        nodes::Node::Empty => {}
        nodes::Node::Leaf(leaf) => {
            if let Some(storage) = leaf.value.storage() {
                reach(view, Some(&leaf.key), storage, (&B256::ZERO, 0), reached);
            }
        }
        nodes::Node::Loaded(branch) => {
            let branch = branch.get();
            for (at, child) in branch.children() {
                let path = crate::key::extended(&branch.path(), branch.depth(), at);
                reach(view, owner, &child, (&path, branch.depth() + 1), reached);
            }
        }
        nodes::Node::Dirty(_) => panic!("the stored state is not all stored"),
    }
}

/// The storage trie of a value.
trait Storage {
    fn storage(&self) -> Option<&Child<U256>>;
}

impl Storage for AccountLeaf {
    fn storage(&self) -> Option<&Child<U256>> {
        Some(&self.storage)
    }
}

impl Storage for U256 {
    fn storage(&self) -> Option<&Child<U256>> {
        None
    }
}

fn check_reads(node: &Node, random: &mut StdRng) {
    let (view, model) = (&node.view, &node.model);
    for _ in 0..5 {
        let (address, slot) = (an_address(random), a_slot(random));
        let account = view.account(address).unwrap();
        assert_eq!(account, model.account(address));
        assert_eq!(view.storage(address, slot).unwrap(), model.slot(address, slot));
        let code_hash = account.unwrap_or_default().code_hash;
        assert_eq!(keccak256(view.code(code_hash).unwrap().unwrap()), code_hash);
    }
    let proof = view.proof(an_address(random), &[a_slot(random), a_slot(random)]).unwrap();
    model.check_proof(view.root(), &proof);
}

/// Branches of views grow on the head, one is finalised, the process restarts. Old views and losing branches remain readable.
fn run(stores: StateStores, seed: u64, steps: usize, reopen: impl Fn(StateStores) -> StateStores) {
    let random = &mut seeded(seed);
    let mut stores = stores;
    let mut state = StateStore::open(stores.clone(), a_config(random)).unwrap();
    let mut head = Model::default();
    let mut nodes: Vec<Node> = Vec::new();
    let mut readers: Vec<Node> = Vec::new();
    for _ in 0..steps {
        let parent = (0..nodes.len()).choose(random).filter(|_| random.random_bool(0.8));
        let (view, mut model) = match parent {
            Some(at) => (nodes[at].view.clone(), nodes[at].model.clone()),
            None => (state.head(), head.clone()),
        };
        let update = an_update(random);
        model.apply(&update);
        let child = view.apply(&update).unwrap();
        assert_eq!(child.root(), model.root());
        nodes.push(Node { view: child, model, parent });
        check_reads(nodes.choose(random).unwrap(), random);
        while random.random_bool(0.45) {
            let Some(winner) = (0..nodes.len()).filter(|&at| nodes[at].parent.is_none()).choose(random)
            else {
                break;
            };
            readers.extend(nodes.choose(random).cloned());
            finalise(&state, stores.blocks.as_ref(), &nodes[winner].view);
            head = nodes[winner].model.clone();
            nodes = descendants(&nodes, winner);
            if random.random_bool(0.3) {
                check_pages(&state, stores.nodes.as_ref());
            }
        }
        if let Some(reader) = readers.choose(random) {
            check_reads(reader, random);
            // A losing view can still have children, and cannot become the head.
            let update = an_update(random);
            let mut model = reader.model.clone();
            model.apply(&update);
            assert_eq!(reader.view.apply(&update).unwrap().root(), model.root());
        }
        readers.truncate(4);
        if random.random_bool(0.1) {
            nodes.clear();
            readers.clear();
            drop(view);
            drop(state);
            stores = reopen(stores);
            state = StateStore::open(stores.clone(), a_config(random)).unwrap();
            assert_eq!(state.head().root(), head.root());
        }
        check_reads(&Node { view: state.head(), model: head.clone(), parent: None }, random);
    }
}

/// The descendants of `ancestor`, without itself.
fn descendants(nodes: &[Node], ancestor: usize) -> Vec<Node> {
    let mut kept: Vec<Node> = Vec::new();
    let mut moved = vec![None; nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        let parent = match node.parent {
            Some(parent) if parent == ancestor => None,
            Some(parent) if moved[parent].is_some() => moved[parent],
            _ => continue,
        };
        moved[at] = Some(kept.len());
        kept.push(Node { parent, ..node.clone() });
    }
    kept
}

#[test]
fn every_branch_of_blocks_has_the_root_of_a_rebuild() {
    for seed in 0..12 {
        run(memory().into(), seed, 60, |stores| stores);
    }
}

#[test]
fn so_it_has_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = |name: &str, spaces: &[Space]| -> Arc<dyn KvStore> {
        Arc::new(FjallStore::open(dir.path().join(name), spaces, FjallOptions::default()).unwrap())
    };
    let open = || StateStores { blocks: store("blocks", &BLOCK_SPACES), nodes: store("nodes", &NODE_SPACES) };
    run(open(), 100, 120, |stores| {
        drop(stores);
        open()
    });
}

#[test]
fn only_a_child_of_the_head_is_finalised() {
    let store = memory();
    let state = StateStore::open(Arc::clone(&store), TrieConfig::default()).unwrap();
    assert_eq!(state.head().root(), EMPTY_ROOT_HASH);
    let account = |nonce| StateUpdate {
        accounts: vec![AccountUpdate {
            address: an_address(&mut seeded(0)),
            account: Some(Account { nonce, ..Account::default() }),
            storage: Vec::new(),
        }],
        code: Vec::new(),
    };
    let (one, rival) = (state.head().apply(&account(1)).unwrap(), state.head().apply(&account(1)).unwrap());
    let two = one.apply(&account(2)).unwrap();
    let refused = |view: &StateView| matches!(state.stage(view, &mut Batch::new()), Err(TrieError::NotChild));
    assert!(refused(&two) && refused(&state.head()));
    finalise(&state, store.as_ref(), &one);
    assert!(refused(&one) && refused(&rival));
    // A view that was staged and not adopted has no effect.
    drop(state.stage(&two, &mut Batch::new()).unwrap());
    finalise(&state, store.as_ref(), &two);
    assert_eq!(state.head().account(an_address(&mut seeded(0))).unwrap().unwrap().nonce, 2);
}

#[test]
fn a_changed_record_is_found_out_at_the_start() {
    let store = memory();
    let config = TrieConfig { unwritten_blocks_max: 3, ..TrieConfig::default() };
    let state = StateStore::open(Arc::clone(&store), config.clone()).unwrap();
    let random = &mut seeded(3);
    for _ in 0..5 {
        let view = state.head().apply(&an_update(random)).unwrap();
        finalise(&state, store.as_ref(), &view);
    }
    let root = state.head().root();
    drop(state);
    let checkpoint = store.scan(NODES, KeyRange::from(CHECKPOINT), Order::Ascending, 9).unwrap();
    let records = store.scan(RECORDS, KeyRange::all(), Order::Ascending, 9).unwrap();
    assert_eq!((records.len(), checkpoint.len()), (2, 1));
    let named = |space, rows: Vec<_>| rows.into_iter().map(move |row| (space, row));
    for (space, (key, value)) in named(RECORDS, records).chain(named(NODES, checkpoint)) {
        let put = |value: &[u8]| {
            let mut batch = Batch::new();
            batch.put(space, key.clone(), value);
            store.write(batch).unwrap();
        };
        for at in 0..value.len() {
            let mut changed = value.clone();
            changed[at] ^= 0x10;
            put(&changed);
            let opened = StateStore::open(Arc::clone(&store), config.clone());
            put(&value);
            // A wrong version in the checkpoint skips records. The caller compares the root with its block's.
            let is_right = |state: StateStore| state.head().root() == root || space == NODES;
            assert!(opened.map_or(true, is_right), "byte {at} of {key:?}");
        }
    }
    assert_eq!(StateStore::open(store, config).unwrap().head().root(), root);
}

/// As after a crash between a flush and the deletion of obsolete records.
#[test]
fn records_that_the_nodes_have_overtaken_are_removed() {
    let store = memory();
    let config = TrieConfig { unwritten_blocks_max: 3, ..TrieConfig::default() };
    let state = StateStore::open(Arc::clone(&store), config.clone()).unwrap();
    let random = &mut seeded(4);
    let mut records = Vec::new();
    for _ in 0..4 {
        let view = state.head().apply(&an_update(random)).unwrap();
        let mut batch = Batch::new();
        let staged = state.stage(&view, &mut batch).unwrap();
        records.extend(batch.changes().iter().filter(|change| change.space == RECORDS).cloned());
        store.write(batch).unwrap();
        state.adopt(staged);
        state.settle();
    }
    let root = state.head().root();
    drop(state);
    let mut batch = Batch::new();
    for record in &records {
        batch.put(RECORDS, record.key.clone(), record.value.clone().unwrap());
    }
    store.write(batch).unwrap();
    let left = || store.scan(RECORDS, KeyRange::all(), Order::Ascending, 9).unwrap().len();
    // Opening deletes nothing: the nodes may belong to other blocks.
    let state = StateStore::open(Arc::clone(&store), config).unwrap();
    assert_eq!((state.head().root(), left()), (root, 4));
    for _ in 0..2 {
        let view = state.head().apply(&an_update(random)).unwrap();
        finalise(&state, store.as_ref(), &view);
        state.settle();
    }
    assert_eq!(left(), 0);
}
