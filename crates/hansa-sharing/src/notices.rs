//! What other members' nodes tell this one, for the tasks that wait for it: that they keep a version, or that they want
//! one kept. In memory; what is lost is found out by asking, or waits on the disk.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use cid::Cid;
use hansa_types::DcId;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::replicate::Task;

/// Versions asked for that wait in memory; all are on the disk.
const ASKED_MAX: usize = 1024;

/// The members that keep a version, and the number of tasks that wait for it.
type Keepers = (watch::Sender<BTreeSet<DcId>>, usize);

/// Between the responder, which hears, and the tasks that wait.
#[derive(Default)]
pub(crate) struct Notices {
    /// Roots that somebody waits for.
    awaited: Mutex<HashMap<Cid, Keepers>>,
    asked: Mutex<VecDeque<Task>>,
    added: Notify,
}

/// Somebody waits for the keepers of a root until this is dropped.
pub(crate) struct Awaited {
    notices: Arc<Notices>,
    root: Cid,
    keepers: watch::Receiver<BTreeSet<DcId>>,
}

impl Notices {
    /// Begins to note who keeps a root.
    pub(crate) fn await_keepers(self: &Arc<Self>, root: Cid) -> Awaited {
        let mut awaited = self.awaited.lock();
        let (sender, waiting) = awaited.entry(root).or_insert_with(|| (watch::channel(BTreeSet::new()).0, 0));
        *waiting = waiting.saturating_add(1);
        Awaited { notices: Arc::clone(self), root, keepers: sender.subscribe() }
    }

    /// A member says that it keeps everything below a root. Nothing is noted that nobody waits for.
    pub(crate) fn kept(&self, by: DcId, root: &Cid) {
        if let Some((sender, _)) = self.awaited.lock().get(root) {
            sender.send_if_modified(|keepers| keepers.insert(by));
        }
    }

    /// An owner asks for a version to be kept; it is pending on the disk.
    pub(crate) fn ask(&self, task: Task) {
        let mut asked = self.asked.lock();
        if asked.len() < ASKED_MAX {
            asked.push_back(task);
        }
        self.added.notify_one();
    }

    /// The next version that was asked for.
    pub(crate) async fn asked(&self) -> Task {
        loop {
            if let Some(task) = self.asked.lock().pop_front() {
                return task;
            }
            self.added.notified().await;
        }
    }
}

impl Awaited {
    /// Waits until a member has said that it keeps all.
    pub(crate) async fn kept_by(&self, member: DcId) {
        // The sender lives as long as this does.
        let _ = self.keepers.clone().wait_for(|keepers| keepers.contains(&member)).await;
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        let mut awaited = self.notices.awaited.lock();
        if let Some((_, waiting)) = awaited.get_mut(&self.root) {
            *waiting = waiting.saturating_sub(1);
            if *waiting == 0 {
                awaited.remove(&self.root);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_keeper_is_noted_while_somebody_waits() {
        let notices = Arc::new(Notices::default());
        let (member, root) = (DcId::new(2).unwrap(), hansa_envelope::root_cid(alloy_primitives::B256::ZERO));
        notices.kept(member, &root);
        let (one, two) = (notices.await_keepers(root), notices.await_keepers(root));
        drop(one);
        notices.kept(member, &root);
        two.kept_by(member).await;
        drop(two);
        assert!(notices.awaited.lock().is_empty());
    }
}
