//! Opening an object (D2, D3): the chain decides, the swarm delivers, the owner or a deposit gives the key.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cid::Cid;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use hansa_content::Hold;
use hansa_contracts::{ContractEvent, RefusalReason, abi};
use hansa_envelope::{
    AudienceKey, DataKey, GrantedDekContext, Manifest, ObjectRoot, VersionKeys, root_cid, unwrap_granted_dek,
};
use hansa_ports::{ChainError, ChainReceipt, SwarmFault};
use hansa_types::{DcId, ObjectId, Version, Visibility};
use tokio::time::timeout;

use crate::{
    Sharing, SharingError,
    content::{measure, read_manifest, stream},
    contracts::reason,
    flights::Boarded,
    keyring::{Known, Pending},
    message::{Answer, Request, decode, encode},
    openings::OpeningAt,
    sharing::Inner,
};

/// How long the owner's node may take to release a key: it waits for its own chain and records the release.
const KEY_SECONDS_MAX: u64 = 20;

/// How to come by the key of another member's object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OpenMode {
    /// Record an opening on the chain, then take the deposited key or ask the owner's node.
    #[default]
    Ordinary,
    /// Ask the owner's node without an opening. It has to refuse, and to record that.
    AskOwnerOnly,
}

/// A version that was opened: authorised, fetched, its manifest checked against the chain.
pub struct OpenedObject {
    /// The object.
    pub object: ObjectId,
    /// The version.
    pub version: Version,
    /// What it contains.
    pub manifest: Manifest,
    sharing: Sharing,
    root: ObjectRoot,
    keys: VersionKeys,
    hold: Arc<Hold>,
    /// The opening that reading uses up.
    pending: Option<Pending>,
}

impl OpenedObject {
    /// All files' bytes back to back, in the manifest's order, each piece authenticated before it is given out. An error
    /// ends the stream; what came before it is good. The opening is used up with the last byte: a reading that breaks off
    /// leaves it for the next one.
    pub fn content(self) -> BoxStream<'static, Result<Bytes, SharingError>> {
        let Self { object, version, manifest, sharing, root, keys, hold, pending } = self;
        let (keyring, mut left) = (sharing.0.keyring.clone(), manifest.size);
        let mut count = move |bytes: u64| {
            left = left.saturating_sub(bytes);
            if left == 0
                && let Some(Pending { since, .. }) = pending
                && let Err(error) = keyring.spend(object, version, since)
            {
                tracing::error!(%object, %version, %error, "an opening could not be marked as used up");
            }
        };
        if left == 0 {
            count(0);
        }
        let pieces = stream(sharing.0.store.clone(), root, keys, manifest, hold);
        pieces.inspect_ok(move |piece| count(piece.len() as u64)).boxed()
    }
}

impl std::fmt::Debug for OpenedObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenedObject({} version {})", self.object, self.version)
    }
}

/// How this member comes by a version's key.
enum Way {
    /// It has the audience key, or anybody has.
    Audience(AudienceKey),
    /// It has the version's key: kept from an earlier opening, or handed out by the owner without one.
    Version(DataKey),
    /// By an opening on the chain.
    Opening,
}

/// A version whose blocks are here.
pub(crate) struct Fetched {
    root: ObjectRoot,
    hold: Arc<Hold>,
    /// Bytes of the sealed manifest.
    manifest_bytes: u64,
}

impl Sharing {
    /// Opens a version, the newest where `version` is `None`. The content is fetched and its sizes are compared before an
    /// opening is spent. Readers of one version at the same time share one opening. A version that this node has opened
    /// before is opened again without the chain after its owner took the access back.
    ///
    /// # Errors
    /// [`SharingError::RefusedByChain`] and [`SharingError::RefusedByOwner`] when access is denied,
    /// [`SharingError::OwnerUnreachable`] when only the owner has the key, [`SharingError::Unavailable`] and
    /// [`SharingError::Damaged`] when the content cannot be had as recorded.
    pub async fn open(
        &self,
        object: ObjectId,
        version: Option<Version>,
        mode: OpenMode,
    ) -> Result<OpenedObject, SharingError> {
        let inner = &self.0;
        let me = inner.contracts.me().await?.dc_id;
        let record = inner.contracts.record(object, version).await?;
        let boarded = inner.flights.board(object, Version(record.version));
        let way = inner.way(me, object, &record, mode, &boarded).await?;
        let fetched = inner.fetch_measured(object, &record).await?;
        let (key, pending) = match way {
            Way::Audience(kek) => (inner.data_key(object, &record, &fetched.root, &kek)?, None),
            Way::Version(key) => (key, None),
            Way::Opening => {
                let obtain = inner.open_on_chain(me, object, &record, &fetched.root);
                let key = boarded.share(obtain).await?;
                (key, inner.keyring.pending(object, Version(record.version))?)
            }
        };
        let opened = self.read(object, &record, fetched, &key).await?;
        let opened = OpenedObject { pending, ..opened };
        let Manifest { name, kind, size, .. } = &opened.manifest;
        let known = Known { version: opened.version, name: name.clone(), kind: *kind, size: *size };
        inner.keyring.remember(object, &known)?;
        Ok(opened)
    }

