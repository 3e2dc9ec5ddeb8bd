//! Lets go of what is no longer needed: replicas that the allocation has moved elsewhere, once the others hold them, and own
//! versions whose record never became final. The next collection gives the room back. Publishes the keys of public versions
//! whose record became final and whose key did not reach the chain.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use alloy_primitives::B256;
use cid::Cid;
use hansa_envelope::root_cid;
use hansa_types::{DcId, Member};

use super::table::{Replica, Unrecorded, VersionId};
use crate::{
    REPLICAS_OTHER, SharingError,
    allocation::rank,
    message::ROOTS_MAX,
    sharing::{Holding, Inner},
};

/// How long after the start pins are looked at first.
const FIRST: Duration = Duration::from_secs(600);
/// How long after the start keys that are to be published are looked for first.
const PUBLISH_FIRST: Duration = Duration::from_secs(5);
/// How often an own version has to be missing on the chain, each time at another height, before it is let go.
const SIGHTINGS_MAX: u32 = 24;
/// Own versions that are looked for at a time.
const UNRECORDED_MAX: usize = 1024;

/// Looks after pins and keys for ever; errors are logged.
pub(super) async fn run(inner: &Arc<Inner>) {
    futures::join!(keep_tidying(inner), keep_publishing(inner));
}

async fn keep_publishing(inner: &Inner) {
    let every = inner.settings.replication.publish;
    let mut pause = PUBLISH_FIRST.min(every);
    loop {
        tokio::time::sleep(pause).await;
        if let Err(error) = inner.publish_missing().await {
            tracing::warn!(%error, "not every public object has its key on the chain yet; it is tried again");
        }
        pause = every;
    }
}

async fn keep_tidying(inner: &Inner) {
    let every = inner.settings.replication.upkeep;
    let mut pause = FIRST.min(every);
    loop {
        tokio::time::sleep(pause).await;
        if let Err(error) = inner.tidy_pins().await {
            tracing::warn!(%error, "pins could not be looked at");
        }
        pause = every;
    }
}

/// A replica that the allocation has moved elsewhere, and where to.
struct Moved {
    id: VersionId,
    replica: Replica,
    keepers: Vec<DcId>,
}

impl Inner {
    pub(crate) async fn tidy_pins(&self) -> Result<(), SharingError> {
        self.drop_unrecorded().await?;
        let me = self.contracts.me().await?.dc_id;
        let members = self.contracts.chain.members().await?;
        let mut after = None;
        loop {
            let page = self.table().replicas(after, ROOTS_MAX)?;
            after = page.last().map(|(id, _)| *id);
            let moved: Vec<_> =
                page.iter().filter_map(|(id, replica)| moved(me, &members, *id, *replica)).collect();
            self.drop_moved(&moved, &members).await?;
            if page.len() < ROOTS_MAX {
                return Ok(());
            }
        }
    }

    /// Lets go of those replicas that all their keepers say they hold.
    async fn drop_moved(&self, moved: &[Moved], members: &[Member]) -> Result<(), SharingError> {
        let mut by_keeper = BTreeMap::<DcId, Vec<&Moved>>::new();
        for of in moved {
            of.keepers.iter().for_each(|keeper| by_keeper.entry(*keeper).or_default().push(of));
        }
        let mut held = BTreeMap::<VersionId, usize>::new();
        for (keeper, asked) in by_keeper {
            let Some(keeper) = members.iter().find(|member| member.dc_id == keeper) else { continue };
            let roots = asked.iter().map(|of| root_cid(of.replica.root)).collect();
            let holdings = self.peer_holdings(keeper, roots).await;
            for (of, _) in asked.iter().zip(holdings).filter(|(_, holding)| *holding == Holding::Whole) {
                let count = held.entry(of.id).or_default();
                *count = count.saturating_add(1);
            }
        }
        for of in moved.iter().filter(|of| held.get(&of.id) == Some(&of.keepers.len())) {
            self.let_go(of.id, &of.replica)?;
        }
        Ok(())
    }

