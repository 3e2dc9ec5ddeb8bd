//! Finds own objects whose keys this node does not have.
//!
//! The keys of own objects exist on this node's disk alone. After a data folder was emptied, or restored from an older
//! backup, the chain names epochs whose keys are not here; their objects cannot be opened again.

use hansa_types::ObjectId;

use crate::{Sharing, SharingError};

/// Own objects that are looked at, the newest: an older backup lacks these first, an emptied folder all.
const LOOKED_AT_MAX: u64 = 256;

impl Sharing {
    /// This member's newest objects whose newest version is sealed under a key that is not here; of at most 256.
    ///
    /// # Errors
    /// When the ledger or the key store cannot be read, or this node belongs to no active member.
    pub async fn missing_keys(&self) -> Result<Vec<ObjectId>, SharingError> {
        let owner = self.0.contracts.me().await?.dc_id;
        let mut missing = Vec::new();
        for number in self.0.contracts.numbers(owner, LOOKED_AT_MAX).await? {
            let object = ObjectId { owner, number };
            let epoch = self.0.contracts.newest(object).await?.keyEpoch;
            if self.0.keyring.key(object, epoch)?.is_none() {
                missing.push(object);
            }
        }
        Ok(missing)
    }
}
