//! A double of the final state that validators judge by, and validators that do not keep to it.

use std::{collections::BTreeMap, sync::Arc};

use hansa_types::{NetworkKey, ReleaseId, ReleaseJudge, ReleaseRefusal, ReleaseVerdict};
use parking_lot::Mutex;

/// How a validator judges.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// By the openings.
    Honest,
    /// Everybody gets its part.
    Generous,
    /// Nobody does, yet.
    Withholding,
    /// Every grant counts as withdrawn.
    Refusing,
}

#[derive(Default)]
struct Book {
    openings: BTreeMap<u64, (NetworkKey, ReleaseId)>,
    moods: BTreeMap<usize, Mood>,
}

/// The openings that are final, and how each node judges.
#[derive(Clone, Default)]
pub(super) struct Judges(Arc<Mutex<Book>>);

struct Judge {
    judges: Judges,
    index: usize,
}

impl Judges {
    pub(super) fn of(&self, index: usize) -> Arc<dyn ReleaseJudge> {
        Arc::new(Judge { judges: self.clone(), index })
    }

    /// An opening becomes final.
    pub(super) fn open(&self, number: u64, by: NetworkKey, id: ReleaseId) {
        self.0.lock().openings.insert(number, (by, id));
    }

    pub(super) fn set(&self, index: usize, mood: Mood) {
        self.0.lock().moods.insert(index, mood);
    }
}

impl ReleaseJudge for Judge {
    fn judge(&self, asking: NetworkKey, opening: u64, id: &ReleaseId) -> ReleaseVerdict {
        let book = self.judges.0.lock();
        match book.moods.get(&self.index).copied().unwrap_or(Mood::Honest) {
            Mood::Generous => ReleaseVerdict::Release,
            Mood::Withholding => ReleaseVerdict::NotYet,
            Mood::Refusing => ReleaseVerdict::Refused(ReleaseRefusal::Withdrawn),
            Mood::Honest => match book.openings.get(&opening) {
                None => ReleaseVerdict::NotYet,
                Some((by, _)) if *by != asking => ReleaseVerdict::Refused(ReleaseRefusal::OtherMember),
                Some((_, of)) if of != id => ReleaseVerdict::Refused(ReleaseRefusal::OtherKey),
                Some(_) => ReleaseVerdict::Release,
            },
        }
    }
}
