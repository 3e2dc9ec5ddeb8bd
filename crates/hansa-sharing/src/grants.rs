//! Who may read: grants, revocations, visibility (D1, D2, D3, D5).
//!
//! Taking access back works from the next opening and the next version on. A version that a member has opened stays
//! readable to it: its node keeps that version's key, and no contract takes knowledge back. Everything that a change
//! depends on (the newest version, its key epoch, its visibility, the recipient's key) is read under the object's writer
//! lock.

use std::collections::BTreeSet;

use alloy_primitives::Bytes;
use hansa_api::{GrantRequest, Recorded};
use hansa_contracts::{ContractEvent, GRANTED, SHARING, abi};
use hansa_envelope::{AudienceKey, KekContext, wrap_kek};
use hansa_ports::{ChainReceipt, EventFilter};
use hansa_types::{DcId, Member, ObjectId, Visibility};

use crate::{Sharing, SharingError, contracts::refused_with, history::topic, sharing::Inner};

/// Why a deposit no longer serves its grantee.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stale {
    /// The audience has a key of a later epoch.
    OtherEpoch,
    /// The grantee has another encryption key.
    OtherRecipientKey,
}

fn recorded(receipts: Vec<ChainReceipt>) -> Recorded {
    Recorded {
        block: receipts.iter().map(|receipt| receipt.block).max().unwrap_or(0),
        transactions: receipts.into_iter().map(|receipt| receipt.transaction).collect(),
    }
}

impl Sharing {
    /// Grants an own object to members; an earlier grant to the same member is replaced. A member that is named twice is
    /// granted once.
    ///
    /// # Errors
    /// [`SharingError::NotOwner`], [`SharingError::UnknownObject`], [`SharingError::UnknownMember`]. With several members,
    /// the grants before the failing one may stand.
    pub async fn share(&self, object: ObjectId, request: GrantRequest) -> Result<Recorded, SharingError> {
        self.0.owner(object).await?;
        let _writer = self.0.writing(object).await;
        let record = self.0.contracts.record(object, None).await?;
        let mut grantees = Vec::new();
        for id in request.to.iter().copied().collect::<BTreeSet<_>>() {
            grantees.push(self.0.contracts.member(id).await?);
        }
        let granting =
            grantees.iter().map(|grantee| self.0.grant(object, grantee, record.keyEpoch, &request));
        let receipts = futures::future::join_all(granting).await.into_iter().collect::<Result<_, _>>()?;
        Ok(recorded(receipts))
    }

    /// Takes a grant back, at once for everything not yet opened; the next version is encrypted under a new key. Versions
    /// that the member has opened stay readable to it.
    ///
    /// # Errors
    /// [`SharingError::NotOwner`], [`SharingError::UnknownObject`], [`SharingError::UnknownGrant`].
    pub async fn revoke(&self, object: ObjectId, from: DcId) -> Result<Recorded, SharingError> {
        self.0.owner(object).await?;
        let _writer = self.0.writing(object).await;
        self.0.contracts.latest(object).await?;
        // First, and durably: a crash after the revocation must not let the next version keep the old key.
        if self.0.contracts.cell(object, from).await?.state == GRANTED {
            self.0.keyring.rotate(object)?;
        }
        match self.0.contracts.revoke(object, from).await {
            Err(SharingError::Chain(e)) if refused_with::<abi::Sharing::SharingGrantMissing>(&e) => {
                Err(SharingError::UnknownGrant(object, from))
            }
            other => Ok(recorded(vec![other?])),
        }
    }

    /// Sets who may open an own object, all its versions so far included. Publishing puts the key on the chain: that
    /// cannot be taken back.
    ///
    /// # Errors
    /// [`SharingError::NotOwner`], [`SharingError::UnknownObject`], [`SharingError::KeyMissing`].
    pub async fn set_visibility(
        &self,
        object: ObjectId,
        visibility: Visibility,
    ) -> Result<Recorded, SharingError> {
        self.0.owner(object).await?;
        let _writer = self.0.writing(object).await;
        let record = self.0.contracts.record(object, None).await?;
        let before = self.0.contracts.visibility(object, hansa_types::Version(record.version)).await?;
        if visibility.code() > before.code() {
            self.0.keyring.rotate(object)?;
        }
        let epoch = record.keyEpoch;
        let published = match visibility {
            Visibility::Listed => Bytes::new(),
            Visibility::Members | Visibility::Public => {
                self.0.published_with(object, epoch, &self.0.own_key(object, epoch)?, visibility)?
            }
        };
        Ok(recorded(vec![self.0.contracts.set_visibility(object, visibility, epoch, published).await?]))
    }
}

impl Inner {
    fn own_key(&self, object: ObjectId, epoch: u32) -> Result<AudienceKey, SharingError> {
        self.keyring.key(object, epoch)?.ok_or(SharingError::KeyMissing { object, epoch })
    }