    /// Fetches a version and opens its manifest with the audience key.
    pub(crate) async fn unlock(
        &self,
        object: ObjectId,
        record: &abi::RecordedVersion,
        kek: &AudienceKey,
    ) -> Result<OpenedObject, SharingError> {
        let fetched = self.0.fetch_measured(object, record).await?;
        let key = self.0.data_key(object, record, &fetched.root, kek)?;
        self.read(object, record, fetched, &key).await
    }

    /// Reads the manifest and compares it with the chain.
    async fn read(
        &self,
        object: ObjectId,
        record: &abi::RecordedVersion,
        Fetched { root, hold, manifest_bytes }: Fetched,
        key: &DataKey,
    ) -> Result<OpenedObject, SharingError> {
        let (chain_id, version) = (self.0.contracts.chain.chain_id(), Version(record.version));
        let keys = root.unlock(key).map_err(|e| SharingError::opening(object, e))?;
        let (store, of, with) = (self.0.store.clone(), root.clone(), keys.clone());
        let mib = u32::try_from(manifest_bytes >> 20).unwrap_or(u32::MAX).max(1);
        let room = self.0.manifests.acquire_many(mib).await.map_err(|_| SharingError::Worker)?;
        let signed =
            Inner::blocking(move || read_manifest(&store, &of, &with, chain_id, object, version)).await?;
        if !self.0.contracts.network_keys(object.owner).await?.contains(&signed.author().0) {
            return Err(SharingError::damaged(
                object,
                "its manifest is signed with a key that is not the owner's",
            ));
        }
        let manifest = signed.into_manifest();
        drop(room);
        // The recorded root binds the commitment, so the event of the record is not needed.
        if root.commitment != keys.plaintext_commitment(&manifest.digest(), manifest.size)? {
            return Err(SharingError::damaged(object, "its root commits to other content"));
        }
        let sharing = self.clone();
        Ok(OpenedObject { object, version, manifest, sharing, root, keys, hold, pending: None })
    }
}

impl Inner {
    /// Has everything of a version here, from the swarm where need be.
    pub(crate) async fn fetch(
        &self,
        object: ObjectId,
        version: Version,
        root: Cid,
    ) -> Result<(ObjectRoot, Arc<Hold>), SharingError> {
        let unavailable = |source| match source {
            SwarmFault::Failed(_) => SharingError::Swarm(source),
            _ => SharingError::Unavailable { object, source },
        };
        let running = self.fetches.begin(object, version);
        let likely = self.keys_of_keepers(object).await?;
        // What is here can be read on a full disk too.
        let (is_here, spare) = (self.store.has(&root)?, self.room.spare());
        let hold = tokio::select! {
            fetched = self.swarm.fetch_dag(root, &likely, running.sink()) => fetched.map_err(unavailable)?,
            full = spare.used_up(), if !is_here => return Err(full),
        };
        drop(running);
        let store = self.store.clone();
        let root = Self::blocking(move || {
            let bytes = store.expect(&root).map_err(|e| SharingError::reading(object, e))?;
            ObjectRoot::decode(&bytes).map_err(|e| SharingError::damaged(object, e))
        })
        .await?;
        Ok((root, hold))
    }

    /// Like [`Inner::fetch`], and refuses sizes that cannot be.
    async fn fetch_measured(
        &self,
        object: ObjectId,
        record: &abi::RecordedVersion,
    ) -> Result<Fetched, SharingError> {
        let (root, hold) = self.fetch(object, Version(record.version), root_cid(record.root)).await?;
        let (store, of) = (self.store.clone(), root.clone());
        let manifest_bytes = Self::blocking(move || measure(&store, &of, object)).await?;
        Ok(Fetched { root, hold, manifest_bytes })
    }

