//! Put and update (C1, C2): a fresh key, ciphertext to the swarm, the record to the chain, replicas to other members.
//!
//! The order keeps a crash harmless: key, blocks and pin are written first, all or none in one durable write, whose flush
//! concurrent puts share; then the version is recorded. What a crash leaves behind before the record is ciphertext that
//! nobody refers to. Upkeep publishes a public object's key that a crash after the record left unpublished.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use alloy_primitives::B256;
use cid::Cid;
use hansa_api::{Content, ObjectKind, Progress, ProgressSink, PutMeta, PutReceipt, Stage};
use hansa_content::{Block, BlockStore, DAG_CBOR, Hold, RAW, Staged};
use hansa_contracts::abi;
use hansa_envelope::{
    AudienceKey, DataKey, DekContext, Entry, Kind, Manifest, MemberKeys, ObjectRoot, RootParts, VersionKeys,
    check_name, root_cid, wrap_dek,
};
use hansa_kv::Batch;
use hansa_ports::{ChainError, ChainReceipt};
use hansa_types::{DcId, Member, ObjectId, Version, Visibility};

use crate::{
    OpenMode, Sharing, SharingError,
    awaiting::Wanted,
    contracts::refused_with,
    deposits::Depositing,
    ingest::{Ingested, ingest, stage_leaves},
    keyring::Known,
    replicate::{Table, VersionId},
    sharing::Inner,
};

/// How often a record is made anew when its number or version was taken meanwhile.
const ATTEMPTS: u32 = 5;

/// Content that is encrypted and stored, not yet described or recorded.
struct Sealed {
    dek: DataKey,
    versions: VersionKeys,
    ingested: Ingested,
}

/// What the owner says about a version. Who may read it is not part of this: that is read when the version is signed.
struct About {
    name: String,
    kind: Kind,
    created_at: u64,
    valid_until: u64,
}

/// The version that is to be recorded, and who may read it.
#[derive(Clone, Copy)]
struct Place {
    object: ObjectId,
    version: Version,
    visibility: Visibility,
}

/// A version whose key and blocks are durable and pinned.
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
    /// See [`SharingError`]; nothing is recorded then, except with [`hansa_ports::ChainError::NotFinal`].
    pub async fn put(
        &self,
        meta: PutMeta,
        source: Box<dyn Content>,
        progress: ProgressSink,
    ) -> Result<PutReceipt, SharingError> {
        let started = Instant::now();
        let me = self.0.contracts.me().await?;
        let name = meta.name.clone().unwrap_or_default();
        check_name(&name)?;
        let about = about(&meta, name);
        let mut sealed = self.0.encrypt(&meta, &about, source, &progress).await?;
        for _ in 1..ATTEMPTS {
            let object = self.0.next_number(me.dc_id).await?;
            let visibility = meta.visibility.unwrap_or(Visibility::Listed);
            let place = Place { object, version: Version(1), visibility };
            // Until its key is published: a narrowing must not come between the record and the key.
            let writer = self.0.writing(object).await;
            let recorded = self.0.record_new(&me, place, &about, &mut sealed, &progress).await;
            drop(writer);
            match recorded {
                Err(SharingError::Chain(e)) if refused_with::<abi::DataStore::DataStoreNumberTaken>(&e) => {
                    self.0.numbers_taken(me.dc_id).await?;
                }
                other => return self.receipt(object, other?, &meta, &sealed, started, &progress).await,
            }
        }
        Err(SharingError::Conflict(self.0.next_number(me.dc_id).await?))
    }

    /// Protects content as the next version of an own object. The visibility stays, and the name unless `meta` gives
    /// another; the audience's key changes if somebody lost access since the last version.
    ///
    /// # Errors
    /// As [`Sharing::put`]; [`SharingError::NotOwner`], [`SharingError::UnknownObject`].
    pub async fn update(
        &self,
        object: ObjectId,
        meta: PutMeta,
        source: Box<dyn Content>,
        progress: ProgressSink,
    ) -> Result<PutReceipt, SharingError> {
        let started = Instant::now();
        let me = self.0.owner(object).await?;
        self.0.contracts.latest(object).await?;
        let name = match &meta.name {
            Some(name) => name.clone(),
            None => self.name(object).await?,
        };
        check_name(&name)?;
        let about = about(&meta, name);
        let mut sealed = self.0.encrypt(&meta, &about, source, &progress).await?;
        let recorded = self.0.record_next(&me, object, &about, &mut sealed, &progress).await?;
        self.receipt(object, recorded, &meta, &sealed, started, &progress).await
    }

    /// What an own object is called: as remembered, or else as its latest manifest says.
    async fn name(&self, object: ObjectId) -> Result<String, SharingError> {
        if let Some(known) = self.0.keyring.known(object)? {
            return Ok(known.name);
        }
        Ok(self.open(object, None, OpenMode::Ordinary).await?.manifest.name)
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
        self.0.swarm.announce(stored.root);
        let wanted = Wanted {
            id: VersionId::new(object, Version(stored.record.version)),
            root: stored.root,
            bytes: sealed.ingested.content.size,
            others: meta.replicas,
        };
        let keepers = self.0.await_keepers(wanted, progress).await?;
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
            replicas: keepers.members,
            asked: keepers.asked,
        })
    }
}

