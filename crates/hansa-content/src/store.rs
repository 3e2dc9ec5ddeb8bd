//! The block store: small blocks in the key-value store, large ones in segment files, one index over both.
//!
//! A block is entered in the index only after its bytes are durable, so an indexed block that cannot be read is damage,
//! not a crash. Reading compares small blocks with their digest and large ones with a checksum, which finds what disks do
//! in a tenth of the time; [`BlockStore::check`] compares any with its digest (ADR 0008). Blocks are kept by digest: CIDs
//! that differ in version or codec name the same block. The store does not decide what is worth keeping; see
//! [`BlockStore::pin`].

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

/// Blocks of at most this many bytes are kept in the key-value store, longer ones in segment files.
pub const INLINE_BYTES_MAX: usize = 64 * 1024 - 1;

const INDEX: Space = Space::new("content-index");
const BYTES: Space = Space::new("content-bytes");
pub(crate) const PINS: Space = Space::new("content-pins");

/// The spaces a key-value store must have for a [`BlockStore`] to open in it. The second has values of kilobytes that do
/// not compress.
pub const SPACES: [Space; 3] = [INDEX, BYTES, PINS];

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Inline,
    Segment {
        segment: u32,
        sector: u32,
        /// XXH3 (64 bits) of the bytes.
        checksum: u64,
    },
    /// Its bytes were found damaged and are gone.
    Quarantine,
}

/// What the index says of a block. Encoding: place (1 byte), size (4, big endian), codec (8, big endian); for a block in
/// a segment the segment (4), the sector (4) and the checksum (8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) place: Place,
    pub(crate) size: u32,
    pub(crate) codec: u64,
}

impl Record {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(29);
        bytes.push(match self.place {
            Place::Inline => 0,
            Place::Segment { .. } => 1,
            Place::Quarantine => 2,
        });
        bytes.extend(self.size.to_be_bytes());
        bytes.extend(self.codec.to_be_bytes());
        if let Place::Segment { segment, sector, checksum } = self.place {
            bytes.extend(segment.to_be_bytes());
            bytes.extend(sector.to_be_bytes());
            bytes.extend(checksum.to_be_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[place], rest) = bytes.split_first_chunk()?;
        let (size, rest) = rest.split_first_chunk()?;
        let (codec, rest) = rest.split_first_chunk()?;
        let (place, rest) = match place {
            0 => (Place::Inline, rest),
            1 => {
                let (segment, rest) = rest.split_first_chunk()?;
                let (sector, rest) = rest.split_first_chunk()?;
                let (checksum, rest) = rest.split_first_chunk()?;
                let segment = u32::from_be_bytes(*segment);
                let sector = u32::from_be_bytes(*sector);
                (Place::Segment { segment, sector, checksum: u64::from_be_bytes(*checksum) }, rest)
            }
            2 => (Place::Quarantine, rest),
            _ => return None,
        };
        rest.is_empty().then_some(Self {
            place,
            size: u32::from_be_bytes(*size),
            codec: u64::from_be_bytes(*codec),
        })
    }

    /// What the block takes up in a segment.
    pub(crate) const fn extent(self) -> Option<Extent> {
        match self.place {
            Place::Segment { segment, sector, .. } => Some(Extent { segment, sector, bytes: self.size }),
            Place::Inline | Place::Quarantine => None,
        }
    }
}

/// How it is shown that what was read is the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Large blocks by the checksum taken when they were stored; small ones by their digest.
    Checksum,
    Digest,
}

fn is_intact(key: &Key, record: Record, proof: Proof, bytes: &[u8]) -> bool {
    match (record.place, proof) {
        (Place::Segment { checksum, .. }, Proof::Checksum) if xxh3_64(bytes) == checksum => true,
        _ => sha256(bytes) == *key,
    }
}

/// Where the bytes of a large block are on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockFile {
    /// A file that holds this block among others.
    pub path: PathBuf,
    /// Where in it the block begins, in bytes.
    pub offset: u64,
}

