//! A process that finalises blocks is killed at random moments. State and head must always agree.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use alloy_primitives::B256;
use hansa_kv::{Batch, FjallOptions, FjallStore, KvStore, Space};
use rand::Rng;

use super::{Model, an_update, seeded};
use crate::{BLOCK_SPACES, NODE_SPACES, StateStore, StateStores, TrieConfig};

const HEAD: Space = Space::new("head");
/// Environment variable with the child's data folder.
const FOLDER: &str = "HANSA_TRIE_CRASH_FOLDER";

fn open(dir: &Path) -> (Arc<dyn KvStore>, StateStore) {
    let store = |name: &str, spaces: &[Space]| -> Arc<dyn KvStore> {
        let options = FjallOptions { memtable_bytes_max: 64 * 1024, ..FjallOptions::default() };
        Arc::new(FjallStore::open(dir.join(name), spaces, options).unwrap())
    };
    let blocks = store("blocks", &[&BLOCK_SPACES[..], &[HEAD]].concat());
    let stores = StateStores { blocks: Arc::clone(&blocks), nodes: store("nodes", &NODE_SPACES) };
    let config = TrieConfig { unwritten_nodes_max: 60, ..TrieConfig::default() };
    (blocks, StateStore::open(stores, config).unwrap())
}

/// Checks that the last block's root is the state's; returns its number.
fn head(store: &dyn KvStore, state: &StateStore) -> u64 {
    let Some(head) = store.get(HEAD, b"head").unwrap() else { return 0 };
    let (number, root) = head.split_at(8);
    assert_eq!(state.head().root(), B256::from_slice(root));
    u64::from_be_bytes(number.try_into().unwrap())
}

/// Not a test by itself: the process that [`survives_being_killed`] kills.
#[test]
fn finalises_until_killed() {
    let Ok(dir) = std::env::var(FOLDER) else { return };
    let (store, state) = open(Path::new(&dir));
    let mut stdout = std::io::stdout();
    for number in head(store.as_ref(), &state) + 1.. {
        let view = state.head().apply(&an_update(&mut seeded(number))).unwrap();
        let mut batch = Batch::new();
        batch.put(HEAD, *b"head", [&number.to_be_bytes()[..], view.root().as_slice()].concat());
        let staged = state.stage(&view, &mut batch).unwrap();
        store.write(batch).unwrap();
        state.adopt(staged);
        writeln!(stdout, "final {number}").unwrap();
    }
}

#[test]
fn survives_being_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = seeded(9);
    let mut model = Model::default();
    let mut checked = 0;
    for _ in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::crash::finalises_until_killed", "--nocapture"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let number = |line: String| line.strip_prefix("final ").and_then(|number| number.parse::<u64>().ok());
        let wanted = random.random_range(1..40);
        let acknowledged =
            lines.by_ref().map_while(Result::ok).filter_map(number).take(wanted).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let acknowledged = lines.map_while(Result::ok).filter_map(number).last().unwrap_or(acknowledged);
        let (store, state) = open(dir.path());
        let last = head(store.as_ref(), &state);
        assert!(last >= acknowledged);
        for number in checked + 1..=last {
            model.apply(&an_update(&mut seeded(number)));
        }
        checked = last;
        assert_eq!(state.head().root(), model.root());
    }
}
