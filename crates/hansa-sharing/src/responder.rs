//! The node's answers to other members' nodes: keys for those whom the chain permits, and the state of replicas.
//!
//! A key is released only for an opening that is final on this node's own chain, made by the member whose registered node
//! asks, under the grant that stands, and not taken back since; and only while this node has executed all that is known to
//! be final. The key is that of the opened version alone, whatever the grant: an epoch's key opens versions that nobody has opened.
//! A refusal is on the chain before its answer leaves, the first of its kind in ten minutes; a release is noted
//! durably before its answer leaves and recorded on the chain right after. Asking again for an opening's key is answered
//! as the first time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hansa_content::BlockStore;
use hansa_contracts::RefusalReason;
use hansa_envelope::{DataKey, GrantedDekContext, MemberKeys, wrap_granted_dek};
use hansa_kv::KvStore;
use hansa_ports::{Chain, Tip};
use hansa_types::{DcId, Member, NetworkKey, ObjectId, Version};
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    SharingError,
    content::version_key,
    contracts::Contracts,
    keyring::Keyring,
    message::{Answer, Request, decode, encode},
    notices::Notices,
    refusals::Refusals,
    releases::Releases,
    sharing::Inner,
    turns::Turns,
};

/// How long this node waits for its own chain to reach the height at which the asking node saw its opening.
const CATCH_UP_SECONDS_MAX: u64 = 10;
/// How far above what is known to be final the asking node may be. More blocks do not come while it waits.
const BLOCKS_AHEAD_MAX: u64 = 1024;

/// Answers members' nodes.
pub struct Responder {
    pub(crate) contracts: Contracts,
    keyring: Keyring,
    pub(crate) kv: Arc<dyn KvStore>,
    pub(crate) store: BlockStore,
    tip: Arc<dyn Tip>,
    pub(crate) notices: Arc<Notices>,
    refusals: Refusals,
    releases: Releases,
    /// Checks read the whole disk: one at a time for each member, so that no member's line is another's,
    pub(crate) lines: Turns<DcId>,
    /// and one at a time of all.
    pub(crate) checking: tokio::sync::Mutex<()>,
}

/// An opening whose key may be released.
struct Released {
    opening: u64,
    /// The chain says that it was.
    recorded: bool,
}

fn inactive() -> Answer {
    Answer::Failed { why: "the asking node belongs to no active member".to_owned() }
}

/// A request for a key.
struct KeyRequest {
    object: ObjectId,
    version: Version,
    opening: Option<u64>,
    height: u64,
}

impl Responder {
    /// Assembles the responder from the same parts as [`crate::Sharing`], and from what is known of the chain's tip.
    ///
    /// # Errors
    /// Only when the cryptographic library fails.
    pub fn new(
        chain: Arc<dyn Chain>,
        tip: Arc<dyn Tip>,
        keys: MemberKeys,
        kv: Arc<dyn KvStore>,
        store: BlockStore,
    ) -> Result<Arc<Self>, SharingError> {
        let keyring = Keyring::new(Arc::clone(&kv), &keys)?;
        let contracts = Contracts::new(chain, keys);
        let (notices, releases) = (Arc::default(), Releases::new(Arc::clone(&kv)));
        let (refusals, checking, lines) = (Refusals::default(), Default::default(), Turns::new(1));
        Ok(Arc::new(Self {
            contracts,
            keyring,
            kv,
            store,
            tip,
            notices,
            refusals,
            releases,
            lines,
            checking,
        }))
    }

    /// Starts recording on the chain the releases that have been noted, those of earlier runs included.
    pub fn start_recording(&self) -> JoinHandle<()> {
        tokio::spawn(self.releases.clone().record(self.contracts.clone()))
    }

    /// Answers one request of the node with this network key, which the swarm has authenticated.
    pub async fn answer(&self, peer: NetworkKey, request: Bytes) -> Bytes {
        let answer = match decode(&request) {
            Some(Request::Key { object, version, opening, height }) => {
                self.key(peer, KeyRequest { object, version, opening, height }).await
            }
            Some(request) => match self.contracts.member_of_node(peer).await {
                Ok(Some(asking)) => self.about_replicas(&asking, request).await,
                Ok(None) => Ok(inactive()),
                Err(error) => Err(error),
            },
            None => Ok(Answer::Failed { why: "the request cannot be read".to_owned() }),
        };
        encode(&answer.unwrap_or_else(|error| {
            tracing::warn!(%peer, %error, "a member's request could not be answered");
            Answer::Failed { why: "the node failed; its log says more".to_owned() }
        }))
    }