/// Blocks with their pins. Cloning gives another handle on the same store; one process may open a folder once.
#[derive(Clone)]
pub struct BlockStore(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) kv: Arc<dyn KvStore>,
    pub(crate) segments: Arc<Segments>,
    quarantine: Quarantine,
    pub(crate) holds: Arc<Holds>,
    /// While a collection runs: what was pinned since it began.
    pub(crate) pinned_since: Mutex<Option<Vec<Pin>>>,
    /// Held by the one collection that may run.
    pub(crate) collecting: Mutex<()>,
    /// Raised by a failed write to a segment file.
    alarm: Alarm,
    /// Whether there was one.
    failed: AtomicBool,
}

impl std::fmt::Debug for BlockStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockStore").field("segments", &self.0.segments).finish_non_exhaustive()
    }
}

impl BlockStore {
    /// Opens the store whose index is in `kv` (with [`SPACES`]) and whose large blocks are in `dir`, which is created where
    /// it does not exist.
    ///
    /// # Errors
    /// [`ContentError::File`] where the folder cannot be used.
    pub fn open(kv: Arc<dyn KvStore>, dir: &Path) -> Result<Self, ContentError> {
        Self::open_watched(kv, dir, Alarm::default())
    }

    /// Like [`BlockStore::open`]; a failed write to a segment file raises the alarm. The store takes no more blocks then, because
    /// the system may report a lost write once only.
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

    /// Length of the segment files. The part that a collection has freed within a file is counted until the file goes.
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

    /// Stores blocks; all are durable when it returns. To keep them from a collection before they are pinned, use
    /// [`BlockStore::put_held`].
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

    /// Stores a block's bytes under a hold, to be entered in the index with all that is staged.
    ///
    /// # Errors
    /// As for [`BlockStore::put_many`].
    pub fn stage(&self, block: &Block, hold: &Hold, staged: &mut Staged) -> Result<(), ContentError> {
        let entry = self.store_bytes(block, hold)?;
        staged.0.push(entry);
        Ok(())
    }

    /// Enters staged blocks in the index, pins a root and makes other changes of the same key-value store, all or none in one
    /// durable write.
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

    /// The bytes of a block, unless they have changed since they were stored; none if it is not here.
    ///
    /// # Errors
    /// [`ContentError::Damaged`] if the stored bytes are not the block's: they are moved to quarantine, and the block counts as
    /// absent until it is put again. [`ContentError::Index`], [`ContentError::File`].
    pub fn get(&self, cid: &Cid) -> Result<Option<Bytes>, ContentError> {
        self.read(cid, Proof::Checksum)
    }

    /// Like [`BlockStore::get`], and compares the bytes with the digest that the CID names, however long they are.
    ///
    /// # Errors
    /// As for [`BlockStore::get`].
    pub fn check(&self, cid: &Cid) -> Result<Option<Bytes>, ContentError> {
        self.read(cid, Proof::Digest)
    }

    fn read(&self, cid: &Cid, proof: Proof) -> Result<Option<Bytes>, ContentError> {
        let key = key_of(cid)?;
        let Some(record) = self.record(&key)? else { return Ok(None) };
        self.read_record(&key, record, proof).map_err(|error| rename_damage(error, cid)).map(Some)
    }

    /// Like [`BlockStore::get`], with the CID.
    ///
    /// # Errors
    /// As for [`BlockStore::get`].
    pub fn get_block(&self, cid: &Cid) -> Result<Option<Block>, ContentError> {
        Ok(self.get(cid)?.map(|bytes| Block::checked(*cid, bytes)))
    }

    /// Like [`BlockStore::get`] for a block that has to be here.
    ///
    /// # Errors
    /// [`ContentError::Missing`] besides those of [`BlockStore::get`].
    pub fn expect(&self, cid: &Cid) -> Result<Bytes, ContentError> {
        self.get(cid)?.ok_or(ContentError::Missing(*cid))
    }

    /// Whether a block is here and not known to be damaged. Does not read it.
    ///
    /// # Errors
    /// [`ContentError::Index`], [`ContentError::UnsupportedHash`].
    pub fn has(&self, cid: &Cid) -> Result<bool, ContentError> {
        Ok(self.size(cid)?.is_some())
    }

    /// The length of a block in bytes, if it is here and not known to be damaged.
    ///
    /// # Errors
    /// As for [`BlockStore::has`].
    pub fn size(&self, cid: &Cid) -> Result<Option<u64>, ContentError> {
        let record = self.record(&key_of(cid)?)?;
        Ok(record.filter(|record| record.place != Place::Quarantine).map(|record| u64::from(record.size)))
    }

