//! Tests of the store's public interface.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use bytes::Bytes;
use hansa_kv::{Alarm, Batch, FjallOptions, FjallStore, KvStore, MemoryStore};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::*;

mod crash;
mod power;

struct Fixture {
    store: BlockStore,
    dir: TempDir,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = BlockStore::open(Arc::new(MemoryStore::new()), dir.path()).unwrap();
    Fixture { store, dir }
}

fn raw(bytes: impl Into<Bytes>) -> Block {
    Block::new(RAW, bytes.into()).unwrap()
}

fn large(fill: u8) -> Block {
    raw(vec![fill; 100_000])
}

/// Bytes without repetition: all leaves are distinct blocks.
fn content(length: usize) -> Bytes {
    (0..length.div_ceil(8))
        .flat_map(|i| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .take(length)
        .collect()
}

fn root_over(children: &[&Block]) -> Block {
    let links: Vec<Cid> = children.iter().map(|block| *block.cid()).collect();
    Block::new(DAG_CBOR, serde_ipld_dagcbor::to_vec(&links).unwrap().into()).unwrap()
}

/// Flips a bit of a stored block.
fn flip(store: &BlockStore, block: &Block) {
    let BlockFile { path, offset } = store.file(block.cid()).unwrap().unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&[block.bytes()[77] ^ 1], offset + 77).unwrap();
}

fn read(store: &BlockStore, root: &Cid, range: std::ops::Range<u64>) -> Vec<u8> {
    let reader = FileReader::open(store, root).unwrap();
    reader.range(range).flat_map(|piece| piece.unwrap().to_vec()).collect()
}

/// The result of a scrub of the whole store.
fn scrub(store: &BlockStore) -> ScrubReport {
    let (rest, report) = store.scrub_some(None, u64::MAX).unwrap();
    assert_eq!(rest, None);
    report
}

#[test]
fn small_and_large_blocks_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (small, large) = (raw("small"), large(1));
    let open = || {
        let kv = FjallStore::open(dir.path().join("kv"), &SPACES, FjallOptions::default()).unwrap();
        BlockStore::open(Arc::new(kv), &dir.path().join("blocks")).unwrap()
    };
    open().put_many(&[small.clone(), large.clone()]).unwrap();
    let store = open();
    for block in [&small, &large] {
        assert_eq!(store.get(block.cid()).unwrap().as_ref(), Some(block.bytes()));
        assert_eq!(store.size(block.cid()).unwrap(), Some(block.bytes().len() as u64));
    }
    assert_eq!(store.cids(None, 10).unwrap().len(), 2);
    assert!(store.file(small.cid()).unwrap().is_none());
    store.remove(large.cid()).unwrap();
    assert!(!store.has(large.cid()).unwrap());
    assert_eq!(store.get(large.cid()).unwrap(), None);
}

#[test]
fn damage_is_named_quarantined_and_repaired() {
    let Fixture { store, dir } = fixture();
    let blocks = [large(1), large(2), large(3)];
    let root = root_over(&blocks.each_ref());
    store.put_many(&blocks).unwrap();
    store.put(&root).unwrap();
    flip(&store, &blocks[1]);
    // The segment is truncated within the third block.
    let BlockFile { path, offset } = store.file(blocks[2].cid()).unwrap().unwrap();
    fs::File::options().write(true).open(path).unwrap().set_len(offset + 4096).unwrap();

    let report = scrub(&store);
    assert_eq!(report.blocks, 4);
    let mut damaged = report.damaged;
    damaged.sort();
    let mut expected = vec![*blocks[1].cid(), *blocks[2].cid()];
    expected.sort();
    assert_eq!(damaged, expected);
    assert!(matches!(store.get(blocks[1].cid()), Err(ContentError::Damaged(cid)) if cid == *blocks[1].cid()));
    assert!(!store.has(blocks[1].cid()).unwrap());
    assert_eq!(fs::read_dir(dir.path().join("quarantine")).unwrap().count(), 1);
    assert_eq!(store.check_dag(root.cid(), |_| {}).unwrap().damaged.len(), 2);

    assert!(store.repair(blocks[1].cid(), blocks[2].bytes().clone()).is_err());
    for block in &blocks[1..] {
        store.repair(block.cid(), block.bytes().clone()).unwrap();
    }
    assert!(store.check_dag(root.cid(), |_| {}).unwrap().is_healthy());
    assert_eq!(fs::read_dir(dir.path().join("quarantine")).unwrap().count(), 0);
}

