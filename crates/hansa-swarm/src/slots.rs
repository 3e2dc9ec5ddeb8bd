//! Concurrency limit of key requests for each peer. A peer cannot use the slots of another.

use std::collections::HashMap;
use std::sync::Arc;

use libp2p::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Concurrent key requests of a peer, as many as its connection can have open.
const PER_PEER: usize = crate::key::STREAMS_PER_CONNECTION;

/// The slots in use by peer. A peer without one is removed.
#[derive(Default)]
pub(crate) struct Slots(HashMap<PeerId, Arc<Semaphore>>);

impl Slots {
    /// A slot, freed when the permit is dropped; `None` if the peer has used all of its slots.
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
