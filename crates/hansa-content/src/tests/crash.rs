//! A process that imports, pins, collects and repairs is killed at random moments. Every pinned file must be complete, and no block
//! may appear damaged.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::*;

/// Environment variable with the data folder of the killed process.
const FOLDER: &str = "HANSA_CONTENT_CRASH_FOLDER";
/// Number of pins kept; older ones are removed, so that collections find garbage.
const KEPT: u64 = 4;

fn open(dir: &Path) -> BlockStore {
    let kv = FjallStore::open(dir.join("kv"), &SPACES, FjallOptions::default()).unwrap();
    BlockStore::open(Arc::new(kv), &dir.join("blocks")).unwrap()
}

/// The file of a number: small or large, of one leaf or several, all distinct.
fn numbered(number: u64) -> Vec<u8> {
    let length = (number as usize * 700_001) % (3 * CHUNK_BYTES);
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend(content(length).iter().map(|byte| byte ^ number as u8));
    bytes
}

/// Checks that every pinned file reads back and no block is damaged; returns the highest pinned number.
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
        // The child still runs: the kill hits it anywhere.
        child.kill().unwrap();
        child.wait().unwrap();
        let reported = lines.map_while(Result::ok).filter_map(durable).last().unwrap_or(reported);
        let store = open(dir.path());
        let last = check(&store);
        assert!(last >= reported, "file {reported} was durable, {last} is the last");
        assert!(last > total);
        total = last;
        // Unfinished imports are collected, pinned files stay.
        store.collect_garbage().unwrap();
        check(&store);
    }
}
