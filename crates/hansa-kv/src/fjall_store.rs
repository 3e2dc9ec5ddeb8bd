//! The store on disk: one fjall database with a keyspace for each space. No other file names fjall.
//!
//! A batch is one record of fjall's journal, so it is atomic. Durability is a second step that concurrent writers share: a flush of
//! the journal covers all batches in it. An ingestion becomes a table, which is synchronised before the manifest lists it. The store
//! does not encrypt.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::compaction::Leveled;
use fjall::config::{BlockSizePolicy, CompressionPolicy};
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode, Readable,
    Snapshot,
};
use parking_lot::Mutex;

use crate::bulk::Checked;
use crate::error::check_keys;
use crate::{Batch, Fill, KeyRange, KvError, KvSnapshot, KvStore, Order, Pair, Space};

const MIB: u64 = 1024 * 1024;

/// Memory, disk and threads of a store. The last three options apply to a space when it is created.
#[derive(Clone, Debug)]
pub struct FjallOptions {
    /// Block cache of all spaces together, in bytes.
    pub cache_bytes_max: u64,
    /// Size of a space's memtable at which it is flushed to a table, in bytes.
    pub memtable_bytes_max: u64,
    /// Size of the journals on disk at which the oldest memtables are flushed, in bytes; at least 64 MiB.
    pub journal_bytes_max: u64,
    /// Threads that flush and compact. With several, fjall 3.1 requeues compactions and spins while the others are busy. With one,
    /// writers wait if four memtables of a space are full during a compaction.
    pub workers: usize,
    /// Overlapping tables of a space (level 0) at which they are compacted; at least 1. A higher number writes less and makes an
    /// uncached read consult more tables.
    pub uncompacted_tables_max: u8,
    /// Spaces with large values. Values of 1 KiB and more are stored apart from the keys, so that compaction does not copy them.
    pub large_values: Vec<Space>,
    /// Spaces with hashes or ciphertext, which are stored uncompressed.
    pub incompressible: Vec<Space>,
}

impl Default for FjallOptions {
    fn default() -> Self {
        Self {
            cache_bytes_max: 32 * MIB,
            memtable_bytes_max: 16 * MIB,
            journal_bytes_max: 256 * MIB,
            workers: 1,
            // Keys that are hashes are spread over all tables, so a compaction copies the whole keyspace. From 20 tables on fjall delays
            // each batch by tens of microseconds; from 30 on it blocks.
            uncompacted_tables_max: 24,
            large_values: Vec::new(),
            incompressible: Vec::new(),
        }
    }
}

/// A store in a folder. A clone is another handle on the same store; dropping the last one releases the folder.
#[derive(Clone)]
pub struct FjallStore(Arc<Inner>);

struct Inner {
    path: PathBuf,
    database: Database,
    spaces: Arc<HashMap<Space, Keyspace>>,
    /// Number of batches in the journal.
    written: AtomicU64,
    /// Number of durable batches. Locked during a flush, so that waiting writers share the next one.
    synced: Mutex<u64>,
}

impl std::fmt::Debug for FjallStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallStore").field("path", &self.0.path).finish_non_exhaustive()
    }
}

impl FjallStore {
    /// Opens the store in `dir`; creates folder and spaces if they do not exist. Other spaces in the folder are untouched.
    ///
    /// # Errors
    /// [`KvError::Locked`], [`KvError::Open`], [`KvError::SpaceName`].
    pub fn open(dir: impl AsRef<Path>, spaces: &[Space], options: FjallOptions) -> Result<Self, KvError> {
        let path = dir.as_ref().to_path_buf();
        if let Some(space) = spaces.iter().find(|space| !is_name(space.name())) {
            return Err(KvError::SpaceName(space.name()));
        }
        let failed = |source| match source {
            fjall::Error::Locked => KvError::Locked(path.clone()),
            source => KvError::Open { path: path.clone(), source },
        };
        std::fs::create_dir_all(&path).map_err(|error| failed(error.into()))?;
        let database = Database::builder(&path)
            .cache_size(options.cache_bytes_max)
            .max_journaling_size(options.journal_bytes_max.max(64 * MIB))
            .worker_threads(options.workers.max(1))
            // The journal mostly holds hashes and ciphertext.
            .journal_compression(CompressionType::None)
            .max_cached_files(Some(256))
            .open()
            .map_err(failed)?;
        let mut keyspaces = HashMap::new();
        for &space in spaces {
            let keyspace =
                database.keyspace(space.name(), || keyspace_options(space, &options)).map_err(failed)?;
            keyspaces.insert(space, keyspace);
        }
        Ok(Self(Arc::new(Inner {
            path,
            database,
            spaces: Arc::new(keyspaces),
            written: AtomicU64::new(0),
            synced: Mutex::new(0),
        })))
    }

    /// The store's folder.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Size on disk in bytes.
    ///
    /// # Errors
    /// [`KvError::Open`] if the folder cannot be read.
    pub fn disk_bytes(&self) -> Result<u64, KvError> {
        self.0.database.disk_space().map_err(|source| KvError::Open { path: self.0.path.clone(), source })
    }