fn about(meta: &PutMeta, name: String) -> About {
    About {
        name,
        kind: match meta.kind {
            ObjectKind::File => Kind::File,
            ObjectKind::Directory => Kind::Directory,
        },
        created_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        valid_until: meta.valid_until.unwrap_or(0),
    }
}

impl Inner {
    async fn encrypt(
        &self,
        meta: &PutMeta,
        about: &About,
        mut source: Box<dyn Content>,
        progress: &ProgressSink,
    ) -> Result<Sealed, SharingError> {
        let (store, progress, total) = (self.store.clone(), Arc::clone(progress), meta.size);
        let spare = self.room.spare();
        let file_name = (about.kind == Kind::File).then(|| about.name.clone());
        Self::blocking(move || {
            let dek = DataKey::generate()?;
            let (versions, key) = VersionKeys::create(&dek)?;
            let ingested = ingest(&mut *source, file_name.as_deref(), key, &store, spare, total, progress)?;
            Ok(Sealed { dek, versions, ingested })
        })
        .await
    }

    /// An object number that this node has not given out, and that was free when it last looked. The contract judges.
    async fn next_number(&self, owner: DcId) -> Result<ObjectId, SharingError> {
        if !self.numbers.is_known() {
            self.numbers_taken(owner).await?;
        }
        let number = self.numbers.take().ok_or(SharingError::NumbersUsedUp(owner))?;
        Ok(ObjectId { owner, number })
    }

    /// Goes on above the numbers that the chain has: another program of the owner gives out numbers too.
    async fn numbers_taken(&self, owner: DcId) -> Result<(), SharingError> {
        let newest = self.contracts.numbers(owner, 1).await?.first().copied().unwrap_or(0);
        self.numbers.raise(newest.max(self.contracts.count(owner).await?));
        Ok(())
    }

    /// Records content as the version after the newest. Visibility and key epoch are read under the object's lock, after
    /// the upload, so that a narrowing in between holds for the new version.
    async fn record_next(
        &self,
        me: &Member,
        object: ObjectId,
        about: &About,
        sealed: &mut Sealed,
        progress: &ProgressSink,
    ) -> Result<(Stored, ChainReceipt), SharingError> {
        let _writer = self.writing(object).await;
        for _ in 1..ATTEMPTS {
            let newest = self.contracts.record(object, None).await?;
            let visibility = self.contracts.visibility(object, Version(newest.version)).await?;
            let version = Version(newest.version.checked_add(1).ok_or(SharingError::Conflict(object))?);
            let place = Place { object, version, visibility };
            self.rotate_if_due(object, &newest).await?;
            match self.record_new(me, place, about, sealed, progress).await {
                Err(SharingError::Chain(e))
                    if refused_with::<abi::DataStore::DataStoreVersionOutOfOrder>(&e) => {}
                other => {
                    let (stored, recorded) = other?;
                    self.after_rotation(object, stored.record.keyEpoch).await;
                    return Ok((stored, recorded));
                }
            }
        }
        Err(SharingError::Conflict(object))
    }