    /// How this member comes by a version's key. Where the chain will refuse, it is asked to, so that the refusal is on
    /// record; nothing is fetched then.
    async fn way(
        &self,
        me: DcId,
        object: ObjectId,
        record: &abi::RecordedVersion,
        mode: OpenMode,
        boarded: &Boarded<'_>,
    ) -> Result<Way, SharingError> {
        let (version, epoch) = (Version(record.version), record.keyEpoch);
        if me == object.owner {
            let key = self.keyring.key(object, epoch)?;
            return key.map(Way::Audience).ok_or(SharingError::KeyMissing { object, epoch });
        }
        if mode == OpenMode::AskOwnerOnly {
            let height = self.contracts.chain.head().await?.number;
            return Ok(Way::Version(self.ask_owner(me, object, version, None, height).await?));
        }
        if self.contracts.visibility(object, version).await? == Visibility::Public
            && let Some(key) = self.contracts.published_key(object, epoch).await?
        {
            return Ok(Way::Audience(key));
        }
        let Some(refusal) = self.contracts.refusal(object, version, me).await? else {
            return Ok(Way::Opening);
        };
        // The opening of a reader that came at the same time may have been the last one permitted.
        if let Some(key) = boarded.landed().await {
            return Ok(Way::Version(key));
        }
        match refusal {
            RefusalReason::Exhausted if self.pending_opening(me, object, version).await?.is_some() => {
                return Ok(Way::Opening);
            }
            RefusalReason::Revoked | RefusalReason::NotGranted => {
                if let Some(key) = self.keyring.version_key(object, version)? {
                    return Ok(Way::Version(key));
                }
            }
            _ => {}
        }
        let OpeningAt { block, .. } = self.new_opening(me, object, version).await?;
        // Permitted meanwhile.
        self.keyring.begin_opening(object, version, block.saturating_sub(1))?;
        Ok(Way::Opening)
    }

    /// A version's data key, unwrapped with its audience's.
    fn data_key(
        &self,
        object: ObjectId,
        record: &abi::RecordedVersion,
        root: &ObjectRoot,
        kek: &AudienceKey,
    ) -> Result<DataKey, SharingError> {
        let chain_id = self.contracts.chain.chain_id();
        root.data_key(kek, chain_id, object, Version(record.version))
            .map_err(|e| SharingError::opening(object, e))
    }

    /// A version's data key by an opening on the chain, and from the deposit or the owner. Kept when it returns.
    ///
    /// That an opening is under way is noted before it is sent. Whatever happens then, the next reader finds it on the
    /// chain, and asks for its key again until that is kept.
    async fn open_on_chain(
        &self,
        me: DcId,
        object: ObjectId,
        record: &abi::RecordedVersion,
        root: &ObjectRoot,
    ) -> Result<DataKey, SharingError> {
        let version = Version(record.version);
        let (opening, pending) = match self.pending_opening(me, object, version).await? {
            Some(left) => left,
            None => self.noted_opening(me, object, version).await?,
        };
        if pending.arrived
            && let Some(key) = self.keyring.version_key(object, version)?
        {
            return Ok(key);
        }
        let key = self.key_by_opening(me, object, record, root, opening).await?;
        self.keyring.keep(object, version, pending.since, &key)?;
        Ok(key)
    }

    /// A version's data key for an opening: from the deposit, or else from the owner's node. It matches the root's key commitment; a key
    /// that does not is as good as none, and nothing of it is kept.
    async fn key_by_opening(
        &self,
        me: DcId,
        object: ObjectId,
        record: &abi::RecordedVersion,
        root: &ObjectRoot,
        opening: OpeningAt,
    ) -> Result<DataKey, SharingError> {
        let version = Version(record.version);
        let fault = match self.deposited_key(me, object, record, root, opening.id).await {
            Ok(Some(key)) => return Ok(key),
            Ok(None) => None,
            Err(SharingError::Deposit(fault)) => Some(fault),
            Err(error) => return Err(error),
        };
        if let Some(fault) = &fault {
            tracing::warn!(%object, %version, %fault, "the deposited key was not released; the owner is asked");
        }
        let asked = self.ask_owner(me, object, version, Some(opening.id), opening.block).await;
        let asked = asked.and_then(|key| match root.unlock(&key) {
            Ok(_) => Ok(key),
            Err(_) => {
                let why = format!("it sent a key that does not open version {version}");
                Err(SharingError::OwnerUnreachable { object, owner: object.owner, why })
            }
        });
        match (asked, fault) {
            (Err(SharingError::OwnerUnreachable { object, owner, why }), Some(fault)) => {
                let why = format!("{why}; of the deposited key: {fault}");
                Err(SharingError::OwnerUnreachable { object, owner, why })
            }
            (asked, _) => asked,
        }
    }