    /// Where on the disk a large block is; none for a small block or one that is not here.
    ///
    /// # Errors
    /// As for [`BlockStore::has`].
    pub fn file(&self, cid: &Cid) -> Result<Option<BlockFile>, ContentError> {
        let extent = self.record(&key_of(cid)?)?.and_then(Record::extent);
        Ok(extent
            .map(|extent| BlockFile { path: self.0.segments.path(extent.segment), offset: extent.offset() }))
    }

    /// Removes a block, pinned or not; durable when it returns. No error if it is not here. The room of a large block comes
    /// back with the next collection.
    ///
    /// # Errors
    /// [`ContentError::Index`], [`ContentError::File`].
    pub fn remove(&self, cid: &Cid) -> Result<(), ContentError> {
        let key = key_of(cid)?;
        let _gate = self.0.holds.gate().write();
        self.remove_keys([&key])
    }

    /// At most `limit` blocks of the store in the order of their digests, starting behind `after`; damaged ones included.
    /// CIDs are version 1 with the codec under which the block was first put.
    ///
    /// # Errors
    /// As for [`BlockStore::has`].
    pub fn cids(&self, after: Option<&Cid>, limit: usize) -> Result<Vec<Cid>, ContentError> {
        let after = after.map(key_of).transpose()?;
        let page = self.records(after.as_ref(), limit)?;
        Ok(page.into_iter().map(|(key, record)| cid_of(record.codec, key)).collect())
    }

    /// Replaces a block's bytes whatever is stored for it, and takes it out of quarantine; durable when it returns.
    ///
    /// # Errors
    /// [`ContentError::WrongBytes`] if these are not the block's bytes; those of [`BlockStore::put_many`].
    pub fn repair(&self, cid: &Cid, healthy: Bytes) -> Result<(), ContentError> {
        let block = Block::verify(*cid, healthy)?;
        let key = block.key()?;
        let hold = self.hold();
        hold.add(key);
        let mut stored = Stored::default();
        stored.push(Some(self.write_bytes(key, &block)?));
        self.index(stored, true)?;
        self.0.quarantine.release(&key)
    }

    /// A hold under which blocks can be put before they are pinned.
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

