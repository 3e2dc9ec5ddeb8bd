//! Retention of provider records in the hash table: the newest records of each member, this node included. A member cannot evict
//! another's records, and a node with more roots than fit is found by its newest ones.

use std::collections::{HashMap, HashSet, VecDeque};

use libp2p::PeerId;
use libp2p::kad::RecordKey;

/// Maximum number of records of a member.
const RECORDS_MAX: usize = 2048;

/// The keys of each member in the order of their announcement.
#[derive(Debug, Default)]
pub(crate) struct Providers(HashMap<PeerId, Provided>);

#[derive(Debug, Default)]
struct Provided {
    keys: HashSet<RecordKey>,
    order: VecDeque<RecordKey>,
}

impl Providers {
    /// Adds an announcement; returns the evicted one.
    pub(crate) fn enter(&mut self, peer: PeerId, key: &RecordKey) -> Option<RecordKey> {
        let provided = self.0.entry(peer).or_default();
        if provided.keys.insert(key.clone()) {
            provided.order.push_back(key.clone());
        }
        if provided.order.len() <= RECORDS_MAX {
            return None;
        }
        let oldest = provided.order.pop_front()?;
        provided.keys.remove(&oldest);
        Some(oldest)
    }

    /// Removes a member; returns its keys.
    pub(crate) fn forget(&mut self, peer: &PeerId) -> impl Iterator<Item = RecordKey> {
        self.0.remove(peer).unwrap_or_default().order.into_iter()
    }
}

/// Announcements sent in one tick.
const ANNOUNCED_MAX: usize = 4;

/// The rate-limited queue of this node's announcements, oldest first. When it is full, the oldest is dropped.
#[derive(Debug, Default)]
pub(crate) struct Announcements {
    waiting: VecDeque<RecordKey>,
    made: usize,
}

impl Announcements {
    /// Queues an announcement, or returns it if it can be sent now.
    pub(crate) fn add(&mut self, key: RecordKey) -> Option<RecordKey> {
        if self.made < ANNOUNCED_MAX {
            self.made = self.made.saturating_add(1);
            return Some(key);
        }
        if self.waiting.len() >= RECORDS_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(key);
        None
    }

    /// Begins the next tick; returns its announcements.
    pub(crate) fn tick(&mut self) -> impl Iterator<Item = RecordKey> + use<> {
        self.made = self.waiting.len().min(ANNOUNCED_MAX);
        self.waiting.drain(..self.made).collect::<Vec<_>>().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_of_announcements_is_made_bit_by_bit() {
        let key = |number: usize| RecordKey::new(&number.to_be_bytes());
        let mut announcements = Announcements::default();
        let at_once = (0..RECORDS_MAX + 10).filter_map(|number| announcements.add(key(number)));
        assert_eq!(at_once.collect::<Vec<_>>(), [0, 1, 2, 3].map(key));
        // Ten more than fit, four of them sent: the oldest six of the queue were dropped.
        assert_eq!(announcements.tick().collect::<Vec<_>>(), [10, 11, 12, 13].map(key));
        assert_eq!(announcements.add(key(0)), None);
        let rest: usize = (0..RECORDS_MAX).map(|_| announcements.tick().count()).sum();
        assert_eq!(rest, RECORDS_MAX - ANNOUNCED_MAX + 1);
        assert_eq!(announcements.add(key(1)), Some(key(1)));
    }

    #[test]
    fn each_member_has_room_for_its_newest_records() {
        let [noisy, quiet] = [PeerId::random(), PeerId::random()];
        let key = |number: usize| RecordKey::new(&number.to_be_bytes());
        let mut providers = Providers::default();
        assert_eq!(providers.enter(quiet, &key(0)), None);
        for number in 0..RECORDS_MAX {
            assert_eq!(providers.enter(noisy, &key(number)), None);
            assert_eq!(providers.enter(noisy, &key(0)), None);
        }
        assert_eq!(providers.enter(noisy, &key(RECORDS_MAX)), Some(key(0)));
        assert_eq!(providers.forget(&quiet).collect::<Vec<_>>(), [key(0)]);
        assert_eq!(providers.forget(&noisy).count(), RECORDS_MAX);
        assert_eq!(providers.forget(&noisy).count(), 0);
    }
}
