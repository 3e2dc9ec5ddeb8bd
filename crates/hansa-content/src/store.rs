//! The block store: small blocks in the key-value store, large ones a file each, one index over both.
//!
//! A block is entered in the index only after its bytes are durable, so an indexed block that cannot be read is damage,
//! not a crash. Blocks are kept by digest: CIDs that differ in version or codec name the same block. The store does not
//! decide what is worth keeping; see [`BlockStore::pin`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;
use hansa_kv::{Batch, KeyRange, KvStore, Order, Space};
use parking_lot::Mutex;

use crate::block::{Key, cid_of, codec_of, key_of, sha256};
use crate::files::Files;
use crate::hold::{Hold, Holds};
use crate::{Block, ContentError};

/// Blocks of at most this many bytes are kept in the key-value store, longer ones in files.
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
    File,
    /// Its bytes were found damaged and are gone.
    Quarantine,
}

/// What the index says of a block. Encoding: place (1 byte), size (4, big endian), codec (8, big endian).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) place: Place,
    pub(crate) size: u32,
    pub(crate) codec: u64,
}

impl Record {
    pub(crate) fn encode(self) -> [u8; 13] {
        let place = match self.place {
            Place::Inline => 0,
            Place::File => 1,
            Place::Quarantine => 2,
        };
        let [a, b, c, d] = self.size.to_be_bytes();
        let [e, f, g, h, i, j, k, l] = self.codec.to_be_bytes();
        [place, a, b, c, d, e, f, g, h, i, j, k, l]
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let [place, a, b, c, d, e, f, g, h, i, j, k, l] = *bytes else { return None };
        let place = match place {
            0 => Place::Inline,
            1 => Place::File,
            2 => Place::Quarantine,
            _ => return None,
        };
        let size = u32::from_be_bytes([a, b, c, d]);
        Some(Self { place, size, codec: u64::from_be_bytes([e, f, g, h, i, j, k, l]) })
    }
}

/// Blocks with their pins. Cloning gives another handle on the same store; one process may open a folder once.
#[derive(Clone)]
pub struct BlockStore(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) kv: Arc<dyn KvStore>,
    pub(crate) files: Files,
    pub(crate) holds: Arc<Holds>,
    /// While a collection runs: roots pinned since it began.
    pub(crate) pinned_since: Mutex<Option<Vec<Cid>>>,
    /// Held by the one collection that may run.
    pub(crate) collecting: Mutex<()>,
}

impl std::fmt::Debug for BlockStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockStore").field("files", &self.0.files).finish_non_exhaustive()
    }
}

impl BlockStore {
    /// Opens the store whose index is in `kv` (with [`SPACES`]) and whose block files are in `dir`, which is created where
    /// it does not exist.
    ///
    /// # Errors
    /// [`ContentError::File`] where the folder cannot be used.
    pub fn open(kv: Arc<dyn KvStore>, dir: &Path) -> Result<Self, ContentError> {
        let files = Files::open(dir)?;
        Ok(Self(Arc::new(Inner {
            kv,
            files,
            holds: Arc::default(),
            pinned_since: Mutex::default(),
            collecting: Mutex::default(),
        })))
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
        let mut stored = Stored::default();
        for block in blocks {
            stored.push(self.store_bytes(block, hold)?);
        }
        self.index(stored, true)
    }

