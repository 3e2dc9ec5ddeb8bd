//! The suite's contracts, typed: reads at the finalised head and signed changes that become final.
//!
//! Every change is an ordinary transaction of the member's account: the contract asks the member's access contract about its sender, and
//! needs no second signature. Another transaction of the same member may have made the same change, so a transaction that failed proves
//! nothing: the change's own event does ([`Effect`]).

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall, SolError};
use hansa_contracts::{ContractEvent, REGISTRY, RefusalReason, SHARING, abi, data_store_of};
use hansa_envelope::{AudienceKey, MemberKeys};
use hansa_ports::{Chain, ChainError, ChainReceipt, Event, EventFilter};
use hansa_types::{DcId, Member, MemberStatus, NetworkKey, ObjectId, Version, Visibility};

use crate::{
    SharingError,
    effect::{Change, Effect},
    history::events_of,
};

/// How often a change is sent anew when its nonce was overtaken.
const ATTEMPTS: u32 = 4;

/// The chain with this member's keys.
#[derive(Clone)]
pub(crate) struct Contracts {
    pub(crate) chain: Arc<dyn Chain>,
    pub(crate) keys: Arc<MemberKeys>,
    account: Address,
}

fn unreadable(error: alloy_sol_types::Error) -> ChainError {
    ChainError::Unavailable(format!("a contract's answer cannot be read ({error})"))
}

/// The events of an object's versions. Its owner alone makes these, one a version; refusals of any member would grow the
/// object's whole story.
pub(crate) fn records_of(object: ObjectId) -> EventFilter {
    EventFilter { addresses: vec![data_store_of(object.owner)], ..events_of(object) }
}

fn recorded(event: &Event) -> Option<abi::DataStore::VersionRecorded> {
    match ContractEvent::decode(&event.log)? {
        ContractEvent::VersionRecorded(e) => Some(e),
        _ => None,
    }
}

/// Whether a contract refused with the error `E`.
pub(crate) fn refused_with<E: SolError>(error: &ChainError) -> bool {
    matches!(error, ChainError::Reverted { data, .. } if data.starts_with(&E::SELECTOR))
}

impl Contracts {
    pub(crate) fn new(chain: Arc<dyn Chain>, keys: MemberKeys) -> Self {
        Self { chain, account: keys.account(), keys: Arc::new(keys) }
    }

    async fn read<C: SolCall>(&self, to: Address, call: C) -> Result<C::Return, ChainError> {
        let output = self.chain.call(to, call.abi_encode().into()).await?;
        C::abi_decode_returns(&output).map_err(unreadable)
    }

    /// Submits a call and waits until its change is final, in this transaction or in another one of the member. Failure is judged by the
    /// change's event alone.
    async fn submit<C: SolCall>(
        &self,
        to: Address,
        call: C,
        effect: &Effect,
    ) -> Result<ChainReceipt, ChainError> {
        match self.chain.submit(to, call.abi_encode().into()).await {
            Err(error @ (ChainError::Reverted { .. } | ChainError::NotFinal { .. })) => {
                let Event { log, block, timestamp, transaction, .. } =
                    match self.done_by_another(effect).await? {
                        Some(event) => event,
                        None => return Err(error),
                    };
                tracing::info!(%transaction, "another transaction made the same change first");
                Ok(ChainReceipt { transaction, block, timestamp, logs: vec![log] })
            }
            done => done,
        }
    }

    /// The event of a change that took place.
    async fn done_by_another(&self, effect: &Effect) -> Result<Option<Event>, ChainError> {
        Ok(effect.find(self.chain.events(effect.filter.clone()).await?))
    }

    /// The member whose node this is.
    pub(crate) async fn me(&self) -> Result<Member, SharingError> {
        self.find(|member| member.card.account == self.account).await?.ok_or(SharingError::NotMember)
    }

    /// An active member.
    pub(crate) async fn member(&self, id: DcId) -> Result<Member, SharingError> {
        self.find(|member| member.dc_id == id).await?.ok_or(SharingError::UnknownMember(id))
    }

