//! Put and update (C1, C2): a fresh key, ciphertext to the swarm, the record to the chain, replicas to other members.
//!
//! The order keeps a crash harmless: keys durable, blocks durable and pinned, then the record. What a crash leaves behind
//! before the record is ciphertext that nobody refers to.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use alloy_primitives::B256;
use bytes::Bytes;
use cid::Cid;
use hansa_content::{Block, BlockStore, DAG_CBOR, Hold};
use hansa_contracts::abi;
use hansa_envelope::{
    AudienceKey, DataKey, DekContext, Entry, Kind, Manifest, MemberKeys, ObjectRoot, VersionKeys, wrap_dek,
};
use hansa_types::{
    DcId, Member, MemberStatus, ObjectId, Version, Visibility,
    api::{ObjectKind, Progress, PutMeta, PutReceipt, Stage},
};

use crate::{
    ChainReceipt, ProgressSink, Sharing, SharingError, Source, allocate,
    contracts::refused_with,
    ingest::{Ingested, ingest, store_leaves},
    keyring::Known,
    replicate,
    sharing::{Holding, Inner},
};

/// How long a put waits for the replicas it asked for.
const REPLICAS_SECONDS_MAX: u64 = 60;
/// How long a member may be silent before a put no longer waits for it.
const AWAY_SECONDS: u64 = 3;
/// How often the members are asked whether they hold a new version.
const REPLICAS_POLL: Duration = Duration::from_millis(50);
/// How often a record is made anew when its number or version was taken meanwhile.
const ATTEMPTS: u32 = 5;

/// Content that is encrypted and stored, not yet described or recorded.
struct Sealed {
    dek: DataKey,
    versions: VersionKeys,
    ingested: Ingested,
}

/// What is said about a version.
#[derive(Clone)]
struct About {
    name: String,
    kind: Kind,
    created_at: u64,
    valid_until: u64,
    visibility: Visibility,
}

/// A version whose blocks are durable and pinned.
struct Stored {
    root: Cid,
    record: abi::Record,
    _holds: [Arc<Hold>; 2],
}

impl Sharing {
    /// Protects content as a new object, and waits for replicas as `meta` asks (two other members where it says
    /// nothing). Too few replicas in time are told in the receipt, not an error: the record is final.
    ///
    /// # Errors
    /// See [`SharingError`]; nothing is recorded then, except with [`crate::ChainError::NotFinal`].
    pub async fn put(
        &self,
        meta: PutMeta,
        source: Box<dyn Source>,
        progress: ProgressSink,
    ) -> Result<PutReceipt, SharingError> {
        let started = Instant::now();
        let me = self.0.contracts.me().await?;
        let about = about(&meta, meta.visibility.unwrap_or(Visibility::Listed));
        let sealed = self.0.encrypt(&meta, source, &progress).await?;
        for _ in 1..ATTEMPTS {
            let object = self.0.next_number(me.dc_id).await?;
            match self.0.record_new(&me, object, Version(1), &about, &sealed, &progress).await {
                Err(SharingError::Chain(e)) if refused_with::<abi::DataStore::DataStoreNumberTaken>(&e) => {}
                other => return self.receipt(object, other?, &meta, &sealed, started, &progress).await,
            }
        }
        Err(SharingError::Conflict(self.0.next_number(me.dc_id).await?))
    }

    /// Protects content as the next version of an own object. The visibility stays; the audience's key changes if
    /// somebody lost access since the last version.
    ///
    /// # Errors
    /// As [`Sharing::put`]; [`SharingError::NotOwner`], [`SharingError::UnknownObject`].
    pub async fn update(
        &self,
        object: ObjectId,
        meta: PutMeta,
        source: Box<dyn Source>,
        progress: ProgressSink,
    ) -> Result<PutReceipt, SharingError> {
        let started = Instant::now();
        let me = self.0.owner(object).await?;
        let latest = self.0.contracts.record(object, None).await?;
        let about = about(&meta, self.0.contracts.visibility(object, Version(latest.version)).await?);
        let sealed = self.0.encrypt(&meta, source, &progress).await?;
        let _writer = self.0.writing(object).await;
        for _ in 1..ATTEMPTS {
            let version = Version(self.0.contracts.latest(object).await?.0.saturating_add(1));
            match self.0.record_new(&me, object, version, &about, &sealed, &progress).await {
                Err(SharingError::Chain(e))
                    if refused_with::<abi::DataStore::DataStoreVersionOutOfOrder>(&e) => {}
                other => {
                    let (stored, recorded) = other?;
                    self.0.after_rotation(object, latest.keyEpoch, stored.record.keyEpoch).await;
                    let outcome = (stored, recorded);
                    return self.receipt(object, outcome, &meta, &sealed, started, &progress).await;
                }
            }
        }
        Err(SharingError::Conflict(object))
    }

