//! The service's parts and what its operations have in common.

use std::{collections::HashMap, sync::Arc, time::Duration};

use alloy_primitives::B256;
use cid::Cid;
use hansa_api::{Fetching, ReplicationStatus, ScrubStatus};
use hansa_content::BlockStore;
use hansa_envelope::{MANIFEST_BYTES_MAX, MemberKeys, root_cid};
use hansa_kv::KvStore;
use hansa_ports::{Chain, Depository, Swarm};
use hansa_types::{DcId, Member, MemberStatus, NetworkKey, ObjectId, Version};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedMutexGuard, Semaphore},
    task::JoinHandle,
};

use crate::{
    Responder, SharingError, SharingSettings, SpaceFn, allocate,
    contracts::Contracts,
    fetches::Fetches,
    flights::Flights,
    keyring::Keyring,
    notices::Notices,
    numbers::Numbers,
    replicate::{self, Room, Table},
    rewrap,
    scrub::{self, Scrubbed},
    turns::Turns,
};

/// Manifests that are read at the same time have at most this many MiB together: as many as the longest one has.
const MANIFESTS_MIB_MAX: usize = MANIFEST_BYTES_MAX >> 20;
/// Keys that one owner's node is asked for at the same time; half of what it answers one peer.
const KEYS_ASKED_MAX: usize = 16;

/// What a member's node says about a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holding {
    /// It holds all of it.
    Whole,
    /// It holds some or nothing of it.
    Partly,
    /// It does not answer.
    Unknown,
}

/// What the service is made of.
pub struct Parts {
    /// The chain, for this member's account.
    pub chain: Arc<dyn Chain>,
    /// The swarm.
    pub swarm: Arc<dyn Swarm>,
    /// The consortium as a keeper of deposited keys.
    pub depository: Arc<dyn Depository>,
    /// This member's keys.
    pub keys: MemberKeys,
    /// The store with [`crate::spaces`].
    pub kv: Arc<dyn KvStore>,
    /// The blocks. Their index must be in `kv`, so that one flush makes an object's blocks and keys durable.
    pub store: BlockStore,
    /// Answers the other members' nodes; it shares what they tell with the service.
    pub responder: Arc<Responder>,
    /// Measures the disk that the blocks are on.
    pub space: SpaceFn,
    /// Limits and intervals.
    pub settings: SharingSettings,
}

/// Figures about what a node stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// Length of the files with large blocks. The part that was freed within a file is counted until the file goes.
    pub segment_bytes: u64,
    /// Other members' versions that are wholly kept here.
    pub replicas: u64,
    /// Versions that wait in memory to be fetched: of each owner 2,048 at most, the others are on the disk.
    pub replicas_waiting: u64,
    /// What the background check has done since the node started.
    pub scrubbed: ScrubStatus,
}