#[test]
fn the_quarantine_does_not_grow_without_end() {
    let Fixture { store, dir } = fixture();
    let blocks: Vec<Block> = (0..70).map(large).collect();
    store.put_many(&blocks).unwrap();
    for block in &blocks {
        flip(&store, block);
    }
    assert_eq!(scrub(&store).damaged.len(), 70);
    assert_eq!(fs::read_dir(dir.path().join("quarantine")).unwrap().count(), 64);
}

#[test]
fn reading_finds_a_flipped_bit() {
    let Fixture { store, dir: _dir } = fixture();
    let block = large(1);
    store.put(&block).unwrap();
    flip(&store, &block);
    assert!(matches!(store.get(block.cid()), Err(ContentError::Damaged(cid)) if cid == *block.cid()));
    assert!(!store.has(block.cid()).unwrap());
}

/// An attacker with access to disk and index can forge a block with its checksum. Reads accept it; checks do not.
#[test]
fn a_forged_checksum_passes_no_check() {
    let dir = tempfile::tempdir().unwrap();
    let kv: Arc<dyn KvStore> = Arc::new(MemoryStore::new());
    let store = BlockStore::open(Arc::clone(&kv), dir.path()).unwrap();
    let (wanted, other) = (large(1), large(2));
    store.put_many(&[wanted.clone(), other.clone()]).unwrap();
    let entry = |block: &Block| kv.get(SPACES[0], block.cid().hash().digest()).unwrap().unwrap();
    let forge = |entry: Vec<u8>| {
        let mut batch = Batch::new();
        batch.put(SPACES[0], wanted.cid().hash().digest(), entry);
        kv.write(batch).unwrap();
    };
    let honest = entry(&wanted);
    forge(entry(&other));
    assert_eq!(store.get(wanted.cid()).unwrap().as_ref(), Some(other.bytes()));
    assert!(matches!(store.check(wanted.cid()), Err(ContentError::Damaged(cid)) if cid == *wanted.cid()));

    // A wrong checksum costs a comparison with the digest, and no block.
    let mut wrong = honest;
    *wrong.last_mut().unwrap() ^= 1;
    forge(wrong);
    assert_eq!(store.get(wanted.cid()).unwrap().as_ref(), Some(wanted.bytes()));
    assert!(scrub(&store).damaged.is_empty());
}

#[test]
fn a_collection_takes_what_neither_pin_nor_hold_keeps() {
    let Fixture { store, dir: _dir } = fixture();
    let (kept, lost, held) = (large(1), large(2), large(3));
    let root = root_over(&[&kept]);
    let outer = root_over(&[&root]);
    store.put_many(&[kept.clone(), lost.clone(), root.clone(), outer.clone()]).unwrap();
    store.pin(outer.cid(), "1/42").unwrap();
    store.pin(outer.cid(), "again").unwrap();
    let hold = store.hold();
    store.put_held(std::slice::from_ref(&held), &hold).unwrap();

    let collected = store.collect_garbage().unwrap();
    assert_eq!(collected, Collected { blocks: 1, bytes: 100_000, ..Default::default() });
    assert!(store.has(kept.cid()).unwrap() && store.has(held.cid()).unwrap());
    assert!(!store.has(lost.cid()).unwrap());

    drop(hold);
    store.unpin(outer.cid(), "again").unwrap();
    assert_eq!(store.pins().unwrap(), vec![Pin { root: *outer.cid(), label: "1/42".into() }]);
    assert_eq!(store.collect_garbage().unwrap().blocks, 1);
    store.unpin(outer.cid(), "1/42").unwrap();
    assert!(!store.is_pinned(outer.cid()).unwrap());
    assert_eq!(store.collect_garbage().unwrap().blocks, 3);
}

