//! The block store: small blocks in the key-value store, large ones in segment files, one index over both.
//!
//! A block is indexed after its bytes are durable, so an unreadable indexed block is damage, not a crash. Reads verify small blocks by
//! digest and large ones by a checksum, which is ten times as fast and detects disk faults; [`BlockStore::check`] always verifies the
//! digest (ADR 0008). Blocks are keyed by digest: CIDs that differ in version or codec share a block. Retention is decided by pins
//! ([`BlockStore::pin`]), not by the store.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use cid::Cid;
use hansa_kv::{Alarm, Batch, KeyRange, KvStore, Order, Space};
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use crate::block::{Key, cid_of, codec_of, key_of, sha256};
use crate::hold::{Hold, Holds};
use crate::quarantine::Quarantine;
use crate::segments::{Extent, Segments, Unindexed, sync_dir};
use crate::{Block, ContentError, Pin};

/// Maximum length in bytes of a block in the key-value store; longer ones are in segment files.
pub const INLINE_BYTES_MAX: usize = 64 * 1024 - 1;

const INDEX: Space = Space::new("content-index");
const BYTES: Space = Space::new("content-bytes");
pub(crate) const PINS: Space = Space::new("content-pins");

/// The spaces of a [`BlockStore`] in its key-value store. The second one has large, incompressible values.
pub const SPACES: [Space; 3] = [INDEX, BYTES, PINS];

/// Location of a block's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Inline,
    Segment {
        segment: u32,
        sector: u32,
        /// XXH3 (64 bits) of the bytes.
        checksum: u64,
    },
    /// The bytes were damaged; the block is absent.
    Quarantine,
}

/// An index entry. Encoding, big-endian: location (1 byte), size (4), codec (8); for a block in a segment also the segment (4), the
/// sector (4) and the checksum (8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) location: Location,
    pub(crate) size: u32,
    pub(crate) codec: u64,
}

impl Record {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(29);
        bytes.push(match self.location {
            Location::Inline => 0,
            Location::Segment { .. } => 1,
            Location::Quarantine => 2,
        });
        bytes.extend(self.size.to_be_bytes());
        bytes.extend(self.codec.to_be_bytes());
        if let Location::Segment { segment, sector, checksum } = self.location {
            bytes.extend(segment.to_be_bytes());
            bytes.extend(sector.to_be_bytes());
            bytes.extend(checksum.to_be_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[location], rest) = bytes.split_first_chunk()?;
        let (size, rest) = rest.split_first_chunk()?;
        let (codec, rest) = rest.split_first_chunk()?;
        let (location, rest) = match location {
            0 => (Location::Inline, rest),
            1 => {
                let (segment, rest) = rest.split_first_chunk()?;
                let (sector, rest) = rest.split_first_chunk()?;
                let (checksum, rest) = rest.split_first_chunk()?;
                let segment = u32::from_be_bytes(*segment);
                let sector = u32::from_be_bytes(*sector);
                (Location::Segment { segment, sector, checksum: u64::from_be_bytes(*checksum) }, rest)
            }
            2 => (Location::Quarantine, rest),
            _ => return None,
        };
        rest.is_empty().then_some(Self {
            location,
            size: u32::from_be_bytes(*size),
            codec: u64::from_be_bytes(*codec),
        })
    }

    /// The block's extent in a segment.
    pub(crate) const fn extent(self) -> Option<Extent> {
        match self.location {
            Location::Segment { segment, sector, .. } => Some(Extent { segment, sector, bytes: self.size }),
            Location::Inline | Location::Quarantine => None,
        }
    }
}

/// The verification of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Integrity {
    /// Large blocks by the checksum of the index, small ones by their digest.
    Checksum,
    Digest,
}

fn is_intact(key: &Key, record: Record, integrity: Integrity, bytes: &[u8]) -> bool {
    match (record.location, integrity) {
        (Location::Segment { checksum, .. }, Integrity::Checksum) if xxh3_64(bytes) == checksum => true,
        _ => sha256(bytes) == *key,
    }
}

/// Location of a large block on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockFile {
    /// The segment file.
    pub path: PathBuf,
    /// The block's offset in bytes.
    pub offset: u64,
}