    async fn receipt(
        &self,
        object: ObjectId,
        (stored, final_): (Stored, ChainReceipt),
        meta: &PutMeta,
        sealed: &Sealed,
        started: Instant,
        progress: &ProgressSink,
    ) -> Result<PutReceipt, SharingError> {
        let seconds = started.elapsed().as_secs_f64();
        self.0.swarm.announce(stored.root).await;
        let replicas = self.0.await_replicas(object, stored.root, meta.replicas, progress).await?;
        let files = sealed.ingested.entries.iter().filter(|e| e.kind == hansa_envelope::EntryKind::File);
        Ok(PutReceipt {
            id: object,
            version: Version(stored.record.version),
            cid: stored.root.to_string(),
            size: sealed.ingested.size,
            files: files.count() as u64,
            transaction: final_.transaction,
            block: final_.block,
            seconds,
            replicas,
        })
    }
}

fn about(meta: &PutMeta, visibility: Visibility) -> About {
    About {
        name: meta.name.clone(),
        kind: match meta.kind {
            ObjectKind::File => Kind::File,
            ObjectKind::Directory => Kind::Directory,
        },
        created_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        valid_until: meta.valid_until.unwrap_or(0),
        visibility,
    }
}

impl Inner {
    async fn encrypt(
        &self,
        meta: &PutMeta,
        mut source: Box<dyn Source>,
        progress: &ProgressSink,
    ) -> Result<Sealed, SharingError> {
        let (store, progress, total) = (self.store.clone(), Arc::clone(progress), meta.size);
        Self::blocking(move || {
            let dek = DataKey::generate()?;
            let versions = VersionKeys::create(&dek)?;
            let ingested = ingest(&mut *source, versions.content()?, &store, total, progress)?;
            Ok(Sealed { dek, versions, ingested })
        })
        .await
    }

    /// The next free object number: above every number that this node gave out or the chain has.
    async fn next_number(&self, owner: DcId) -> Result<ObjectId, SharingError> {
        let mut last = self.numbers.lock().await;
        let newest = self.contracts.numbers(owner, 1).await?.first().copied().unwrap_or(0);
        let count = self.contracts.count(owner).await?;
        *last = (*last).max(newest).max(count).saturating_add(1);
        Ok(ObjectId { owner, number: *last })
    }

    async fn record_new(
        &self,
        me: &Member,
        object: ObjectId,
        version: Version,
        about: &About,
        sealed: &Sealed,
        progress: &ProgressSink,
    ) -> Result<(Stored, ChainReceipt), SharingError> {
        let (epoch, kek) = self.keyring.key_for_next(object)?;
        let stored = self.store_version(object, version, epoch, &kek, about, sealed).await?;
        progress(Progress { stage: Stage::Record, done: 0, total: Some(1), unit: "transactions".to_owned() });
        match self.contracts.record_version(me.dc_id, stored.record.clone()).await {
            Err(error) if !matches!(error, SharingError::Chain(crate::ChainError::NotFinal { .. })) => {
                self.store.unpin(&stored.root, &replicate::label(object, version))?;
                Err(error)
            }
            other => {
                let recorded = other?;
                progress(Progress {
                    stage: Stage::Record,
                    done: 1,
                    total: Some(1),
                    unit: "transactions".to_owned(),
                });
                self.keyring.remember(object, &known(version, about, sealed))?;
                self.publish_if_public(object, epoch, &kek, about.visibility).await?;
                Ok((stored, recorded))
            }
        }
    }

