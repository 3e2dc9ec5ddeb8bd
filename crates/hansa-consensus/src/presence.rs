//! Presence of the other validators, from their votes.
//!
//! A validator is silent if it lags behind the latest vote for a while. The result is reported; the engine has its own measure of
//! activity, which skips the views of absent leaders.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use commonware_consensus::types::{Epoch, Round, View};
use hansa_types::NetworkKey;
use parking_lot::Mutex;

/// Round and time of the last vote of each validator. Clones share them.
#[derive(Clone)]
pub(crate) struct Presence {
    /// Time without a vote after which a lagging validator is silent.
    silence: Duration,
    votes: Arc<Mutex<BTreeMap<NetworkKey, (Round, SystemTime)>>>,
}

impl Presence {
    pub(crate) fn new(silence: Duration) -> Self {
        Self { silence, votes: Arc::default() }
    }

    /// Records a validator's vote.
    pub(crate) fn voted(&self, voter: NetworkKey, round: Round, now: SystemTime) {
        let mut votes = self.votes.lock();
        let (last, at) = votes.entry(voter).or_insert((round, now));
        (*last, *at) = ((*last).max(round), now);
    }

    /// The validators of `committee` other than `me` that have lagged behind the latest vote for a while. On a stalled chain, the
    /// present validators have all voted in the last view, so they do not lag.
    pub(crate) fn silent(
        &self,
        committee: &[NetworkKey],
        me: &NetworkKey,
        now: SystemTime,
    ) -> Vec<NetworkKey> {
        let mut votes = self.votes.lock();
        votes.retain(|voter, _| committee.contains(voter));
        let Some(latest) = votes.values().map(|(round, _)| *round).max() else { return Vec::new() };
        let begin = Round::new(Epoch::zero(), View::zero());
        let is_silent = |voter: &&NetworkKey| {
            // A validator without a vote gets the same time.
            let (round, at) = *votes.entry(**voter).or_insert((begin, now));
            round < latest && now.duration_since(at).unwrap_or_default() > self.silence
        };
        committee.iter().filter(|voter| *voter != me).filter(is_silent).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use alloy_primitives::B256;

    use super::*;

    fn key(seed: u8) -> NetworkKey {
        NetworkKey(B256::repeat_byte(seed))
    }

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn a_validator_that_does_not_vote_is_named_also_when_the_chain_stands_still() {
        let presence = Presence::new(Duration::from_secs(10));
        let committee: Vec<_> = (1..=4).map(key).collect();
        let round = |view| Round::new(Epoch::new(3), View::new(view));
        let silent = |now| presence.silent(&committee, &key(1), at(now));
        for view in 1..=20 {
            for voter in 1..=3 {
                presence.voted(key(voter), round(view), at(view * 1_000));
            }
            assert!(view > 10 || silent(view * 1_000).is_empty());
        }
        assert_eq!(silent(20_000), [key(4)], "it has never voted");
        // The third stops too. The others have voted in the last view.
        presence.voted(key(2), round(21), at(21_000));
        assert_eq!(silent(90_000), [key(3), key(4)]);
        presence.voted(key(4), round(21), at(90_500));
        assert_eq!(silent(91_000), [key(3)]);
    }

    #[test]
    fn votes_of_former_validators_count_for_nothing() {
        let presence = Presence::new(Duration::from_secs(10));
        let round = |epoch| Round::new(Epoch::new(epoch), View::new(1));
        presence.voted(key(9), round(8), at(0));
        presence.voted(key(2), round(3), at(0));
        assert!(presence.silent(&[key(1), key(2)], &key(1), at(60_000)).is_empty());
        presence.voted(key(1), round(4), at(60_000));
        assert_eq!(presence.silent(&[key(1), key(2)], &key(1), at(60_000)), [key(2)]);
    }
}
