//! The fetches that are running, for those who wait for them. Kept in memory only.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hansa_api::{Fetching, Progress, Stage};
use hansa_ports::FetchSink;
use hansa_types::{ObjectId, Version};
use parking_lot::Mutex;

/// The running fetches, by number.
#[derive(Default)]
pub(crate) struct Fetches {
    running: Mutex<BTreeMap<u64, Fetching>>,
    next: AtomicU64,
}

/// A fetch that is running until this is dropped.
pub(crate) struct Running {
    fetches: Arc<Fetches>,
    number: u64,
}

impl Fetches {
    /// Notes a fetch that begins.
    pub(crate) fn begin(self: &Arc<Self>, id: ObjectId, version: Version) -> Running {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let progress = Progress::bytes(Stage::Fetch, 0, None);
        self.running.lock().insert(number, Fetching { id, version, progress });
        Running { fetches: Arc::clone(self), number }
    }

    /// All that are running, the oldest first.
    pub(crate) fn list(&self) -> Vec<Fetching> {
        self.running.lock().values().cloned().collect()
    }
}

impl Running {
    /// Where the swarm reports to.
    pub(crate) fn sink(&self) -> FetchSink {
        let (fetches, number) = (Arc::clone(&self.fetches), self.number);
        Arc::new(move |here, known| {
            if let Some(fetching) = fetches.running.lock().get_mut(&number) {
                fetching.progress = Progress::bytes(Stage::Fetch, here, Some(known));
            }
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.fetches.running.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_is_listed_while_it_runs() {
        let fetches = Arc::new(Fetches::default());
        let object = |number: u64| format!("1/{number}").parse().unwrap();
        let (one, two) = (fetches.begin(object(1), Version(1)), fetches.begin(object(2), Version(3)));
        let sink = two.sink();
        sink(5, 9);
        let listed: Vec<_> =
            fetches.list().iter().map(|f| (f.id.number, f.progress.done, f.progress.total)).collect();
        assert_eq!(listed, [(1, 0, None), (2, 5, Some(9))]);
        drop(two);
        // The swarm may report a last block to nobody.
        sink(9, 9);
        assert_eq!(fetches.list().len(), 1);
        drop(one);
        assert!(fetches.list().is_empty());
    }
}
