//! What the replication task remembers on the disk: versions to fetch, replicas kept, versions given up, and how far the
//! chain was read. Decides nothing.
//!
//! Keys in the space that the whole service shares; integers are big endian, VERSION is `owner (4) ‖ number (8) ‖ version (4)`:
//!
//! | key | value | meaning |
//! |---|---|---|
//! | `h` DIGEST | – | everything below the root has been stored here |
//! | `p` VERSION | root (32), size class (8), others (4) | a version to fetch |
//! | `c` VERSION | root (32), bytes (8), whole (1), others (4) | another member's version whose root is pinned here |
//! | `g` VERSION | root (32), reason (1) | a version that no node can keep |
//! | `u` VERSION DIGEST | sightings (4), height (8) | a pinned version of this member without a known record on the chain |
//! | `followed` | fingerprint of the members (32) | with which members the chain was read; how far, is the feed's cursor |
//!
//! A crash between two writes repeats a step and skips none: a version is pending until one batch says that it is held,
//! and a replica that is let go stays in the table until its pin is gone.

use std::sync::Arc;

use alloy_primitives::B256;
use cid::Cid;
use hansa_envelope::root_cid;
use hansa_kv::{Batch, KeyRange, KvStore, Order};
use hansa_types::{DcId, ObjectId, Version};

use crate::{REPLICAS_OTHER, SharingError, keyring::SPACE};

const HELD: u8 = b'h';
const PENDING: u8 = b'p';
const REPLICA: u8 = b'c';
const GIVEN_UP: u8 = b'g';
const UNRECORDED: u8 = b'u';
/// A value of another length is an earlier layout's: the chain is read again.
const FOLLOWED: &[u8] = b"followed";

/// One version of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct VersionId {
    pub(crate) object: ObjectId,
    pub(crate) version: Version,
}

impl VersionId {
    pub(crate) const fn new(object: ObjectId, version: Version) -> Self {
        Self { object, version }
    }

    /// Under which label a version's root is pinned: `hansa/OWNER/NUMBER/VERSION`.
    pub(crate) fn label(self) -> String {
        format!("hansa/{}/{}", self.object, self.version)
    }

    fn key(self, kind: u8) -> Vec<u8> {
        let mut key = vec![kind];
        key.extend(self.object.owner.value().to_be_bytes());
        key.extend(self.object.number.to_be_bytes());
        key.extend(self.version.0.to_be_bytes());
        key
    }

    /// The version that a key names, and what follows it.
    fn read(key: &[u8]) -> Option<(Self, &[u8])> {
        let (_, rest) = key.split_first()?;
        let (owner, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (version, rest) = rest.split_first_chunk()?;
        let object =
            ObjectId { owner: DcId::new(u32::from_be_bytes(*owner))?, number: u64::from_be_bytes(*number) };
        Some((Self { object, version: Version(u32::from_be_bytes(*version)) }, rest))
    }
}

/// A version that is to be kept here, as the chain recorded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Task {
    pub(crate) id: VersionId,
    pub(crate) root: B256,
    /// Bytes of its content before encryption, padded.
    pub(crate) size_class: u64,
}

impl Task {
    fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let (root, rest) = value.split_first_chunk::<32>()?;
        let (size_class, _) = rest.split_first_chunk()?;
        let (id, _) = VersionId::read(key)?;
        Some(Self { id, root: root.into(), size_class: u64::from_be_bytes(*size_class) })
    }

    fn value(&self, others: u32) -> Vec<u8> {
        let mut value = self.root.to_vec();
        value.extend(self.size_class.to_be_bytes());
        value.extend(others.to_be_bytes());
        value
    }

    pub(crate) fn cid(&self) -> Cid {
        root_cid(self.root)
    }
}

/// Another member's version whose root is pinned here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replica {
    pub(crate) root: B256,
    /// What it takes up; while it is being fetched, what was set aside for it.
    pub(crate) bytes: u64,
    /// Whether everything has arrived.
    pub(crate) whole: bool,
    /// How many members besides the owner are to keep it.
    pub(crate) others: u32,
}

impl Replica {
    fn read(value: &[u8]) -> Option<Self> {
        let (root, rest) = value.split_first_chunk::<32>()?;
        let (bytes, rest) = rest.split_first_chunk()?;
        let (whole, rest) = rest.split_first()?;
        let others = u32::from_be_bytes(rest.try_into().ok()?);
        Some(Self { root: root.into(), bytes: u64::from_be_bytes(*bytes), whole: *whole == 1, others })
    }

    fn value(&self) -> Vec<u8> {
        let mut value = self.root.to_vec();
        value.extend(self.bytes.to_be_bytes());
        value.push(u8::from(self.whole));
        value.extend(self.others.to_be_bytes());
        value
    }
}

