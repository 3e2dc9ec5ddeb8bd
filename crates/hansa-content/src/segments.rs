//! Segment files with large blocks (ADR 0007). Index and CIDs are elsewhere.
//!
//! Each writing thread has its own segment, so that writers do not wait for each other's disk. Only [`Segments::discard_others`] frees
//! space: it gets all live extents, punches holes for the rest, and removes empty segments. Files bypass the page cache if the file
//! system allows it: blocks are written once and read rarely, and a copy through the cache costs more than a hash.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;

use crate::{Buffer, ContentError, MAX_BLOCK_BYTES};

/// Alignment of blocks in a segment in bytes. Direct I/O requires it of address, offset and length.
pub(crate) const SECTOR_BYTES: usize = 4096;
/// Length of the longest block in sectors.
const MAX_BLOCK_SECTORS: u32 = (MAX_BLOCK_BYTES / SECTOR_BYTES) as u32;
/// Length of a segment in sectors: 256 MiB.
const SEGMENT_SECTORS: u32 = 65_536;
/// A full segment is sparse if less than one part in this many is live.
const SPARSE: u32 = 4;
/// Segments open for the next block. Further ones with room are not appended to until the next start.
const IDLE_MAX: usize = 16;

/// Location of a block: `bytes` from the start of a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Extent {
    pub(crate) segment: u32,
    pub(crate) sector: u32,
    pub(crate) bytes: u32,
}

impl Extent {
    pub(crate) const fn offset(self) -> u64 {
        offset_of(self.sector)
    }

    pub(crate) const fn sectors(self) -> u32 {
        sectors(self.bytes as usize)
    }

    const fn end(self) -> u32 {
        self.sector.saturating_add(self.sectors())
    }
}

const fn sectors(bytes: usize) -> u32 {
    // A block is at most 2 MiB long.
    bytes.div_ceil(SECTOR_BYTES) as u32
}

const fn offset_of(sector: u32) -> u64 {
    (sector as u64).saturating_mul(SECTOR_BYTES as u64)
}

#[derive(Debug)]
pub(crate) struct Segments {
    folder: PathBuf,
    /// Maximum length of a segment in sectors. A segment without room for the longest block is full.
    limit: u32,
    /// Whether files bypass the page cache. Cleared once the file system refuses it.
    direct: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// End of each segment in sectors, including writes in progress.
    ends: BTreeMap<u32, u32>,
    /// Number of the next segment. A process does not reuse numbers.
    next: u32,
    /// Segments with room and without a writer.
    idle: Vec<Tail>,
    /// Extents that are written or being written and not indexed yet.
    unindexed: BTreeSet<Extent>,
}

/// The end of a segment with room.
#[derive(Debug)]
struct Tail {
    segment: u32,
    file: Arc<File>,
    end: u32,
}

/// A written extent, which is live until this is dropped. Drop it after the extent is indexed.
#[derive(Debug)]
pub(crate) struct Unindexed {
    segments: Arc<Segments>,
    file: Arc<File>,
    extent: Extent,
}

impl Unindexed {
    pub(crate) const fn extent(&self) -> Extent {
        self.extent
    }

    /// The file to synchronise before the extent is indexed.
    pub(crate) const fn file(&self) -> &Arc<File> {
        &self.file
    }
}

impl Drop for Unindexed {
    fn drop(&mut self) {
        self.segments.state.lock().unindexed.remove(&self.extent);
    }
}

/// Segments and unindexed extents at the start of a collection.
#[derive(Debug)]
pub(crate) struct Snapshot {
    ends: BTreeMap<u32, u32>,
    unindexed: BTreeSet<Extent>,
}

impl Segments {
    pub(crate) fn open(folder: &Path) -> Result<Arc<Self>, ContentError> {
        Self::with_limit(folder, SEGMENT_SECTORS)
    }

