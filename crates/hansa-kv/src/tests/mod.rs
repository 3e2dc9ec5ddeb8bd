//! Behaviour that all stores share, and faults of the store on disk.

mod crash;

use std::fs;
use std::path::PathBuf;

use std::sync::{Arc, mpsc};

use crate::{
    Alarm, Batch, FjallOptions, FjallStore, KeyRange, KvError, KvStore, MemoryStore, Order, Pair, Space,
    Watched,
};

const A: Space = Space::new("a");
const B: Space = Space::new("b");
const SPACES: [Space; 2] = [A, B];

fn on_every_store(check: fn(&dyn KvStore)) {
    check(&MemoryStore::new());
    let dir = tempfile::tempdir().unwrap();
    check(&FjallStore::open(dir.path(), &SPACES, FjallOptions::default()).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let options =
        FjallOptions { large_values: vec![A], incompressible: vec![A, B], ..FjallOptions::default() };
    check(&FjallStore::open(dir.path(), &SPACES, options).unwrap());
}

type Written<'a> = (Space, &'a [u8], Option<&'a [u8]>);

fn batch(changes: &[Written<'_>]) -> Batch {
    let mut batch = Batch::new();
    for &(space, key, value) in changes {
        match value {
            Some(value) => batch.put(space, key, value),
            None => batch.remove(space, key),
        }
    }
    batch
}

fn pair(key: &[u8], value: &[u8]) -> Pair {
    (key.to_vec(), value.to_vec())
}

#[test]
fn reads_what_batches_wrote() {
    on_every_store(|store| {
        store.write(batch(&[(A, b"k", Some(b"1")), (B, b"k", Some(b"2")), (A, b"gone", None)])).unwrap();
        assert_eq!(store.get(A, b"k").unwrap().unwrap(), b"1");
        assert_eq!(store.get(B, b"k").unwrap().unwrap(), b"2");
        assert!(!store.contains(A, b"gone").unwrap());
        // The last change of a key wins.
        store
            .write_buffered(batch(&[
                (A, b"k", None),
                (A, b"k", Some(b"")),
                (B, b"k", Some(b"3")),
                (B, b"k", None),
            ]))
            .unwrap();
        store.sync().unwrap();
        assert_eq!(store.get(A, b"k").unwrap().unwrap(), b"");
        assert!(store.contains(A, b"k").unwrap());
        assert_eq!(store.get(B, b"k").unwrap(), None);
        let large = vec![7; 300_000];
        store.write(batch(&[(A, b"large", Some(&large))])).unwrap();
        assert_eq!(store.get(A, b"large").unwrap().unwrap(), large);
        store.write(Batch::new()).unwrap();
    });
}

#[test]
fn ingests_over_what_batches_wrote_and_under_what_they_write() {
    on_every_store(|store| {
        let ingest = |changes: &[(&[u8], Option<&[u8]>)]| {
            store.ingest(A, &mut |bulk| {
                changes.iter().try_for_each(|&(key, value)| match value {
                    Some(value) => bulk.put(key, value),
                    None => bulk.remove(key),
                })
            })
        };
        store.write(batch(&[(A, b"b", Some(b"1")), (A, b"c", Some(b"1")), (B, b"c", Some(b"1"))])).unwrap();
        let snapshot = store.snapshot();
        ingest(&[(b"a", Some(b"2")), (b"c", None), (b"d", Some(b"2")), (b"never", None)]).unwrap();
        store.write_buffered(batch(&[(A, b"a", Some(b"3"))])).unwrap();
        let now = || store.scan(A, KeyRange::all(), Order::Ascending, 9).unwrap();
        assert_eq!(now(), [pair(b"a", b"3"), pair(b"b", b"1"), pair(b"d", b"2")]);
        ingest(&[(b"a", Some(b"4")), (b"b", None)]).unwrap();
        assert_eq!(now(), [pair(b"a", b"4"), pair(b"d", b"2")]);
        assert_eq!(store.get(B, b"c").unwrap().unwrap(), b"1");
        let before = [pair(b"b", b"1"), pair(b"c", b"1")];
        assert_eq!(snapshot.scan(A, KeyRange::all(), Order::Ascending, 9).unwrap(), before);
        ingest(&[]).unwrap();
        // Atomic: nothing of a failed ingestion is written.
        assert!(matches!(ingest(&[(b"k", Some(b"v")), (b"", None)]), Err(KvError::KeyLength(0))));
        assert!(matches!(ingest(&[(b"k", Some(b"v")), (b"k", None)]), Err(KvError::KeyOrder)));
        assert!(matches!(ingest(&[(b"k", Some(b"v")), (b"j", Some(b"v"))]), Err(KvError::KeyOrder)));
        assert!(!store.contains(A, b"k").unwrap());
        ingest(&[(b"k", Some(b"v"))]).unwrap();
        assert_eq!(store.get(A, b"k").unwrap().unwrap(), b"v");
    });
}

#[test]
fn scans_ranges_in_both_orders() {
    on_every_store(|store| {
        let keys: [&[u8]; 6] = [b"\x00", b"ab", b"abc", b"b", b"\xff", b"\xff\xff"];
        for key in keys {
            store.write_buffered(batch(&[(A, key, Some(key)), (B, b"other", Some(b"space"))])).unwrap();
        }
        let check = |range: KeyRange, limit: usize, expected: &[&[u8]]| {
            let expected: Vec<Pair> = expected.iter().map(|key| pair(key, key)).collect();
            let limited = |pairs: Vec<Pair>| pairs.into_iter().take(limit).collect::<Vec<_>>();
            assert_eq!(
                store.scan(A, range.clone(), Order::Ascending, limit).unwrap(),
                limited(expected.clone())
            );
            let reversed = expected.into_iter().rev().collect();
            assert_eq!(store.scan(A, range.clone(), Order::Descending, limit).unwrap(), limited(reversed));
        };
        check(KeyRange::all(), usize::MAX, &keys);
        check(KeyRange::all(), 2, &keys);
        check(KeyRange::all(), 0, &keys);
        check(KeyRange::prefix(b"ab"), usize::MAX, &[b"ab", b"abc"]);
        check(KeyRange::prefix(b"\xff"), usize::MAX, &[b"\xff", b"\xff\xff"]);
        check(KeyRange::prefix(b""), usize::MAX, &keys);
        check(KeyRange::prefix(b"nothing"), usize::MAX, &[]);
        check(KeyRange::from(b"abc"), usize::MAX, &[b"abc", b"b", b"\xff", b"\xff\xff"]);
        check(KeyRange::up_to(b"ab"), usize::MAX, &[b"\x00", b"ab"]);
        check(KeyRange::between(b"ab", b"b"), usize::MAX, &[b"ab", b"abc"]);
        check(KeyRange::between(b"ab", b"ab"), usize::MAX, &[]);
        check(KeyRange::between(b"b", b"ab"), usize::MAX, &[]);
        check(KeyRange::prefix(b"ab").after(b"ab"), usize::MAX, &[b"abc"]);
        check(KeyRange::prefix(b"ab").after(b"zz"), usize::MAX, &[]);
    });
}

#[test]
fn snapshots_stay_as_they_are() {
    on_every_store(|store| {
        store.write(batch(&[(A, b"k", Some(b"old")), (A, b"removed", Some(b"there"))])).unwrap();
        let snapshot = store.snapshot();
        store
            .write(batch(&[(A, b"k", Some(b"new")), (A, b"removed", None), (B, b"late", Some(b"x"))]))
            .unwrap();
        assert_eq!(snapshot.get(A, b"k").unwrap().unwrap(), b"old");
        assert_eq!(snapshot.get(B, b"late").unwrap(), None);
        let before = [pair(b"k", b"old"), pair(b"removed", b"there")];
        assert_eq!(snapshot.scan(A, KeyRange::all(), Order::Ascending, 9).unwrap(), before);
        assert_eq!(store.scan(A, KeyRange::all(), Order::Ascending, 9).unwrap(), [pair(b"k", b"new")]);
        assert_eq!(store.snapshot().get(B, b"late").unwrap().unwrap(), b"x");
    });
}

#[test]
fn refuses_keys_that_no_engine_takes() {
    on_every_store(|store| {
        let longest = vec![1; usize::from(u16::MAX)];
        store.write(batch(&[(A, &longest, Some(b"v"))])).unwrap();
        let refused = batch(&[(A, b"k", Some(b"v")), (A, b"", Some(b"v"))]);
        assert!(matches!(store.write(refused), Err(KvError::KeyLength(0))));
        let refused = batch(&[(A, &[longest, vec![1]].concat(), None)]);
        assert!(matches!(store.write(refused), Err(KvError::KeyLength(0x1_0000))));
        assert!(!store.contains(A, b"k").unwrap());
    });
}

#[test]
fn writers_at_the_same_time_lose_nothing() {
    on_every_store(|store| {
        std::thread::scope(|scope| {
            for writer in 0..4u8 {
                scope.spawn(move || {
                    for number in 0..25u8 {
                        store.write(batch(&[(A, &[writer, number], Some(&[number]))])).unwrap();
                        assert!(store.contains(A, &[writer, number]).unwrap());
                    }
                });
            }
        });
        assert_eq!(store.scan(A, KeyRange::all(), Order::Ascending, usize::MAX).unwrap().len(), 100);
    });
}

#[test]
fn a_folder_is_opened_again_by_one_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let open = |spaces| FjallStore::open(dir.path(), spaces, FjallOptions::default());
    let store = open(&SPACES[..1]).unwrap();
    store.write(batch(&[(A, b"k", Some(b"v"))])).unwrap();
    assert!(matches!(store.get(B, b"k"), Err(KvError::UnknownSpace(B))));
    let unknown = batch(&[(A, b"x", Some(b"v")), (B, b"x", Some(b"v"))]);
    assert!(matches!(store.write(unknown), Err(KvError::UnknownSpace(B))));
    assert!(!store.contains(A, b"x").unwrap());
    assert!(matches!(open(&SPACES), Err(KvError::Locked(path)) if path == dir.path()));
    drop(store);
    let store = open(&SPACES).unwrap();
    assert_eq!(store.get(A, b"k").unwrap().unwrap(), b"v");
    store.write(batch(&[(B, b"x", Some(b"v"))])).unwrap();
    assert!(matches!(open(&[Space::new("No/Name")]), Err(KvError::SpaceName(_))));
}

#[test]
fn a_damaged_folder_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    drop(FjallStore::open(dir.path(), &SPACES, FjallOptions::default()).unwrap());
    let open = || FjallStore::open(dir.path(), &SPACES, FjallOptions::default());
    let mut refused = 0;
    for file in files(dir.path().to_path_buf()) {
        // Opening removes some files.
        let Ok(bytes) = fs::read(&file) else { continue };
        fs::write(&file, vec![0xa5; bytes.len()]).unwrap();
        // Obsolete files may have any content.
        match open() {
            Ok(store) => drop(store),
            Err(error) => {
                assert!(matches!(error, KvError::Open { .. }), "{error:?}");
                refused += 1;
            }
        }
        fs::write(&file, bytes).unwrap();
    }
    assert!(refused >= 2);
    drop(open().unwrap());
    let file = dir.path().join("file");
    fs::write(&file, "no folder").unwrap();
    assert!(matches!(FjallStore::open(&file, &SPACES, FjallOptions::default()), Err(KvError::Open { .. })));
}

/// All files below a folder, in order of their paths.
fn files(dir: PathBuf) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[test]
fn a_failed_write_raises_the_alarm_and_a_misused_store_does_not() {
    let (tell, told) = mpsc::channel();
    let dir = tempfile::tempdir().unwrap();
    let fjall = FjallStore::open(dir.path(), &[A], FjallOptions::default()).unwrap();
    let store = Watched::new(Arc::new(fjall), Alarm::new(move |error| tell.send(error.to_string()).unwrap()));
    store.write(batch(&[(A, b"k", Some(b"1"))])).unwrap();
    assert!(matches!(store.write(batch(&[(B, b"k", None)])), Err(KvError::UnknownSpace(_))));
    assert!(told.try_recv().is_err());
    // The folder for the ingestion's table is gone.
    fs::remove_dir_all(dir.path()).unwrap();
    let failed = store.ingest(A, &mut |bulk| bulk.put(b"k", b"2"));
    assert!(matches!(failed, Err(KvError::Write(_))), "{failed:?}");
    assert!(told.try_recv().is_ok());
}
