//! Deposited keys (D3): sealed to the consortium by the owner, opened by the grantee after its opening is final.
//!
//! A grant without limits deposits the audience key, which opens every version of its epoch. A limited grant deposits data keys of single
//! versions: with the grant that of the newest, with each later version that version's, in a block that its root names. All are wrapped to
//! the grantee. A deposit for every member (visibility 0) stands where a public object's key would be, and holds the audience key itself.
//! With one version go at most [`VERSION_DEPOSITS_MAX`] deposits, those of the members with the lowest numbers; the others ask the owner.

use std::sync::Arc;

use alloy_primitives::Bytes;
use hansa_contracts::abi;
use hansa_envelope::{
    AudienceKey, DataKey, GrantedDekContext, KekContext, ObjectRoot, unwrap_granted_dek, unwrap_kek,
    wrap_granted_dek, wrap_kek,
};
use hansa_ports::{DepositFault, Depository};
use hansa_types::{
    DcId, Deposit, GrantDeposit, Member, ObjectId, ReleaseId, ReleasedKey, VERSION_DEPOSITS_MAX, Version,
    VersionDeposit, VersionDeposits, Visibility,
};

use crate::{
    SharingError,
    content::version_key,
    sharing::Inner,
    terms::{is_limited, stands},
};

/// A key that is deposited.
pub(crate) enum DepositedKey {
    /// For a limited grant.
    Version(Version, DataKey),
    /// For any other.
    Epoch(u32, AudienceKey),
}

impl DepositedKey {
    pub(crate) const fn name(&self) -> ReleasedKey {
        match self {
            Self::Version(version, _) => ReleasedKey::Version(*version),
            Self::Epoch(epoch, _) => ReleasedKey::Epoch(*epoch),
        }
    }
}

/// Seals deposits of one object's keys.
pub(crate) struct Sealer {
    depository: Arc<dyn Depository>,
    chain_id: u64,
    object: ObjectId,
}

impl Sealer {
    fn id(&self, key: ReleasedKey, grantee: Option<DcId>, grant_nonce: u32) -> ReleaseId {
        ReleaseId { chain: self.depository.chain(), object: self.object, key, grantee, grant_nonce }
    }

    /// A deposit for the grant of this nonce.
    fn seal(&self, key: &DepositedKey, grantee: &Member, grant_nonce: u32) -> Result<Vec<u8>, SharingError> {
        let (chain_id, object, recipient) = (self.chain_id, self.object, grantee.dc_id);
        let to = &grantee.card.encryption_key;
        let wrapped = match key {
            DepositedKey::Version(version, key) => wrap_granted_dek(
                to,
                key,
                &GrantedDekContext { chain_id, object, version: *version, recipient },
            ),
            DepositedKey::Epoch(epoch, key) => {
                wrap_kek(to, key, &KekContext { chain_id, object, epoch: *epoch, recipient })
            }
        }?;
        Ok(self.depository.seal(&self.id(key.name(), Some(recipient), grant_nonce), &wrapped)?)
    }
}

/// The grants whose holders get a deposit with the next version, each with its nonce.
pub(crate) struct Depositing {
    sealer: Sealer,
    grants: Vec<(Member, u32)>,
}

impl Depositing {
    /// The block with the deposits of a version's key, `None` without any. A grantee whose deposit cannot be sealed gets none: its
    /// registered key must not keep the owner from recording a version. Blocking.
    pub(crate) fn seal(&self, version: Version, key: &DataKey) -> Option<Vec<u8>> {
        let key = DepositedKey::Version(version, key.clone());
        let sealed = self.grants.iter().filter_map(|(grantee, grant_nonce)| {
            let object = self.sealer.object;
            let deposit = self
                .sealer
                .seal(&key, grantee, *grant_nonce)
                .inspect_err(
                    |error| tracing::warn!(%object, member = %grantee.dc_id, %error, "a key was not deposited"),
                )
                .ok()?;
            Some(VersionDeposit {
                grantee: grantee.dc_id,
                grant_nonce: *grant_nonce,
                deposit: deposit.into(),
            })
        });
        let sealed: Vec<_> = sealed.collect();
        if sealed.is_empty() { None } else { VersionDeposits::new(sealed).map(|all| all.encode()) }
    }
}