    pub(crate) fn with_limit(folder: &Path, limit: u32) -> Result<Arc<Self>, ContentError> {
        create_dir(folder)?;
        let segments = Self {
            folder: folder.to_path_buf(),
            limit,
            direct: AtomicBool::new(true),
            state: Mutex::default(),
        };
        let mut state = State::default();
        let listed = fs::read_dir(folder).map_err(ContentError::file("list", folder))?;
        for entry in listed {
            let entry = entry.map_err(ContentError::file("list", folder))?;
            let Some(segment) = number_of(&entry.file_name().to_string_lossy()) else { continue };
            let length = entry.metadata().map_err(ContentError::file("look at", &entry.path()))?.len();
            let end = u32::try_from(length.div_ceil(SECTOR_BYTES as u64)).unwrap_or(u32::MAX);
            state.ends.insert(segment, end);
            state.next = state.next.max(segment.saturating_add(1));
            if segments.has_room(end) && state.idle.len() < IDLE_MAX {
                let file = segments.open_file(segment, OpenOptions::new().write(true))?;
                state.idle.push(Tail { segment, file: Arc::new(file), end });
            }
        }
        *segments.state.lock() = state;
        Ok(Arc::new(segments))
    }

    const fn has_room(&self, end: u32) -> bool {
        end.saturating_add(MAX_BLOCK_SECTORS) <= self.limit
    }

    pub(crate) fn path(&self, segment: u32) -> PathBuf {
        self.folder.join(format!("{segment:08x}.segment"))
    }

    /// Appends a block to a segment. It is durable once the segment is synchronised.
    pub(crate) fn append(self: &Arc<Self>, bytes: &[u8]) -> Result<Unindexed, ContentError> {
        let length = u32::try_from(bytes.len()).map_err(|_| ContentError::TooLong(bytes.len()))?;
        let (tail, extent) = self.reserve(length)?;
        let reserved = Unindexed { segments: Arc::clone(self), file: Arc::clone(&tail.file), extent };
        let result = write_sectors(&tail.file, bytes, extent.offset());
        let mut state = self.state.lock();
        if self.has_room(tail.end) && state.idle.len() < IDLE_MAX {
            state.idle.push(tail);
        }
        drop(state);
        result.map_err(ContentError::file("write", &self.path(extent.segment)))?;
        Ok(reserved)
    }

    /// Reserves an extent in an idle segment or a new one, under one lock: no collection sees a segment that is neither idle nor in
    /// use.
    fn reserve(&self, bytes: u32) -> Result<(Tail, Extent), ContentError> {
        let mut state = self.state.lock();
        let mut tail = match state.idle.pop() {
            Some(tail) => tail,
            None => {
                let segment = state.next;
                state.next = segment.saturating_add(1);
                drop(state);
                let tail = self.create(segment)?;
                state = self.state.lock();
                tail
            }
        };
        let extent = Extent { segment: tail.segment, sector: tail.end, bytes };
        tail.end = extent.end();
        state.ends.insert(tail.segment, tail.end);
        state.unindexed.insert(extent);
        drop(state);
        Ok((tail, extent))
    }

    fn create(&self, segment: u32) -> Result<Tail, ContentError> {
        let file = self.open_file(segment, OpenOptions::new().write(true).create(true).truncate(false))?;
        sync_dir(&self.folder)?;
        Ok(Tail { segment, file: Arc::new(file), end: 0 })
    }

    /// Opens a segment with direct I/O, if possible.
    fn open_file(&self, segment: u32, options: &mut OpenOptions) -> Result<File, ContentError> {
        let path = self.path(segment);
        if self.direct.load(Ordering::Relaxed) {
            match options.clone().custom_flags(OFlags::DIRECT.bits().cast_signed()).open(&path) {
                Err(error) if error.kind() == ErrorKind::InvalidInput => {
                    self.direct.store(false, Ordering::Relaxed);
                }
                result => return result.map_err(ContentError::file("open", &path)),
            }
        }
        options.open(&path).map_err(ContentError::file("open", &path))
    }

    /// The bytes of an extent; `None` if the segment is absent or too short.
    pub(crate) fn read(&self, extent: Extent) -> Result<Option<Bytes>, ContentError> {
        let file = match self.open_file(extent.segment, OpenOptions::new().read(true)) {
            Err(ContentError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            opened => opened?,
        };
        let size = (extent.bytes as usize).min(MAX_BLOCK_BYTES);
        read_sectors(&file, size, extent.offset())
            .map_err(ContentError::file("read", &self.path(extent.segment)))
    }

    fn punch(&self, segment: u32, from: u32, to: u32) -> Result<(), ContentError> {
        let path = self.path(segment);
        let file = match OpenOptions::new().write(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            file => file.map_err(ContentError::file("open", &path))?,
        };
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&file, flags, offset_of(from), offset_of(to.saturating_sub(from))) {
            // Without support for holes, space returns with the whole segment.
            Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(ContentError::file("free a part of", &path)(error.into())),
        }
    }

