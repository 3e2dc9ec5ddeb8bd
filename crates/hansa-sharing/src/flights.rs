//! Openings under way in this node. Readers of one version that come while it is being opened share the opening: the chain
//! would take their openings in turn only, and one key serves them all.

use std::{collections::HashMap, future::Future, sync::Arc};

use hansa_envelope::DataKey;
use hansa_types::{ObjectId, Version};
use parking_lot::Mutex;

use crate::SharingError;

type Of = (ObjectId, Version);

/// What came of an opening, for those who waited for it.
enum Landed {
    Key(DataKey),
    /// The owner did not answer; those who waited do not wait for it once more.
    Unreachable(String),
}

/// One opening; locked while somebody is at it.
type Flight = tokio::sync::Mutex<Option<Landed>>;

/// The openings under way. An entry lives as long as somebody waits for it.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<Of, Arc<Flight>>>);

/// A reader's part in an opening, from before it knows whether it needs one. The last reader to leave, also one that gives
/// up, takes the opening from the list.
pub(crate) struct Boarded<'a> {
    flights: &'a Flights,
    of: Of,
    flight: Arc<Flight>,
}

impl Drop for Boarded<'_> {
    fn drop(&mut self) {
        let mut all = self.flights.0.lock();
        // The list's own and this one.
        if Arc::strong_count(&self.flight) == 2 {
            leave(&mut all, &self.of, &self.flight);
        }
    }
}

impl Flights {
    /// Joins the opening of a version that is under way, or begins one.
    pub(crate) fn board(&self, object: ObjectId, version: Version) -> Boarded<'_> {
        let of = (object, version);
        let flight = Arc::clone(self.0.lock().entry(of).or_default());
        Boarded { flights: self, of, flight }
    }
}

impl Boarded<'_> {
    /// The key, if another reader has got it since this one boarded; waits for one that is at it.
    pub(crate) async fn landed(&self) -> Option<DataKey> {
        match &*self.flight.lock().await {
            Some(Landed::Key(key)) => Some(key.clone()),
            _ => None,
        }
    }

    /// The key from another reader, or from `obtain`. When `obtain` fails, the next reader in line tries its own, except
    /// where the owner does not answer.
    pub(crate) async fn share(
        self,
        obtain: impl Future<Output = Result<DataKey, SharingError>>,
    ) -> Result<DataKey, SharingError> {
        let (object, _) = self.of;
        let mut landed = self.flight.lock().await;
        match &*landed {
            Some(Landed::Key(key)) => return Ok(key.clone()),
            Some(Landed::Unreachable(why)) => {
                return Err(SharingError::OwnerUnreachable { object, owner: object.owner, why: why.clone() });
            }
            None => {}
        }
        let outcome = obtain.await;
        *landed = match &outcome {
            Ok(key) => Some(Landed::Key(key.clone())),
            Err(SharingError::OwnerUnreachable { why, .. }) => Some(Landed::Unreachable(why.clone())),
            Err(_) => None,
        };
        if landed.is_some() {
            // Readers to come open for themselves.
            leave(&mut self.flights.0.lock(), &self.of, &self.flight);
        }
        drop(landed);
        outcome
    }
}

fn leave(all: &mut HashMap<Of, Arc<Flight>>, of: &Of, flight: &Arc<Flight>) {
    if all.get(of).is_some_and(|listed| Arc::ptr_eq(listed, flight)) {
        all.remove(of);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::{FutureExt, future::join_all};

    use super::*;

    fn unreachable(object: ObjectId) -> SharingError {
        SharingError::OwnerUnreachable { object, owner: object.owner, why: "away".to_owned() }
    }

    #[tokio::test]
    async fn readers_that_wait_share_what_comes_and_later_ones_do_not() {
        let (flights, object, made) = (Flights::default(), "1/1".parse().unwrap(), AtomicU32::new(0));
        let obtain = || async {
            made.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(DataKey::generate()?)
        };
        let early = flights.board(object, Version(1));
        let keys = join_all((0..5).map(|_| flights.board(object, Version(1)).share(obtain()))).await;
        let keys: Vec<DataKey> = keys.into_iter().collect::<Result<_, _>>().unwrap();
        assert!(keys.iter().all(|key| *key == keys[0]));
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert_eq!(early.landed().await.as_ref(), keys.first());
        drop(early);
        assert!(flights.board(object, Version(1)).share(obtain()).await.unwrap() != keys[0]);
        assert!(flights.0.lock().is_empty());
    }

    #[tokio::test]
    async fn a_reader_that_gives_up_hands_on_and_an_absent_owner_is_waited_for_once() {
        let (flights, object) = (Flights::default(), "1/1".parse().unwrap());
        let mut first = Box::pin(flights.board(object, Version(1)).share(futures::future::pending()));
        assert!((&mut first).now_or_never().is_none());
        let second = flights.board(object, Version(1)).share(async { Ok(DataKey::generate()?) });
        let mut second = Box::pin(second);
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        assert!(second.await.is_ok());
        let asked = AtomicU32::new(0);
        let ask = || async {
            asked.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Err(unreachable(object))
        };
        let outcomes = join_all((0..3).map(|_| flights.board(object, Version(1)).share(ask()))).await;
        assert!(outcomes.iter().all(Result::is_err));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert!(flights.0.lock().is_empty());
    }
}