    /// Reads a block; damage is quarantined.
    pub(crate) fn read_record(
        &self,
        key: &Key,
        mut record: Record,
        proof: Proof,
    ) -> Result<Bytes, ContentError> {
        loop {
            let bytes = match (record.place, record.extent()) {
                (Place::Quarantine, _) => return Err(ContentError::Damaged(cid_of(record.codec, *key))),
                (_, Some(extent)) => self.0.segments.read(extent)?,
                (_, None) => self.0.kv.get(BYTES, key)?.map(Bytes::from),
            };
            if let Some(bytes) = bytes.as_ref().filter(|bytes| is_intact(key, record, proof, bytes)) {
                return Ok(bytes.clone());
            }
            let cid = cid_of(record.codec, *key);
            match self.record(key)? {
                Some(now) if now == record => {
                    tracing::error!(%cid, "a stored block is damaged; quarantined");
                    self.quarantine(key, record, bytes)?;
                    return Err(ContentError::Damaged(cid));
                }
                // It was put elsewhere while this was reading.
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
        batch.put(INDEX, *key, Record { place: Place::Quarantine, ..record }.encode());
        batch.remove(BYTES, *key);
        Ok(self.0.kv.write(batch)?)
    }

    /// Writes a block's bytes, unless they are here, and says what is to be entered in the index.
    pub(crate) fn store_bytes(&self, block: &Block, hold: &Hold) -> Result<Option<Entry>, ContentError> {
        let key = block.key()?;
        hold.add(key);
        self.write_new(key, block)
    }

    /// Like [`BlockStore::store_bytes`] where everything is given up after an error: what the hold covers is here, or is
    /// being written by somebody with the same hold.
    pub(crate) fn store_once(&self, block: &Block, hold: &Hold) -> Result<Option<Entry>, ContentError> {
        let key = block.key()?;
        if hold.add(key) { self.write_new(key, block) } else { Ok(None) }
    }

    fn write_new(&self, key: Key, block: &Block) -> Result<Option<Entry>, ContentError> {
        match self.record(&key)? {
            Some(Record { place: Place::Inline | Place::Segment { .. }, .. }) => Ok(None),
            Some(Record { place: Place::Quarantine, .. }) | None => self.write_bytes(key, block).map(Some),
        }
    }

    pub(crate) fn write_bytes(&self, key: Key, block: &Block) -> Result<Entry, ContentError> {
        let bytes = block.bytes();
        let written = if bytes.len() <= INLINE_BYTES_MAX {
            Written::Inline(bytes.clone())
        } else {
            Written::Segment(self.told(self.0.segments.append(bytes))?, xxh3_64(bytes))
        };
        // A block is at most 2 MiB long.
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Ok(Entry { key, size, codec: codec_of(block.cid()), written })
    }

    /// Enters stored blocks in the index, after making their bytes durable: at once, or together with the next durable
    /// write.
    pub(crate) fn index(&self, stored: Stored, durable: bool) -> Result<(), ContentError> {
        let sync = |(segment, file): (&u32, &Arc<File>)| {
            file.sync_data().map_err(ContentError::file("synchronise", &self.0.segments.path(*segment)))
        };
        self.told(stored.segments.iter().try_for_each(sync))?;
        match durable {
            true if stored.batch.is_empty() => Ok(self.0.kv.sync()?),
            true => Ok(self.0.kv.write(stored.batch)?),
            false => Ok(self.0.kv.write_buffered(stored.batch)?),
        }
    }

    /// Passes on how a write to segment files ended. None ends well after one that failed: what it lost may be in the same file.
    fn told<T>(&self, written: Result<T, ContentError>) -> Result<T, ContentError> {
        let written = written.inspect_err(|error| {
            self.0.failed.store(true, Ordering::SeqCst);
            self.0.alarm.raise(error);
        })?;
        if self.0.failed.load(Ordering::SeqCst) { Err(ContentError::Stopped) } else { Ok(written) }
    }

    /// Takes blocks out of the index; the caller holds the gate. Bytes in segments stay until the end of a collection.
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

/// A block whose bytes are written, or will be with the index.
pub(crate) struct Entry {
    key: Key,
    size: u32,
    codec: u64,
    written: Written,
}

enum Written {
    Inline(Bytes),
    /// With the checksum.
    Segment(Unindexed, u64),
}

/// Blocks to be entered in the index together.
#[derive(Default)]
pub(crate) struct Stored {
    batch: Batch,
    /// What the batch names, and the segments it is in.
    extents: Vec<Unindexed>,
    segments: BTreeMap<u32, Arc<File>>,
}

impl Stored {
    pub(crate) fn push(&mut self, entry: Option<Entry>) {
        let Some(Entry { key, size, codec, written }) = entry else { return };
        let place = match written {
            Written::Inline(bytes) => {
                self.batch.put(BYTES, key, bytes);
                Place::Inline
            }
            Written::Segment(written, checksum) => {
                let Extent { segment, sector, .. } = written.extent();
                self.segments.entry(segment).or_insert_with(|| Arc::clone(written.file()));
                self.extents.push(written);
                Place::Segment { segment, sector, checksum }
            }
        };
        self.batch.put(INDEX, key, Record { place, size, codec }.encode());
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.batch.append(other.batch);
        self.extents.extend(other.extents);
        self.segments.extend(other.segments);
    }

    /// Whether so much has been gathered that it is better indexed than kept.
    pub(crate) fn is_full(&self) -> bool {
        self.batch.len() >= 512 || self.batch.size_bytes() >= 4 * 1024 * 1024
    }
}

/// Blocks of which the bytes are stored, or will be with the index, and which are not in the index yet. Dropping it gives them
/// up.
#[derive(Default)]
pub struct Staged(pub(crate) Stored);

impl std::fmt::Debug for Staged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staged").field("changes", &self.0.batch.len()).finish_non_exhaustive()
    }
}

/// Names damage as the caller named the block.
fn rename_damage(error: ContentError, cid: &Cid) -> ContentError {
    match error {
        ContentError::Damaged(_) => ContentError::Damaged(*cid),
        ContentError::Missing(_) => ContentError::Missing(*cid),
        error => error,
    }
}
