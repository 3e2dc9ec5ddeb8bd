//! So many at a time for each of many: whoever asks for much waits for itself and for nobody else.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places, so many for each key. Keys without a place taken or waited for are forgotten.
pub(crate) struct Turns<K> {
    each: usize,
    places: Mutex<HashMap<K, Arc<Semaphore>>>,
}

impl<K: Eq + Hash> Turns<K> {
    /// `each` places for every key.
    pub(crate) fn new(each: usize) -> Self {
        Self { each, places: Mutex::default() }
    }

    /// Waits for a place, in the order of asking; it is given back when the permit is dropped. `None` never happens: no
    /// semaphore is closed.
    pub(crate) async fn take(&self, key: K) -> Option<OwnedSemaphorePermit> {
        let places = {
            let mut all = self.places.lock();
            all.retain(|_, places| Arc::strong_count(places) > 1);
            Arc::clone(all.entry(key).or_insert_with(|| Arc::new(Semaphore::new(self.each))))
        };
        places.acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_key_never_waits_for_another() {
        let turns = Turns::new(2);
        let first = turns.take("a").await;
        let _second = turns.take("a").await;
        assert!(turns.take("a").now_or_never().is_none());
        assert!(turns.take("b").now_or_never().is_some());
        drop(first);
        assert!(turns.take("a").now_or_never().is_some());
        assert_eq!(turns.places.lock().len(), 1, "b is forgotten");
    }
}