/// What members do with data. Cloning is cheap.
#[derive(Clone)]
pub struct Sharing(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) contracts: Contracts,
    pub(crate) swarm: Arc<dyn Swarm>,
    pub(crate) depository: Arc<dyn Depository>,
    pub(crate) keyring: Keyring,
    pub(crate) kv: Arc<dyn KvStore>,
    pub(crate) store: BlockStore,
    pub(crate) fetches: Arc<Fetches>,
    /// Openings under way.
    pub(crate) flights: Flights,
    /// Room for manifests in memory, in MiB.
    pub(crate) manifests: Semaphore,
    /// Places for questions to each owner.
    pub(crate) asking: Turns<DcId>,
    pub(crate) numbers: Numbers,
    pub(crate) notices: Arc<Notices>,
    pub(crate) room: Room,
    pub(crate) settings: SharingSettings,
    pub(crate) scrubbed: Scrubbed,
    /// One writer for each object, so that this node does not compete with itself.
    writers: Mutex<HashMap<ObjectId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Sharing {
    /// Assembles the service. Starts nothing.
    ///
    /// # Errors
    /// Only when the cryptographic library fails.
    pub fn new(parts: Parts) -> Result<Self, SharingError> {
        let Parts { chain, swarm, depository, keys, kv, store, responder, space, settings } = parts;
        let keyring = Keyring::new(Arc::clone(&kv), &keys)?;
        let contracts = Contracts::new(chain, keys);
        Ok(Self(Arc::new(Inner {
            contracts,
            swarm,
            depository,
            keyring,
            kv,
            store,
            fetches: Arc::default(),
            flights: Flights::default(),
            manifests: Semaphore::new(MANIFESTS_MIB_MAX),
            asking: Turns::new(KEYS_ASKED_MAX),
            numbers: Numbers::default(),
            notices: Arc::clone(&responder.notices),
            room: Room::new(settings.replication.clone(), space),
            settings,
            scrubbed: Scrubbed::default(),
            writers: Mutex::default(),
        })))
    }

    /// Starts keeping the replicas that the chain allocates to this node.
    pub fn start_replication(&self) -> JoinHandle<()> {
        tokio::spawn(replicate::run(self.clone()))
    }

    /// Starts wrapping deposited keys anew for members that got new keys.
    pub fn start_rewrapping(&self) -> JoinHandle<()> {
        tokio::spawn(rewrap::run(self.clone()))
    }

    /// Starts giving back the room of blocks that no version needs, soon and then regularly.
    pub fn start_collecting(&self, every: Duration) -> JoinHandle<()> {
        tokio::spawn(self.clone().collect_regularly(every))
    }

    /// Starts reading the block store slowly, again and again, and repairing what has rotted.
    pub fn start_scrubbing(&self) -> JoinHandle<()> {
        tokio::spawn(scrub::run(self.clone()))
    }

    /// What scrubbing has done since the node started.
    pub fn scrubbed(&self) -> ScrubStatus {
        self.0.scrubbed.status()
    }

    /// Figures about what this node stores. Costs little.
    pub fn store_figures(&self) -> StoreFigures {
        let (replicas, waiting) = self.0.room.counts();
        StoreFigures {
            segment_bytes: self.0.store.segment_bytes(),
            replicas,
            replicas_waiting: waiting,
            scrubbed: self.scrubbed(),
        }
    }

    /// How this node stands with the replicas that it keeps for other members.
    pub fn replication(&self) -> ReplicationStatus {
        self.0.room.status()
    }

    /// The versions whose blocks are being fetched, for openings and for replicas.
    pub fn fetching(&self) -> Vec<Fetching> {
        self.0.fetches.list()
    }

    /// The members whose nodes say that they hold all blocks of a version, in the order of their `dcId`.
    ///
    /// # Errors
    /// When the object or version does not exist, or the ledger cannot be read.
    pub async fn replicas(&self, object: ObjectId, version: Version) -> Result<Vec<DcId>, SharingError> {
        let record = self.0.contracts.record(object, Some(version)).await?;
        self.0.holders(root_cid(record.root)).await
    }
}

impl Inner {
    /// Waits for this node's other changes to the object.
    pub(crate) async fn writing(&self, object: ObjectId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut writers = self.writers.lock();
            writers.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(writers.entry(object).or_default())
        };
        lock.lock_owned().await
    }

    /// This member, which must own the object.
    pub(crate) async fn owner(&self, object: ObjectId) -> Result<Member, SharingError> {
        let me = self.contracts.me().await?;
        if me.dc_id == object.owner { Ok(me) } else { Err(SharingError::NotOwner(object)) }
    }

    /// The network keys of the members that are to keep an object, its owner included, this node excluded.
    pub(crate) async fn keys_of_keepers(&self, object: ObjectId) -> Result<Vec<NetworkKey>, SharingError> {
        let (me, members) = (self.contracts.me().await?.dc_id, self.contracts.chain.members().await?);
        let keepers = allocate(object, &members);
        let others = members.iter().filter(|member| member.dc_id != me && keepers.contains(&member.dc_id));
        Ok(others.map(|member| member.card.network_key).collect())
    }

    /// Runs blocking work of this crate off the executor.
    pub(crate) async fn blocking<T: Send + 'static>(
        work: impl FnOnce() -> Result<T, SharingError> + Send + 'static,
    ) -> Result<T, SharingError> {
        tokio::task::spawn_blocking(work).await.map_err(|_| SharingError::Worker)?
    }

    /// The active members that hold everything below `root`; those that do not answer in time do not count.
    pub(crate) async fn holders(&self, root: Cid) -> Result<Vec<DcId>, SharingError> {
        let me = self.contracts.me().await?.dc_id;
        let members = self.contracts.chain.members().await?;
        let asked =
            members.iter().filter(|member| member.status == MemberStatus::Active).map(|member| async move {
                let whole = if member.dc_id == me {
                    self.holds(root).await.unwrap_or(false)
                } else {
                    self.peer_holds(member, root).await
                };
                whole.then_some(member.dc_id)
            });
        Ok(futures::future::join_all(asked).await.into_iter().flatten().collect())
    }

    /// Whether this node keeps everything below `root`.
    pub(crate) async fn holds(&self, root: Cid) -> Result<bool, SharingError> {
        let (table, digest) = (self.table(), B256::try_from(root.hash().digest()).unwrap_or_default());
        Self::blocking(move || table.holds(digest)).await
    }

    /// What replication remembers.
    pub(crate) fn table(&self) -> Table {
        Table(Arc::clone(&self.kv))
    }
}