/// Bytes allocated to the segments on the disk.
fn allocated(dir: &TempDir) -> u64 {
    let listed = fs::read_dir(dir.path().join("segments")).unwrap();
    listed.map(|entry| entry.unwrap().metadata().unwrap().blocks() * 512).sum()
}

#[test]
fn removed_blocks_and_those_of_no_index_give_their_room_back() {
    let dir = tempfile::tempdir().unwrap();
    let blocks: Vec<Block> = (0..4).map(large).collect();
    // A crash between writing and indexing: the index is empty.
    let crashed = BlockStore::open(Arc::new(MemoryStore::new()), dir.path()).unwrap();
    crashed.put_many(&blocks).unwrap();
    drop(crashed);
    // Whole sectors. The file system may use one more for a fragmented file.
    let one = 25 * 4096;
    assert_eq!(allocated(&dir) / one, 4);
    let store = BlockStore::open(Arc::new(MemoryStore::new()), dir.path()).unwrap();
    store.put_many(&blocks).unwrap();
    assert_eq!(allocated(&dir) / one, 8);
    for block in &blocks[..2] {
        store.pin(block.cid(), "").unwrap();
    }
    store.remove(blocks[3].cid()).unwrap();
    assert_eq!(store.collect_garbage().unwrap().blocks, 1);
    assert_eq!(allocated(&dir) / one, 2);
    assert!(scrub(&store).damaged.is_empty());
    for block in &blocks[..2] {
        store.unpin(block.cid(), "").unwrap();
    }
    assert_eq!(store.collect_garbage().unwrap().blocks, 2);
    assert_eq!(fs::read_dir(dir.path().join("segments")).unwrap().count(), 0);
    store.put_many(&blocks).unwrap();
    assert_eq!(store.get(blocks[0].cid()).unwrap().as_ref(), Some(blocks[0].bytes()));
}

#[test]
fn segments_with_little_in_them_are_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let kv: Arc<dyn KvStore> = Arc::new(MemoryStore::new());
    // Room for 21 blocks of 25 sectors each.
    let open = || {
        let segments = segments::Segments::with_limit(&dir.path().join("segments"), 1024).unwrap();
        BlockStore::open_with(Arc::clone(&kv), dir.path(), segments, Alarm::default()).unwrap()
    };
    let files = || fs::read_dir(dir.path().join("segments")).unwrap().count();
    let store = open();
    let blocks: Vec<Block> = (0..84).map(large).collect();
    store.put_many(&blocks).unwrap();
    assert_eq!(files(), 4);
    for block in blocks.iter().step_by(21) {
        store.pin(block.cid(), "").unwrap();
    }
    assert_eq!(store.collect_garbage().unwrap().blocks, 80);
    assert_eq!(store.collect_garbage().unwrap().blocks, 0);
    assert_eq!(files(), 1);
    assert_eq!(allocated(&dir) / (25 * 4096), 4);
    drop(store);
    let store = open();
    assert!(scrub(&store).damaged.is_empty());
    for block in blocks.iter().step_by(21) {
        assert_eq!(store.get(block.cid()).unwrap().as_ref(), Some(block.bytes()));
    }
}

/// A truncated segment is appended to again, so two entries refer to one extent.
#[test]
fn what_took_the_place_of_a_lost_block_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let kv: Arc<dyn KvStore> = Arc::new(MemoryStore::new());
    let open = || BlockStore::open(Arc::clone(&kv), dir.path()).unwrap();
    let (first, lost, next) = (large(1), large(2), large(3));
    let store = open();
    store.put_many(&[first.clone(), lost.clone()]).unwrap();
    let place = store.file(lost.cid()).unwrap().unwrap();
    drop(store);
    fs::File::options().write(true).open(&place.path).unwrap().set_len(place.offset).unwrap();

    let store = open();
    store.put(&next).unwrap();
    assert_eq!(store.file(next.cid()).unwrap(), Some(place));
    let hold = store.hold();
    store.put_held(&[first.clone(), next.clone()], &hold).unwrap();
    assert_eq!(scrub(&store).damaged, [*lost.cid()]);
    assert_eq!(store.collect_garbage().unwrap().blocks, 1);
    for block in [&first, &next] {
        assert_eq!(store.get(block.cid()).unwrap().as_ref(), Some(block.bytes()));
    }
}