    /// The opening on the chain that has not been used up, if there is one that what stands at present covers.
    async fn pending_opening(
        &self,
        me: DcId,
        object: ObjectId,
        version: Version,
    ) -> Result<Option<(OpeningAt, Pending)>, SharingError> {
        let Some(pending) = self.keyring.pending(object, version)? else { return Ok(None) };
        let left = self.contracts.opened_since(object, version, me, pending.since).await?;
        let Some(left) = left else { return Ok(None) };
        let Some(opening) = self.contracts.opening(left.id).await? else { return Ok(None) };
        Ok(self.contracts.covered(left.id, &opening).await?.then_some((left, pending)))
    }

    /// A new opening, noted before it is sent. One that was noted earlier may still be on its way: then the chain refuses
    /// this one, and that one is found.
    async fn noted_opening(
        &self,
        me: DcId,
        object: ObjectId,
        version: Version,
    ) -> Result<(OpeningAt, Pending), SharingError> {
        let since = match self.keyring.pending(object, version)? {
            Some(Pending { since, arrived: false }) => since,
            _ => {
                let since = self.contracts.chain.head().await?.number;
                let keyring = self.keyring.clone();
                Self::blocking(move || keyring.begin_opening(object, version, since)).await?;
                since
            }
        };
        match self.new_opening(me, object, version).await {
            Err(refused @ SharingError::RefusedByChain { .. }) => {
                if let Some(earlier) = self.pending_opening(me, object, version).await? {
                    return Ok(earlier);
                }
                self.keyring.spend(object, version, since)?;
                Err(refused)
            }
            other => Ok((other?, Pending { since, arrived: false })),
        }
    }

    /// Asks the chain. Openings of one object follow one another: their nonces do.
    async fn new_opening(
        &self,
        me: DcId,
        object: ObjectId,
        version: Version,
    ) -> Result<OpeningAt, SharingError> {
        let _turn = self.writing(object).await;
        let receipt = self.contracts.open(object, version, me).await?;
        Ok(OpeningAt { id: outcome(object, &receipt)?, block: receipt.block })
    }

    async fn ask_owner(
        &self,
        me: DcId,
        object: ObjectId,
        version: Version,
        opening: Option<u64>,
        height: u64,
    ) -> Result<DataKey, SharingError> {
        let unreachable = |why: String| SharingError::OwnerUnreachable { object, owner: object.owner, why };
        let owner = self.contracts.member(object.owner).await?.card.network_key;
        let request = encode(&Request::Key { object, version, opening, height });
        let asked = async {
            let _place = self.asking.take(object.owner).await;
            self.swarm.ask(owner, request).await
        };
        let answer = match timeout(Duration::from_secs(KEY_SECONDS_MAX), asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(fault)) => return Err(unreachable(fault.to_string())),
            Err(_) => return Err(unreachable(format!("no answer within {KEY_SECONDS_MAX} s"))),
        };
        match decode(&answer) {
            Some(Answer::Released { wrapped }) => {
                let chain_id = self.contracts.chain.chain_id();
                let context = GrantedDekContext { chain_id, object, version, recipient: me };
                unwrap_granted_dek(&self.contracts.keys, &wrapped, &context).map_err(|_| {
                    unreachable("it sent a key that is not for this member and version".to_owned())
                })
            }
            Some(Answer::Refused { reason: code }) => {
                Err(SharingError::RefusedByOwner { object, reason: reason(code) })
            }
            Some(Answer::Failed { why }) => Err(unreachable(why)),
            _ => Err(unreachable("its answer cannot be read".to_owned())),
        }
    }
}

/// What the contract said to an opening.
fn outcome(object: ObjectId, receipt: &ChainReceipt) -> Result<u64, SharingError> {
    receipt
        .logs
        .iter()
        .find_map(|log| match ContractEvent::decode(log)? {
            ContractEvent::Opened(event) => Some(Ok(event.openingId)),
            ContractEvent::Refused(event) => {
                Some(Err(SharingError::RefusedByChain { object, reason: reason(event.reason) }))
            }
            _ => None,
        })
        .unwrap_or_else(|| {
            Err(ChainError::Unavailable("the contract answered an opening with nothing".to_owned()).into())
        })
}