impl Inner {
    fn sealer(&self, object: ObjectId) -> Sealer {
        let (depository, chain_id) = (Arc::clone(&self.depository), self.contracts.chain.chain_id());
        Sealer { depository, chain_id, object }
    }

    /// The key that a grant deposits at present: the newest version's where the grant is limited, else the audience's.
    pub(crate) async fn key_to_deposit(
        &self,
        object: ObjectId,
        newest: &abi::RecordedVersion,
        limited: bool,
    ) -> Result<DepositedKey, SharingError> {
        let epoch = newest.keyEpoch;
        let kek = self.own_key(object, epoch)?;
        if !limited {
            return Ok(DepositedKey::Epoch(epoch, kek));
        }
        let (store, chain_id, record) = (self.store.clone(), self.contracts.chain.chain_id(), newest.clone());
        let key = Self::blocking(move || version_key(&store, chain_id, object, &record, &kek)).await?;
        Ok(DepositedKey::Version(Version(newest.version), key))
    }

    /// The deposit that goes with the grant of this nonce.
    pub(crate) fn deposit(
        &self,
        object: ObjectId,
        key: &DepositedKey,
        (grantee, nonce): (&Member, u32),
    ) -> Result<Vec<u8>, SharingError> {
        let deposit = self.sealer(object).seal(key, grantee, nonce)?.into();
        Ok(GrantDeposit { key: key.name(), deposit }.encode())
    }

    /// The limited grants with a deposit that stand, of the members with the lowest numbers. The caller holds the object's lock, so that
    /// their nonces stay.
    pub(crate) async fn depositing(
        &self,
        object: ObjectId,
        version: Version,
    ) -> Result<Depositing, SharingError> {
        let mut grants = Vec::new();
        // Nobody can have a grant for what does not exist.
        let members = if version.0 == 1 { Vec::new() } else { self.with_deposit(object).await? };
        for member in members {
            if grants.len() == VERSION_DEPOSITS_MAX {
                break;
            }
            let cell = self.contracts.cell(object, member).await?;
            let time = self.contracts.chain.head().await?.timestamp;
            if !is_limited(cell.expiresAt, cell.maxOpenings) || !stands(&cell, time) {
                continue;
            }
            match self.contracts.member(member).await {
                Err(SharingError::UnknownMember(_)) => {}
                grantee => grants.push((grantee?, cell.shareNonce)),
            }
        }
        Ok(Depositing { sealer: self.sealer(object), grants })
    }

    /// What is published with a visibility: the key of a public object, a deposit where every member may read, else nothing.
    pub(crate) fn published_with(
        &self,
        object: ObjectId,
        epoch: u32,
        key: &AudienceKey,
        visibility: Visibility,
    ) -> Result<Bytes, SharingError> {
        Ok(match visibility {
            Visibility::Public => Bytes::copy_from_slice(key.expose()),
            Visibility::Members => {
                let id = self.sealer(object).id(ReleasedKey::Epoch(epoch), None, 0);
                self.depository.seal(&id, key.expose())?.into()
            }
            Visibility::Listed => Bytes::new(),
        })
    }

    /// Publishes an epoch's key where the visibility asks for it and it is not there yet. The caller holds the object's lock.
    pub(crate) async fn publish_key(
        &self,
        object: ObjectId,
        epoch: u32,
        key: &AudienceKey,
        visibility: Visibility,
    ) -> Result<(), SharingError> {
        let is_there = match visibility {
            Visibility::Public => self.contracts.published_key(object, epoch).await?.is_some(),
            Visibility::Members => !self.contracts.published(object, epoch).await?.is_empty(),
            Visibility::Listed => true,
        };
        if is_there {
            return Ok(());
        }
        let published = self.published_with(object, epoch, key, visibility)?;
        self.contracts.set_visibility(object, visibility, epoch, published).await?;
        Ok(())
    }