    /// Total length of all segments in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.state.lock().ends.values().fold(0, |sum, end| sum.saturating_add(offset_of(*end)))
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let state = self.state.lock();
        Snapshot { ends: state.ends.clone(), unindexed: state.unindexed.clone() }
    }

    /// Frees all space used at the snapshot except `live`, the extents indexed since then.
    pub(crate) fn discard_others(
        &self,
        snapshot: Snapshot,
        live: impl IntoIterator<Item = Extent>,
    ) -> Result<(), ContentError> {
        let mut by_segment: BTreeMap<u32, Vec<Extent>> = BTreeMap::new();
        for extent in snapshot.unindexed.into_iter().chain(live) {
            by_segment.entry(extent.segment).or_default().push(extent);
        }
        for (segment, end) in snapshot.ends {
            match by_segment.remove(&segment) {
                Some(extents) => self.discard_between(segment, end, extents)?,
                None if self.retire(segment, end) => remove(&self.path(segment))?,
                None => {}
            }
        }
        Ok(())
    }

    /// Full segments of which less than one part in [`SPARSE`] is live. `live` has the live sectors of each segment.
    pub(crate) fn sparse(&self, live: &BTreeMap<u32, u32>) -> BTreeSet<u32> {
        let state = self.state.lock();
        let is_sparse = |(segment, sectors): (&u32, &u32)| {
            let end = state.ends.get(segment).copied().unwrap_or_default();
            (!self.has_room(end) && sectors.saturating_mul(SPARSE) < end).then_some(*segment)
        };
        live.iter().filter_map(is_sparse).collect()
    }

    fn discard_between(&self, segment: u32, end: u32, mut extents: Vec<Extent>) -> Result<(), ContentError> {
        extents.sort_unstable();
        let path = self.path(segment);
        let live: u32 = extents.iter().fold(0, |sum, extent| sum.saturating_add(extent.sectors()));
        // `st_blocks` counts in units of 512 bytes.
        let allocated = match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            metadata => metadata.map_err(ContentError::file("look at", &path))?.blocks().saturating_mul(512),
        };
        if allocated <= offset_of(live) {
            return Ok(());
        }
        let mut from = 0;
        for extent in extents {
            if from < extent.sector {
                self.punch(segment, from, extent.sector)?;
            }
            from = from.max(extent.end());
        }
        if from < end { self.punch(segment, from, end) } else { Ok(()) }
    }

    /// Takes a segment out of use, unless it has grown beyond `end`; returns whether it did.
    fn retire(&self, segment: u32, end: u32) -> bool {
        let mut state = self.state.lock();
        let unchanged = state.ends.get(&segment) == Some(&end);
        if unchanged {
            state.ends.remove(&segment);
            state.idle.retain(|tail| tail.segment != segment);
        }
        unchanged
    }
}

/// The number in the file name of a segment.
fn number_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".segment").filter(|digits| digits.len() == 8)?;
    u32::from_str_radix(digits, 16).ok()
}

/// Writes whole sectors; the last is padded with zeros.
fn write_sectors(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    if bytes.as_ptr().addr().is_multiple_of(SECTOR_BYTES) && bytes.len().is_multiple_of(SECTOR_BYTES) {
        return file.write_all_at(bytes, offset);
    }
    let mut sectors = Buffer::for_sectors(bytes.len().next_multiple_of(SECTOR_BYTES));
    let (content, padding) = sectors.split_at_mut_checked(bytes.len()).unwrap_or_default();
    content.copy_from_slice(bytes);
    padding.fill(0);
    file.write_all_at(&sectors, offset)
}

fn read_sectors(file: &File, size: usize, offset: u64) -> io::Result<Option<Bytes>> {
    let mut sectors = Buffer::for_sectors(size.next_multiple_of(SECTOR_BYTES));
    match file.read_exact_at(&mut sectors, offset) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    sectors.truncate(size);
    Ok(Some(sectors.freeze()))
}