#[test]
fn nothing_is_collected_below_a_damaged_node() {
    let Fixture { store, dir: _dir } = fixture();
    let children: Vec<Block> = (0..3000u32).map(|i| raw(i.to_le_bytes().to_vec())).collect();
    let root = root_over(&children.iter().collect::<Vec<_>>());
    store.put_many(&children).unwrap();
    store.put(&root).unwrap();
    store.pin(root.cid(), "").unwrap();
    let garbage = large(9);
    store.put(&garbage).unwrap();
    flip(&store, &root);
    let pin = Pin { root: *root.cid(), label: String::new() };
    let blocked = Collected { damaged: vec![PinFault { pin, cid: *root.cid() }], ..Default::default() };
    assert_eq!(store.collect_garbage().unwrap(), blocked);
    assert!(store.has(children[0].cid()).unwrap());
    store.repair(root.cid(), root.bytes().clone()).unwrap();
    assert_eq!(store.collect_garbage().unwrap().blocks, 1);
    assert_eq!(store.cids(None, 9999).unwrap().len(), 3001);
}

/// A member can get any root pinned by recording it. A root that links to another member's node under a codec without links, or a wrong
/// one, must not hide that node's children.
#[test]
fn an_alias_under_another_codec_hides_nothing() {
    for alias in [RAW, DAG_PB] {
        for labels in [["1/1", "2/1"], ["2/1", "1/1"]] {
            let Fixture { store, dir: _dir } = fixture();
            let leaf = large(1);
            let node = root_over(&[&leaf]);
            let root = root_over(&[&node]);
            let renamed = node.clone().renamed(Cid::new_v1(alias, *node.cid().hash())).unwrap();
            let hostile = root_over(&[&renamed]);
            store.put_many(&[leaf.clone(), node.clone(), root.clone(), hostile.clone()]).unwrap();
            // The walk visits pins in the order of their roots: the alias comes before and after the node.
            store.pin(root.cid(), labels[0]).unwrap();
            store.pin(hostile.cid(), labels[1]).unwrap();
            store.pin(node.cid(), labels[0]).unwrap();
            store.pin(renamed.cid(), labels[1]).unwrap();
            assert_eq!(store.collect_garbage().unwrap().blocks, 0);
            let report = store.check_dag(root.cid(), |_| {}).unwrap();
            assert!(report.is_healthy() && report.blocks == 3);

            // One object that links to a node under both codecs, in either order.
            for children in [[&renamed, &node], [&node, &renamed]] {
                let both = root_over(&children);
                store.put(&both).unwrap();
                let report = store.check_dag(both.cid(), |_| {}).unwrap();
                assert_eq!((report.blocks, report.malformed.is_empty()), (3, alias == RAW));
            }
        }
    }
}

#[test]
fn a_malformed_node_is_a_finding_about_its_pin_alone() {
    let Fixture { store, dir: _dir } = fixture();
    let (kept, garbage) = (large(1), large(2));
    let honest = root_over(&[&kept]);
    let malformed = Block::new(DAG_CBOR, Bytes::from_static(b"\xff not cbor")).unwrap();
    let unknown = Cid::new_v1(RAW, cid::multihash::Multihash::wrap(0, b"identity").unwrap());
    let hostile = Block::new(
        DAG_CBOR,
        serde_ipld_dagcbor::to_vec(&[unknown, *malformed.cid(), *kept.cid()]).unwrap().into(),
    )
    .unwrap();
    store
        .put_many(&[kept.clone(), garbage.clone(), honest.clone(), malformed.clone(), hostile.clone()])
        .unwrap();
    store.pin(honest.cid(), "1/1").unwrap();
    store.pin(hostile.cid(), "2/1").unwrap();

    let pin = Pin { root: *hostile.cid(), label: "2/1".into() };
    let malformed = PinFault { pin, cid: *malformed.cid() };
    let expected =
        Collected { blocks: 1, bytes: 100_000, malformed: vec![malformed.clone()], ..Default::default() };
    assert_eq!(store.collect_garbage().unwrap(), expected);
    assert!(store.check_dag(honest.cid(), |_| {}).unwrap().is_healthy());
    let report = store.check_dag(hostile.cid(), |_| {}).unwrap();
    assert_eq!(report.malformed, [*hostile.cid(), malformed.cid]);
    assert!(!report.is_healthy() && report.missing.is_empty());
}

