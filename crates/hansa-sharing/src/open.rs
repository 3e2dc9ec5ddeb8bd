//! Opening an object (D2, D3): the chain decides, the swarm delivers, the owner or a deposit gives the key.

use std::{sync::Arc, time::Duration};

use alloy_primitives::B256;
use bytes::Bytes;
use cid::Cid;
use futures::stream::BoxStream;
use hansa_content::Hold;
use hansa_contracts::{ContractEvent, RefusalReason, abi};
use hansa_envelope::{
    AudienceKey, DekContext, KekContext, Manifest, ObjectRoot, VersionKeys, root_cid, unwrap_kek,
};
use hansa_types::{DcId, ObjectId, Version, Visibility};
use tokio::time::timeout;

use crate::{
    ChainError, ChainReceipt, Sharing, SharingError, SwarmFault,
    content::{read_manifest, stream},
    contracts::reason,
    keyring::Known,
    message::{Answer, Request, decode, encode},
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
}

impl OpenedObject {
    /// All files' bytes back to back, in the manifest's order, each piece authenticated before it is given out. An error
    /// ends the stream; what came before it is good.
    pub fn content(self) -> BoxStream<'static, Result<Bytes, SharingError>> {
        stream(self.sharing.0.store.clone(), self.root, self.keys, self.manifest, self.hold)
    }
}

impl std::fmt::Debug for OpenedObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenedObject({} version {})", self.object, self.version)
    }
}

impl Sharing {
    /// Opens a version, the newest where `version` is `None`.
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
        let me = self.0.contracts.me().await?.dc_id;
        let record = self.0.contracts.record(object, version).await?;
        let kek = self.0.audience_key(me, object, &record, mode).await?;
        let opened = self.unlock(object, &record, &kek).await?;
        let Manifest { name, kind, size, .. } = &opened.manifest;
        let known = Known { version: opened.version, name: name.clone(), kind: *kind, size: *size };
        self.0.keyring.remember(object, &known)?;
        Ok(opened)
    }

    /// Fetches a version and opens its manifest with the audience key.
    pub(crate) async fn unlock(
        &self,
        object: ObjectId,
        record: &abi::RecordedVersion,
        kek: &AudienceKey,
    ) -> Result<OpenedObject, SharingError> {
        let (chain_id, version) = (self.0.contracts.chain.chain_id(), Version(record.version));
        let (root, hold) = self.0.fetch(object, version, root_cid(record.root)).await?;
        let context =
            DekContext { chain_id, object, version, epoch: root.key_epoch, key_commitment: B256::ZERO };
        let keys = root.unlock(kek, context).map_err(|e| SharingError::opening(object, e))?;
        let (store, of, with) = (self.0.store.clone(), root.clone(), keys.clone());
        let signed =
            Inner::blocking(move || read_manifest(&store, &of, &with, chain_id, object, version)).await?;
        if signed.author().0 != self.0.contracts.network_key(object.owner).await? {
            return Err(SharingError::damaged(
                object,
                "its manifest is signed with a key that is not the owner's",
            ));
        }
        let manifest = signed.manifest().clone();
        let commitment = self.0.contracts.commitment(object, record).await?;
        if commitment != Some(keys.plaintext_commitment(&manifest.digest(), manifest.size)?) {
            return Err(SharingError::damaged(object, "the commitment on the chain is to other content"));
        }
        Ok(OpenedObject { object, version, manifest, sharing: self.clone(), root, keys, hold })
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
        let hold = self.swarm.fetch_dag(root, running.sink()).await.map_err(unavailable)?;
        drop(running);
        let store = self.store.clone();
        let root = Self::blocking(move || {
            let bytes = store.expect(&root).map_err(|e| SharingError::reading(object, e))?;
            ObjectRoot::decode(&bytes).map_err(|e| SharingError::damaged(object, e))
        })
        .await?;
        Ok((root, hold))
    }

    /// The audience key by whatever way is open to this member.
    async fn audience_key(
        &self,
        me: DcId,
        object: ObjectId,
        record: &abi::RecordedVersion,
        mode: OpenMode,
    ) -> Result<AudienceKey, SharingError> {
        let (version, epoch) = (Version(record.version), record.keyEpoch);
        if me == object.owner {
            return self.keyring.key(object, epoch)?.ok_or(SharingError::KeyMissing { object, epoch });
        }
        if mode == OpenMode::AskOwnerOnly {
            let height = self.contracts.chain.head().await?.number;
            return self.ask_owner(me, object, version, None, height).await;
        }
        if self.contracts.visibility(object, version).await? == Visibility::Public
            && let Some(key) = self.contracts.published_key(object, epoch).await?
        {
            return Ok(key);
        }
        let (opening, height) = self.permitted_opening(me, object, version).await?;
        let cell = self.contracts.cell(object, me).await?;
        let context = KekContext { chain_id: self.contracts.chain.chain_id(), object, epoch, recipient: me };
        let deposited = (cell.keyEpoch == epoch && !cell.wrappedKey.is_empty())
            .then(|| unwrap_kek(&self.contracts.keys, &cell.wrappedKey, &context).ok())
            .flatten();
        let key = match deposited {
            Some(key) => key,
            None => self.ask_owner(me, object, version, Some(opening), height).await?,
        };
        self.keyring.forget_opening(object, version)?;
        Ok(key)
    }

    /// An opening on the chain whose key has not been had yet: one left over from an attempt that did not reach the
    /// owner, or a new one. Returns its id and the height at which it is final.
    async fn permitted_opening(
        &self,
        me: DcId,
        object: ObjectId,
        version: Version,
    ) -> Result<(u64, u64), SharingError> {
        if let Some(left) = self.keyring.opening(object, version)?
            && self.contracts.opening(left).await?.is_some_and(|o| !o.released && o.dcId == me.value())
            && matches!(
                self.contracts.refusal(object, version, me).await?,
                None | Some(RefusalReason::Exhausted)
            )
        {
            return Ok((left, self.contracts.chain.head().await?.number));
        }
        let receipt = self.contracts.open(object, version, me).await?;
        let opening = outcome(object, &receipt)?;
        self.keyring.remember_opening(object, version, opening)?;
        Ok((opening, receipt.block))
    }

    async fn ask_owner(
        &self,
        me: DcId,
        object: ObjectId,
        version: Version,
        opening: Option<u64>,
        height: u64,
    ) -> Result<AudienceKey, SharingError> {
        let unreachable = |why: String| SharingError::OwnerUnreachable { object, owner: object.owner, why };
        let owner = self.contracts.member(object.owner).await?.card.network_key;
        let request = encode(&Request::Key { object, version, opening, height });
        let answer = match timeout(Duration::from_secs(KEY_SECONDS_MAX), self.swarm.ask(owner, request)).await
        {
            Ok(Ok(answer)) => answer,
            Ok(Err(fault)) => return Err(unreachable(fault.to_string())),
            Err(_) => return Err(unreachable(format!("no answer within {KEY_SECONDS_MAX} s"))),
        };
        match decode(&answer) {
            Some(Answer::Released { epoch, wrapped }) => {
                let chain_id = self.contracts.chain.chain_id();
                let context = KekContext { chain_id, object, epoch, recipient: me };
                unwrap_kek(&self.contracts.keys, &wrapped, &context)
                    .map_err(|_| unreachable("it sent a key that is not for this member".to_owned()))
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