/// Blocks with their pins. A clone is another handle on the same store. A folder is opened at most once at a time.
#[derive(Clone)]
pub struct BlockStore(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) kv: Arc<dyn KvStore>,
    pub(crate) segments: Arc<Segments>,
    quarantine: Quarantine,
    pub(crate) holds: Arc<Holds>,
    /// Pins since the start of the running collection, if one runs.
    pub(crate) pinned_since: Mutex<Option<Vec<Pin>>>,
    /// Locked by the running collection.
    pub(crate) collecting: Mutex<()>,
    /// Raised by a failed write to a segment file.
    alarm: Alarm,
    /// Whether a write has failed.
    failed: AtomicBool,
}

impl std::fmt::Debug for BlockStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockStore").field("segments", &self.0.segments).finish_non_exhaustive()
    }
}

impl BlockStore {
    /// Opens the store with its index in `kv` (with [`SPACES`]) and its large blocks in `dir`, which is created if it does not exist.
    ///
    /// # Errors
    /// [`ContentError::File`] if the folder cannot be used.
    pub fn open(kv: Arc<dyn KvStore>, dir: &Path) -> Result<Self, ContentError> {
        Self::open_watched(kv, dir, Alarm::default())
    }

    /// Like [`BlockStore::open`] with an alarm for failed writes to segment files. After a failed write the store refuses blocks,
    /// because the system may report a lost write only once.
    ///
    /// # Errors
    /// As for [`BlockStore::open`].
    pub fn open_watched(kv: Arc<dyn KvStore>, dir: &Path, alarm: Alarm) -> Result<Self, ContentError> {
        Self::open_with(kv, dir, Segments::open(&dir.join("segments"))?, alarm)
    }

    pub(crate) fn open_with(
        kv: Arc<dyn KvStore>,
        dir: &Path,
        segments: Arc<Segments>,
        alarm: Alarm,
    ) -> Result<Self, ContentError> {
        let quarantine = Quarantine::open(&dir.join("quarantine"))?;
        sync_dir(dir)?;
        Ok(Self(Arc::new(Inner {
            kv,
            segments,
            quarantine,
            holds: Arc::default(),
            pinned_since: Mutex::default(),
            collecting: Mutex::default(),
            alarm,
            failed: AtomicBool::default(),
        })))
    }

    /// Length of the segment files in bytes, including holes.
    pub fn segment_bytes(&self) -> u64 {
        self.0.segments.length()
    }

    /// Stores one block; durable when it returns.
    ///
    /// # Errors
    /// As for [`BlockStore::put_many`].
    pub fn put(&self, block: &Block) -> Result<(), ContentError> {
        self.put_many(std::slice::from_ref(block))
    }

    /// Stores blocks; all are durable when it returns. [`BlockStore::put_held`] also protects them from collection.
    ///
    /// # Errors
    /// [`ContentError::Index`], [`ContentError::File`]; some of the blocks may then be stored.
    pub fn put_many(&self, blocks: &[Block]) -> Result<(), ContentError> {
        self.put_held(blocks, &self.hold())
    }

    /// Stores blocks under a hold; all are durable when it returns.
    ///
    /// # Errors
    /// As for [`BlockStore::put_many`].
    pub fn put_held(&self, blocks: &[Block], hold: &Hold) -> Result<(), ContentError> {
        let mut staged = Staged::default();
        for block in blocks {
            self.stage(block, hold, &mut staged)?;
        }
        self.index(staged.0, true)
    }

    /// Writes a block under a hold and stages its index entry.
    ///
    /// # Errors
    /// As for [`BlockStore::put_many`].
    pub fn stage(&self, block: &Block, hold: &Hold, staged: &mut Staged) -> Result<(), ContentError> {
        let entry = self.store_bytes(block, hold)?;
        staged.0.push(entry);
        Ok(())
    }

    /// Indexes staged blocks, pins a root and makes other changes of the same key-value store in one atomic, durable write.
    ///
    /// # Errors
    /// As for [`BlockStore::put_many`] and [`BlockStore::pin`].
    pub fn commit(&self, staged: Staged, root: &Cid, label: &str, others: Batch) -> Result<(), ContentError> {
        let Staged(mut stored) = staged;
        stored.batch.append(others);
        self.pin_with(root, label, |pin| {
            stored.batch.append(pin);
            self.index(stored, true)
        })
    }

