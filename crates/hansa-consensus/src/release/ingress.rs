//! The way from the rest of the node to its releases.

use hansa_types::ReleaseId;
use tokio::sync::{mpsc, oneshot};

use super::{
    collection::Outcome,
    error::ReleaseError,
    group::{GroupKey, ReleaseSignature},
};

/// Requests that wait for the engine's task.
const WAITING_MAX: usize = 64;

/// A request of this node's own.
pub(crate) struct Ask {
    pub(crate) id: ReleaseId,
    pub(crate) opening: u64,
    pub(crate) reply: oneshot::Sender<Outcome>,
}

/// Seals deposits to the group key and has the consortium release them. Cloning is cheap.
#[derive(Clone)]
pub struct KeyReleases {
    group: GroupKey,
    asks: mpsc::Sender<Ask>,
}

/// The engine's end.
pub(crate) struct Inbox {
    pub(crate) asks: mpsc::Receiver<Ask>,
    /// Keeps the channel open where nobody asks.
    pub(crate) handle: KeyReleases,
}

impl KeyReleases {
    pub(crate) fn new(group: GroupKey) -> (Self, Inbox) {
        let (sender, asks) = mpsc::channel(WAITING_MAX);
        let handle = Self { group, asks: sender };
        (handle.clone(), Inbox { asks, handle })
    }

    /// The group key, which seals and opens deposits.
    pub const fn group_key(&self) -> &GroupKey {
        &self.group
    }

    /// Asks the committee in force for its signature over `id`, on the strength of this node's own opening with this number, which
    /// must be final here. Takes at most some 15 seconds; a request that is dropped ends soon after.
    ///
    /// # Errors
    /// [`ReleaseError::Refused`] when the validators deny it, [`ReleaseError::TooFew`] when no quorum answers in time,
    /// [`ReleaseError::Busy`], [`ReleaseError::Ended`] and [`ReleaseError::OtherChain`].
    pub async fn obtain(&self, id: ReleaseId, opening: u64) -> Result<ReleaseSignature, ReleaseError> {
        self.group.check_chain(&id)?;
        let (reply, answer) = oneshot::channel();
        self.asks.try_send(Ask { id, opening, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ReleaseError::Busy,
            mpsc::error::TrySendError::Closed(_) => ReleaseError::Ended,
        })?;
        answer.await.map_err(|_| ReleaseError::Ended)?
    }
}
