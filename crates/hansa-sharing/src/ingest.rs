//! Encrypts content on its way into the block store: one pass, constant memory, no copy after the read.
//!
//! Runs on a blocking thread: this thread reads, digests and encrypts; the importer's threads hash and write. The
//! last blocks are only staged: they become durable in one write with manifest, root and key.

use std::io;

use hansa_api::{Content, ContentEntry, Progress, ProgressSink, Stage};
use hansa_content::{BlockStore, ContentError, Imported, Importer, Staged};
use hansa_envelope::{Entry, EntryHasher, EntryKind, Layout, Sealer, SealingKey, check_path};

use crate::{SharingError, replicate::Spare};

/// What became of the content.
pub(crate) struct Ingested {
    pub(crate) content: Imported,
    pub(crate) entries: Vec<Entry>,
    pub(crate) size: u64,
    pub(crate) layout: Layout,
    /// Blocks of the content that are not in the store's index yet; taken by the first version that is stored.
    pub(crate) staged: Option<Staged>,
}

struct Intake {
    sealer: Sealer,
    importer: Importer,
    spare: Spare,
    progress: ProgressSink,
    total: Option<u64>,
}

impl Intake {
    fn file(
        &mut self,
        source: &mut dyn Content,
        path: String,
        executable: bool,
    ) -> Result<Entry, SharingError> {
        let offset = self.sealer.length();
        let mut hasher = EntryHasher::default();
        loop {
            let spare = self.sealer.spare();
            let count = match source.read(spare) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(SharingError::Source)?,
            };
            let Some(read) = spare.get(..count).filter(|read| !read.is_empty()) else { break };
            hasher.update(read);
            if let Some(leaf) = self.sealer.advance(count)? {
                self.spare.check(leaf.len() as u64)?;
                self.importer.push_leaf(leaf)?;
                (self.progress)(Progress::bytes(Stage::Encrypt, self.sealer.length(), self.total));
            }
        }
        let size = self.sealer.length().saturating_sub(offset);
        Ok(Entry { path, kind: EntryKind::File, offset, size, digest: hasher.finish(), executable })
    }

    fn folder(&self, path: String) -> Entry {
        let digest = EntryHasher::default().finish();
        let (kind, offset) = (EntryKind::Directory, self.sealer.length());
        Entry { path, kind, offset, size: 0, digest, executable: false }
    }

    fn finish(self, entries: Vec<Entry>) -> Result<Ingested, SharingError> {
        let Self { sealer, mut importer, progress, .. } = self;
        let size = sealer.length();
        let tail = sealer.finish();
        let layout = tail.layout();
        for leaf in tail {
            importer.push_leaf(leaf?)?;
        }
        let mut staged = Staged::default();
        let content = importer.finish_staged(&mut staged)?;
        progress(Progress::bytes(Stage::Encrypt, size, Some(size)));
        Ok(Ingested { content, entries, size, layout, staged: Some(staged) })
    }
}

/// Encrypts and stores everything that `source` gives, as long as the disk has room. Blocking. A file object's one entry is
/// called `file_name`, whatever the source calls it.
pub(crate) fn ingest(
    source: &mut dyn Content,
    file_name: Option<&str>,
    key: SealingKey,
    store: &BlockStore,
    spare: Spare,
    total: Option<u64>,
    progress: ProgressSink,
) -> Result<Ingested, SharingError> {
    spare.check(total.unwrap_or(0))?;
    let importer = Importer::new(store);
    let mut intake = Intake { sealer: Sealer::new(key), importer, spare, progress, total };
    let mut entries = Vec::new();
    while let Some(entry) = source.next_entry().map_err(SharingError::Source)? {
        let ContentEntry { path, directory, executable, .. } = entry;
        let path = file_name.map_or(path, str::to_owned);
        check_path(&path)?;
        entries.push(if directory { intake.folder(path) } else { intake.file(source, path, executable)? });
    }
    intake.finish(entries)
}

/// Stages leaves that are already sealed as one file. Blocking.
pub(crate) fn stage_leaves(
    store: &BlockStore,
    leaves: Vec<bytes::Bytes>,
    staged: &mut Staged,
) -> Result<Imported, ContentError> {
    let mut importer = Importer::new(store);
    for leaf in leaves {
        importer.push_leaf(leaf)?;
    }
    importer.finish_staged(staged)
}
