//! Who may read: grants, revocations, visibility (D1, D2, D3, D5).
//!
//! Limited grants (expiry, openings) are served with keys of single versions, by the owner's node and by deposits: each version takes an
//! opening of its own. The audience key is deposited with grants without limits alone.
//!
//! Taking access back works from the next opening and the next version on. A version that a member has opened stays
//! readable to it: its node keeps that version's key, and no contract takes knowledge back. Everything that a change
//! depends on (the newest version, its key epoch, its visibility, the recipient's key) is read under the object's writer
//! lock.

use std::collections::BTreeSet;

use alloy_primitives::Bytes;
use hansa_api::{GrantRequest, Recorded};
use hansa_contracts::{ContractEvent, GRANTED, SHARING, abi};
use hansa_envelope::AudienceKey;
use hansa_ports::{ChainReceipt, EventFilter};
use hansa_types::{DcId, Member, ObjectId, ReleasedKey, Visibility};

use crate::{
    Sharing, SharingError,
    contracts::refused_with,
    deposits::DepositedKey,
    history::topic,
    sharing::Inner,
    terms::{is_limited, stands},
};

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
        let limited = is_limited(request.expires_at.unwrap_or(0), request.max_openings.unwrap_or(0));
        let key = match request.deposit {
            true => Some(self.0.key_to_deposit(object, &record, limited).await?),
            false => None,
        };
        let (epoch, key) = (record.keyEpoch, key.as_ref());
        let granting = grantees.iter().map(|grantee| self.0.grant(object, grantee, (epoch, key), &request));
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
    pub(crate) fn own_key(&self, object: ObjectId, epoch: u32) -> Result<AudienceKey, SharingError> {
        self.keyring.key(object, epoch)?.ok_or(SharingError::KeyMissing { object, epoch })
    }

    async fn grant(
        &self,
        object: ObjectId,
        grantee: &Member,
        (epoch, key): (u32, Option<&DepositedKey>),
        request: &GrantRequest,
    ) -> Result<ChainReceipt, SharingError> {
        let grant = |nonce| {
            let deposit = key.map(|key| self.deposit(object, key, (grantee, nonce)));
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

    /// After a change of key: deposits the new one with every grant without limits that stands and had a deposit, so that those members
    /// still need no answer from this node. A deposit that fails holds up no other; that member asks this node.
    ///
    /// # Errors
    /// The last failure, after all were tried.
    pub(crate) async fn renew_deposits(
        &self,
        object: ObjectId,
        epoch: u32,
        key: AudienceKey,
    ) -> Result<(), SharingError> {
        let key = &DepositedKey::Epoch(epoch, key);
        let renewing = self.with_deposit(object).await?.into_iter().map(|member| async move {
            let renewed = self.renew_deposit(object, (epoch, key), member, Stale::OtherEpoch).await;
            renewed.inspect_err(
                |error| tracing::warn!(%object, %member, %error, "the new key was not deposited"),
            )
        });
        futures::future::join_all(renewing).await.into_iter().collect()
    }

    /// Deposits a key again for a member that got a new encryption key: that of the grant's own epoch, or with a limited grant that of
    /// the newest version. Expiry and the openings left stay as they were.
    pub(crate) async fn rewrap_deposit(&self, object: ObjectId, member: DcId) -> Result<(), SharingError> {
        let _writer = self.writing(object).await;
        let cell = self.contracts.cell(object, member).await?;
        let (epoch, key) = match is_limited(cell.expiresAt, cell.maxOpenings) {
            true => {
                let newest = self.contracts.record(object, None).await?;
                (newest.keyEpoch, self.key_to_deposit(object, &newest, true).await?)
            }
            false => {
                (cell.keyEpoch, DepositedKey::Epoch(cell.keyEpoch, self.own_key(object, cell.keyEpoch)?))
            }
        };
        self.renew_deposit(object, (epoch, &key), member, Stale::OtherRecipientKey).await
    }

    async fn renew_deposit(
        &self,
        object: ObjectId,
        (epoch, key): (u32, &DepositedKey),
        member: DcId,
        stale: Stale,
    ) -> Result<(), SharingError> {
        let cell = self.contracts.cell(object, member).await?;
        let left = cell.maxOpenings.saturating_sub(cell.openings);
        // A limited grant never gets the audience key, whatever became of it since the key was chosen.
        let fits =
            is_limited(cell.expiresAt, cell.maxOpenings) == matches!(key.name(), ReleasedKey::Version(_));
        if !stands(&cell, self.contracts.chain.head().await?.timestamp)
            || (stale == Stale::OtherEpoch && cell.keyEpoch == epoch)
            || !fits
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
                wrappedKey: self.deposit(object, key, (&recipient, nonce))?.into(),
                nonce,
            })
        };
        self.contracts.share(object, member, grant).await?;
        Ok(())
    }

    /// The members that were ever granted the object with a deposit, by number.
    pub(crate) async fn with_deposit(&self, object: ObjectId) -> Result<Vec<DcId>, SharingError> {
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
