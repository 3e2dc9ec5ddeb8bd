//! How much of the disk content may take: replicas a share for each owner, and all but a part of the disk that stays free for
//! the ledger (S6's replica side); what this member itself puts or opens, all but a smaller part. Counts what is set aside; frees
//! nothing.

use std::{collections::BTreeMap, io, path::Path, sync::Arc, time::Duration};

use hansa_api::ReplicationStatus;
use hansa_types::DcId;
use parking_lot::Mutex;

use super::table::{Table, Task};
use crate::{ReplicationSettings, SharingError};

/// Records read at once.
const PAGE: usize = 1024;
/// How often the disk is measured while content arrives.
const LOOK: Duration = Duration::from_millis(100);

/// A file system's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// Bytes in all.
    pub total: u64,
    /// Bytes that this process can still write.
    pub free: u64,
}

/// Says how much space there is; called before each fetch.
pub type SpaceFn = Arc<dyn Fn() -> io::Result<DiskSpace> + Send + Sync>;

/// The space of the file system that `folder` is on.
///
/// # Errors
/// When the operating system does not say.
pub fn disk_space(folder: &Path) -> io::Result<DiskSpace> {
    let found = rustix::fs::statvfs(folder)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(DiskSpace { total: bytes(found.f_blocks), free: bytes(found.f_bavail) })
}

/// Measures the disk before this member's own content is written to it.
#[derive(Clone)]
pub(crate) struct Spare {
    space: SpaceFn,
    /// Bytes that stay free, and at most an eighth of the disk.
    reserve: u64,
}