/// Why a version is given up. Each is certain for good: it follows from bytes that hash to the recorded root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Verdict {
    #[error("malformed: the block that was recorded as its root is no object root")]
    NotARoot,
    #[error("malformed: a block below its root is not what its CID says, or links to what cannot be stored")]
    Malformed,
    #[error("its blocks are larger, or more, than its recorded size allows")]
    TooLarge,
}

impl Verdict {
    const ALL: [Self; 3] = [Self::NotARoot, Self::Malformed, Self::TooLarge];

    const fn code(self) -> u8 {
        match self {
            Self::NotARoot => 1,
            Self::Malformed => 2,
            Self::TooLarge => 3,
        }
    }
}

/// An own version that is pinned, and of which it is not known whether it was recorded, or whether the key of a public one
/// was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unrecorded {
    pub(crate) id: VersionId,
    pub(crate) root: B256,
    /// How often it was looked for on the chain in vain, and at which height last.
    pub(crate) sightings: u32,
    pub(crate) height: u64,
}

impl Unrecorded {
    fn add_to(&self, batch: &mut Batch) {
        let mut value = self.sightings.to_be_bytes().to_vec();
        value.extend(self.height.to_be_bytes());
        batch.put(SPACE, unrecorded_key(self.id, self.root), value);
    }
}

/// The records.
#[derive(Clone)]
pub(crate) struct Table(pub(crate) Arc<dyn KvStore>);

fn held_key(root: B256) -> Vec<u8> {
    let mut key = vec![HELD];
    key.extend(root);
    key
}

fn unrecorded_key(id: VersionId, root: B256) -> Vec<u8> {
    let mut key = id.key(UNRECORDED);
    key.extend(root);
    key
}

impl Table {
    /// Whether everything below `root` has been stored here. Damage since then is for a check to find.
    pub(crate) fn holds(&self, root: B256) -> Result<bool, SharingError> {
        Ok(self.0.contains(SPACE, &held_key(root))?)
    }

    /// Adds to a batch that everything below `root` has been stored here.
    pub(crate) fn add_held(batch: &mut Batch, root: B256) {
        batch.put(SPACE, held_key(root), Vec::new());
    }

    /// Notes that everything below `root` has been stored here, in blocks written before. Durable with the next flush.
    pub(crate) fn mark_held(&self, root: B256) -> Result<(), SharingError> {
        let mut batch = Batch::new();
        Self::add_held(&mut batch, root);
        Ok(self.0.write_buffered(batch)?)
    }

    /// No longer says that everything below `root` is here. Durable when it returns.
    pub(crate) fn unmark_held(&self, root: B256) -> Result<(), SharingError> {
        let mut batch = Batch::new();
        batch.remove(SPACE, held_key(root));
        Ok(self.0.write(batch)?)
    }

    /// Adds a version to fetch to a batch. `others`: how many members besides the owner are to keep it.
    pub(crate) fn add_pending(batch: &mut Batch, task: &Task, others: u32) {
        batch.put(SPACE, task.id.key(PENDING), task.value(others));
    }

    /// The version to fetch with this identity.
    pub(crate) fn pending(&self, id: VersionId) -> Result<Option<Task>, SharingError> {
        let key = id.key(PENDING);
        Ok(self.0.get(SPACE, &key)?.and_then(|value| Task::read(&key, &value)))
    }

    /// At most `limit` versions of an owner that are to be fetched, the newest first, older than `before`.
    pub(crate) fn pending_of(
        &self,
        owner: DcId,
        before: Option<VersionId>,
        limit: usize,
    ) -> Result<Vec<Task>, SharingError> {
        let mut prefix = vec![PENDING];
        prefix.extend(owner.value().to_be_bytes());
        let range = match before {
            Some(id) => KeyRange::between(&prefix, &id.key(PENDING)),
            None => KeyRange::prefix(&prefix),
        };
        let page = self.0.scan(SPACE, range, Order::Descending, limit)?;
        Ok(page.iter().filter_map(|(key, value)| Task::read(key, value)).collect())
    }

    /// What is kept of another member's version.
    pub(crate) fn replica(&self, id: VersionId) -> Result<Option<Replica>, SharingError> {
        Ok(self.0.get(SPACE, &id.key(REPLICA))?.and_then(|value| Replica::read(&value)))
    }

    /// At most `limit` replicas in the order of their versions, beginning behind `after`.
    pub(crate) fn replicas(
        &self,
        after: Option<VersionId>,
        limit: usize,
    ) -> Result<Vec<(VersionId, Replica)>, SharingError> {
        let range = KeyRange::prefix(&[REPLICA]);
        let range = match after {
            Some(id) => range.after(&id.key(REPLICA)),
            None => range,
        };
        let page = self.0.scan(SPACE, range, Order::Ascending, limit)?;
        Ok(page
            .iter()
            .filter_map(|(key, value)| Some((VersionId::read(key)?.0, Replica::read(value)?)))
            .collect())
    }