    /// The bytes of a block, checked against its digest; none if it is not here.
    ///
    /// # Errors
    /// [`ContentError::Damaged`] if the stored bytes are not the block's: they are moved to quarantine, and the block counts as
    /// absent until it is put again. [`ContentError::Index`], [`ContentError::File`].
    pub fn get(&self, cid: &Cid) -> Result<Option<Bytes>, ContentError> {
        let key = key_of(cid)?;
        match self.record(&key)? {
            Some(record) => {
                self.read_checked(&key, record).map_err(|error| rename_damage(error, cid)).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Like [`BlockStore::get`], with the CID as proof that the bytes were checked.
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

    /// The file a large block is in; none for a small block or one that is not here.
    ///
    /// # Errors
    /// As for [`BlockStore::has`].
    pub fn path(&self, cid: &Cid) -> Result<Option<PathBuf>, ContentError> {
        let key = key_of(cid)?;
        let is_file = self.record(&key)?.is_some_and(|record| record.place == Place::File);
        Ok(is_file.then(|| self.0.files.path(&key)))
    }

    /// Removes a block, pinned or not; durable when it returns. No error if it is not here.
    ///
    /// # Errors
    /// [`ContentError::Index`], [`ContentError::File`].
    pub fn remove(&self, cid: &Cid) -> Result<(), ContentError> {
        let key = key_of(cid)?;
        let _gate = self.0.holds.gate().write();
        self.remove_keys(&[key])
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
        stored.push(self.write_bytes(key, &block)?);
        self.index(stored, true)?;
        self.0.files.release_from_quarantine(&key)
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

    /// Reads a block and compares it with its digest; damage is quarantined.
    pub(crate) fn read_checked(&self, key: &Key, record: Record) -> Result<Bytes, ContentError> {
        let damaged = || ContentError::Damaged(cid_of(record.codec, *key));
        let bytes = match record.place {
            Place::Inline => self.0.kv.get(BYTES, key)?.map(Bytes::from),
            Place::File => self.0.files.read(key, record.size as usize)?,
            Place::Quarantine => return Err(damaged()),
        };
        match bytes {
            Some(bytes) if sha256(&bytes) == *key => Ok(bytes),
            _ if self.record(key)? != Some(record) => Err(ContentError::Missing(cid_of(record.codec, *key))),
            bytes => {
                tracing::error!(cid = %cid_of(record.codec, *key), "a stored block is damaged; quarantined");
                self.quarantine(key, record, bytes)?;
                Err(damaged())
            }
        }
    }

    fn quarantine(&self, key: &Key, record: Record, bytes: Option<Bytes>) -> Result<(), ContentError> {
        match (record.place, bytes) {
            (Place::Inline, Some(bytes)) => self.0.files.write(key, &bytes)?,
            (Place::Inline, None) | (Place::File, _) | (Place::Quarantine, _) => {}
        }
        self.0.files.quarantine(key)?;
        let mut batch = Batch::new();
        batch.put(INDEX, *key, Record { place: Place::Quarantine, ..record }.encode());
        batch.remove(BYTES, *key);
        Ok(self.0.kv.write(batch)?)
    }

    /// Makes a block's bytes durable, unless they are here, and says what is to be entered in the index.
    pub(crate) fn store_bytes(&self, block: &Block, hold: &Hold) -> Result<Option<Entry>, ContentError> {
        let key = block.key()?;
        hold.add(key);
        match self.record(&key)? {
            Some(Record { place: Place::Inline | Place::File, .. }) => Ok(None),
            _ => self.write_bytes(key, block),
        }
    }

    fn write_bytes(&self, key: Key, block: &Block) -> Result<Option<Entry>, ContentError> {
        let bytes = block.bytes();
        let place = if bytes.len() <= INLINE_BYTES_MAX { Place::Inline } else { Place::File };
        if place == Place::File {
            self.0.files.write(&key, bytes)?;
        }
        // A block is at most 2 MiB long.
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let inline = (place == Place::Inline).then(|| bytes.clone());
        Ok(Some(Entry { key, record: Record { place, size, codec: codec_of(block.cid()) }, inline }))
    }

    /// Enters stored blocks in the index: durably, or together with the next durable write.
    pub(crate) fn index(&self, stored: Stored, durable: bool) -> Result<(), ContentError> {
        self.0.files.sync_folders(&stored.folders)?;
        match durable {
            true if stored.batch.is_empty() => Ok(self.0.kv.sync()?),
            true => Ok(self.0.kv.write(stored.batch)?),
            false => Ok(self.0.kv.write_buffered(stored.batch)?),
        }
    }

    /// Removes blocks; the caller holds the gate. The index goes first, so that a crash leaves stray files and no damage.
    pub(crate) fn remove_keys(&self, keys: &[Key]) -> Result<(), ContentError> {
        let mut batch = Batch::new();
        for key in keys {
            batch.remove(INDEX, *key);
            batch.remove(BYTES, *key);
        }
        self.0.kv.write(batch)?;
        for key in keys {
            self.0.files.remove(key)?;
            self.0.files.release_from_quarantine(key)?;
        }
        Ok(())
    }
}

/// A block whose bytes are durable, or will be with the index.
pub(crate) struct Entry {
    key: Key,
    record: Record,
    inline: Option<Bytes>,
}

/// Blocks to be entered in the index together.
#[derive(Default)]
pub(crate) struct Stored {
    batch: Batch,
    folders: BTreeSet<u8>,
}

impl Stored {
    pub(crate) fn push(&mut self, entry: Option<Entry>) {
        let Some(Entry { key, record, inline }) = entry else { return };
        match inline {
            Some(bytes) => self.batch.put(BYTES, key, bytes),
            None => {
                let [first, ..] = key;
                self.folders.insert(first);
            }
        }
        self.batch.put(INDEX, key, record.encode());
    }

    /// Whether so much has been gathered that it is better indexed than kept.
    pub(crate) fn is_full(&self) -> bool {
        self.batch.len() >= 512 || self.batch.size_bytes() >= 4 * 1024 * 1024
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