    /// Has the next version encrypted under a new key where a member that may hold the newest one's may no longer read without limits.
    async fn rotate_if_due(
        &self,
        object: ObjectId,
        newest: &abi::RecordedVersion,
    ) -> Result<(), SharingError> {
        let (version, epoch) = (Version(newest.version), newest.keyEpoch);
        let epochs = self.keyring.epochs(object)?;
        if !epochs.rotate
            && self.contracts.has_former_reader(object, version, (epoch, epochs.by_version)).await?
        {
            self.keyring.rotate(object)?;
        }
        Ok(())
    }

    /// Stores and records a version. The caller holds the object's lock.
    async fn record_new(
        &self,
        me: &Member,
        place: Place,
        about: &About,
        sealed: &mut Sealed,
        progress: &ProgressSink,
    ) -> Result<(Stored, ChainReceipt), SharingError> {
        let Place { object, version, visibility } = place;
        let depositing = self.depositing(object, version).await?;
        let (stored, kek) = self.store_version(place, about, sealed, depositing).await?;
        let report = |done| {
            let unit = "transactions".to_owned();
            progress(Progress { stage: Stage::Record, done, total: Some(1), unit });
        };
        report(0);
        let recorded = match self.contracts.record_version(me.dc_id, stored.record.clone()).await {
            Err(error) => {
                if can_never_be_recorded(&error) {
                    self.forget_unrecorded(VersionId::new(object, version), stored.record.root)?;
                }
                return Err(error);
            }
            Ok(recorded) => recorded,
        };
        report(1);
        let (keyring, known) = (self.keyring.clone(), known(version, about, sealed));
        Self::blocking(move || keyring.remember(object, &known)).await?;
        self.publish_key(object, stored.record.keyEpoch, &kek, visibility).await?;
        self.table().end_recording(VersionId::new(object, version), stored.record.root)?;
        Ok((stored, recorded))
    }

    /// Deposits a new epoch's key with the grants without limits that had the old one's; again with the next version, if this fails or the
    /// node ends first. The version is recorded whatever becomes of this: a member without a deposit asks this node.
    async fn after_rotation(&self, object: ObjectId, epoch: u32) {
        if let Err(error) = self.renew_if_new(object, epoch).await {
            tracing::warn!(%object, %error, "not every grant got the new key deposited");
        }
    }

    async fn renew_if_new(&self, object: ObjectId, epoch: u32) -> Result<(), SharingError> {
        if self.keyring.epochs(object)?.renew
            && let Some(key) = self.keyring.key(object, epoch)?
        {
            self.renew_deposits(object, epoch, key).await?;
            let keyring = self.keyring.clone();
            Self::blocking(move || keyring.renewed(object)).await?;
        }
        Ok(())
    }

