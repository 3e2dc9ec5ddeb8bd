//! The node's answers to other members' nodes: keys for those whom the chain permits, and the state of replicas.
//!
//! A key is released only for an opening that is final on this node's own chain, made by the member whose registered node
//! asks, and not taken back since. Release and refusal are on the chain before the answer leaves.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cid::Cid;
use hansa_content::BlockStore;
use hansa_contracts::RefusalReason;
use hansa_envelope::{KekContext, MemberKeys, wrap_kek};
use hansa_kv::KvStore;
use hansa_types::{DcId, Member, NetworkKey, ObjectId, Version};
use tokio::time::timeout;

use crate::{
    Chain, SharingError,
    contracts::Contracts,
    keyring::Keyring,
    message::{Answer, REPORTED_CIDS_MAX, Request, decode, encode},
    replicate,
    sharing::Inner,
};

/// How long this node waits for its own chain to reach the height at which the asking node saw its opening.
const CATCH_UP_SECONDS_MAX: u64 = 10;

/// Answers members' nodes.
pub struct Responder {
    contracts: Contracts,
    keyring: Keyring,
    kv: Arc<dyn KvStore>,
    store: BlockStore,
    /// Refusals are recorded one after the other: a member that keeps asking fills the chain no faster than that.
    refusing: tokio::sync::Mutex<()>,
    /// Checks read the whole disk: one at a time.
    checking: tokio::sync::Mutex<()>,
}

/// A request for a key.
struct KeyRequest {
    object: ObjectId,
    version: Version,
    opening: Option<u64>,
    height: u64,
}

impl Responder {
    /// Assembles the responder from the same parts as [`crate::Sharing`].
    ///
    /// # Errors
    /// Only when the cryptographic library fails.
    pub fn new(
        chain: Arc<dyn Chain>,
        keys: MemberKeys,
        kv: Arc<dyn KvStore>,
        store: BlockStore,
    ) -> Result<Arc<Self>, SharingError> {
        let keyring = Keyring::new(Arc::clone(&kv), &keys)?;
        let contracts = Contracts::new(chain, keys);
        let (refusing, checking) = Default::default();
        Ok(Arc::new(Self { contracts, keyring, kv, store, refusing, checking }))
    }

    /// Answers one request of the node with this network key, which the swarm has authenticated.
    pub async fn answer(&self, peer: NetworkKey, request: Bytes) -> Bytes {
        let answer = match decode(&request) {
            Some(Request::Key { object, version, opening, height }) => {
                self.key(peer, KeyRequest { object, version, opening, height }).await
            }
            Some(Request::Holds { roots }) => self.holds(roots).await,
            Some(Request::Check { root }) => self.check(root).await,
            None => Ok(Answer::Failed { why: "the request cannot be read".to_owned() }),
        };
        encode(&answer.unwrap_or_else(|error| {
            tracing::warn!(%peer, %error, "a member's request could not be answered");
            Answer::Failed { why: "the node failed; its log says more".to_owned() }
        }))
    }

    async fn key(&self, peer: NetworkKey, request: KeyRequest) -> Result<Answer, SharingError> {
        let caught_up = self.contracts.chain.reached(request.height);
        let waited = timeout(Duration::from_secs(CATCH_UP_SECONDS_MAX), caught_up).await;
        let Ok(head) = waited else {
            return Ok(Answer::Failed {
                why: "this node is behind on the chain; ask again later".to_owned(),
            });
        };
        head?;
        let me = self.contracts.me().await?;
        let Some(asking) = self.contracts.member_of_node(peer).await? else {
            return Ok(Answer::Refused { reason: RefusalReason::Inactive.code() });
        };
        if me.dc_id != request.object.owner {
            return Ok(Answer::Refused { reason: RefusalReason::UnknownObject.code() });
        }
        match self.judge(&asking, &request).await? {
            Ok(opening) => self.release(&asking, &request, opening).await,
            Err(reason) => self.refuse(asking.dc_id, &request, reason).await,
        }
    }

    /// The opening for which the key may be released, or why it may not.
    async fn judge(
        &self,
        asking: &Member,
        request: &KeyRequest,
    ) -> Result<Result<u64, RefusalReason>, SharingError> {
        let KeyRequest { object, version, opening, .. } = *request;
        let standing = self.contracts.refusal(object, version, asking.dc_id).await?;
        let opened = match opening {
            Some(id) => self.contracts.opening(id).await?.filter(|record| {
                (record.owner, record.number) == (object.owner.value(), object.number)
                    && (record.version, record.dcId) == (version.0, asking.dc_id.value())
            }),
            None => None,
        };
        Ok(match (opened.and(opening), standing) {
            // The opening itself may have been the last one permitted.
            (Some(id), None | Some(RefusalReason::Exhausted)) => Ok(id),
            (_, Some(reason)) => Err(reason),
            (None, None) => Err(RefusalReason::NotOpened),
        })
    }

    async fn release(
        &self,
        asking: &Member,
        request: &KeyRequest,
        opening: u64,
    ) -> Result<Answer, SharingError> {
        let KeyRequest { object, version, .. } = *request;
        let epoch = self.contracts.record(object, Some(version)).await?.keyEpoch;
        let Some(key) = self.keyring.key(object, epoch)? else {
            return self.refuse(asking.dc_id, request, RefusalReason::KeyDestroyed).await;
        };
        let chain_id = self.contracts.chain.chain_id();
        let context = KekContext { chain_id, object, epoch, recipient: asking.dc_id };
        let wrapped = wrap_kek(&asking.card.encryption_key, &key, &context)?;
        self.contracts.record_release(opening).await?;
        tracing::info!(%object, %version, to = %asking.dc_id, opening, "released a key");
        Ok(Answer::Released { epoch, wrapped: wrapped.into() })
    }

    async fn refuse(
        &self,
        asking: DcId,
        request: &KeyRequest,
        reason: RefusalReason,
    ) -> Result<Answer, SharingError> {
        let _one = self.refusing.lock().await;
        let recorded = self.contracts.record_refusal(request.object, request.version, asking, reason).await;
        if let Err(error) = recorded {
            tracing::warn!(object = %request.object, %asking, %error, "a refusal could not be recorded");
        }
        tracing::info!(object = %request.object, %asking, ?reason, "refused a key");
        Ok(Answer::Refused { reason: reason.code() })
    }

    async fn holds(&self, roots: Vec<Cid>) -> Result<Answer, SharingError> {
        let kv = Arc::clone(&self.kv);
        let look_up = move || roots.into_iter().map(|root| replicate::holds(&*kv, root)).collect();
        Ok(Answer::Holds { whole: Inner::blocking(look_up).await? })
    }

    async fn check(&self, root: Cid) -> Result<Answer, SharingError> {
        if !self.store.is_pinned(&root)? {
            return Ok(Answer::Checked { blocks: 0, bytes: 0, damaged: vec![], missing: vec![root] });
        }
        let _one = self.checking.lock().await;
        let store = self.store.clone();
        let mut report = Inner::blocking(move || Ok(store.check_dag(&root, |_| ())?)).await?;
        report.damaged.truncate(REPORTED_CIDS_MAX);
        report.missing.truncate(REPORTED_CIDS_MAX);
        let hansa_content::DagReport { blocks, bytes, damaged, missing, .. } = report;
        Ok(Answer::Checked { blocks, bytes, damaged, missing })
    }
}