#[test]
fn a_scrub_in_portions_goes_on_where_it_stopped() {
    let Fixture { store, dir: _dir } = fixture();
    let blocks: Vec<Block> = (0..9).map(large).collect();
    store.put_many(&blocks).unwrap();
    flip(&store, &blocks[4]);
    let (mut cursor, mut portions, mut damaged) = (None, Vec::new(), Vec::new());
    loop {
        let (next, report) = store.scrub_some(cursor, 250_000).unwrap();
        portions.push(report.blocks);
        damaged.extend(report.damaged);
        let Some(next) = next else { break };
        cursor = Some(ScrubCursor::from_bytes(next.to_bytes()));
    }
    assert_eq!((portions, damaged), (vec![3, 3, 3, 0], vec![*blocks[4].cid()]));
    assert_eq!(store.scrub_some(None, 0).unwrap().1.blocks, 1);
}

#[test]
fn imports_and_collections_at_the_same_time_lose_nothing() {
    let Fixture { store, dir: _dir } = fixture();
    let collector = store.clone();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let collecting = std::thread::spawn(move || {
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            collector.collect_garbage().unwrap();
        }
    });
    for round in 0..8u8 {
        let mut bytes = content(5 * CHUNK_BYTES).to_vec();
        bytes[0] = round;
        let imported = import(&store, bytes.as_slice()).unwrap();
        store.pin(&imported.root, "object").unwrap();
        drop(imported);
    }
    drop(stop);
    collecting.join().unwrap();
    for pin in store.pins().unwrap() {
        assert!(store.check_dag(&pin.root, |_| {}).unwrap().is_healthy());
    }
}

#[test]
fn leaves_of_a_wrong_length_are_refused() {
    let Fixture { store, dir: _dir } = fixture();
    let mut importer = Importer::new(&store);
    importer.push_leaf(content(CHUNK_BYTES)).unwrap();
    importer.push_leaf(content(10)).unwrap();
    assert!(matches!(importer.push_leaf(content(10)), Err(ContentError::LeafLength { index: 2, .. })));
    let mut importer = Importer::new(&store);
    assert!(importer.push_leaf(content(CHUNK_BYTES + 1)).is_err());
}

#[test]
fn a_file_with_lying_sizes_is_an_error() {
    let Fixture { store, dir: _dir } = fixture();
    let leaf = raw("leaf");
    let lying = dag::Part { cid: *leaf.cid(), dag_bytes: 4, file_bytes: u64::MAX };
    let root = Block::new(DAG_PB, dag::encode_file_node(&[lying]).into()).unwrap();
    store.put_many(&[leaf, root.clone()]).unwrap();
    let reader = FileReader::open(&store, root.cid()).unwrap();
    assert!(reader.all().next().unwrap().is_err());
    assert!(reader.all().take(5).count() <= 1);
}

/// A file whose nodes link to one child many times.
fn towering(store: &BlockStore, leaf: &Block, levels: u32, links: usize) -> Block {
    store.put(leaf).unwrap();
    let (mut node, mut bytes) = (leaf.clone(), leaf.bytes().len() as u64);
    for _ in 0..levels {
        let part = dag::Part { cid: *node.cid(), dag_bytes: 1, file_bytes: bytes };
        node = Block::new(DAG_PB, dag::encode_file_node(&vec![part; links]).into()).unwrap();
        store.put(&node).unwrap();
        bytes = bytes.saturating_mul(links as u64);
    }
    node
}