pub(crate) fn create_dir(path: &Path) -> Result<(), ContentError> {
    fs::create_dir_all(path).map_err(ContentError::file("create", path))
}

pub(crate) fn sync_dir(path: &Path) -> Result<(), ContentError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(ContentError::file("synchronise", path))
}

pub(crate) fn remove(path: &Path) -> Result<(), ContentError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(ContentError::file("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room for three blocks of 1 MiB, and not for the longest block after them.
    const LIMIT: u32 = 4 * 256;

    fn block(fill: u8) -> Vec<u8> {
        vec![fill; 1 << 20]
    }

    #[test]
    fn segments_fill_up_go_on_after_a_restart_and_vanish_when_empty() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Segments::with_limit(dir.path(), LIMIT).unwrap();
        let files = || fs::read_dir(dir.path()).unwrap().count();
        let segments = open();
        let extents: Vec<Extent> =
            (0..4).map(|fill| segments.append(&block(fill)).unwrap().extent()).collect();
        let places: Vec<_> = extents.iter().map(|extent| (extent.segment, extent.sector)).collect();
        assert_eq!(places, [(0, 0), (0, 256), (0, 512), (1, 0)]);
        fs::write(dir.path().join("notes.txt"), "not a segment").unwrap();
        drop(segments);

        let segments = open();
        // A length that is no multiple of a sector: the next block starts at a whole one.
        let short = segments.append(&[4; 70_000]).unwrap().extent();
        assert_eq!((short.segment, short.sector), (1, 256));
        assert_eq!(segments.append(&block(5)).unwrap().extent().sector, 256 + 18);
        assert_eq!(segments.read(short).unwrap().unwrap(), vec![4; 70_000]);
        for (fill, extent) in (0..).zip(&extents) {
            assert_eq!(segments.read(*extent).unwrap().unwrap(), block(fill));
        }
        let beyond = Extent { sector: 900, ..short };
        assert_eq!(segments.read(beyond).unwrap(), None);
        assert_eq!(segments.read(Extent { segment: 9, ..short }).unwrap(), None);

        segments.discard_others(segments.snapshot(), [extents[1]]).unwrap();
        assert_eq!(files(), 2);
        assert_eq!(segments.read(extents[1]).unwrap().unwrap(), block(1));
        assert_eq!(segments.read(extents[0]).unwrap().unwrap(), block(0));
        assert_eq!(segments.append(&block(6)).unwrap().extent().segment, 2);
    }

    #[test]
    fn what_is_not_indexed_yet_or_came_after_the_snapshot_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let segments = Segments::with_limit(dir.path(), LIMIT).unwrap();
        let abandoned = segments.append(&block(1)).unwrap().extent();
        let waiting = segments.append(&block(2)).unwrap();
        let snapshot = segments.snapshot();
        let later = segments.append(&block(3)).unwrap().extent();
        segments.discard_others(snapshot, []).unwrap();
        assert_eq!(segments.read(abandoned).unwrap().unwrap(), block(0));
        assert_eq!(segments.read(waiting.extent()).unwrap().unwrap(), block(2));
        assert_eq!(segments.read(later).unwrap().unwrap(), block(3));
    }

    #[test]
    fn collections_between_appends_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let segments = Segments::with_limit(dir.path(), LIMIT).unwrap();
        let index: Mutex<BTreeMap<Extent, u8>> = Mutex::default();
        let writing = AtomicBool::new(true);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while writing.load(Ordering::Relaxed) {
                    let snapshot = segments.snapshot();
                    let live: Vec<Extent> = index.lock().keys().copied().collect();
                    segments.discard_others(snapshot, live).unwrap();
                }
            });
            for fill in 0..=255 {
                let written = segments.append(&[fill; 5000]).unwrap();
                // One block is live at a time, so that segments are often empty.
                let extent = written.extent();
                let before = std::mem::replace(&mut *index.lock(), BTreeMap::from([(extent, fill)]));
                drop(written);
                assert!(before.len() <= 1);
                if fill % 3 == 0 {
                    index.lock().clear();
                } else {
                    assert_eq!(segments.read(extent).unwrap().unwrap(), vec![fill; 5000]);
                }
            }
            writing.store(false, Ordering::Relaxed);
        });
    }
}
