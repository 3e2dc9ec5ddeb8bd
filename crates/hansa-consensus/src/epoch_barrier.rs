//! A barrier at the start of an epoch: waits for a vote of every validator.
//!
//! The agreement engine skips the views of inactive leaders, and its activity tracker starts empty in each epoch: it treats a validator
//! without a vote in this epoch as inactive. The fastest quorum enters the second view before the slowest validator has voted in the
//! first. If that validator leads the second view, some nodes skip the view and the others vote for its block. If neither group is a
//! quorum, the view is lost after its whole timeout. A node therefore completes the first certification of an epoch only after votes
//! of all validators, or after a timeout.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use commonware_consensus::{
    simplex::types::Attributable as _,
    types::{Epoch, Participant, Round},
};
use commonware_cryptography::certificate::{Provider as _, Scheme as _};
use commonware_macros::select;
use commonware_runtime::Clock;
use hansa_types::NetworkKey;
use tokio::sync::watch;

use crate::{
    committee::leader_name,
    registrar::Schemes,
    types::{Activity, Scheme},
};

/// The voters of the current epoch.
#[derive(Debug, Default, PartialEq, Eq)]
struct Voters {
    epoch: Option<Epoch>,
    heard: BTreeSet<Participant>,
    /// Whether the first certification of the epoch has begun.
    called: bool,
}

impl Voters {
    /// Resets for a later epoch; `false` if `epoch` is past.
    fn turn_to(&mut self, epoch: Epoch) -> bool {
        if self.epoch < Some(epoch) {
            *self = Self { epoch: Some(epoch), ..Self::default() };
        }
        self.epoch == Some(epoch)
    }

    fn hear(&mut self, epoch: Epoch, voter: Participant) -> bool {
        self.turn_to(epoch) && self.heard.insert(voter)
    }

    /// Whether this is the first certification of the epoch.
    fn call(&mut self, epoch: Epoch) -> bool {
        self.turn_to(epoch) && !std::mem::replace(&mut self.called, true)
    }

    fn has_all_of(&self, epoch: Epoch, voters: usize) -> bool {
        self.epoch > Some(epoch) || self.heard.len() >= voters
    }
}

/// The barrier. Clones share its state.
#[derive(Clone)]
pub(crate) struct EpochBarrier {
    voters: watch::Sender<Voters>,
    schemes: Schemes,
    timeout: Duration,
}

impl EpochBarrier {
    pub(crate) fn new(schemes: Schemes, timeout: Duration) -> Self {
        Self { voters: watch::Sender::default(), schemes, timeout }
    }

    /// Records the voter of a vote, including this node; returns the voter and the round.
    pub(crate) fn hear(&self, activity: &Activity) -> Option<(Round, NetworkKey)> {
        let (round, voter) = match activity {
            Activity::Notarize(vote) => (vote.proposal.round, vote.signer()),
            Activity::Nullify(vote) => (vote.round, vote.signer()),
            Activity::Finalize(vote) => (vote.proposal.round, vote.signer()),
            _ => return None,
        };
        self.voters.send_if_modified(|voters| voters.hear(round.epoch(), voter));
        Some((round, self.schemes.voter(round.epoch(), voter)?))
    }

    /// The scheme of `epoch` at this validator's first certification in it.
    pub(crate) fn open(&self, epoch: Epoch) -> Option<Arc<Scheme>> {
        let scheme = self.schemes.scheme(epoch)?;
        scheme.me()?.signer()?;
        let mut first = false;
        self.voters.send_if_modified(|voters| {
            first = voters.call(epoch);
            false
        });
        first.then_some(scheme)
    }

    /// Waits for votes of all validators in `epoch`, up to the timeout.
    pub(crate) async fn complete(&self, clock: &impl Clock, epoch: Epoch, scheme: &Scheme) {
        let participants = scheme.participants();
        let mut voters = self.voters.subscribe();
        select! {
            _ = voters.wait_for(|voters| voters.has_all_of(epoch, participants.len())) => {},
            () = clock.sleep(self.timeout) => {
                let heard = self.voters.borrow().heard.clone();
                let seats = (0..).map(Participant::new).zip(participants);
                let silent: Vec<_> =
                    seats.filter(|(seat, _)| !heard.contains(seat)).map(|(_, key)| leader_name(key)).collect();
                tracing::info!(%epoch, ?silent, "an epoch begins without the votes of some validators; do their nodes run, and can they be reached?");
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_begins_once_and_without_voters() {
        let (first, second) = (Epoch::new(4), Epoch::new(5));
        let mut voters = Voters::default();
        assert!(voters.hear(first, Participant::new(0)));
        assert!(!voters.hear(first, Participant::new(0)), "a second vote is not new");
        assert!(voters.call(first) && !voters.call(first));
        assert!(!voters.has_all_of(first, 2));
        assert!(voters.hear(first, Participant::new(2)) && voters.has_all_of(first, 2));
        assert!(voters.hear(second, Participant::new(0)));
        assert!(!voters.has_all_of(second, 2), "votes of the epoch before count for nothing");
        assert!(voters.has_all_of(first, 4), "nobody waits for an epoch that is over");
        assert!(!voters.hear(first, Participant::new(1)) && !voters.call(first));
        assert!(voters.call(second));
    }
}
