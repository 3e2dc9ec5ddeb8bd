//! The port [`Depository`] over the consensus engine.

use alloy_primitives::B256;
use async_trait::async_trait;
use hansa_consensus::{KeyReleases, ReleaseError};
use hansa_ports::{DepositFault, Depository};
use hansa_types::{Deposit, ReleaseId};

/// The engine's releases.
pub(crate) struct EngineDepository(pub(crate) KeyReleases);

fn fault(error: ReleaseError) -> DepositFault {
    match error {
        ReleaseError::TooFew { .. } | ReleaseError::Busy | ReleaseError::Ended => {
            DepositFault::Unavailable(error.to_string())
        }
        _ => DepositFault::Refused(error.to_string()),
    }
}

#[async_trait]
impl Depository for EngineDepository {
    fn chain(&self) -> B256 {
        self.0.group_key().chain()
    }

    fn seal(&self, id: &ReleaseId, inner: &[u8]) -> Result<Vec<u8>, DepositFault> {
        self.0.group_key().seal(id, inner).map(|deposit| deposit.encode()).map_err(fault)
    }

    async fn open(&self, id: &ReleaseId, opening: u64, deposit: &[u8]) -> Result<Vec<u8>, DepositFault> {
        let deposit = Deposit::decode(deposit).map_err(|error| DepositFault::Refused(error.to_string()))?;
        let signature = self.0.obtain(*id, opening).await.map_err(fault)?;
        self.0.group_key().open(id, &signature, &deposit).map_err(fault)
    }
}