    /// Adds a replica to a batch, or changes it.
    pub(crate) fn add_replica(batch: &mut Batch, id: VersionId, replica: &Replica) {
        batch.put(SPACE, id.key(REPLICA), replica.value());
    }

    /// Sets room aside for a version whose root is about to be pinned. Durable with the next durable write.
    pub(crate) fn reserve(&self, task: &Task, bytes: u64) -> Result<(), SharingError> {
        let others = self.others(task.id)?;
        let mut batch = Batch::new();
        Self::add_replica(&mut batch, task.id, &Replica { root: task.root, bytes, whole: false, others });
        Ok(self.0.write_buffered(batch)?)
    }

    /// Notes that everything of a version is here: `bytes` of another member's, `None` for an own one. Losing this to a crash
    /// only means finding everything here again.
    pub(crate) fn complete(&self, task: &Task, bytes: Option<u64>) -> Result<(), SharingError> {
        let mut batch = Batch::new();
        Self::add_held(&mut batch, task.root);
        if let Some(bytes) = bytes {
            let others = self.others(task.id)?;
            Self::add_replica(&mut batch, task.id, &Replica { root: task.root, bytes, whole: true, others });
        }
        batch.remove(SPACE, task.id.key(PENDING));
        Ok(self.0.write_buffered(batch)?)
    }

    /// How many members besides the owner are to keep a version that is pending here.
    fn others(&self, id: VersionId) -> Result<u32, SharingError> {
        let value = self.0.get(SPACE, &id.key(PENDING))?;
        let others =
            value.as_deref().and_then(<[u8]>::last_chunk::<4>).map(|others| u32::from_be_bytes(*others));
        Ok(others.unwrap_or(REPLICAS_OTHER as u32))
    }

    /// Never fetches a version again. Its pin must be gone. Durable when it returns.
    pub(crate) fn give_up(&self, task: &Task, verdict: Verdict) -> Result<(), SharingError> {
        let mut value = task.root.to_vec();
        value.push(verdict.code());
        let mut batch = Batch::new();
        batch.put(SPACE, task.id.key(GIVEN_UP), value);
        batch.remove(SPACE, task.id.key(REPLICA));
        batch.remove(SPACE, task.id.key(PENDING));
        Ok(self.0.write(batch)?)
    }

    /// Forgets a replica. Its pin must be gone. Durable when it returns.
    pub(crate) fn let_go(&self, id: VersionId) -> Result<(), SharingError> {
        let mut batch = Batch::new();
        batch.remove(SPACE, id.key(REPLICA));
        Ok(self.0.write(batch)?)
    }

    /// Forgets that more members than the allocation has are to keep a version.
    #[cfg(test)]
    pub(crate) fn ask_fewer(&self, id: VersionId) -> Result<(), SharingError> {
        let mut batch = Batch::new();
        if let Some(replica) = self.replica(id)? {
            Self::add_replica(&mut batch, id, &Replica { others: 0, ..replica });
        }
        Ok(self.0.write(batch)?)
    }

    /// Why a version was given up, if it was.
    pub(crate) fn given_up(&self, id: VersionId) -> Result<Option<Verdict>, SharingError> {
        Ok(self.0.get(SPACE, &id.key(GIVEN_UP))?.and_then(|value| read_verdict(&value)))
    }

    /// At most `limit` versions that were given up, in their order, beginning behind `after`.
    pub(crate) fn all_given_up(
        &self,
        after: Option<VersionId>,
        limit: usize,
    ) -> Result<Vec<(VersionId, Verdict)>, SharingError> {
        let range = KeyRange::prefix(&[GIVEN_UP]);
        let range = match after {
            Some(id) => range.after(&id.key(GIVEN_UP)),
            None => range,
        };
        let page = self.0.scan(SPACE, range, Order::Ascending, limit)?;
        Ok(page
            .iter()
            .filter_map(|(key, value)| Some((VersionId::read(key)?.0, read_verdict(value)?)))
            .collect())
    }

    /// Adds to a batch that an own version is pinned, and not known to be recorded.
    pub(crate) fn add_unrecorded(batch: &mut Batch, id: VersionId, root: B256) {
        Unrecorded { id, root, sightings: 0, height: 0 }.add_to(batch);
    }

    /// Notes that an own version was looked for on the chain in vain once more.
    pub(crate) fn sighted(&self, seen: &Unrecorded) -> Result<(), SharingError> {
        let mut batch = Batch::new();
        seen.add_to(&mut batch);
        Ok(self.0.write_buffered(batch)?)
    }

    /// Notes that an own version is recorded and published, or no longer pinned. Losing this to a crash costs another look at the chain.
    pub(crate) fn end_recording(&self, id: VersionId, root: B256) -> Result<(), SharingError> {
        let mut batch = Batch::new();
        batch.remove(SPACE, unrecorded_key(id, root));
        Ok(self.0.write_buffered(batch)?)
    }