    /// All network keys that a member ever had. Only the present one can record anything, so a manifest that a recorded root commits to may be
    /// signed with any of them.
    pub(crate) async fn network_keys(&self, id: DcId) -> Result<Vec<NetworkKey>, SharingError> {
        let call = abi::ConsortiumRegistry::networkKeysOfCall { dcId: id.value() };
        Ok(self.read(REGISTRY, call).await?.into_iter().map(NetworkKey).collect())
    }

    /// The present network key of a member, whatever its standing.
    pub(crate) async fn network_key(&self, id: DcId) -> Result<NetworkKey, SharingError> {
        let members = self.chain.members().await?;
        let member = members.iter().find(|member| member.dc_id == id);
        Ok(member.ok_or(SharingError::UnknownMember(id))?.card.network_key)
    }

    /// The active member with this network key.
    pub(crate) async fn member_of_node(&self, key: NetworkKey) -> Result<Option<Member>, SharingError> {
        self.find(|member| member.card.network_key == key).await
    }

    async fn find(&self, wanted: impl Fn(&Member) -> bool) -> Result<Option<Member>, SharingError> {
        let members = self.chain.members().await?;
        Ok(members.iter().find(|m| m.status == MemberStatus::Active && wanted(m)).cloned())
    }

    /// The newest version of an object.
    pub(crate) async fn latest(&self, object: ObjectId) -> Result<Version, SharingError> {
        let call = abi::DataStore::latestCall { number: object.number };
        // Nothing is deployed where no member is: the call answers with nothing, or refuses.
        let known = self.chain.members().await?.iter().any(|member| member.dc_id == object.owner);
        let latest = if known { self.read(data_store_of(object.owner), call).await? } else { 0 };
        if latest == 0 { Err(SharingError::UnknownObject(object)) } else { Ok(Version(latest)) }
    }

    /// A version's record; the newest where `version` is `None`.
    pub(crate) async fn record(
        &self,
        object: ObjectId,
        version: Option<Version>,
    ) -> Result<abi::RecordedVersion, SharingError> {
        let latest = self.latest(object).await?;
        let version = version.unwrap_or(latest);
        if version.0 == 0 || version > latest {
            return Err(SharingError::UnknownVersion(object, version));
        }
        let call = abi::DataStore::recordCall { number: object.number, version: version.0 };
        Ok(self.read(data_store_of(object.owner), call).await?)
    }

    /// The commitment to a version's plaintext, which only its event has; none if there is no such event, which is then at
    /// odds with the contract's state.
    pub(crate) async fn commitment(
        &self,
        object: ObjectId,
        record: &abi::RecordedVersion,
    ) -> Result<Option<B256>, SharingError> {
        let events = self.chain.events(records_of(object)).await?;
        let agrees = |e: &abi::DataStore::VersionRecorded| {
            let told = (e.version, e.root, e.visibility, e.keyEpoch, e.validUntil);
            told == (record.version, record.root, record.visibility, record.keyEpoch, record.validUntil)
        };
        Ok(events.iter().filter_map(recorded).find(agrees).map(|e| e.commitment))
    }

    /// The newest version with all that its owner signed.
    pub(crate) async fn newest(
        &self,
        object: ObjectId,
    ) -> Result<abi::DataStore::VersionRecorded, SharingError> {
        let events = self.chain.last_events(records_of(object)).await?;
        events.iter().rev().find_map(recorded).ok_or(SharingError::UnknownObject(object))
    }

    /// At most `limit` object numbers of a member, newest first.
    pub(crate) async fn numbers(&self, owner: DcId, limit: u64) -> Result<Vec<u64>, SharingError> {
        let call = abi::DataStore::numbersCall { skip: U256::ZERO, limit: U256::from(limit) };
        Ok(self.read(data_store_of(owner), call).await?)
    }

    /// At most `limit` object numbers of a member, newest first, without the newest `skip`.
    pub(crate) async fn numbers_after(
        &self,
        owner: DcId,
        skip: u64,
        limit: u64,
    ) -> Result<Vec<u64>, SharingError> {
        let call = abi::DataStore::numbersCall { skip: U256::from(skip), limit: U256::from(limit) };
        Ok(self.read(data_store_of(owner), call).await?)
    }

