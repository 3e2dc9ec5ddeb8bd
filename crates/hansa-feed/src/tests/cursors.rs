//! Cursors over restarts, and cursors that do not fit.

use std::sync::Arc;

use futures::{FutureExt, StreamExt, TryStreamExt};
use hansa_kv::{Batch, KeyRange, KvStore, MemoryStore, Order, Space};

use super::chain::{
    Kind::{Recorded, Refused},
    MemoryChain, SPACE, feed, places,
};
use crate::{Feed, FeedError, FeedFilter, cursor};

const WORK: Space = Space::new("work");
const HEIGHTS: u64 = 4;

fn put_cursor(kv: &MemoryStore, value: &[u8]) {
    let mut batch = Batch::new();
    batch.put(SPACE, cursor::key("a"), value);
    kv.write(batch).unwrap();
}

/// Consumes up to the head, and crashes after so many steps: each batch's work is one, its commit another.
async fn consume(feed: &Feed, steps: u64, seen: &mut Vec<u64>) {
    let mut left = steps;
    let mut step = || {
        left = left.saturating_sub(1);
        left > 0
    };
    if steps == 0 {
        return;
    }
    let mut batches = feed.subscribe("a", 0, FeedFilter::default()).unwrap();
    while let Some(batch) = batches.next().now_or_never() {
        let batch = batch.unwrap().unwrap();
        seen.extend(places(&batch).into_iter().map(|(number, _)| number));
        if !step() {
            return;
        }
        feed.commit(&batch).unwrap();
        if !step() {
            return;
        }
    }
}

#[tokio::test]
async fn after_a_crash_between_work_and_commit_the_batch_comes_again_and_none_is_left_out() {
    for crash in 0..=2 * HEIGHTS {
        let kv = Arc::<MemoryStore>::default();
        let chain = MemoryChain::new(1, &[[Refused].as_slice(); HEIGHTS as usize]);
        let feed = feed(chain, &kv, (1, 1)).await;
        let mut seen = Vec::new();
        consume(&feed, crash, &mut seen).await;
        consume(&feed, u64::MAX, &mut seen).await;
        let mut expected: Vec<u64> = (0..HEIGHTS).collect();
        if crash % 2 == 1 {
            expected.insert(crash as usize / 2, crash / 2);
        }
        assert_eq!(seen, expected, "after {crash} steps");
    }
}

#[tokio::test]
async fn work_and_cursor_in_one_write_make_each_event_come_once() {
    for crash in 0..=HEIGHTS {
        let kv = Arc::<MemoryStore>::default();
        let chain = MemoryChain::new(1, &[[Refused].as_slice(); HEIGHTS as usize]);
        let feed = feed(chain, &kv, (1, 1)).await;
        let mut count = 0_u64;
        for limit in [crash as usize, usize::MAX] {
            let mut batches = feed.subscribe("a", 0, FeedFilter::default()).unwrap().take(limit);
            while let Some(Some(delivered)) = batches.next().now_or_never() {
                let delivered = delivered.unwrap();
                let mut batch = Batch::new();
                for (number, _) in places(&delivered) {
                    batch.put(WORK, count.to_be_bytes(), number.to_be_bytes());
                    count += 1;
                }
                delivered.add_cursor(&mut batch);
                kv.write(batch).unwrap();
            }
        }
        let work = kv.scan(WORK, KeyRange::all(), Order::Ascending, 100).unwrap();
        let expected: Vec<_> = (0..HEIGHTS)
            .map(|number| (number.to_be_bytes().to_vec(), number.to_be_bytes().to_vec()))
            .collect();
        assert_eq!(work, expected, "after {crash} batches");
    }
}

#[tokio::test]
async fn a_cursor_above_the_head_waits_until_the_chain_is_there_again() {
    let kv = Arc::<MemoryStore>::default();
    let chain = MemoryChain::new(1, &[&[], &[Refused]]);
    put_cursor(&kv, &cursor::encode(3, chain.hash(0)));
    let feed = feed(chain.clone(), &kv, (100, 100)).await;
    let mut batches = feed.subscribe("a", 0, FeedFilter::default()).unwrap();
    assert!(batches.next().now_or_never().is_none());
    chain.push(&[Refused]);
    assert!(batches.next().now_or_never().is_none(), "height 2 was consumed before");
    chain.push(&[Recorded]);
    assert_eq!(places(&batches.try_next().await.unwrap().unwrap()), [(3, 0)]);
}

#[tokio::test]
async fn a_damaged_cursor_and_one_of_another_chain_are_errors_until_the_consumer_begins_again() {
    let chain = MemoryChain::new(1, &[&[Refused]]);
    let own = cursor::encode(1, chain.hash(0));
    let foreign = cursor::encode(1, MemoryChain::new(2, &[&[]]).hash(0));
    let longer = [own.as_slice(), &[0]].concat();
    for (value, is_foreign) in [
        (&[][..], false),
        (&own[..7], false),
        (&own[..39], false),
        (&longer[..], false),
        (&foreign[..], true),
    ] {
        let kv = Arc::<MemoryStore>::default();
        put_cursor(&kv, value);
        let feed = feed(chain.clone(), &kv, (100, 100)).await;
        let error = feed.subscribe("a", 0, FeedFilter::default()).err().unwrap();
        match error {
            FeedError::OtherChain { .. } => assert!(is_foreign),
            FeedError::DamagedCursor(name) => assert!(!is_foreign && name == "a"),
            other => panic!("{other}"),
        }
        assert_eq!(feed.cursor("b").unwrap(), None, "other consumers are not affected");
        let batch = feed.restart("a", 0, FeedFilter::default()).try_next().await.unwrap().unwrap();
        feed.commit(&batch).unwrap();
        assert_eq!(feed.cursor("a").unwrap(), Some(1));
    }
}

#[test]
fn the_stored_form_is_pinned() {
    let genesis = alloy_primitives::B256::repeat_byte(0xab);
    assert_eq!(cursor::key("replication"), b"feed/replication");
    let value = cursor::encode(0x0102, genesis);
    assert_eq!(alloy_primitives::hex::encode(&value), format!("0000000000000102{}", "ab".repeat(32)));
    assert_eq!(cursor::decode("a", &value, genesis).unwrap(), 0x0102);
}
