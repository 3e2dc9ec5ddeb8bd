//! Decrypts a stored version as a stream: authenticated segment by segment, digests checked file by file.

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use hansa_content::{BlockStore, FileReader};
use hansa_contracts::abi;
use hansa_envelope::{
    AudienceKey, DataKey, EntryHasher, EntryKind, LEAF_BYTES, Layout, MANIFEST_BYTES_MAX, Manifest,
    ObjectRoot, Opener, SignedManifest, VersionKeys, root_cid,
};
use hansa_types::{ObjectId, Version};
use tokio::sync::mpsc;

use crate::SharingError;

/// Segments that may wait for a slow reader.
const READY_MAX: usize = 4;

/// The length of a version's sealed manifest. Reads the two files' uppermost nodes only, and refuses a manifest over the
/// limit and content of another length than the root says. Blocking.
pub(crate) fn measure(store: &BlockStore, root: &ObjectRoot, object: ObjectId) -> Result<u64, SharingError> {
    let reading = |e| SharingError::reading(object, e);
    let manifest = FileReader::open(store, &root.manifest).map_err(reading)?.size();
    if manifest > MANIFEST_BYTES_MAX as u64 {
        let what = format!("its manifest has {manifest} bytes, more than the limit of {MANIFEST_BYTES_MAX}");
        return Err(SharingError::damaged(object, what));
    }
    if FileReader::open(store, &root.content).map_err(reading)?.size() != root.content_length {
        return Err(SharingError::damaged(object, "its content has another length than its root says"));
    }
    Ok(manifest)
}

/// The data key of a version whose root is in the own store, unwrapped with its audience's. Blocking.
pub(crate) fn version_key(
    store: &BlockStore,
    chain_id: u64,
    object: ObjectId,
    record: &abi::RecordedVersion,
    kek: &AudienceKey,
) -> Result<DataKey, SharingError> {
    let bytes = store.expect(&root_cid(record.root)).map_err(|e| SharingError::reading(object, e))?;
    let root = ObjectRoot::decode(&bytes).map_err(|e| SharingError::damaged(object, e))?;
    root.data_key(kek, chain_id, object, Version(record.version))
        .map_err(|e| SharingError::opening(object, e))
}

/// Reads and checks a version's manifest from the own store. Blocking.
pub(crate) fn read_manifest(
    store: &BlockStore,
    root: &ObjectRoot,
    keys: &VersionKeys,
    chain_id: u64,
    object: ObjectId,
    version: Version,
) -> Result<SignedManifest, SharingError> {
    let length = measure(store, root, object)?;
    let reading = |e| SharingError::reading(object, e);
    let reader = FileReader::open(store, &root.manifest).map_err(reading)?;
    let mut sealed = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    for piece in reader.all() {
        sealed.extend_from_slice(&piece.map_err(reading)?);
    }
    let key = keys.manifest(object, version, root.manifest_salt)?;
    SignedManifest::open(key, &sealed, chain_id, object, version)
        .map_err(|e| SharingError::opening(object, e))
}

/// Decrypts all files back to back. Blocking; hands each piece to `sink` until that says stop.
pub(crate) fn decrypt(
    store: &BlockStore,
    root: &ObjectRoot,
    keys: &VersionKeys,
    manifest: &Manifest,
    sink: &mut dyn FnMut(Bytes) -> bool,
) -> Result<(), SharingError> {
    let object = manifest.object;
    let reading = |e| SharingError::reading(object, e);
    let layout = Layout::of_plaintext(manifest.size);
    let reader = FileReader::open(store, &root.content).map_err(reading)?;
    if reader.size() != layout.sealed_length() || root.content_length != reader.size() {
        return Err(SharingError::damaged(object, "its content has another length than its manifest says"));
    }
    let opener = Opener::new(keys.content()?, layout);
    let mut check = DigestCheck::new(manifest);
    let mut rest = manifest.size;
    for (index, leaf) in (0_u64..).zip(reader.all()) {
        let leaf = leaf.map_err(reading)?;
        debug_assert!(leaf.len() <= LEAF_BYTES);
        let mut plain = opener.open(index, leaf).map_err(|e| SharingError::opening(object, e))?;
        plain.truncate(usize::try_from(rest).unwrap_or(usize::MAX).min(plain.len()));
        rest = rest.saturating_sub(plain.len() as u64);
        check.take(&plain)?;
        if !plain.is_empty() && !sink(plain) {
            return Ok(());
        }
    }
    check.finish()
}

/// Compares the stream with the manifest's digests.
struct DigestCheck<'a> {
    manifest: &'a Manifest,
    entry: usize,
    hasher: EntryHasher,
    taken: u64,
}

impl<'a> DigestCheck<'a> {
    fn new(manifest: &'a Manifest) -> Self {
        Self { manifest, entry: 0, hasher: EntryHasher::default(), taken: 0 }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), SharingError> {
        while !bytes.is_empty() {
            let Some(entry) = self.manifest.entries.get(self.entry) else {
                return Err(SharingError::damaged(
                    self.manifest.object,
                    "more content than its manifest says",
                ));
            };
            let room = entry.size.saturating_sub(self.taken);
            let (now, later) = bytes.split_at(usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len()));
            self.hasher.update(now);
            self.taken = self.taken.saturating_add(now.len() as u64);
            bytes = later;
            self.close_full()?;
        }
        Ok(())
    }

    /// Compares every entry that has all its bytes, empty ones included.
    fn close_full(&mut self) -> Result<(), SharingError> {
        while let Some(entry) = self.manifest.entries.get(self.entry) {
            if self.taken < entry.size {
                return Ok(());
            }
            if entry.kind == EntryKind::File && self.hasher.finish() != entry.digest {
                let what = format!("the digest of {} differs", entry.path);
                return Err(SharingError::damaged(self.manifest.object, what));
            }
            self.entry = self.entry.saturating_add(1);
            self.taken = 0;
            self.hasher = EntryHasher::default();
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), SharingError> {
        self.close_full()?;
        if self.entry == self.manifest.entries.len() {
            Ok(())
        } else {
            Err(SharingError::damaged(self.manifest.object, "less content than its manifest says"))
        }
    }
}

/// [`decrypt`] on a thread of its own, as a stream. An error ends it.
pub(crate) fn stream(
    store: BlockStore,
    root: ObjectRoot,
    keys: VersionKeys,
    manifest: Manifest,
    keep: impl Send + 'static,
) -> BoxStream<'static, Result<Bytes, SharingError>> {
    let (sender, receiver) = mpsc::channel(READY_MAX);
    tokio::task::spawn_blocking(move || {
        // A receiver that is gone has seen enough.
        let outcome =
            decrypt(&store, &root, &keys, &manifest, &mut |piece| sender.blocking_send(Ok(piece)).is_ok());
        if let Err(error) = outcome {
            let _ = sender.blocking_send(Err(error));
        }
        drop(keep);
    });
    futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|item| (item, receiver))
    })
    .boxed()
}
