//! Which provider records the hash table keeps: the newest ones of each member, this node included. So nobody's announcements
//! take the room of another's, and a node that announces more than fits is found by its newest roots.

use std::collections::{HashMap, HashSet, VecDeque};

use libp2p::PeerId;
use libp2p::kad::RecordKey;

/// Records of one member.
const RECORDS_MAX: usize = 2048;

/// The keys that each member provides, in the order of their announcement.
#[derive(Debug, Default)]
pub(crate) struct Providers(HashMap<PeerId, Provided>);

#[derive(Debug, Default)]
struct Provided {
    keys: HashSet<RecordKey>,
    order: VecDeque<RecordKey>,
}

impl Providers {
    /// Enters an announcement, and returns the one that has to go for it.
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

    /// Forgets a member, and returns what it provided.
    pub(crate) fn forget(&mut self, peer: &PeerId) -> impl Iterator<Item = RecordKey> {
        self.0.remove(peer).unwrap_or_default().order.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