    /// The verified bytes of a block; `None` if it is absent.
    ///
    /// # Errors
    /// [`ContentError::Damaged`] if the bytes fail verification: they move to quarantine, and the block is absent until it is put
    /// again. [`ContentError::Index`], [`ContentError::File`].
    pub fn get(&self, cid: &Cid) -> Result<Option<Bytes>, ContentError> {
        self.read(cid, Integrity::Checksum)
    }

    /// Like [`BlockStore::get`], but verifies large blocks by digest too.
    ///
    /// # Errors
    /// As for [`BlockStore::get`].
    pub fn check(&self, cid: &Cid) -> Result<Option<Bytes>, ContentError> {
        self.read(cid, Integrity::Digest)
    }

    fn read(&self, cid: &Cid, integrity: Integrity) -> Result<Option<Bytes>, ContentError> {
        let key = key_of(cid)?;
        let Some(record) = self.record(&key)? else { return Ok(None) };
        self.read_record(&key, record, integrity).map_err(|error| rename_damage(error, cid)).map(Some)
    }

    /// Like [`BlockStore::get`], as a [`Block`].
    ///
    /// # Errors
    /// As for [`BlockStore::get`].
    pub fn get_block(&self, cid: &Cid) -> Result<Option<Block>, ContentError> {
        Ok(self.get(cid)?.map(|bytes| Block::checked(*cid, bytes)))
    }

    /// Like [`BlockStore::get`] for a block that must be present.
    ///
    /// # Errors
    /// [`ContentError::Missing`] besides those of [`BlockStore::get`].
    pub fn expect(&self, cid: &Cid) -> Result<Bytes, ContentError> {
        self.get(cid)?.ok_or(ContentError::Missing(*cid))
    }

    /// Whether a block is present and not known to be damaged. The block is not read.
    ///
    /// # Errors
    /// [`ContentError::Index`], [`ContentError::UnsupportedHash`].
    pub fn has(&self, cid: &Cid) -> Result<bool, ContentError> {
        Ok(self.size(cid)?.is_some())
    }

    /// The length of a block in bytes, if it is present and not known to be damaged.
    ///
    /// # Errors
    /// As for [`BlockStore::has`].
    pub fn size(&self, cid: &Cid) -> Result<Option<u64>, ContentError> {
        let record = self.record(&key_of(cid)?)?;
        Ok(record
            .filter(|record| record.location != Location::Quarantine)
            .map(|record| u64::from(record.size)))
    }

    /// The location of a large block on the disk; `None` for a small or absent block.
    ///
    /// # Errors
    /// As for [`BlockStore::has`].
    pub fn file(&self, cid: &Cid) -> Result<Option<BlockFile>, ContentError> {
        let extent = self.record(&key_of(cid)?)?.and_then(Record::extent);
        Ok(extent
            .map(|extent| BlockFile { path: self.0.segments.path(extent.segment), offset: extent.offset() }))
    }

    /// Removes a block, even a pinned one; durable when it returns. Removing an absent block is no error. The space of a large block
    /// returns with the next collection.
    ///
    /// # Errors
    /// [`ContentError::Index`], [`ContentError::File`].
    pub fn remove(&self, cid: &Cid) -> Result<(), ContentError> {
        let key = key_of(cid)?;
        let _gate = self.0.holds.gate().write();
        self.remove_keys([&key])
    }

    /// At most `limit` blocks in the order of their digests after `after`, including damaged ones. CIDs are version 1 with the codec
    /// of the first put.
    ///
    /// # Errors
    /// As for [`BlockStore::has`].
    pub fn cids(&self, after: Option<&Cid>, limit: usize) -> Result<Vec<Cid>, ContentError> {
        let after = after.map(key_of).transpose()?;
        let page = self.records(after.as_ref(), limit)?;
        Ok(page.into_iter().map(|(key, record)| cid_of(record.codec, key)).collect())
    }

