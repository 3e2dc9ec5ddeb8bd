//! A process that writes numbered batches is killed at random moments. Acknowledged batches must survive, and every batch is whole
//! or absent.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::files;
use crate::{Batch, BulkWriter, FjallOptions, FjallStore, KeyRange, KvStore, Order, Space};

const LOG: Space = Space::new("log");
const LAST: Space = Space::new("last");
const WINDOW: Space = Space::new("window");
const WINDOW_LENGTH: u64 = 10;
/// Written by ingestions only. Every key has the same value, the number of the preceding batch.
const INGESTED: Space = Space::new("ingested");
const INGESTED_KEYS: u32 = 500;
/// Environment variable with the data folder of the child process.
const FOLDER: &str = "HANSA_KV_CRASH_FOLDER";

fn open(dir: &Path) -> FjallStore {
    // Small memtables: the kill also hits flushes and compactions.
    let options =
        FjallOptions { memtable_bytes_max: 64 * 1024, large_values: vec![WINDOW], ..FjallOptions::default() };
    FjallStore::open(dir, &[LOG, LAST, WINDOW, INGESTED], options).unwrap()
}

fn value(number: u64) -> Vec<u8> {
    vec![number as u8; 1 + (number as usize * 97) % 3000]
}

fn numbered(number: u64) -> Batch {
    let mut batch = Batch::new();
    batch.put(LOG, number.to_be_bytes(), value(number));
    batch.put(LAST, *b"last", number.to_be_bytes());
    batch.put(WINDOW, number.to_be_bytes(), value(number + 1));
    if let Some(left) = number.checked_sub(WINDOW_LENGTH) {
        batch.remove(WINDOW, left.to_be_bytes());
    }
    batch
}

/// The keys ingested with a number. Ranges of consecutive numbers overlap.
fn ingested(number: u64) -> Range<u32> {
    let first = (number as u32 % 8) * 10;
    first..first + INGESTED_KEYS
}

fn ingest(store: &FjallStore, number: u64) {
    let fill = &mut |bulk: &mut dyn BulkWriter| {
        (0..80 + INGESTED_KEYS).try_for_each(|key| match ingested(number).contains(&key) {
            true => bulk.put(&key.to_be_bytes(), &number.to_be_bytes()),
            false => bulk.remove(&key.to_be_bytes()),
        })
    };
    store.ingest(INGESTED, fill).unwrap();
}

/// Checks that all batches up to the last one are present and no part of a later one; returns its number.
fn check(store: &FjallStore) -> u64 {
    let Some(last) = store.get(LAST, b"last").unwrap() else {
        assert!(store.scan(LOG, KeyRange::all(), Order::Ascending, 1).unwrap().is_empty());
        return 0;
    };
    let last = u64::from_be_bytes(last.try_into().unwrap());
    let ingested = store.scan(INGESTED, KeyRange::all(), Order::Ascending, usize::MAX).unwrap();
    if let Some((_, value)) = ingested.first() {
        // An ingestion makes all batches before it durable.
        let number = u64::from_be_bytes(value.as_slice().try_into().unwrap());
        assert!(number <= last, "what was ingested after batch {number} is there, {last} is the last");
        let whole =
            self::ingested(number).map(|key| (key.to_be_bytes().to_vec(), number.to_be_bytes().to_vec()));
        assert!(ingested.into_iter().eq(whole));
    }
    let log = store.scan(LOG, KeyRange::all(), Order::Ascending, usize::MAX).unwrap();
    assert!(log.into_iter().eq((1..=last).map(|number| (number.to_be_bytes().to_vec(), value(number)))));
    let window = store.scan(WINDOW, KeyRange::all(), Order::Ascending, usize::MAX).unwrap();
    let first = (last + 1).saturating_sub(WINDOW_LENGTH).max(1);
    assert!(
        window
            .into_iter()
            .eq((first..=last).map(|number| (number.to_be_bytes().to_vec(), value(number + 1))))
    );
    last
}

/// Not a test by itself: the process that [`survives_being_killed`] kills.
#[test]
fn writes_until_killed() {
    let Ok(dir) = std::env::var(FOLDER) else { return };
    let store = open(Path::new(&dir));
    let mut stdout = std::io::stdout();
    for number in check(&store) + 1.. {
        if number % 3 == 0 {
            store.write_buffered(numbered(number)).unwrap();
        } else {
            store.write(numbered(number)).unwrap();
            writeln!(stdout, "durable {number}").unwrap();
        }
        if number % 5 == 0 {
            ingest(&store, number);
        }
    }
}

#[test]
fn survives_being_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(7);
    let mut total = 0;
    for _ in 0..20 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::crash::writes_until_killed", "--nocapture"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let durable =
            |line: String| line.strip_prefix("durable ").and_then(|number| number.parse::<u64>().ok());
        let wanted = random.random_range(1..40);
        let mut acknowledged =
            lines.by_ref().map_while(Result::ok).filter_map(durable).take(wanted).last().unwrap();
        // The child still runs: the kill hits it at any point.
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged = lines.map_while(Result::ok).filter_map(durable).last().unwrap_or(acknowledged);
        let last = check(&open(dir.path()));
        assert!(last >= acknowledged, "batch {acknowledged} was durable, {last} is the last");
        assert!(last > total);
        total = last;
    }
}

#[test]
fn a_torn_journal_loses_whole_batches_only() {
    let mut random = StdRng::seed_from_u64(8);
    for _ in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let store = FjallStore::open(dir.path(), &[LOG, LAST, WINDOW], FjallOptions::default()).unwrap();
        (1..=60).for_each(|number| store.write(numbered(number)).unwrap());
        drop(store);
        let journal = files(dir.path().to_path_buf())
            .into_iter()
            .rfind(|file| file.extension().is_some_and(|e| e == "jnl"));
        let journal = journal.unwrap();
        let bytes = fs::read(&journal).unwrap();
        let used = bytes.iter().rposition(|&byte| byte != 0).unwrap();
        // A power loss: the unwritten rest reads as zeros or is missing.
        let kept = random.random_range(used / 4..used);
        let file = fs::OpenOptions::new().write(true).open(&journal).unwrap();
        file.set_len(kept as u64).unwrap();
        if random.random() {
            file.set_len(bytes.len() as u64).unwrap();
        }
        drop(file);
        let store = open(dir.path());
        let last = check(&store);
        assert!(last < 60);
        store.write(numbered(last + 1)).unwrap();
        drop(store);
        assert_eq!(check(&open(dir.path())), last + 1);
    }
}
