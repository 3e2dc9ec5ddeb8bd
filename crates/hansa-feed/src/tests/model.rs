//! Any number of consumers against a list: whatever they and the chain do, each sees its events in order and none is left out.

use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use hansa_kv::MemoryStore;
use proptest::prelude::*;

use super::chain::{Kind, MemoryChain, feed, places, records, refusals};
use crate::{Feed, FeedBatch, FeedFilter, Subscription};

const CONSUMERS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// The chain finalises a block.
    Block(Vec<Kind>),
    /// A consumer takes a batch, if there is one, and works on it.
    Take(usize),
    /// A consumer commits the last batch that it took.
    Commit(usize),
    /// A consumer crashes and subscribes again.
    Crash(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![Just(Kind::Refused), Just(Kind::Recorded), Just(Kind::Forged)];
    let step = prop_oneof![
        3 => proptest::collection::vec(kind, 0..4).prop_map(Step::Block),
        4 => (0..CONSUMERS).prop_map(Step::Take),
        2 => (0..CONSUMERS).prop_map(Step::Commit),
        1 => (0..CONSUMERS).prop_map(Step::Crash),
    ];
    proptest::collection::vec(step, 0..80)
}

/// A filter, and the same as a predicate.
type Wanted = (FeedFilter, fn(Kind) -> bool);

struct Consumer {
    name: String,
    filter: FeedFilter,
    is_wanted: fn(Kind) -> bool,
    batches: Subscription,
    last: Option<FeedBatch>,
    /// Events that were committed.
    committed: Vec<(u64, u64)>,
    /// Events that were delivered since.
    pending: Vec<(u64, u64)>,
}

impl Consumer {
    fn all(feed: &Feed) -> Vec<Self> {
        let wanted: [Wanted; CONSUMERS] = [
            (FeedFilter::default(), |kind| kind != Kind::Forged),
            (refusals(), |kind| kind == Kind::Refused),
            (records(), |kind| kind == Kind::Recorded),
        ];
        let consumer = |(index, (filter, is_wanted)): (usize, Wanted)| {
            let name = format!("consumer-{index}");
            let batches = feed.subscribe(&name, 0, filter.clone()).unwrap();
            Self { name, filter, is_wanted, batches, last: None, committed: vec![], pending: vec![] }
        };
        wanted.into_iter().enumerate().map(consumer).collect()
    }

    /// Whether there was a batch.
    fn take(&mut self) -> bool {
        let Some(batch) = self.batches.next().now_or_never() else { return false };
        let batch = batch.unwrap().unwrap();
        self.pending.extend(places(&batch));
        self.last = Some(batch);
        true
    }

    fn commit(&mut self, feed: &Feed) {
        if let Some(batch) = self.last.take() {
            feed.commit(&batch).unwrap();
            self.committed.append(&mut self.pending);
        }
    }

    fn crash(&mut self, feed: &Feed) {
        self.batches = feed.subscribe(&self.name, 0, self.filter.clone()).unwrap();
        self.last = None;
        self.pending.clear();
    }

    fn seen(&self) -> Vec<(u64, u64)> {
        self.committed.iter().chain(&self.pending).copied().collect()
    }

    fn expected(&self, blocks: &[Vec<Kind>]) -> Vec<(u64, u64)> {
        let of = |(number, block): (usize, &Vec<Kind>)| {
            let wanted = block.iter().enumerate().filter(|(_, kind)| (self.is_wanted)(**kind));
            wanted.map(|(index, _)| (number as u64, index as u64)).collect::<Vec<_>>()
        };
        blocks.iter().enumerate().flat_map(of).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn consumers_see_their_events_in_order_and_none_is_left_out(
        steps in steps(),
        portion in (1_u64..5, 1_usize..5),
    ) {
        let chain = MemoryChain::new(1, &[&[]]);
        let kv = Arc::<MemoryStore>::default();
        let feed = feed(chain.clone(), &kv, portion).now_or_never().unwrap();
        let mut consumers = Consumer::all(&feed);
        let mut blocks = vec![Vec::new()];
        for step in steps {
            match step {
                Step::Block(block) => {
                    chain.push(&block);
                    blocks.push(block);
                }
                Step::Take(index) => drop(consumers[index].take()),
                Step::Commit(index) => consumers[index].commit(&feed),
                Step::Crash(index) => consumers[index].crash(&feed),
            }
            for consumer in &consumers {
                let (seen, expected) = (consumer.seen(), consumer.expected(&blocks));
                prop_assert!(expected.starts_with(&seen), "{}: {seen:?} of {expected:?}", consumer.name);
            }
        }
        for consumer in &mut consumers {
            while consumer.take() {}
            prop_assert_eq!(consumer.seen(), consumer.expected(&blocks));
        }
    }
}