#[test]
fn a_reader_visits_no_more_nodes_than_the_size_calls_for() {
    let Fixture { store, dir: _dir } = fixture();
    let read = |root: &Block| {
        let reader = FileReader::open(&store, root.cid()).unwrap();
        let mut pieces = reader.all();
        let read = pieces.by_ref().take_while(Result::is_ok).count();
        (reader.size(), read)
    };
    // Eight blocks without file bytes, and 1,000^7 paths through them.
    let empty = towering(&store, &raw(""), 7, 1000);
    assert_eq!(read(&empty), (0, 0));
    assert_eq!(FileReader::open(&store, empty.cid()).unwrap().read(10).unwrap(), b"");
    // Leaves of one byte.
    let (size, pieces) = read(&towering(&store, &raw("x"), 3, 100));
    assert!(size == 1_000_000 && pieces < 2000, "{pieces}");
    // One leaf below a long chain.
    let chain = towering(&store, &raw("deep"), 1000, 1);
    assert_eq!(read(&chain).1, 0);
    let reader = FileReader::open(&store, chain.cid()).unwrap();
    assert!(matches!(reader.read(9), Err(ContentError::Malformed { .. })));
    assert!(matches!(reader.read(3), Err(ContentError::FileTooLong { size: 4, limit: 3, .. })));
}

#[test]
fn two_levels_of_nodes_read_back_and_equal_leaves_are_stored_once() {
    let Fixture { store, dir } = fixture();
    // The same leaf 1,026 times: one block.
    let leaf = content(CHUNK_BYTES);
    let mut importer = Importer::new(&store);
    for _ in 0..=LINKS_PER_NODE {
        importer.push_leaf(leaf.clone()).unwrap();
    }
    importer.push_leaf(Bytes::from_static(b"end")).unwrap();
    let imported = importer.finish().unwrap();
    assert_eq!(imported.blocks, 1026 + 3);
    assert!(allocated(&dir) < 2 * CHUNK_BYTES as u64);
    let end = (LINKS_PER_NODE as u64 + 1) * CHUNK_BYTES as u64;
    assert_eq!(imported.size, end + 3);
    assert_eq!(read(&store, &imported.root, end - 2..end + 9), [&leaf[CHUNK_BYTES - 2..], b"end"].concat());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn what_is_imported_reads_back(
        length in prop_oneof![0..2000usize, Just(CHUNK_BYTES), 1..4 * CHUNK_BYTES],
        cut in 1..3 * CHUNK_BYTES,
        range in (0..4 * CHUNK_BYTES as u64, 0..4 * CHUNK_BYTES as u64),
    ) {
        let Fixture { store, dir: _dir } = fixture();
        let bytes = content(length);
        let whole = import(&store, bytes.as_ref()).unwrap();
        let mut importer = Importer::new(&store);
        for piece in bytes.chunks(cut) {
            importer.push(Bytes::copy_from_slice(piece)).unwrap();
        }
        let pieces = importer.finish().unwrap();
        prop_assert_eq!(pieces.root, whole.root);
        prop_assert_eq!((whole.size, pieces.blocks), (length as u64, whole.blocks));
        let (from, to) = (range.0.min(length as u64), range.1.min(length as u64));
        prop_assert_eq!(read(&store, &whole.root, from..to), bytes[from as usize..to.max(from) as usize].to_vec());
        prop_assert_eq!(read(&store, &whole.root, 0..u64::MAX), bytes.to_vec());
    }
}

#[test]
fn after_a_failed_write_the_store_raises_the_alarm_and_takes_no_more_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let alarm = Alarm::new(move |error| tell.send(error.to_string()).unwrap());
    let kv: Arc<dyn KvStore> = Arc::new(MemoryStore::new());
    let store = BlockStore::open_watched(Arc::clone(&kv), dir.path(), alarm).unwrap();
    let segments = dir.path().join("segments");
    fs::remove_dir(&segments).unwrap();
    assert!(matches!(store.put(&large(1)), Err(ContentError::File { .. })));
    assert!(told.try_recv().unwrap().contains("segment"));
    fs::create_dir(&segments).unwrap();
    for block in [large(2), raw(vec![1])] {
        assert!(matches!(store.put(&block), Err(ContentError::Stopped)));
        assert_eq!(store.get(block.cid()).unwrap(), None);
    }
    drop(store);
    let store = BlockStore::open(kv, dir.path()).unwrap();
    store.put(&large(2)).unwrap();
}