    /// Describes, wraps and stores a version under the object's audience key. Key, blocks and pin are durable when it
    /// returns, in one write.
    async fn store_version(
        &self,
        place: Place,
        about: &About,
        sealed: &mut Sealed,
        depositing: Depositing,
    ) -> Result<(Stored, AudienceKey), SharingError> {
        let Place { object, version, visibility } = place;
        let chain_id = self.contracts.chain.chain_id();
        let Sealed { dek, versions, ingested } = sealed;
        let mut staged = ingested.staged.take().unwrap_or_default();
        let manifest = manifest(chain_id, object, version, about, ingested.entries.clone(), ingested.size);
        let commitment = versions.plaintext_commitment(&manifest.digest(), ingested.size)?;
        let (content, length) = (ingested.content.root, ingested.content.size);
        let size_class = ingested.layout.padded_length();
        let (created_at, valid_until) = (about.created_at, about.valid_until);
        let (dek, versions, keyring) = (dek.clone(), versions.clone(), self.keyring.clone());
        let (store, keys) = (self.store.clone(), Arc::clone(&self.contracts.keys));
        let (root, kek, hold) = Self::blocking(move || {
            let mut changes = Batch::new();
            let (epoch, kek) = keyring.key_for_next(object, &mut changes)?;
            let key_commitment = versions.key_commitment();
            let context = DekContext { chain_id, object, version, epoch, key_commitment };
            let wrapped = wrap_dek(&kek, &dek, &context)?;
            let (manifest, hold) = stage_manifest(&store, &manifest, &keys, &versions, &mut staged)?;
            let deposits = stage_deposits(&store, &depositing, (version, &dek), &hold, &mut staged)?;
            let owner_key = keyring.wrapped_for_owner(chain_id, object, epoch, &kek)?;
            let parts = RootParts {
                manifest: manifest.0,
                manifest_salt: manifest.1,
                content,
                content_length: length,
                wrapped_key: wrapped,
                key_epoch: epoch,
                owner_key,
                deposits,
                commitment,
                size_class,
                created_at,
                valid_until,
            };
            let root = ObjectRoot::new(&versions, parts);
            let block = Block::new(DAG_CBOR, root.encode()?)?;
            store.stage(&block, &hold, &mut staged)?;
            let (id, digest) = (VersionId::new(object, version), root.digest()?);
            Table::add_unrecorded(&mut changes, id, digest);
            Table::add_held(&mut changes, digest);
            store.commit(staged, block.cid(), &id.label(), changes)?;
            Ok((root, kek, hold))
        })
        .await?;
        let record = abi::Record {
            number: object.number,
            version: version.0,
            root: root.digest()?,
            commitment,
            visibility: visibility.code(),
            keyEpoch: root.key_epoch,
            sizeClass: size_class,
            createdAt: created_at,
            validUntil: valid_until,
        };
        let holds = [hold, Arc::clone(&ingested.content.hold)];
        Ok((Stored { root: root_cid(record.root), record, _holds: holds }, kek))
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

/// Signs, seals and stages a manifest; returns its CID with the salt of its key.
fn stage_manifest(
    store: &BlockStore,
    manifest: &Manifest,
    keys: &MemberKeys,
    versions: &VersionKeys,
    staged: &mut Staged,
) -> Result<((Cid, B256), Arc<Hold>), SharingError> {
    let (key, salt) = versions.seal_manifest(manifest.object, manifest.version)?;
    let stored = stage_leaves(store, manifest.sign(keys)?.seal(key)?, staged)?;
    Ok(((stored.root, salt), stored.hold))
}

/// Seals and stages the deposits that travel with a version; returns the CID of their block.
fn stage_deposits(
    store: &BlockStore,
    depositing: &Depositing,
    (version, key): (Version, &DataKey),
    hold: &Hold,
    staged: &mut Staged,
) -> Result<Option<Cid>, SharingError> {
    let Some(sealed) = depositing.seal(version, key) else { return Ok(None) };
    let block = Block::new(RAW, sealed.into())?;
    store.stage(&block, hold, staged)?;
    Ok(Some(*block.cid()))
}

/// Whether a record that failed stays without effect for ever, so that its root need not be kept. A signed record that
/// left this node and was not refused by its contract can still be sent by somebody else.
fn can_never_be_recorded(error: &SharingError) -> bool {
    match error {
        SharingError::Chain(ChainError::Reverted { data, .. }) => !data.is_empty(),
        SharingError::Chain(ChainError::Refused(_)) => true,
        _ => false,
    }
}
