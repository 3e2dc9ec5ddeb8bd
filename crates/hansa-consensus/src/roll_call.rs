//! Waits, when an epoch begins, until every validator has been heard in it.
//!
//! The agreement engine skips the views of leaders that have been silent for a while, and it begins every epoch without a
//! memory: who has not voted in it yet counts as silent. The fastest quorum goes on to the second view before the slowest
//! validator has voted in the first. If that one leads the second view, those who have not heard it yet skip the view and
//! the others vote for its block, and where neither are a quorum, the view is lost after its whole timeout. So a node
//! answers the first certification of an epoch only when it has heard all, or after a while for those that are absent.

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

/// Who has voted in the current epoch.
#[derive(Debug, Default, PartialEq, Eq)]
struct Roll {
    epoch: Option<Epoch>,
    heard: BTreeSet<Participant>,
    /// The first certification of the epoch has been asked for.
    called: bool,
}

impl Roll {
    /// Begins a new page for a later epoch; false if `epoch` is past.
    fn turn_to(&mut self, epoch: Epoch) -> bool {
        if self.epoch < Some(epoch) {
            *self = Self { epoch: Some(epoch), ..Self::default() };
        }
        self.epoch == Some(epoch)
    }

    fn hear(&mut self, epoch: Epoch, voter: Participant) -> bool {
        self.turn_to(epoch) && self.heard.insert(voter)
    }

    /// Whether the epoch's roll is to be called now, which happens once.
    fn call(&mut self, epoch: Epoch) -> bool {
        self.turn_to(epoch) && !std::mem::replace(&mut self.called, true)
    }

    fn has_all_of(&self, epoch: Epoch, voters: usize) -> bool {
        self.epoch > Some(epoch) || self.heard.len() >= voters
    }
}

/// The roll, shared between who writes it and who waits for it.
#[derive(Clone)]
pub(crate) struct RollCall {
    roll: watch::Sender<Roll>,
    schemes: Schemes,
    /// The longest wait.
    patience: Duration,
}

impl RollCall {
    pub(crate) fn new(schemes: Schemes, patience: Duration) -> Self {
        Self { roll: watch::Sender::default(), schemes, patience }
    }

    /// Notes whose vote this is, this node's own ones included, and returns the voter with the round.
    pub(crate) fn hear(&self, activity: &Activity) -> Option<(Round, NetworkKey)> {
        let (round, voter) = match activity {
            Activity::Notarize(vote) => (vote.proposal.round, vote.signer()),
            Activity::Nullify(vote) => (vote.round, vote.signer()),
            Activity::Finalize(vote) => (vote.proposal.round, vote.signer()),
            _ => return None,
        };
        self.roll.send_if_modified(|roll| roll.hear(round.epoch(), voter));
        Some((round, self.schemes.voter(round.epoch(), voter)?))
    }

    /// Who is to be waited for, the first time that this validator asks for `epoch`.
    pub(crate) fn open(&self, epoch: Epoch) -> Option<Arc<Scheme>> {
        let scheme = self.schemes.scheme(epoch)?;
        scheme.me()?.signer()?;
        let mut first = false;
        self.roll.send_if_modified(|roll| {
            first = roll.call(epoch);
            false
        });
        first.then_some(scheme)
    }

    /// Waits until all have voted in `epoch`, but not for ever.
    pub(crate) async fn complete(&self, clock: &impl Clock, epoch: Epoch, scheme: &Scheme) {
        let voters = scheme.participants();
        let mut roll = self.roll.subscribe();
        select! {
            _ = roll.wait_for(|roll| roll.has_all_of(epoch, voters.len())) => {},
            () = clock.sleep(self.patience) => {
                let heard = self.roll.borrow().heard.clone();
                let seats = (0..).map(Participant::new).zip(voters);
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
    fn a_roll_is_called_once_an_epoch_and_starts_empty() {
        let (first, second) = (Epoch::new(4), Epoch::new(5));
        let mut roll = Roll::default();
        assert!(roll.hear(first, Participant::new(0)));
        assert!(!roll.hear(first, Participant::new(0)), "a second vote says nothing new");
        assert!(roll.call(first) && !roll.call(first));
        assert!(!roll.has_all_of(first, 2));
        assert!(roll.hear(first, Participant::new(2)) && roll.has_all_of(first, 2));
        assert!(roll.hear(second, Participant::new(0)));
        assert!(!roll.has_all_of(second, 2), "votes of the epoch before count for nothing");
        assert!(roll.has_all_of(first, 4), "nobody waits for an epoch that is over");
        assert!(!roll.hear(first, Participant::new(1)) && !roll.call(first));
        assert!(roll.call(second));
    }
}
