//! The consortium as a keeper of deposited keys, as the sharing service needs it.
//!
//! What is deposited is opened only by an opening that is final on the chain. The port does not say how validators agree on that.

use alloy_primitives::B256;
use async_trait::async_trait;
use hansa_types::ReleaseId;

/// Why a deposit was not sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DepositFault {
    /// The validators deny it, or the deposit is not what it should be. Asking again does not help.
    #[error("{0}")]
    Refused(String),
    /// No quorum answered in time.
    #[error("{0}")]
    Unavailable(String),
}

/// Seals keys to the consortium and has it release them.
#[async_trait]
pub trait Depository: Send + Sync + 'static {
    /// Hash of the chain's genesis block, which every [`ReleaseId`] names.
    fn chain(&self) -> B256;

    /// Seals `inner` under `id`; returns an encoded [`hansa_types::Deposit`]. Takes some milliseconds of processor.
    fn seal(&self, id: &ReleaseId, inner: &[u8]) -> Result<Vec<u8>, DepositFault>;

    /// What [`Depository::seal`] sealed under `id`, on the strength of this node's opening with this number. Takes seconds at most.
    async fn open(&self, id: &ReleaseId, opening: u64, deposit: &[u8]) -> Result<Vec<u8>, DepositFault>;
}