    /// Replaces a block's bytes and ends its quarantine; durable when it returns.
    ///
    /// # Errors
    /// [`ContentError::WrongBytes`] if these are not the block's bytes; those of [`BlockStore::put_many`].
    pub fn repair(&self, cid: &Cid, healthy: Bytes) -> Result<(), ContentError> {
        let block = Block::verify(*cid, healthy)?;
        let key = block.key()?;
        let hold = self.hold();
        hold.add(key);
        let mut stored = IndexBatch::default();
        stored.push(Some(self.write_bytes(key, &block)?));
        self.index(stored, true)?;
        self.0.quarantine.release(&key)
    }

    /// A new hold.
    pub fn hold(&self) -> Hold {
        Hold::new(&self.0.holds)
    }

    pub(crate) fn record(&self, key: &Key) -> Result<Option<Record>, ContentError> {
        Ok(self.0.kv.get(INDEX, key)?.and_then(|bytes| Record::decode(&bytes)))
    }

    pub(crate) fn records(
        &self,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Record)>, ContentError> {
        let range = match after {
            Some(key) => KeyRange::all().after(key),
            None => KeyRange::all(),
        };
        let page = self.0.kv.scan(INDEX, range, Order::Ascending, limit)?;
        let pair = |(key, record): (Vec<u8>, Vec<u8>)| Some((key.try_into().ok()?, Record::decode(&record)?));
        Ok(page.into_iter().filter_map(pair).collect())
    }

    /// Reads and verifies a block. Damaged bytes move to quarantine.
    pub(crate) fn read_record(
        &self,
        key: &Key,
        mut record: Record,
        integrity: Integrity,
    ) -> Result<Bytes, ContentError> {
        loop {
            let bytes = match (record.location, record.extent()) {
                (Location::Quarantine, _) => return Err(ContentError::Damaged(cid_of(record.codec, *key))),
                (_, Some(extent)) => self.0.segments.read(extent)?,
                (_, None) => self.0.kv.get(BYTES, key)?.map(Bytes::from),
            };
            if let Some(bytes) = bytes.as_ref().filter(|bytes| is_intact(key, record, integrity, bytes)) {
                return Ok(bytes.clone());
            }
            let cid = cid_of(record.codec, *key);
            match self.record(key)? {
                Some(now) if now == record => {
                    tracing::error!(%cid, "a stored block is damaged; quarantined");
                    self.quarantine(key, record, bytes)?;
                    return Err(ContentError::Damaged(cid));
                }
                // The block was moved during the read.
                Some(now) => record = now,
                None => return Err(ContentError::Missing(cid)),
            }
        }
    }

    fn quarantine(&self, key: &Key, record: Record, bytes: Option<Bytes>) -> Result<(), ContentError> {
        if let Some(bytes) = bytes {
            self.0.quarantine.keep(key, &bytes);
        }
        let mut batch = Batch::new();
        batch.put(INDEX, *key, Record { location: Location::Quarantine, ..record }.encode());
        batch.remove(BYTES, *key);
        Ok(self.0.kv.write(batch)?)
    }

    /// Writes a block's bytes unless it is present; returns its index entry.
    pub(crate) fn store_bytes(&self, block: &Block, hold: &Hold) -> Result<Option<Entry>, ContentError> {
        let key = block.key()?;
        hold.add(key);
        self.write_new(key, block)
    }

    /// Like [`BlockStore::store_bytes`], but skips blocks that the hold covers: they are present or in another write of the same
    /// stream. After an error the whole stream must be abandoned.
    pub(crate) fn store_once(&self, block: &Block, hold: &Hold) -> Result<Option<Entry>, ContentError> {
        let key = block.key()?;
        if hold.add(key) { self.write_new(key, block) } else { Ok(None) }
    }

    fn write_new(&self, key: Key, block: &Block) -> Result<Option<Entry>, ContentError> {
        match self.record(&key)? {
            Some(Record { location: Location::Inline | Location::Segment { .. }, .. }) => Ok(None),
            Some(Record { location: Location::Quarantine, .. }) | None => {
                self.write_bytes(key, block).map(Some)
            }
        }
    }