    /// How many objects a member has.
    pub(crate) async fn count(&self, owner: DcId) -> Result<u64, SharingError> {
        Ok(self.read(data_store_of(owner), abi::DataStore::countCall {}).await?.saturating_to())
    }

    /// Where a member stands with an object.
    pub(crate) async fn cell(&self, object: ObjectId, member: DcId) -> Result<abi::Cell, SharingError> {
        let call = abi::Sharing::grantCall {
            owner: object.owner.value(),
            number: object.number,
            grantee: member.value(),
        };
        Ok(self.read(SHARING, call).await?)
    }

    /// Why a member may not open a version now; `None` when it may.
    pub(crate) async fn refusal(
        &self,
        object: ObjectId,
        version: Version,
        member: DcId,
    ) -> Result<Option<RefusalReason>, SharingError> {
        let call = abi::Sharing::canOpenCall {
            owner: object.owner.value(),
            number: object.number,
            version: version.0,
            dcId: member.value(),
        };
        let judged = self.read(SHARING, call).await?;
        Ok((!judged.allowed).then(|| reason(judged.reason)))
    }

    /// The visibility in force of a version that exists.
    pub(crate) async fn visibility(
        &self,
        object: ObjectId,
        version: Version,
    ) -> Result<Visibility, SharingError> {
        let call = abi::Sharing::visibilityCall {
            owner: object.owner.value(),
            number: object.number,
            version: version.0,
        };
        let code = self.read(SHARING, call).await?;
        Visibility::from_code(code)
            .ok_or_else(|| ChainError::Unavailable(format!("visibility {code} has no meaning")).into())
    }

    /// What the owner published for an epoch: the audience key of a public object, or a deposit for every member.
    pub(crate) async fn published(&self, object: ObjectId, epoch: u32) -> Result<Bytes, SharingError> {
        let call = abi::Sharing::publishedKeyCall {
            owner: object.owner.value(),
            number: object.number,
            keyEpoch: epoch,
        };
        Ok(self.read(SHARING, call).await?)
    }

    /// The audience key that the owner published for an epoch.
    pub(crate) async fn published_key(
        &self,
        object: ObjectId,
        epoch: u32,
    ) -> Result<Option<AudienceKey>, SharingError> {
        Ok(AudienceKey::from_slice(&self.published(object, epoch).await?).ok())
    }