    async fn key(&self, peer: NetworkKey, request: KeyRequest) -> Result<Answer, SharingError> {
        if self.contracts.me().await?.dc_id != request.object.owner {
            return Ok(Answer::Refused { reason: RefusalReason::UnknownObject.code() });
        }
        let failed = |why: &str| Ok(Answer::Failed { why: why.to_owned() });
        let Some(tip) = self.tip.final_height().await else {
            return failed("it has heard of no new block for a while and releases no keys until it does");
        };
        if request.height > tip.saturating_add(BLOCKS_AHEAD_MAX) {
            return failed("it has not heard of the block of the opening; ask again later");
        }
        let caught_up = self.contracts.chain.reached(request.height.max(tip));
        let Ok(head) = timeout(Duration::from_secs(CATCH_UP_SECONDS_MAX), caught_up).await else {
            return failed("it is behind on the chain; ask again later");
        };
        head?;
        let Some(asking) = self.contracts.member_of_node(peer).await? else {
            return Ok(Answer::Refused { reason: RefusalReason::Inactive.code() });
        };
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
    ) -> Result<Result<Released, RefusalReason>, SharingError> {
        let standing = self.contracts.refusal(request.object, request.version, asking.dc_id).await?;
        Ok(match standing {
            // The opening itself may have been the last one permitted.
            None | Some(RefusalReason::Exhausted) => {
                let opened = self.opened(asking, request).await?;
                opened.ok_or(standing.unwrap_or(RefusalReason::NotOpened))
            }
            Some(reason) => Err(reason),
        })
    }

    /// The opening that the request names, if it is the asking member's, of this version, and covered by what stands.
    async fn opened(&self, asking: &Member, request: &KeyRequest) -> Result<Option<Released>, SharingError> {
        let KeyRequest { object, version, opening, .. } = *request;
        let Some(id) = opening else { return Ok(None) };
        let Some(record) = self.contracts.opening(id).await? else { return Ok(None) };
        let of = (record.owner, record.number, record.version, record.dcId);
        let asked = (object.owner.value(), object.number, version.0, asking.dc_id.value());
        let good = of == asked && self.contracts.covered(id, &record).await?;
        Ok(good.then_some(Released { opening: id, recorded: record.released }))
    }

    async fn release(
        &self,
        asking: &Member,
        request: &KeyRequest,
        Released { opening, recorded }: Released,
    ) -> Result<Answer, SharingError> {
        let KeyRequest { object, version, .. } = *request;
        let key = match self.version_key(object, version).await {
            Ok(Some(key)) => key,
            Ok(None) => return self.refuse(asking.dc_id, request, RefusalReason::KeyDestroyed).await,
            Err(error) => {
                tracing::warn!(%object, %version, %error, "an own version's key cannot be read");
                let why =
                    "its copy of the version is damaged; ask again when it has repaired that".to_owned();
                return Ok(Answer::Failed { why });
            }
        };
        let (chain_id, recipient) = (self.contracts.chain.chain_id(), asking.dc_id);
        let context = GrantedDekContext { chain_id, object, version, recipient };
        let wrapped = wrap_granted_dek(&asking.card.encryption_key, &key, &context)?;
        if !recorded {
            self.releases.add(opening).await?;
        }
        tracing::info!(%object, %version, to = %asking.dc_id, opening, "released a key");
        Ok(Answer::Released { wrapped: wrapped.into() })
    }

    /// The data key of an own version; `None` where its audience's key was destroyed.
    async fn version_key(&self, object: ObjectId, version: Version) -> Result<Option<DataKey>, SharingError> {
        let record = self.contracts.record(object, Some(version)).await?;
        let Some(kek) = self.keyring.key(object, record.keyEpoch)? else { return Ok(None) };
        let (store, chain_id) = (self.store.clone(), self.contracts.chain.chain_id());
        Inner::blocking(move || version_key(&store, chain_id, object, &record, &kek).map(Some)).await
    }

    /// Refuses, and records that, unless it was recorded a short while ago or says nothing of access: that there is no such
    /// object or version, or that a member that may open skipped the opening.
    async fn refuse(
        &self,
        asking: DcId,
        request: &KeyRequest,
        reason: RefusalReason,
    ) -> Result<Answer, SharingError> {
        use RefusalReason::{NotOpened, UnknownObject, UnknownVersion};
        let KeyRequest { object, version, .. } = *request;
        let told = !matches!(reason, NotOpened | UnknownObject | UnknownVersion);
        let time = self.contracts.chain.head().await?.timestamp;
        if told && self.refusals.begin(asking, object, reason, time) {
            tracing::info!(%object, %asking, ?reason, "refused a key");
            if let Err(error) = self.contracts.record_refusal(object, version, asking, reason).await {
                self.refusals.failed(asking, object, reason);
                tracing::warn!(%object, %asking, %error, "a refusal could not be recorded");
            }
        }
        Ok(Answer::Refused { reason: reason.code() })
    }
}