    pub(crate) fn write_bytes(&self, key: Key, block: &Block) -> Result<Entry, ContentError> {
        let bytes = block.bytes();
        let written = if bytes.len() <= INLINE_BYTES_MAX {
            Written::Inline(bytes.clone())
        } else {
            Written::Segment(self.report(self.0.segments.append(bytes))?, xxh3_64(bytes))
        };
        // A block has at most 2 MiB.
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Ok(Entry { key, size, codec: codec_of(block.cid()), written })
    }

    /// Synchronises the segments of written blocks and indexes them, durably or with the next durable write.
    pub(crate) fn index(&self, stored: IndexBatch, durable: bool) -> Result<(), ContentError> {
        let sync = |(segment, file): (&u32, &Arc<File>)| {
            file.sync_data().map_err(ContentError::file("synchronise", &self.0.segments.path(*segment)))
        };
        self.report(stored.segments.iter().try_for_each(sync))?;
        match durable {
            true if stored.batch.is_empty() => Ok(self.0.kv.sync()?),
            true => Ok(self.0.kv.write(stored.batch)?),
            false => Ok(self.0.kv.write_buffered(stored.batch)?),
        }
    }

    /// Passes on the result of a write and raises the alarm on an error. After a failed write all results are errors, because the lost
    /// bytes may be in the same file.
    fn report<T>(&self, written: Result<T, ContentError>) -> Result<T, ContentError> {
        let written = written.inspect_err(|error| {
            self.0.failed.store(true, Ordering::SeqCst);
            self.0.alarm.raise(error);
        })?;
        if self.0.failed.load(Ordering::SeqCst) { Err(ContentError::Stopped) } else { Ok(written) }
    }

    /// Removes index entries; the caller holds the gate. Extents are freed at the end of a collection.
    pub(crate) fn remove_keys<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a Key> + Clone,
    ) -> Result<(), ContentError> {
        let mut batch = Batch::new();
        for key in keys.clone() {
            batch.remove(INDEX, *key);
            batch.remove(BYTES, *key);
        }
        self.0.kv.write(batch)?;
        keys.into_iter().try_for_each(|key| self.0.quarantine.release(key))
    }
}

/// A new index entry with the location of its bytes.
pub(crate) struct Entry {
    key: Key,
    size: u32,
    codec: u64,
    written: Written,
}

enum Written {
    Inline(Bytes),
    /// The extent and the checksum.
    Segment(Unindexed, u64),
}

/// New index entries that are written together.
#[derive(Default)]
pub(crate) struct IndexBatch {
    batch: Batch,
    /// The extents of the batch; `segments` are their files.
    extents: Vec<Unindexed>,
    segments: BTreeMap<u32, Arc<File>>,
}

impl IndexBatch {
    pub(crate) fn push(&mut self, entry: Option<Entry>) {
        let Some(Entry { key, size, codec, written }) = entry else { return };
        let location = match written {
            Written::Inline(bytes) => {
                self.batch.put(BYTES, key, bytes);
                Location::Inline
            }
            Written::Segment(written, checksum) => {
                let Extent { segment, sector, .. } = written.extent();
                self.segments.entry(segment).or_insert_with(|| Arc::clone(written.file()));
                self.extents.push(written);
                Location::Segment { segment, sector, checksum }
            }
        };
        self.batch.put(INDEX, key, Record { location, size, codec }.encode());
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.batch.append(other.batch);
        self.extents.extend(other.extents);
        self.segments.extend(other.segments);
    }

    /// Whether the batch is large enough to be written.
    pub(crate) fn is_full(&self) -> bool {
        self.batch.len() >= 512 || self.batch.size_bytes() >= 4 * 1024 * 1024
    }
}

/// Blocks that are written and not indexed. Dropping it abandons them.
#[derive(Default)]
pub struct Staged(pub(crate) IndexBatch);

impl std::fmt::Debug for Staged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staged").field("changes", &self.0.batch.len()).finish_non_exhaustive()
    }
}

/// Replaces the CID of an error by the caller's.
fn rename_damage(error: ContentError, cid: &Cid) -> ContentError {
    match error {
        ContentError::Damaged(_) => ContentError::Damaged(*cid),
        ContentError::Missing(_) => ContentError::Missing(*cid),
        error => error,
    }
}
