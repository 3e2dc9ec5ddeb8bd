//! Which refusals were recorded lately, so that a member that keeps asking fills neither the chain nor this node's time.
//!
//! Kept in memory: a restart forgets it, which costs at most one more record for each.

use std::collections::{HashMap, HashSet};

use hansa_contracts::RefusalReason;
use hansa_types::{DcId, ObjectId};
use parking_lot::Mutex;

/// How long a recorded refusal stands for those that follow, in seconds of the chain's time.
const PERIOD_SECONDS: u64 = 600;
/// Most refusals recorded of one member in that time.
const PER_MEMBER_MAX: usize = 256;

/// What was recorded of one member.
struct Lately {
    since: u64,
    recorded: HashSet<(ObjectId, u8)>,
}

/// What was recorded of each member. As many entries as the registry has members.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<HashMap<DcId, Lately>>);

impl Refusals {
    /// Whether a refusal at this time is to be recorded; notes that it was.
    pub(crate) fn begin(&self, of: DcId, object: ObjectId, reason: RefusalReason, time: u64) -> bool {
        let mut members = self.0.lock();
        let lately = members.entry(of).or_insert_with(|| Lately { since: time, recorded: HashSet::new() });
        if time.saturating_sub(lately.since) >= PERIOD_SECONDS {
            *lately = Lately { since: time, recorded: HashSet::new() };
        }
        lately.recorded.len() < PER_MEMBER_MAX && lately.recorded.insert((object, reason.code()))
    }

    /// A refusal could not be recorded: the next one is to be.
    pub(crate) fn failed(&self, of: DcId, object: ObjectId, reason: RefusalReason) {
        if let Some(lately) = self.0.lock().get_mut(&of) {
            lately.recorded.remove(&(object, reason.code()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_for_each_in_a_period_and_so_many_for_a_member() {
        let refusals = Refusals::default();
        let (one, two) = (DcId::new(1).unwrap(), DcId::new(2).unwrap());
        let object = |number: u64| format!("3/{number}").parse().unwrap();
        let begin = |of, number, time| refusals.begin(of, object(number), RefusalReason::Revoked, time);
        assert!(begin(one, 1, 100) && !begin(one, 1, 699) && begin(two, 1, 699));
        assert!(begin(one, 1, 700), "a new period");
        refusals.failed(one, object(1), RefusalReason::Revoked);
        assert!(begin(one, 1, 700));
        let recorded = (2..1000).filter(|number| begin(one, *number, 700)).count();
        assert_eq!(recorded, PER_MEMBER_MAX - 1);
    }
}