    async fn grant(
        &self,
        object: ObjectId,
        grantee: &Member,
        epoch: u32,
        request: &GrantRequest,
    ) -> Result<ChainReceipt, SharingError> {
        let key = request.deposit.then(|| self.own_key(object, epoch)).transpose()?;
        let grant = |nonce| {
            let deposit = key.as_ref().map(|key| self.deposit(object, epoch, key, (grantee, nonce)));
            Ok(abi::Grant {
                owner: object.owner.value(),
                number: object.number,
                grantee: grantee.dc_id.value(),
                expiresAt: request.expires_at.unwrap_or(0),
                maxOpenings: request.max_openings.unwrap_or(0),
                keyEpoch: epoch,
                wrappedKey: deposit.transpose()?.unwrap_or_default().into(),
                nonce,
            })
        };
        self.contracts.share(object, grantee.dc_id, grant).await
    }

    /// Wraps an audience key to a member's registered key.
    pub(crate) fn wrap(
        &self,
        object: ObjectId,
        epoch: u32,
        key: &AudienceKey,
        recipient: &Member,
    ) -> Result<Vec<u8>, SharingError> {
        let chain_id = self.contracts.chain.chain_id();
        let context = KekContext { chain_id, object, epoch, recipient: recipient.dc_id };
        Ok(wrap_kek(&recipient.card.encryption_key, key, &context)?)
    }

    /// After a change of key: deposits the new one with every grant that stands and had a deposit, so that those members
    /// still need no answer from this node. Expiry and the openings left stay as they were. A deposit that fails holds up no
    /// other; that member asks this node.
    ///
    /// # Errors
    /// The last failure, after all were tried.
    pub(crate) async fn renew_deposits(
        &self,
        object: ObjectId,
        epoch: u32,
        key: &AudienceKey,
    ) -> Result<(), SharingError> {
        let renewing = self.with_deposit(object).await?.into_iter().map(|member| async move {
            self.renew_deposit(object, epoch, key, member, Stale::OtherEpoch).await.inspect_err(
                |error| tracing::warn!(%object, %member, %error, "the new key was not deposited"),
            )
        });
        futures::future::join_all(renewing).await.into_iter().collect()
    }

    /// Deposits the key of the grant's own epoch again for a member that got a new encryption key.
    pub(crate) async fn rewrap_deposit(&self, object: ObjectId, member: DcId) -> Result<(), SharingError> {
        let _writer = self.writing(object).await;
        let epoch = self.contracts.cell(object, member).await?.keyEpoch;
        let key = self.own_key(object, epoch)?;
        self.renew_deposit(object, epoch, &key, member, Stale::OtherRecipientKey).await
    }

    async fn renew_deposit(
        &self,
        object: ObjectId,
        epoch: u32,
        key: &AudienceKey,
        member: DcId,
        stale: Stale,
    ) -> Result<(), SharingError> {
        let cell = self.contracts.cell(object, member).await?;
        let left = cell.maxOpenings.saturating_sub(cell.openings);
        let is_used_up = cell.maxOpenings != 0 && left == 0;
        let is_over = cell.expiresAt != 0 && cell.expiresAt < self.contracts.chain.head().await?.timestamp;
        if cell.state != GRANTED
            || cell.wrappedKey.is_empty()
            || (stale == Stale::OtherEpoch && cell.keyEpoch == epoch)
            || is_used_up
            || is_over
        {
            return Ok(());
        }
        let recipient = match self.contracts.member(member).await {
            Err(SharingError::UnknownMember(_)) => return Ok(()),
            recipient => recipient?,
        };
        let grant = |nonce| {
            Ok(abi::Grant {
                owner: object.owner.value(),
                number: object.number,
                grantee: member.value(),
                expiresAt: cell.expiresAt,
                maxOpenings: left,
                keyEpoch: epoch,
                wrappedKey: self.deposit(object, epoch, key, (&recipient, nonce))?.into(),
                nonce,
            })
        };
        self.contracts.share(object, member, grant).await?;
        Ok(())
    }

    async fn with_deposit(&self, object: ObjectId) -> Result<Vec<DcId>, SharingError> {
        let filter = EventFilter {
            to: u64::MAX,
            addresses: vec![SHARING],
            topics: [vec![], vec![topic(object.owner.value())], vec![topic(object.number)], vec![]],
            ..EventFilter::default()
        };
        let mut members = BTreeSet::new();
        for event in self.contracts.chain.events(filter).await? {
            if let Some(ContractEvent::Shared(shared)) = ContractEvent::decode(&event.log)
                && shared.deposited
            {
                members.extend(DcId::new(shared.grantee));
            }
        }
        Ok(members.into_iter().collect())
    }
}
