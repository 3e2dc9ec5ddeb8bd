//! Counts JSON-RPC requests and their time by method, for the metrics.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Where requests count whose method is none of the interface's.
const OTHER: &str = "other";

/// Requests answered since the start. The labels are the interface's methods and `other`, so there are only so many.
#[derive(Debug)]
pub struct Calls(BTreeMap<&'static str, Arc<Method>>);

/// One method's requests.
#[derive(Debug, Default)]
pub(crate) struct Method {
    answered: AtomicU64,
    failed: AtomicU64,
    nanoseconds: AtomicU64,
}

/// The figures of one method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called {
    /// Its name, or `other`.
    pub method: &'static str,
    /// Requests answered with a result.
    pub answered: u64,
    /// Requests answered with an error.
    pub failed: u64,
    /// How long all of them took together.
    pub time: Duration,
}

impl Default for Calls {
    /// Of an interface without methods.
    fn default() -> Self {
        Self::new(core::iter::empty())
    }
}

impl Calls {
    pub(crate) fn new(methods: impl Iterator<Item = &'static str>) -> Self {
        Self(methods.chain([OTHER]).map(|method| (method, Arc::default())).collect())
    }

    /// Where requests of this method count.
    pub(crate) fn of(&self, method: &str) -> Arc<Method> {
        self.0.get(method).or_else(|| self.0.get(OTHER)).cloned().unwrap_or_default()
    }

    /// Counts one request of a method.
    pub fn count(&self, method: &str, failed: bool, time: Duration) {
        self.of(method).count(failed, time);
    }

    /// The methods that were called, in the order of their names.
    pub fn counted(&self) -> Vec<Called> {
        let read = |(method, counts): (&&'static str, &Arc<Method>)| Called {
            method,
            answered: counts.answered.load(Ordering::Relaxed),
            failed: counts.failed.load(Ordering::Relaxed),
            time: Duration::from_nanos(counts.nanoseconds.load(Ordering::Relaxed)),
        };
        self.0.iter().map(read).filter(|called| called.answered > 0 || called.failed > 0).collect()
    }
}

impl Method {
    /// Counts one request.
    pub(crate) fn count(&self, failed: bool, time: Duration) {
        let outcome = if failed { &self.failed } else { &self.answered };
        outcome.fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
