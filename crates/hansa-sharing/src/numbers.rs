//! The object numbers that this node gives out. Kept in memory only: the chain has the numbers that were used.

use parking_lot::Mutex;

/// The last number given out, or known to be taken; none before the chain was asked.
#[derive(Default)]
pub(crate) struct Numbers(Mutex<Option<u64>>);

impl Numbers {
    /// Whether the chain was asked.
    pub(crate) fn is_known(&self) -> bool {
        self.0.lock().is_some()
    }

    /// Gives out numbers above `taken` from here on.
    pub(crate) fn raise(&self, taken: u64) {
        let mut last = self.0.lock();
        *last = Some(last.map_or(taken, |last| last.max(taken)));
    }

    /// The next number; none where there is no higher one.
    pub(crate) fn take(&self) -> Option<u64> {
        let mut last = self.0.lock();
        let next = last.unwrap_or(0).checked_add(1)?;
        *last = Some(next);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_end_without_repeating() {
        let numbers = Numbers::default();
        assert!(!numbers.is_known());
        numbers.raise(7);
        assert_eq!((numbers.is_known(), numbers.take(), numbers.take()), (true, Some(8), Some(9)));
        numbers.raise(3);
        assert_eq!(numbers.take(), Some(10));
        numbers.raise(u64::MAX - 1);
        assert_eq!((numbers.take(), numbers.take(), numbers.take()), (Some(u64::MAX), None, None));
    }
}