    /// At most `limit` own versions not known to be recorded.
    pub(crate) fn unrecorded(&self, limit: usize) -> Result<Vec<Unrecorded>, SharingError> {
        let page = self.0.scan(SPACE, KeyRange::prefix(&[UNRECORDED]), Order::Ascending, limit)?;
        let read = |(key, value): &(Vec<u8>, Vec<u8>)| {
            let (id, root) = VersionId::read(key)?;
            let (sightings, height) = value.split_first_chunk()?;
            Some(Unrecorded {
                id,
                root: B256::try_from(root).ok()?,
                sightings: u32::from_be_bytes(*sightings),
                height: u64::from_be_bytes(height.try_into().ok()?),
            })
        };
        Ok(page.iter().filter_map(read).collect())
    }

    /// The fingerprint of the members with which the chain was read; `None` if it was not.
    pub(crate) fn membership(&self) -> Result<Option<B256>, SharingError> {
        let value = self.0.get(SPACE, FOLLOWED)?;
        Ok(value.and_then(|members| B256::try_from(members.as_slice()).ok()))
    }

    /// Adds to a batch with which members the chain is read.
    pub(crate) fn set_membership(batch: &mut Batch, members: B256) {
        batch.put(SPACE, FOLLOWED, members.to_vec());
    }
}

fn read_verdict(value: &[u8]) -> Option<Verdict> {
    let code = value.last()?;
    Verdict::ALL.into_iter().find(|verdict| verdict.code() == *code)
}

#[cfg(test)]
mod tests {
    use hansa_kv::MemoryStore;

    use super::*;

    fn id(text: &str, version: u32) -> VersionId {
        VersionId::new(text.parse().unwrap(), Version(version))
    }

    #[test]
    fn encodings_are_pinned() {
        assert_eq!(id("1/42", 3).label(), "hansa/1/42/3");
        let task = Task { id: id("1/42", 2), root: B256::repeat_byte(3), size_class: 4096 };
        let hex = |bytes: &[u8]| alloy_primitives::hex::encode(bytes);
        let key = task.id.key(PENDING);
        assert_eq!(hex(&key), "7000000001000000000000002a00000002");
        let value = task.value(2);
        assert_eq!(hex(&value), format!("{}000000000000100000000002", "03".repeat(32)));
        assert_eq!(Task::read(&key, &value), Some(task));
        assert_eq!((Task::read(&key[..9], &value), Task::read(&key, &value[..32])), (None, None));
        let replica = Replica { root: task.root, bytes: 5000, whole: true, others: 3 };
        assert_eq!(hex(&replica.value()), format!("{}00000000000013880100000003", "03".repeat(32)));
        assert_eq!(Replica::read(&replica.value()), Some(replica));
        let codes: Vec<u8> = Verdict::ALL.into_iter().map(Verdict::code).collect();
        assert_eq!(codes, [1, 2, 3]);
    }

    #[test]
    fn a_version_moves_from_pending_to_kept_or_given_up() {
        let table = Table(Arc::new(MemoryStore::new()));
        let task = |number: u64| Task {
            id: id(&format!("1/{number}"), 1),
            root: B256::with_last_byte(number as u8),
            size_class: 4096,
        };
        let mut batch = Batch::new();
        (1..=3).for_each(|number| Table::add_pending(&mut batch, &task(number), 4));
        Table::add_pending(&mut batch, &Task { id: id("2/1", 1), ..task(9) }, 2);
        table.0.write(batch).unwrap();
        let owner = DcId::new(1).unwrap();
        assert_eq!(table.pending_of(owner, None, 2).unwrap(), [task(3), task(2)]);
        assert_eq!(table.pending_of(owner, Some(task(2).id), 9).unwrap(), [task(1)]);
        table.reserve(&task(1), 7000).unwrap();
        let kept = |bytes, whole| Some(Replica { root: task(1).root, bytes, whole, others: 4 });
        assert_eq!(table.replica(task(1).id).unwrap(), kept(7000, false));
        table.complete(&task(1), Some(5000)).unwrap();
        assert_eq!(table.replica(task(1).id).unwrap(), kept(5000, true));
        assert!(table.holds(task(1).root).unwrap());
        table.give_up(&task(2), Verdict::TooLarge).unwrap();
        assert_eq!(table.pending_of(owner, None, 9).unwrap(), [task(3)]);
        assert_eq!(table.all_given_up(None, 9).unwrap(), [(task(2).id, Verdict::TooLarge)]);
        assert_eq!(table.replicas(None, 9).unwrap().len(), 1);
        table.let_go(task(1).id).unwrap();
        assert_eq!(table.replica(task(1).id).unwrap(), None);
    }
}
