//! Lists of objects: filters, orders, cursors.

use alloy_primitives::Log;
use hansa_types::{DcId, ObjectId, Visibility};

use super::{Database, chain::MemoryChain, events};
use crate::{HistoryKind, Index, IndexError, IndexSettings, ObjectQuery, Sort, names::FOUND_MAX};

/// Objects 1 to 10 of members 1 and 2 in turn; every third one for members, and every fourth one shared with member 3.
fn blocks() -> Vec<Vec<Log>> {
    let block = |number: u64| {
        let id = events::object(if number % 2 == 1 { 1 } else { 2 }, number);
        let mut logs = vec![events::recorded(id, 1, if number.is_multiple_of(3) { 0 } else { 1 })];
        if number.is_multiple_of(4) {
            logs.push(events::shared(id, 3, 0));
        }
        logs
    };
    std::iter::once(vec![]).chain((1..=10).map(block)).collect()
}

async fn started(database: &Database) -> (std::sync::Arc<MemoryChain>, Index, tokio::task::JoinHandle<()>) {
    let chain = MemoryChain::new(1, blocks());
    let index = database.index(&chain, IndexSettings { wait_seconds_max: 60, ..database.settings() });
    let task = index.start(chain.feed((3, 100)).await);
    (chain, index, task)
}

/// All pages of a list.
async fn numbers(index: &Index, query: ObjectQuery) -> Vec<u64> {
    let (mut query, mut found) = (query, Vec::new());
    loop {
        let page = index.objects(&query, 10).await.unwrap();
        assert!(page.objects.len() <= query.limit && page.height >= 10);
        found.extend(page.objects.iter().map(|object| object.id.number));
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return found,
        }
    }
}

#[tokio::test]
async fn pages_join_to_the_list_whatever_their_size() {
    for database in Database::both() {
        let (_chain, index, task) = started(&database).await;
        let (first, second) = (DcId::new(1), DcId::new(2));
        for limit in [1, 3, 10, 11] {
            let all = ObjectQuery { limit, ..ObjectQuery::default() };
            let list = |query: ObjectQuery| numbers(&index, query);
            let newest: Vec<u64> = (1..=10).rev().collect();
            assert_eq!(list(all.clone()).await, newest, "{limit}");
            let sorted = |sort| ObjectQuery { sort, ..all.clone() };
            assert_eq!(list(sorted(Sort::Oldest)).await, (1..=10).collect::<Vec<_>>(), "{limit}");
            assert_eq!(list(sorted(Sort::Number)).await, [1, 3, 5, 7, 9, 2, 4, 6, 8, 10], "{limit}");
            let own = ObjectQuery { owner: first, ..all.clone() };
            assert_eq!(list(own).await, [9, 7, 5, 3, 1], "{limit}");
            let open = ObjectQuery { visibility: Some(Visibility::Members), owner: second, ..all.clone() };
            assert_eq!(list(open).await, [6], "{limit}");
            let granted = ObjectQuery { grantee: DcId::new(3), sort: Sort::Number, ..all.clone() };
            assert_eq!(list(granted).await, [4, 8], "{limit}");
        }
        task.abort();
    }
}

fn id(number: u64) -> ObjectId {
    events::object(if number % 2 == 1 { 1 } else { 2 }, number)
}

#[tokio::test]
async fn names_filter_and_sort_without_being_stored() {
    for database in Database::both() {
        let (_chain, index, task) = started(&database).await;
        for (number, name) in [(1, "Zebra report"), (2, "annual report"), (3, "Bill"), (4, "Report of bills")]
        {
            index.0.names.insert(id(number), name);
        }
        let query = |name: Option<&str>, sort| ObjectQuery {
            name: name.map(str::to_owned),
            sort,
            limit: 2,
            ..ObjectQuery::default()
        };
        assert_eq!(numbers(&index, query(Some("REP"), Sort::Newest)).await, [4, 2, 1]);
        assert_eq!(numbers(&index, query(Some("REP"), Sort::Oldest)).await, [1, 2, 4]);
        assert_eq!(numbers(&index, query(Some("rep bil"), Sort::Newest)).await, [4]);
        assert_eq!(numbers(&index, query(Some("none"), Sort::Newest)).await, [0; 0]);
        assert_eq!(numbers(&index, query(None, Sort::Name)).await, [2, 3, 4, 1]);
        assert_eq!(numbers(&index, query(Some("report"), Sort::Name)).await, [2, 4, 1]);
        // A word of so many names that the list is walked.
        for number in 11..11 + FOUND_MAX as u64 + 1 {
            index.0.names.insert(id(number), "report");
        }
        assert_eq!(numbers(&index, query(Some("report"), Sort::Newest)).await, [4, 2, 1]);
        assert_eq!(numbers(&index, query(Some("report"), Sort::Number)).await, [1, 2, 4]);
        task.abort();
    }
}

#[tokio::test]
async fn cursors_of_other_lists_are_refused() {
    let [database, _] = Database::both();
    let (_chain, index, task) = started(&database).await;
    let query = ObjectQuery { limit: 2, ..ObjectQuery::default() };
    let page = index.objects(&query, 10).await.unwrap();
    for (cursor, sort) in [(page.next.unwrap(), Sort::Number), ("x".repeat(1 << 20), Sort::Newest)] {
        let query = ObjectQuery { cursor: Some(cursor), sort, ..query.clone() };
        assert!(matches!(index.objects(&query, 10).await, Err(IndexError::Cursor)));
    }
    task.abort();
}

#[tokio::test]
async fn a_history_is_read_in_pages() {
    for database in Database::both() {
        let chain = MemoryChain::new(1, vec![vec![]]);
        let object = events::object(1, u64::MAX);
        chain.push(vec![events::recorded(object, 1, 1), events::shared(object, 2, 0)]);
        chain.push(vec![
            events::opened(object, 1, 2),
            events::refused(object, 3),
            events::released(object, 2),
        ]);
        let index = database.index(&chain, IndexSettings { wait_seconds_max: 60, ..database.settings() });
        let task = index.start(chain.feed((3, 100)).await);
        let (mut after, mut kinds) = (None, Vec::new());
        loop {
            let page = index.history(object, after, 2, 2).await.unwrap();
            kinds.extend(page.iter().map(|row| row.kind));
            let Some(last) = page.last() else { break };
            after = Some((last.height, last.log_index));
        }
        use HistoryKind::{KeyReleased, Opened, Refused, Shared, Version};
        assert_eq!(kinds, [Version, Shared, Opened, Refused, KeyReleased]);
        let grants = index.grants(&[object]).await.unwrap();
        assert_eq!(grants[&object].iter().map(|g| g.openings).collect::<Vec<_>>(), [1]);
        task.abort();
    }
}
