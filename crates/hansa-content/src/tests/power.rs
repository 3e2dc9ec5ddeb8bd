//! Crashes of a collection at every write of the index, with real segment files. Afterwards every pinned block is intact, and no entry
//! refers to freed bytes.
//!
//! Either the process crashes, or the machine: then the index reverts to its last flush, and the files do not.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hansa_kv::{Alarm, Batch, Fill, KeyRange, KvError, KvSnapshot, KvStore, MemoryStore, Order, Pair, Space};
use parking_lot::Mutex;

use super::*;

/// An index that fails after a number of writes.
struct Powered {
    left: AtomicU32,
    memory: MemoryStore,
    disk: MemoryStore,
    unflushed: Mutex<Vec<Batch>>,
}

fn copy(store: &MemoryStore) -> MemoryStore {
    let copied = MemoryStore::new();
    for space in SPACES {
        let mut batch = Batch::new();
        for (key, value) in store.scan(space, KeyRange::all(), Order::Ascending, usize::MAX).unwrap() {
            batch.put(space, key, value);
        }
        copied.write(batch).unwrap();
    }
    copied
}

impl Powered {
    fn new(content: &MemoryStore, steps: u32) -> Arc<Self> {
        let (memory, disk) = (copy(content), copy(content));
        Arc::new(Self { left: steps.into(), memory, disk, unflushed: Mutex::default() })
    }

    fn survivor(&self, machine_ended: bool) -> &MemoryStore {
        if machine_ended { &self.disk } else { &self.memory }
    }

    fn step(&self) -> Result<(), KvError> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| KvError::UnknownSpace(Space::new("no power")))
    }

    fn flush(&self) -> Result<(), KvError> {
        self.unflushed.lock().drain(..).try_for_each(|batch| self.disk.write(batch))
    }
}

impl KvStore for Powered {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.memory.get(space, key)
    }

    fn contains(&self, space: Space, key: &[u8]) -> Result<bool, KvError> {
        self.memory.contains(space, key)
    }

    fn scan(&self, space: Space, range: KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, KvError> {
        self.memory.scan(space, range, order, limit)
    }

    fn write(&self, batch: Batch) -> Result<(), KvError> {
        self.write_buffered(batch)?;
        self.flush()
    }

    fn write_buffered(&self, batch: Batch) -> Result<(), KvError> {
        self.step()?;
        self.unflushed.lock().push(batch.clone());
        self.memory.write(batch)
    }

    fn ingest(&self, _: Space, _: Fill<'_>) -> Result<(), KvError> {
        panic!("blocks are not ingested")
    }

    fn sync(&self) -> Result<(), KvError> {
        self.step()?;
        self.flush()
    }

    fn snapshot(&self) -> Box<dyn KvSnapshot> {
        self.memory.snapshot()
    }
}

fn open(kv: &Arc<Powered>, dir: &Path) -> BlockStore {
    // Segments with room for 21 large blocks.
    let segments = segments::Segments::with_limit(&dir.join("segments"), 1024).unwrap();
    BlockStore::open_with(Arc::clone(kv) as _, dir, segments, Alarm::default()).unwrap()
}

/// Two sparse segments with one live block each, and small blocks, pinned and not.
fn filled(kv: &Arc<Powered>, dir: &Path) -> Vec<Block> {
    let store = open(kv, dir);
    let blocks: Vec<Block> = (0..42).map(large).chain((0..20).map(|fill| raw(vec![fill; 100]))).collect();
    store.put_many(&blocks).unwrap();
    let kept: Vec<Block> = blocks.iter().step_by(21).cloned().collect();
    kept.iter().for_each(|block| store.pin(block.cid(), "kept").unwrap());
    // An import that is not flushed yet.
    store.pin_buffered(blocks[1].cid(), "buffered").unwrap();
    store.unpin(blocks[1].cid(), "buffered").unwrap();
    kept
}

fn check(store: &BlockStore, kept: &[Block]) {
    let damaged = scrub(store).damaged;
    assert!(damaged.is_empty(), "the index names bytes that are gone: {damaged:?}");
    for block in kept {
        assert_eq!(store.get(block.cid()).unwrap().as_ref(), Some(block.bytes()));
    }
}

#[test]
fn a_collection_that_crashes_keeps_every_pinned_block_and_is_made_up_for() {
    for machine_ends in [false, true] {
        for steps in 0.. {
            assert!(steps < 40, "a collection ends some time");
            let dir = tempfile::tempdir().unwrap();
            let kv = Powered::new(&MemoryStore::new(), u32::MAX);
            let kept = filled(&kv, dir.path());
            let kv = Powered::new(kv.survivor(false), steps);
            let store = open(&kv, dir.path());
            // The first collection compacts the segments, the second removes them.
            let collected = store.collect_garbage().and_then(|_| store.collect_garbage());
            drop(store);
            let kv = Powered::new(kv.survivor(machine_ends), u32::MAX);
            let store = open(&kv, dir.path());
            check(&store, &kept);
            store.collect_garbage().unwrap();
            store.collect_garbage().unwrap();
            check(&store, &kept);
            assert_eq!(store.cids(None, 999).unwrap().len(), kept.len(), "after {steps} steps");
            assert_eq!(fs::read_dir(dir.path().join("segments")).unwrap().count(), 1, "after {steps} steps");
            if collected.is_ok() {
                assert!(steps > 3, "{steps}: garbage, flush, moved blocks, flush");
                break;
            }
        }
    }
}
