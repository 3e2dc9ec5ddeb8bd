//! Intersects the log index's posting lists of several criteria.
//!
//! Reading a block costs a thousand times a look at the index, and anybody can fill the posting list of any one criterion. Lists
//! therefore skip ahead to the others' position, and only blocks in all of them are read.

use std::collections::VecDeque;

use hansa_kv::{KeyRange, KvError, KvStore, Order};

use crate::LOGS;

/// Most entries of a posting list that are read ahead; a filter can have thousands of lists.
const PORTION_MAX: usize = 128;

/// Key prefix of a posting list.
pub(crate) type Prefix = [u8; 8];

pub(crate) fn key(prefix: Prefix, number: u64) -> Vec<u8> {
    [prefix, number.to_be_bytes()].concat()
}

/// Iterator over the matching blocks of a range, in one direction.
pub(crate) struct LogSearch<'a> {
    store: &'a dyn KvStore,
    order: Order,
    /// For each criterion its posting lists; a block matches if any of them has it.
    criteria: Vec<Vec<List>>,
    /// The remaining range.
    from: u64,
    to: u64,
    is_done: bool,
}

impl<'a> LogSearch<'a> {
    /// From block `from` to block `to`, both included.
    pub(crate) fn new(
        store: &'a dyn KvStore,
        criteria: &[Vec<Prefix>],
        (from, to): (u64, u64),
        order: Order,
    ) -> Self {
        let lists = |prefixes: &Vec<Prefix>| prefixes.iter().copied().map(List::new).collect();
        Self { store, order, criteria: criteria.iter().map(lists).collect(), from, to, is_done: from > to }
    }

    /// The next matching block; every block without criteria.
    pub(crate) fn next(&mut self) -> Result<Option<u64>, KvError> {
        let mut agreeing: usize = 0;
        let count = self.criteria.len();
        for at in (0..count).cycle() {
            if self.is_done || agreeing == count {
                break;
            }
            let before = self.place();
            self.leap(at)?;
            agreeing = if self.place() == before { agreeing.saturating_add(1) } else { 1 };
        }
        if self.is_done {
            return Ok(None);
        }
        let found = self.place();
        self.pass(found);
        Ok(Some(found))
    }

    /// The first block of the remaining range.
    const fn place(&self) -> u64 {
        match self.order {
            Order::Ascending => self.from,
            Order::Descending => self.to,
        }
    }

    /// Advances to the first block of the range that the criterion matches.
    fn leap(&mut self, criterion: usize) -> Result<(), KvError> {
        let mut entries = Vec::new();
        for list in self.criteria.get_mut(criterion).into_iter().flatten() {
            entries.extend(list.seek(self.store, (self.from, self.to), self.order)?);
        }
        match self.order {
            _ if entries.is_empty() => self.is_done = true,
            Order::Ascending => self.from = entries.into_iter().fold(self.to, u64::min),
            Order::Descending => self.to = entries.into_iter().fold(self.from, u64::max),
        }
        Ok(())
    }

    /// Removes a block from the front of the range.
    fn pass(&mut self, number: u64) {
        let (from, to) = (self.from, self.to);
        self.is_done = from == to;
        match self.order {
            Order::Ascending => self.from = number.saturating_add(1).min(to),
            Order::Descending => self.to = number.saturating_sub(1).max(from),
        }
    }
}

/// One posting list, read ahead in portions.
struct List {
    prefix: Prefix,
    ahead: VecDeque<u64>,
    /// Size of the next portion. It grows from a few entries, because a search may end early.
    portion: usize,
    /// Whether the list has been read to its end.
    is_read: bool,
}

impl List {
    fn new(prefix: Prefix) -> Self {
        Self { prefix, ahead: VecDeque::new(), portion: 1, is_read: false }
    }

    /// The first block in a range, which never gets wider.
    fn seek(
        &mut self,
        store: &dyn KvStore,
        (from, to): (u64, u64),
        order: Order,
    ) -> Result<Option<u64>, KvError> {
        while self.ahead.front().is_some_and(|number| !(from..=to).contains(number)) {
            self.ahead.pop_front();
        }
        if self.ahead.is_empty() && !self.is_read {
            let range = KeyRange::between(&key(self.prefix, from), &key(self.prefix, to.saturating_add(1)));
            let entries = store.scan(LOGS, range, order, self.portion)?;
            self.is_read = entries.len() < self.portion;
            self.portion = self.portion.saturating_mul(2).min(PORTION_MAX);
            let numbers = entries.iter().filter_map(|(key, _)| crate::records::number(key.get(8..)?));
            self.ahead.extend(numbers);
        }
        Ok(self.ahead.front().copied())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hansa_kv::{Batch, MemoryStore};
    use proptest::prelude::*;

    use super::*;

    const BLOCKS: u64 = 600;

    /// The blocks of a list: some here and there, and some in a row, as many as several portions.
    fn list() -> impl Strategy<Value = BTreeSet<u64>> {
        let scattered = proptest::collection::btree_set(0..BLOCKS, 0..40);
        let row = (0..BLOCKS, 0..BLOCKS);
        (scattered, row).prop_map(|(mut numbers, (from, to))| {
            numbers.extend(from..to);
            numbers
        })
    }

    fn criteria() -> impl Strategy<Value = Vec<Vec<BTreeSet<u64>>>> {
        proptest::collection::vec(proptest::collection::vec(list(), 1..4), 0..4)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

        #[test]
        fn finds_the_blocks_that_are_in_some_list_of_each_criterion(
            criteria in criteria(),
            from in 0..BLOCKS,
            to in 0..BLOCKS,
        ) {
            let store = MemoryStore::new();
            let mut batch = Batch::new();
            let mut prefixes = Vec::new();
            for (criterion, lists) in (0_u8..).zip(&criteria) {
                let own: Vec<Prefix> = (0_u8..).zip(lists).map(|(list, _)| [criterion, list, 0, 0, 0, 0, 0, 0]).collect();
                for (&prefix, numbers) in own.iter().zip(lists) {
                    numbers.iter().for_each(|&number| batch.put(LOGS, key(prefix, number), []));
                }
                prefixes.push(own);
            }
            store.write(batch).unwrap();
            let is_in_some = |lists: &Vec<BTreeSet<u64>>, number: &u64| lists.iter().any(|list| list.contains(number));
            let mut expected: Vec<u64> =
                (from..=to).filter(|number| criteria.iter().all(|lists| is_in_some(lists, number))).collect();
            for order in [Order::Ascending, Order::Descending] {
                let mut search = LogSearch::new(&store, &prefixes, (from, to), order);
                let found: Vec<u64> = std::iter::from_fn(|| search.next().unwrap()).collect();
                prop_assert_eq!(&found, &expected);
                expected.reverse();
            }
        }
    }
}
