//! A process that imports, pins, collects and repairs is killed at random moments; every pinned file must then be whole,
//! and nothing may look like damage.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::*;

/// Names the folder to the process that is to be killed.
const FOLDER: &str = "HANSA_CONTENT_CRASH_FOLDER";
/// Pins that stay; older ones are given up, so that collections find something.
const KEPT: u64 = 4;

fn open(dir: &Path) -> BlockStore {
    let kv = FjallStore::open(dir.join("kv"), &SPACES, FjallOptions::default()).unwrap();
    BlockStore::open(Arc::new(kv), &dir.join("blocks")).unwrap()
}

/// A file of some number: one leaf or several, small and large, no two alike.
fn numbered(number: u64) -> Vec<u8> {
    let length = (number as usize * 700_001) % (3 * CHUNK_BYTES);
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend(content(length).iter().map(|byte| byte ^ number as u8));
    bytes
}

/// The highest pinned number, after checking that every pinned file reads back and that no block is damaged.
fn check(store: &BlockStore) -> u64 {
    assert!(scrub(store).damaged.is_empty());
    let pins = store.pins().unwrap();
    for pin in &pins {
        assert_eq!(read(store, &pin.root, 0..u64::MAX), numbered(pin.label.parse().unwrap()));
    }
    pins.iter().map(|pin| pin.label.parse().unwrap()).max().unwrap_or(0)
}

/// Not a test by itself: the process that [`what_was_pinned_survives_being_killed`] kills.
#[test]
fn imports_until_killed() {
    let Ok(dir) = std::env::var(FOLDER) else { return };
    let store = open(Path::new(&dir));
    let mut stdout = std::io::stdout();
    for number in check(&store) + 1.. {
        let imported = import(&store, numbered(number).as_slice()).unwrap();
        store.pin(&imported.root, &number.to_string()).unwrap();
        writeln!(stdout, "durable {number}").unwrap();
        let old = store.pins().unwrap().into_iter();
        for pin in old.filter(|pin| pin.label.parse::<u64>().unwrap() + KEPT <= number) {
            store.unpin(&pin.root, &pin.label).unwrap();
        }
        drop(imported);
        store.collect_garbage().unwrap();
    }
}

#[test]
fn what_was_pinned_survives_being_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut total = 0;
    for _ in 0..20 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::crash::imports_until_killed", "--nocapture"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let durable =
            |line: String| line.strip_prefix("durable ").and_then(|number| number.parse::<u64>().ok());
        let wanted = 1 + random.next_u32() as usize % 6;
        let reported = lines.by_ref().map_while(Result::ok).filter_map(durable).take(wanted).last().unwrap();
        // The process has gone on meanwhile: the kill meets it anywhere.
        child.kill().unwrap();
        child.wait().unwrap();
        let reported = lines.map_while(Result::ok).filter_map(durable).last().unwrap_or(reported);
        let store = open(dir.path());
        let last = check(&store);
        assert!(last >= reported, "file {reported} was durable, {last} is the last");
        assert!(last > total);
        total = last;
        // What the killed process left half-done goes, what is pinned stays.
        store.collect_garbage().unwrap();
        check(&store);
    }
}