impl Spare {
    /// Refuses content of so many bytes, or more content where that is zero, if too little would be left.
    pub(crate) fn check(&self, bytes: u64) -> Result<(), SharingError> {
        // Where the disk cannot be measured, writing to it finds out.
        let Ok(DiskSpace { total, free }) = (self.space)() else { return Ok(()) };
        let reserve = self.reserve.min(total / 8);
        if free >= reserve.saturating_add(bytes) {
            Ok(())
        } else {
            Err(SharingError::NoRoom { free, reserve })
        }
    }
    /// Waits until too little is left.
    pub(crate) async fn used_up(&self) -> SharingError {
        loop {
            if let Err(full) = self.check(0) {
                return full;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// Too little of the disk is free.
    Disk,
    /// The owner's replicas fill its share.
    Owner,
}

#[derive(Default)]
struct Usage {
    /// Bytes of replicas kept or being fetched.
    owners: BTreeMap<DcId, u64>,
    /// Bytes of fetches under way, which are not on the disk yet.
    arriving: u64,
    paused_by_disk: bool,
    full_owners: std::collections::BTreeSet<DcId>,
    given_up: u64,
    /// Replicas that are whole.
    kept: u64,
    /// Versions that wait in memory to be fetched.
    waiting: u64,
}

/// What replicas take up.
pub(crate) struct Room {
    limits: ReplicationSettings,
    /// Measures the disk that the blocks are on.
    space: SpaceFn,
    usage: Mutex<Usage>,
}

fn percent(of: u64, share: u8) -> u64 {
    (of / 100).saturating_mul(u64::from(share))
}

impl Room {
    pub(crate) fn new(limits: ReplicationSettings, space: SpaceFn) -> Self {
        Self { limits, space, usage: Mutex::default() }
    }

    /// What this member's own content is measured by.
    pub(crate) fn spare(&self) -> Spare {
        let reserve = self.limits.reserve_mib.saturating_mul(1024 * 1024);
        Spare { space: Arc::clone(&self.space), reserve }
    }

    /// Counts what the table has. Blocking.
    pub(super) fn load(&self, table: &Table) -> Result<(), SharingError> {
        let mut counted = Usage::default();
        let mut after = None;
        loop {
            let page = table.replicas(after, PAGE)?;
            for (id, replica) in &page {
                let bytes = counted.owners.entry(id.object.owner).or_default();
                *bytes = bytes.saturating_add(replica.bytes);
                counted.kept = counted.kept.saturating_add(u64::from(replica.whole));
            }
            after = page.last().map(|(id, _)| *id);
            if page.len() < PAGE {
                break;
            }
        }
        let mut after = None;
        loop {
            let page = table.all_given_up(after, PAGE)?;
            counted.given_up = counted.given_up.saturating_add(page.len() as u64);
            after = page.last().map(|(id, _)| *id);
            if page.len() < PAGE {
                break;
            }
        }
        *self.usage.lock() = counted;
        Ok(())
    }

    /// Sets `bytes` aside for a version of which `before` are counted already.
    pub(super) fn admit(&self, task: &Task, before: u64, bytes: u64) -> Result<Arriving<'_>, Full> {
        let owner = task.id.object.owner;
        let measured = (self.space)();
        let mut usage = self.usage.lock();
        let space = measured.unwrap_or_else(|error| {
            tracing::warn!(%error, "the disk cannot be measured; no replicas are taken");
            DiskSpace { total: 0, free: 0 }
        });
        let spare = space.free.saturating_sub(percent(space.total, self.limits.free_percent));
        if usage.arriving.saturating_add(bytes) > spare {
            usage.paused_by_disk = true;
            return Err(Full::Disk);
        }
        usage.paused_by_disk = false;
        let others = usage.owners.get(&owner).copied().unwrap_or_default().saturating_sub(before);
        if others.saturating_add(bytes) > percent(space.total, self.limits.owner_percent) {
            usage.full_owners.insert(owner);
            return Err(Full::Owner);
        }
        usage.full_owners.remove(&owner);
        usage.owners.insert(owner, others.saturating_add(bytes.max(before)));
        usage.arriving = usage.arriving.saturating_add(bytes);
        Ok(Arriving { room: self, bytes })
    }

    /// Corrects what a version takes up.
    pub(super) fn correct(&self, owner: DcId, before: u64, after: u64) {
        let mut usage = self.usage.lock();
        let bytes = usage.owners.entry(owner).or_default();
        *bytes = bytes.saturating_sub(before).saturating_add(after);
    }

    /// Counts a replica that has become whole, or that was and is gone.
    pub(super) fn count_kept(&self, before: bool, after: bool) {
        let mut usage = self.usage.lock();
        usage.kept = usage.kept.saturating_add(u64::from(after)).saturating_sub(u64::from(before));
    }

    pub(super) fn set_waiting(&self, versions: usize) {
        self.usage.lock().waiting = versions as u64;
    }

    pub(super) fn count_given_up(&self) {
        let mut usage = self.usage.lock();
        usage.given_up = usage.given_up.saturating_add(1);
    }

    /// Replicas that are whole, and versions that wait in memory to be fetched.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let usage = self.usage.lock();
        (usage.kept, usage.waiting)
    }

    pub(crate) fn status(&self) -> ReplicationStatus {
        let usage = self.usage.lock();
        ReplicationStatus {
            bytes: usage.owners.values().fold(0, |sum, bytes| sum.saturating_add(*bytes)),
            paused_by_disk: usage.paused_by_disk,
            full_owners: usage.full_owners.iter().copied().collect(),
            given_up: usage.given_up,
        }
    }
}

/// Room for a fetch that is under way, until this is dropped.
pub(super) struct Arriving<'a> {
    room: &'a Room,
    bytes: u64,
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        let mut usage = self.room.usage.lock();
        usage.arriving = usage.arriving.saturating_sub(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;
    use hansa_types::Version;

    use super::*;
    use crate::replicate::table::VersionId;

    fn task(object: &str) -> Task {
        let id = VersionId::new(object.parse().unwrap(), Version(1));
        Task { id, root: B256::ZERO, size_class: 4096 }
    }

    fn room(space: DiskSpace) -> Room {
        Room::new(ReplicationSettings::default(), Arc::new(move || Ok(space)))
    }

    #[test]
    fn an_owner_has_its_share_and_the_ledger_keeps_its_part() {
        let room = room(DiskSpace { total: 10_000, free: 4_500 });
        let first = room.admit(&task("1/1"), 0, 1_500).ok().unwrap();
        assert_eq!(room.admit(&task("1/2"), 0, 501).err(), Some(Full::Owner));
        assert_eq!(room.status().full_owners, [DcId::new(1).unwrap()]);
        let second = room.admit(&task("1/1"), 1_500, 1_600).ok().unwrap();
        assert_eq!(room.status().bytes, 1_600, "the same version is not counted twice");
        assert_eq!(room.admit(&task("2/1"), 0, 901).err(), Some(Full::Disk), "what is arriving counts");
        assert!(room.status().paused_by_disk);
        drop((first, second));
        assert!(room.admit(&task("2/1"), 0, 901).is_ok() && !room.status().paused_by_disk);
        room.correct(DcId::new(1).unwrap(), 1_600, 100);
        assert!(room.admit(&task("1/2"), 0, 1_900).is_ok());
    }

    #[test]
    fn own_content_leaves_the_chain_room_to_be_written() {
        const MIB: u64 = 1 << 20;
        for (total, free, bytes, fits) in [
            (1 << 40, 128 * MIB, 0, true),
            (1 << 40, 128 * MIB - 1, 0, false),
            (1 << 40, 129 * MIB, MIB, true),
            (1 << 40, 129 * MIB, MIB + 1, false),
            (80, 20, 10, true),
            (80, 20, 11, false),
            (80, 80, u64::MAX, false),
        ] {
            let checked = room(DiskSpace { total, free }).spare().check(bytes);
            assert_eq!(checked.is_ok(), fits, "{total} {free} {bytes}");
        }
    }

    #[test]
    fn the_real_disk_has_a_size() {
        let space = disk_space(Path::new("/")).unwrap();
        assert!(space.total > 0 && space.free <= space.total);
    }
}
