//! Places for key requests under way: so many for each peer, so that none takes those of another.

use std::collections::HashMap;
use std::sync::Arc;

use libp2p::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Key requests of one peer answered at the same time: as many as its connection may have open.
const PER_PEER: usize = crate::key::STREAMS_PER_CONNECTION;

/// The places that peers have taken. Peers that have taken none are forgotten.
#[derive(Default)]
pub(crate) struct Slots(HashMap<PeerId, Arc<Semaphore>>);

impl Slots {
    /// A place, given back when the permit is dropped; `None` when the peer has taken all of its own.
    pub(crate) fn take(&mut self, peer: PeerId) -> Option<OwnedSemaphorePermit> {
        self.0.retain(|_, slots| Arc::strong_count(slots) > 1);
        let slots = self.0.entry(peer).or_insert_with(|| Arc::new(Semaphore::new(PER_PEER)));
        Arc::clone(slots).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_takes_all_it_can_takes_none_from_others() {
        let (mut slots, [hogger, other]) = (Slots::default(), [(); 2].map(|()| PeerId::random()));
        let taken: Vec<_> = std::iter::from_fn(|| slots.take(hogger)).take(1000).collect();
        assert_eq!(taken.len(), PER_PEER);
        assert!(slots.take(other).is_some());
        drop(taken);
        assert!(slots.take(hogger).is_some());
        assert_eq!(slots.0.len(), 1);
    }
}