    /// Deposits a new epoch's key where the old one's was. The version is recorded whatever becomes of this: who has no
    /// deposit asks this node.
    async fn after_rotation(&self, object: ObjectId, before: u32, epoch: u32) {
        let renewed = match self.keyring.key(object, epoch) {
            Ok(Some(key)) if epoch != before => self.renew_deposits(object, epoch, &key).await,
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = renewed {
            tracing::warn!(%object, %error, "not every grant got the new key deposited");
        }
    }

    /// A public object can be read by everybody only when its key is on the chain.
    async fn publish_if_public(
        &self,
        object: ObjectId,
        epoch: u32,
        kek: &AudienceKey,
        visibility: Visibility,
    ) -> Result<(), SharingError> {
        let public = visibility == Visibility::Public;
        if public && self.contracts.published_key(object, epoch).await?.is_none() {
            self.contracts.set_visibility(object, Visibility::Public, epoch, Some(kek)).await?;
        }
        Ok(())
    }

    /// Describes, wraps and stores a version; durable and pinned when it returns.
    async fn store_version(
        &self,
        object: ObjectId,
        version: Version,
        epoch: u32,
        kek: &AudienceKey,
        about: &About,
        sealed: &Sealed,
    ) -> Result<Stored, SharingError> {
        let chain_id = self.contracts.chain.chain_id();
        let ingested = &sealed.ingested;
        let manifest = manifest(chain_id, object, version, about, ingested.entries.clone(), ingested.size);
        let digest = manifest.digest();
        let leaves = sign_and_seal(manifest, &self.contracts.keys, &sealed.versions)?;
        let context =
            DekContext { chain_id, object, version, epoch, key_commitment: sealed.versions.key_commitment() };
        let wrapped = wrap_dek(kek, &sealed.dek, &context)?;
        let commitment = sealed.versions.plaintext_commitment(&digest, ingested.size)?;
        let (store, kv) = (self.store.clone(), Arc::clone(&self.kv));
        let (content, salt_keys) = (ingested.content.root, sealed.versions.clone());
        let length = ingested.content.size;
        let (root, root_digest, manifest_hold) = Self::blocking(move || {
            let manifest = store_leaves(&store, leaves)?;
            let root = ObjectRoot::new(manifest.root, content, length, &salt_keys, wrapped, epoch);
            let cid = store_root(&store, &root, &replicate::label(object, version))?;
            replicate::mark_held(&*kv, cid)?;
            Ok((cid, root.digest()?, manifest.hold))
        })
        .await?;
        let record = abi::Record {
            number: object.number,
            version: version.0,
            root: root_digest,
            commitment,
            visibility: about.visibility.code(),
            keyEpoch: epoch,
            sizeClass: ingested.layout.padded_length(),
            createdAt: about.created_at,
            validUntil: about.valid_until,
        };
        Ok(Stored { root, record, _holds: [manifest_hold, Arc::clone(&ingested.content.hold)] })
    }

    /// Waits until enough other members hold all of a new version; returns everybody who does.
    async fn await_replicas(
        &self,
        object: ObjectId,
        root: Cid,
        wanted: Option<u32>,
        progress: &ProgressSink,
    ) -> Result<Vec<DcId>, SharingError> {
        let members = self.contracts.chain.members().await?;
        let allocated = allocate(object, &members);
        let keepers: Vec<Member> = members
            .iter()
            .filter(|m| {
                m.status == MemberStatus::Active && m.dc_id != object.owner && allocated.contains(&m.dc_id)
            })
            .cloned()
            .collect();
        let wanted =
            wanted.map_or(keepers.len(), |n| usize::try_from(n).unwrap_or(usize::MAX)).min(keepers.len());
        let deadline = tokio::time::Instant::now()
            .checked_add(Duration::from_secs(REPLICAS_SECONDS_MAX))
            .unwrap_or_else(tokio::time::Instant::now);
        let mut holding = vec![object.owner];
        let mut silent = HashMap::new();
        let mut poll = tokio::time::interval(REPLICAS_POLL);
        let away = |since: &tokio::time::Instant| since.elapsed() > Duration::from_secs(AWAY_SECONDS);
        while holding.len() <= wanted && tokio::time::Instant::now() < deadline {
            poll.tick().await;
            for keeper in &keepers {
                if holding.contains(&keeper.dc_id) || silent.get(&keeper.dc_id).is_some_and(away) {
                    continue;
                }
                match self.peer_holding(keeper, root).await {
                    Holding::Whole => holding.push(keeper.dc_id),
                    Holding::Partly => drop(silent.remove(&keeper.dc_id)),
                    Holding::Unknown => {
                        silent.entry(keeper.dc_id).or_insert_with(tokio::time::Instant::now);
                    }
                }
            }
            progress(Progress {
                stage: Stage::Replicate,
                done: holding.len().saturating_sub(1) as u64,
                total: Some(wanted as u64),
                unit: "replicas".to_owned(),
            });
            // Nobody is left who could still answer: the missing ones catch up by themselves when they return.
            if keepers.iter().all(|k| holding.contains(&k.dc_id) || silent.get(&k.dc_id).is_some_and(away)) {
                break;
            }
        }
        holding.sort_unstable();
        Ok(holding)
    }
}

fn known(version: Version, about: &About, sealed: &Sealed) -> Known {
    Known { version, name: about.name.clone(), kind: about.kind, size: sealed.ingested.size }
}

fn manifest(
    chain_id: u64,
    object: ObjectId,
    version: Version,
    about: &About,
    entries: Vec<Entry>,
    size: u64,
) -> Manifest {
    Manifest {
        format: Manifest::FORMAT,
        chain_id,
        object,
        version,
        name: about.name.clone(),
        kind: about.kind,
        media_type: String::new(),
        created_at: about.created_at,
        size,
        entries,
    }
}

fn sign_and_seal(
    manifest: Manifest,
    keys: &MemberKeys,
    versions: &VersionKeys,
) -> Result<Vec<Bytes>, SharingError> {
    Ok(manifest.sign(keys)?.seal(versions.manifest()?)?)
}

fn store_root(store: &BlockStore, root: &ObjectRoot, label: &str) -> Result<Cid, SharingError> {
    let block = Block::new(DAG_CBOR, root.encode()?)?;
    store.pin(block.cid(), label)?;
    store.put(&block)?;
    debug_assert_eq!(root.digest().ok(), B256::try_from(block.cid().hash().digest()).ok());
    Ok(*block.cid())
}
