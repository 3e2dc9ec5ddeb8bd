//! Content, order and portions of what is delivered.

use std::sync::{Arc, atomic::Ordering};

use futures::{FutureExt, StreamExt, TryStreamExt};
use hansa_contracts::ContractEvent;
use hansa_kv::MemoryStore;

use super::chain::{
    Kind::{Forged, Recorded, Refused},
    Liar, Lie, MemoryChain, contract, feed, places, records, refusals,
};
use crate::{FeedError, FeedFilter};

#[tokio::test]
async fn events_come_in_order_with_their_places_and_forged_ones_do_not_come() {
    let chain = MemoryChain::new(1, &[&[], &[Forged, Recorded, Refused], &[], &[Forged], &[Refused]]);
    let feed = feed(chain.clone(), &Arc::default(), (100, 100)).await;
    let mut batches = feed.subscribe("a", 0, FeedFilter::default()).unwrap();
    let batch = batches.try_next().await.unwrap().unwrap();
    assert_eq!(batch.through, 4);
    assert_eq!(places(&batch), [(1, 1), (1, 2), (4, 0)]);
    let [first, second] = &batch.blocks[..] else { panic!("{batch:?}") };
    assert_eq!((first.hash, first.timestamp), (chain.hash(1), 1_800_000_001));
    assert_eq!((second.hash, second.timestamp), (chain.hash(4), 1_800_000_004));
    let [recorded, refused] = &first.events[..] else { panic!("{first:?}") };
    assert!(matches!(recorded.event, ContractEvent::VersionRecorded(_)));
    assert!(matches!(refused.event, ContractEvent::Refused(_)));
    assert_eq!((recorded.contract, recorded.transaction_index), (contract(Recorded), 1));
    assert_eq!(refused.transaction.0, [2; 32]);
}

#[tokio::test]
async fn a_filter_leaves_out_other_events_and_no_height() {
    let chain = MemoryChain::new(1, &[&[], &[Refused, Recorded], &[Recorded], &[Refused]]);
    let feed = feed(chain, &Arc::default(), (100, 100)).await;
    for (filter, expected) in [(records(), [(1, 1), (2, 0)]), (refusals(), [(1, 0), (3, 0)])] {
        let mut batches = feed.subscribe("a", 0, filter).unwrap();
        let batch = batches.try_next().await.unwrap().unwrap();
        assert_eq!((places(&batch), batch.through), (expected.to_vec(), 3));
    }
    let mut batches = feed.subscribe("a", 2, records()).unwrap();
    assert_eq!(places(&batches.try_next().await.unwrap().unwrap()), [(2, 0)]);
}

#[tokio::test]
async fn portions_are_bounded_by_heights_and_logs_and_never_divide_a_block() {
    let three = [Refused; 3];
    let chain = MemoryChain::new(1, &[&[], &[Refused], &[Refused], &three, &[], &[], &[], &[Refused]]);
    let feed = feed(chain, &Arc::default(), (3, 2)).await;
    let batches = feed.subscribe("a", 0, FeedFilter::default()).unwrap().take(4);
    let portions: Vec<_> =
        batches.map_ok(|batch| (batch.through, places(&batch).len())).try_collect().await.unwrap();
    assert_eq!(portions, [(2, 2), (3, 3), (6, 0), (7, 1)]);
}

#[tokio::test]
async fn at_the_head_the_stream_waits_and_then_follows_empty_blocks_too() {
    let chain = MemoryChain::new(1, &[&[]]);
    let feed = feed(chain.clone(), &Arc::default(), (100, 100)).await;
    let mut batches = feed.subscribe("a", 0, FeedFilter::default()).unwrap();
    assert_eq!(batches.try_next().await.unwrap().unwrap().through, 0);
    assert!(batches.next().now_or_never().is_none());
    chain.push(&[]);
    let empty = batches.try_next().await.unwrap().unwrap();
    assert_eq!((empty.blocks.len(), empty.through), (0, 1));
    feed.commit(&empty).unwrap();
    assert_eq!(feed.cursor("a").unwrap(), Some(2));
    assert!(batches.next().now_or_never().is_none());
    chain.push(&[Refused]);
    assert_eq!(places(&batches.try_next().await.unwrap().unwrap()), [(2, 0)]);
}

#[tokio::test]
async fn a_slow_consumer_is_not_read_for_and_delays_nobody() {
    let blocks = [[Refused].as_slice(); 20];
    let chain = MemoryChain::new(1, &blocks);
    let feed = feed(chain.clone(), &Arc::default(), (5, 100)).await;
    let mut slow = feed.subscribe("slow", 0, FeedFilter::default()).unwrap();
    let first = slow.try_next().await.unwrap().unwrap();
    let fast = feed.subscribe("fast", 0, FeedFilter::default()).unwrap();
    assert_eq!(fast.take(4).count().await, 4);
    assert_eq!(chain.pages.load(Ordering::SeqCst), 5, "nothing was read ahead");
    let rest: Vec<_> = slow.take(3).try_collect().await.unwrap();
    let seen: Vec<_> = std::iter::once(&first).chain(&rest).flat_map(places).collect();
    assert_eq!(seen, (0..20).map(|number| (number, 0)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_chain_that_lies_about_the_order_is_an_error_and_nothing_is_delivered() {
    for lie in [Lie::Swapped, Lie::Repeated, Lie::BeforeTheRange, Lie::BehindTheRange, Lie::Standing] {
        let honest = MemoryChain::new(1, &[&[], &[Refused, Refused], &[Refused]]);
        let feed = feed(Arc::new(Liar(honest, lie)), &Arc::default(), (100, 100)).await;
        let mut batches = feed.subscribe("a", 1, FeedFilter::default()).unwrap();
        let outcome = batches.next().await;
        assert!(matches!(outcome, Some(Err(FeedError::Disordered(1)))), "{lie:?}: {outcome:?}");
        assert!(batches.next().await.is_none(), "an error ends the stream");
    }
}

#[tokio::test]
async fn consumers_have_cursors_of_their_own() {
    let kv = Arc::<MemoryStore>::default();
    let chain = MemoryChain::new(1, &[&[Refused], &[Refused], &[Refused]]);
    let feed = feed(chain, &kv, (1, 1)).await;
    let mut batches = feed.subscribe("a", 0, FeedFilter::default()).unwrap();
    feed.commit(&batches.try_next().await.unwrap().unwrap()).unwrap();
    assert_eq!((feed.cursor("a").unwrap(), feed.cursor("b").unwrap()), (Some(1), None));
    feed.remove("a").unwrap();
    assert_eq!(feed.cursor("a").unwrap(), None);
}