    /// Lets go of a replica. The table has it until its pin is gone, so that a crash in between repeats this.
    fn let_go(&self, id: VersionId, replica: &Replica) -> Result<(), SharingError> {
        let cid = root_cid(replica.root);
        self.drop_pin(id, cid)?;
        self.table().let_go(id)?;
        self.room.correct(id.object.owner, replica.bytes, 0);
        self.room.count_kept(replica.whole, false);
        tracing::info!(object = %id.object, version = %id.version, root = %cid, "let go of a replica: the others hold it");
        Ok(())
    }

    /// Removes a version's pin. That its blocks are here is no longer said before they can be collected.
    fn drop_pin(&self, id: VersionId, root: Cid) -> Result<(), SharingError> {
        let (table, digest) = (self.table(), root.hash().digest().try_into().unwrap_or_default());
        table.unmark_held(digest)?;
        self.store.unpin(&root, &id.label())?;
        // Another version may have the same root.
        if self.store.is_pinned(&root)? { table.mark_held(digest) } else { Ok(()) }
    }

    /// Lets go of an own version that was stored and never recorded.
    pub(crate) fn forget_unrecorded(&self, id: VersionId, root: B256) -> Result<(), SharingError> {
        self.drop_pin(id, root_cid(root))?;
        self.table().end_recording(id, root)
    }

    /// Lets go of own versions that were stored and never recorded: the node ended in between, or the chain did not take
    /// the record in time and never did afterwards.
    async fn drop_unrecorded(&self) -> Result<(), SharingError> {
        let height = self.contracts.chain.head().await?.number;
        for seen in self.table().unrecorded(UNRECORDED_MAX)? {
            let Unrecorded { id, root, sightings, height: last } = seen;
            let found = self.recorded_root(id).await?;
            if found == Some(root) {
                // Until its key is published, where it is public.
            } else if found.is_some() || sightings >= SIGHTINGS_MAX {
                self.forget_unrecorded(id, root)?;
                tracing::info!(object = %id.object, version = %id.version, "let go of a version that was never recorded");
            } else if height > last {
                let sightings = sightings.saturating_add(1);
                self.table().sighted(&Unrecorded { sightings, height, ..seen })?;
            }
        }
        Ok(())
    }

    /// The root that the chain has for an own version.
    async fn recorded_root(&self, id: VersionId) -> Result<Option<B256>, SharingError> {
        match self.contracts.record(id.object, Some(id.version)).await {
            Ok(record) => Ok(Some(record.root)),
            Err(SharingError::UnknownObject(_) | SharingError::UnknownVersion(..)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends what the node, or a chain that was busy, left undone after own versions were recorded.
    ///
    /// # Errors
    /// The last failure, after all were tried.
    pub(crate) async fn publish_missing(&self) -> Result<(), SharingError> {
        let mut outcome = Ok(());
        for Unrecorded { id, root, .. } in self.table().unrecorded(UNRECORDED_MAX)? {
            if self.recorded_root(id).await? == Some(root)
                && let Err(error) = self.finish_recording(id, root).await
            {
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Publishes what goes with the visibility of a recorded version, if the newest one has the same.
    async fn finish_recording(&self, id: VersionId, root: B256) -> Result<(), SharingError> {
        // A put, an update or a narrowing under way is finished first.
        let _writer = self.writing(id.object).await;
        let record = self.contracts.record(id.object, Some(id.version)).await?;
        let newest = self.contracts.latest(id.object).await?;
        let visibility = self.contracts.visibility(id.object, newest).await?;
        if self.contracts.visibility(id.object, id.version).await? == visibility
            && let Some(key) = self.keyring.key(id.object, record.keyEpoch)?
        {
            self.publish_key(id.object, record.keyEpoch, &key, visibility).await?;
        }
        self.table().end_recording(id, root)
    }
}

/// Where a replica belongs, if it does not belong here.
fn moved(me: DcId, members: &[Member], id: VersionId, replica: Replica) -> Option<Moved> {
    let others = usize::try_from(replica.others).unwrap_or(usize::MAX).max(REPLICAS_OTHER);
    let keepers: Vec<_> = rank(id.object, members).into_iter().take(others).collect();
    let enough = keepers.len() >= REPLICAS_OTHER && replica.whole;
    (enough && !keepers.contains(&me)).then_some(Moved { id, replica, keepers })
}