    /// An opening, `None` when there is none of this id.
    pub(crate) async fn opening(&self, id: u64) -> Result<Option<abi::OpeningRecord>, SharingError> {
        match self.read(SHARING, abi::Sharing::openingRecordCall { openingId: id }).await {
            Ok(record) => Ok(Some(record)),
            Err(e) if refused_with::<abi::Sharing::SharingOpeningUnknown>(&e) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Records a version: `put` for the first, `update` for every other.
    pub(crate) async fn record_version(
        &self,
        owner: DcId,
        record: abi::Record,
    ) -> Result<ChainReceipt, SharingError> {
        let store = data_store_of(owner);
        let effect = Effect::of_record(owner, &record);
        Ok(if record.version == 1 {
            self.submit(store, abi::DataStore::putCall { r: record }, &effect).await?
        } else {
            self.submit(store, abi::DataStore::updateCall { r: record }, &effect).await?
        })
    }

    /// Submits the message that follows the present nonces, again when another transaction was faster.
    async fn submit_next<M, C>(
        &self,
        object: ObjectId,
        member: DcId,
        message: impl Fn(&abi::Cell) -> Result<M, SharingError> + Send,
        call: impl Fn(M) -> C + Send,
    ) -> Result<ChainReceipt, SharingError>
    where
        M: Change + Send,
        C: SolCall + Send,
    {
        for _ in 1..ATTEMPTS {
            match self.submit_once(object, member, &message, &call).await {
                Err(SharingError::Chain(e)) if refused_with::<abi::Sharing::SharingNonceOutOfOrder>(&e) => {}
                done => return done,
            }
        }
        self.submit_once(object, member, &message, &call).await
    }

    async fn submit_once<M, C>(
        &self,
        object: ObjectId,
        member: DcId,
        message: &(impl Fn(&abi::Cell) -> Result<M, SharingError> + Send),
        call: &(impl Fn(M) -> C + Send),
    ) -> Result<ChainReceipt, SharingError>
    where
        M: Change + Send,
        C: SolCall + Send,
    {
        let (call, effect) = {
            let message = message(&self.cell(object, member).await?)?;
            let effect = message.effect();
            (call(message), effect)
        };
        Ok(self.submit(SHARING, call, &effect).await?)
    }

    /// Grants what `grant` makes of the grant's nonce.
    pub(crate) async fn share(
        &self,
        object: ObjectId,
        member: DcId,
        grant: impl Fn(u32) -> Result<abi::Grant, SharingError> + Send,
    ) -> Result<ChainReceipt, SharingError> {
        let message = move |cell: &abi::Cell| grant(cell.shareNonce.saturating_add(1));
        self.submit_next(object, member, message, |g| abi::Sharing::shareCall { g }).await
    }

    /// Takes a grant back.
    pub(crate) async fn revoke(&self, object: ObjectId, member: DcId) -> Result<ChainReceipt, SharingError> {
        let message = |cell: &abi::Cell| {
            Ok(abi::Revocation {
                owner: object.owner.value(),
                number: object.number,
                grantee: member.value(),
                nonce: cell.shareNonce.saturating_add(1),
            })
        };
        self.submit_next(object, member, message, |r| abi::Sharing::revokeCall { r }).await
    }

    /// Asks to open, as `member`.
    pub(crate) async fn open(
        &self,
        object: ObjectId,
        version: Version,
        member: DcId,
    ) -> Result<ChainReceipt, SharingError> {
        let message = |cell: &abi::Cell| {
            Ok(abi::Opening {
                owner: object.owner.value(),
                number: object.number,
                version: version.0,
                dcId: member.value(),
                nonce: cell.openNonce.saturating_add(1),
            })
        };
        self.submit_next(object, member, message, |o| abi::Sharing::openCall { o }).await
    }

    /// Records that this owner refused `member` a key.
    pub(crate) async fn record_refusal(
        &self,
        object: ObjectId,
        version: Version,
        member: DcId,
        reason: RefusalReason,
    ) -> Result<ChainReceipt, SharingError> {
        let message = |cell: &abi::Cell| {
            Ok(abi::Refusal {
                owner: object.owner.value(),
                number: object.number,
                version: version.0,
                dcId: member.value(),
                reason: reason.code(),
                nonce: cell.refusalNonce.saturating_add(1),
            })
        };
        self.submit_next(object, member, message, |r| abi::Sharing::recordRefusalCall { r }).await
    }

    /// Records that the key of an opening was released; nothing to do when it is recorded already. An opening has one
    /// release, so the contract's refusal of a second one says that this one took place.
    pub(crate) async fn record_release(&self, opening: u64) -> Result<(), SharingError> {
        let k = abi::KeyRelease { openingId: opening };
        let call = abi::Sharing::recordReleaseCall { k };
        match self.chain.submit(SHARING, call.abi_encode().into()).await {
            Err(e) if !refused_with::<abi::Sharing::SharingAlreadyReleased>(&e) => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// Changes the visibility of the versions so far, and publishes what goes with it: the audience key with −1, a deposit with 0.
    pub(crate) async fn set_visibility(
        &self,
        object: ObjectId,
        visibility: Visibility,
        epoch: u32,
        published: Bytes,
    ) -> Result<ChainReceipt, SharingError> {
        let nonce = abi::Sharing::visibilityNonceCall { owner: object.owner.value(), number: object.number };
        let c = abi::VisibilityChange {
            owner: object.owner.value(),
            number: object.number,
            visibility: visibility.code(),
            keyEpoch: epoch,
            publishedKey: published,
            nonce: self.read(SHARING, nonce).await?.saturating_add(1),
        };
        let effect = c.effect();
        Ok(self.submit(SHARING, abi::Sharing::setVisibilityCall { c }, &effect).await?)
    }
}

/// The reason with this code; one that this version does not know counts as declined.
pub(crate) fn reason(code: u8) -> RefusalReason {
    RefusalReason::from_code(code).unwrap_or(RefusalReason::Declined)
}
