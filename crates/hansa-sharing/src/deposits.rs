//! Deposited keys (D3): sealed to the consortium by the owner, opened by the grantee after its opening is final.
//!
//! A deposit with a grant holds the audience key wrapped to the grantee. One for every member (visibility 0) stands where a public
//! object's key would be, and holds the audience key itself.

use alloy_primitives::Bytes;
use hansa_envelope::{AudienceKey, KekContext, unwrap_kek};
use hansa_ports::DepositFault;
use hansa_types::{DcId, Deposit, Member, ObjectId, ReleaseId, ReleasedKey, Visibility};

use crate::{SharingError, sharing::Inner};

impl Inner {
    fn deposit_id(&self, object: ObjectId, epoch: u32, grantee: Option<DcId>, nonce: u32) -> ReleaseId {
        let chain = self.depository.chain();
        ReleaseId { chain, object, key: ReleasedKey::Epoch(epoch), grantee, grant_nonce: nonce }
    }

    /// The deposit that goes with the grant of this nonce.
    pub(crate) fn deposit(
        &self,
        object: ObjectId,
        epoch: u32,
        key: &AudienceKey,
        (grantee, nonce): (&Member, u32),
    ) -> Result<Vec<u8>, SharingError> {
        let id = self.deposit_id(object, epoch, Some(grantee.dc_id), nonce);
        let wrapped = self.wrap(object, epoch, key, grantee)?;
        Ok(self.depository.seal(&id, &wrapped)?)
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
                let id = self.deposit_id(object, epoch, None, 0);
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

    /// The audience key of an epoch from what is deposited, by an opening that is final. `None` when nothing is deposited.
    pub(crate) async fn deposited_key(
        &self,
        me: DcId,
        object: ObjectId,
        epoch: u32,
        opening: u64,
    ) -> Result<Option<AudienceKey>, SharingError> {
        let cell = self.contracts.cell(object, me).await?;
        if cell.keyEpoch == epoch && !cell.wrappedKey.is_empty() {
            let id = self.deposit_id(object, epoch, Some(me), cell.shareNonce);
            let wrapped = self.depository.open(&id, opening, &cell.wrappedKey).await?;
            let chain_id = self.contracts.chain.chain_id();
            let context = KekContext { chain_id, object, epoch, recipient: me };
            let key = unwrap_kek(&self.contracts.keys, &wrapped, &context);
            return key.map(Some).map_err(|error| DepositFault::Refused(error.to_string()).into());
        }
        let published = self.contracts.published(object, epoch).await?;
        if Deposit::decode(&published).is_err() {
            return Ok(None);
        }
        let key = self.depository.open(&self.deposit_id(object, epoch, None, 0), opening, &published).await?;
        Ok(Some(AudienceKey::from_slice(&key)?))
    }
}