    fn keyspace(&self, space: Space) -> Result<&Keyspace, KvError> {
        self.0.spaces.get(&space).ok_or(KvError::UnknownSpace(space))
    }

    /// Appends a batch to the journal and makes it visible; returns its sequence number.
    fn commit(&self, batch: Batch) -> Result<u64, KvError> {
        check_keys(batch.keys())?;
        let mut commit = self.0.database.batch();
        for change in batch.into_changes() {
            let keyspace = self.keyspace(change.space)?;
            match change.value {
                Some(value) => commit.insert(keyspace, change.key, value),
                None => commit.remove(keyspace, change.key),
            }
        }
        commit.commit().map_err(KvError::Write)?;
        Ok(self.0.written.fetch_add(1, Ordering::AcqRel).saturating_add(1))
    }

    /// Returns when the first `number` batches are durable.
    fn sync_up_to(&self, number: u64) -> Result<(), KvError> {
        let mut synced = self.0.synced.lock();
        if *synced >= number {
            return Ok(());
        }
        let covered = self.0.written.load(Ordering::Acquire);
        // The journal is preallocated: fdatasync covers its metadata.
        self.0.database.persist(PersistMode::SyncData).map_err(KvError::Write)?;
        *synced = covered;
        Ok(())
    }
}

impl KvStore for FjallStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let value = self.keyspace(space)?.get(key).map_err(|source| KvError::Read { space, source })?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn contains(&self, space: Space, key: &[u8]) -> Result<bool, KvError> {
        self.keyspace(space)?.contains_key(key).map_err(|source| KvError::Read { space, source })
    }

    fn scan(&self, space: Space, range: KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, KvError> {
        let keyspace = self.keyspace(space)?;
        if range.is_empty() {
            return Ok(Vec::new());
        }
        collect(space, keyspace.range((range.start, range.end)), order, limit)
    }

    fn write(&self, batch: Batch) -> Result<(), KvError> {
        let number = self.commit(batch)?;
        self.sync_up_to(number)
    }

    fn write_buffered(&self, batch: Batch) -> Result<(), KvError> {
        self.commit(batch).map(drop)
    }

    fn ingest(&self, space: Space, fill: Fill<'_>) -> Result<(), KvError> {
        let keyspace = self.keyspace(space)?;
        // An ingestion flushes the space's memtable, which would split batches that are not durable yet.
        self.sync()?;
        let mut ingestion = keyspace.start_ingestion().map_err(KvError::Write)?;
        fill(&mut Checked::new(|key, value| {
            let written = match value {
                Some(value) => ingestion.write(key, value),
                None => ingestion.write_tombstone(key),
            };
            written.map_err(KvError::Write)
        }))?;
        ingestion.finish().map_err(KvError::Write)
    }

    fn sync(&self) -> Result<(), KvError> {
        self.sync_up_to(self.0.written.load(Ordering::Acquire))
    }

    fn snapshot(&self) -> Box<dyn KvSnapshot> {
        Box::new(FjallSnapshot { snapshot: self.0.database.snapshot(), spaces: Arc::clone(&self.0.spaces) })
    }
}

/// A snapshot of all keyspaces.
struct FjallSnapshot {
    snapshot: Snapshot,
    spaces: Arc<HashMap<Space, Keyspace>>,
}

impl KvSnapshot for FjallSnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let keyspace = self.spaces.get(&space).ok_or(KvError::UnknownSpace(space))?;
        let value = self.snapshot.get(keyspace, key).map_err(|source| KvError::Read { space, source })?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(&self, space: Space, range: KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, KvError> {
        let keyspace = self.spaces.get(&space).ok_or(KvError::UnknownSpace(space))?;
        if range.is_empty() {
            return Ok(Vec::new());
        }
        collect(space, self.snapshot.range(keyspace, (range.start, range.end)), order, limit)
    }
}

fn collect(space: Space, pairs: fjall::Iter, order: Order, limit: usize) -> Result<Vec<Pair>, KvError> {
    let pair = |guard: fjall::Guard| {
        let (key, value) = guard.into_inner().map_err(|source| KvError::Read { space, source })?;
        Ok((key.to_vec(), value.to_vec()))
    };
    match order {
        Order::Ascending => pairs.take(limit).map(pair).collect(),
        Order::Descending => pairs.rev().take(limit).map(pair).collect(),
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

fn keyspace_options(space: Space, options: &FjallOptions) -> KeyspaceCreateOptions {
    let compaction = Leveled::default().with_l0_threshold(options.uncompacted_tables_max.max(1));
    let mut keyspace = KeyspaceCreateOptions::default()
        .max_memtable_size(options.memtable_bytes_max)
        .compaction_strategy(Arc::new(compaction))
        .data_block_size_policy(BlockSizePolicy::all(4 * 1024));
    let incompressible = options.incompressible.contains(&space);
    if incompressible {
        keyspace = keyspace.data_block_compression_policy(CompressionPolicy::disabled());
    }
    if options.large_values.contains(&space) {
        let mut separation = KvSeparationOptions::default();
        if incompressible {
            separation = separation.compression(CompressionType::None);
        }
        keyspace = keyspace.with_kv_separation(Some(separation));
    }
    keyspace
}