    /// A version's data key from what is deposited, by an opening that is final; it matches the root's key commitment. `None` when nothing
    /// is deposited for this member and version.
    pub(crate) async fn deposited_key(
        &self,
        me: DcId,
        object: ObjectId,
        record: &abi::RecordedVersion,
        root: &ObjectRoot,
        opening: u64,
    ) -> Result<Option<DataKey>, SharingError> {
        let Some((id, deposit)) = self.deposit_for(me, object, record, root).await? else { return Ok(None) };
        let inner = self.depository.open(&id, opening, &deposit).await?;
        let key = self.unwrap_deposited(&id, &inner, Version(record.version), root);
        key.map(Some).map_err(|error| DepositFault::Refused(error.to_string()).into())
    }

    /// The deposit that serves this member for a version: that of its grant, that beside the version, or that for every member.
    async fn deposit_for(
        &self,
        me: DcId,
        object: ObjectId,
        record: &abi::RecordedVersion,
        root: &ObjectRoot,
    ) -> Result<Option<(ReleaseId, Bytes)>, SharingError> {
        let (version, epoch) = (ReleasedKey::Version(Version(record.version)), record.keyEpoch);
        let cell = self.contracts.cell(object, me).await?;
        let mine = |key| self.sealer(object).id(key, Some(me), cell.shareNonce);
        match GrantDeposit::decode(&cell.wrappedKey, cell.keyEpoch) {
            Some(GrantDeposit { key, deposit }) if key == version || key == ReleasedKey::Epoch(epoch) => {
                return Ok(Some((mine(key), deposit)));
            }
            _ => {}
        }
        if let Some(beside) = self.deposit_beside(root, me).await?
            && beside.grant_nonce == cell.shareNonce
        {
            return Ok(Some((mine(version), beside.deposit)));
        }
        let published = self.contracts.published(object, epoch).await?;
        let for_all = self.sealer(object).id(ReleasedKey::Epoch(epoch), None, 0);
        Ok(Deposit::decode(&published).is_ok().then_some((for_all, published)))
    }

    /// This member's deposit in the block that a version's root names. One that cannot be read is none: the owner is asked.
    async fn deposit_beside(
        &self,
        root: &ObjectRoot,
        me: DcId,
    ) -> Result<Option<VersionDeposit>, SharingError> {
        let Some(cid) = root.deposits else { return Ok(None) };
        let store = self.store.clone();
        Self::blocking(move || {
            let block = store.get(&cid)?;
            Ok(block.and_then(|bytes| VersionDeposits::decode(&bytes)?.of(me).cloned()))
        })
        .await
    }

    fn unwrap_deposited(
        &self,
        id: &ReleaseId,
        inner: &[u8],
        version: Version,
        root: &ObjectRoot,
    ) -> Result<DataKey, SharingError> {
        let (chain_id, object, keys) = (self.contracts.chain.chain_id(), id.object, &self.contracts.keys);
        let kek = match (id.key, id.grantee) {
            (ReleasedKey::Version(version), Some(recipient)) => {
                let context = GrantedDekContext { chain_id, object, version, recipient };
                let key = unwrap_granted_dek(keys, inner, &context)?;
                root.unlock(&key)?;
                return Ok(key);
            }
            (ReleasedKey::Epoch(epoch), Some(recipient)) => {
                unwrap_kek(keys, inner, &KekContext { chain_id, object, epoch, recipient })?
            }
            (_, None) => AudienceKey::from_slice(inner)?,
        };
        Ok(root.data_key(&kek, chain_id, object, version)?)
    }
}
