//! Databases that are damaged, away, of another chain, or behind.

use std::io::{Seek as _, SeekFrom, Write as _};

use super::{Database, chain::MemoryChain, events};
use crate::{IndexError, IndexSettings, ObjectQuery};

fn settings(database: &Database) -> IndexSettings {
    IndexSettings { wait_seconds_max: 60, ..database.settings() }
}

fn all() -> ObjectQuery {
    ObjectQuery { limit: 100, ..ObjectQuery::default() }
}

/// A chain with so many objects of member 1, one a block.
fn chain(name: u64, objects: u64) -> std::sync::Arc<MemoryChain> {
    let block = |number| vec![events::recorded(events::object(1, number), 1, 1)];
    MemoryChain::new(name, std::iter::once(vec![]).chain((1..=objects).map(block)).collect())
}

#[tokio::test]
async fn a_reader_sees_the_height_that_it_names() {
    for database in Database::both() {
        let chain = chain(1, 1);
        let index = database.index(&chain, settings(&database));
        let task = index.start(chain.feed((1, 1)).await);
        for number in 2..40 {
            chain.push(vec![events::recorded(events::object(1, number), 1, 1)]);
            let page = index.objects(&all(), number).await.unwrap();
            assert!(page.height >= number && page.objects.len() as u64 >= number);
        }
        task.abort();
    }
}

#[tokio::test]
async fn a_height_that_does_not_come_is_refused_in_time() {
    let folder = Database::Sqlite(tempfile::tempdir().unwrap());
    let chain = chain(1, 3);
    let index = folder.index(&chain, IndexSettings { wait_seconds_max: 0, ..settings(&folder) });
    let task = index.start(chain.feed((10, 10)).await);
    let behind = index.objects(&all(), u64::MAX).await;
    assert!(matches!(behind, Err(IndexError::Behind { wanted: u64::MAX, .. })), "{behind:?}");
    task.abort();
}

#[tokio::test]
async fn a_restart_goes_on_and_a_rebuild_begins_anew() {
    for database in Database::both() {
        let first = chain(1, 20);
        let index = database.index(&first, settings(&database));
        let task = index.start(first.feed((3, 100)).await);
        assert_eq!(index.objects(&all(), 20).await.unwrap().objects.len(), 20);
        index.rebuild();
        assert_eq!(index.objects(&all(), 20).await.unwrap().objects.len(), 20);
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        // The next start finds everything there.
        let again = database.index(&first, settings(&database));
        let task = again.start(first.feed((1, 1)).await);
        assert_eq!(again.at_least(1).await.unwrap(), 20);
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        // Another chain's objects take their place.
        let other = chain(2, 5);
        let index = database.index(&other, settings(&database));
        let task = index.start(other.feed((3, 100)).await);
        assert_eq!(index.objects(&all(), 5).await.unwrap().objects.len(), 5);
        task.abort();
    }
}

/// Writes nonsense over a part of a file.
fn damage(file: &std::path::Path, from: u64, length: usize) {
    let mut file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(from)).unwrap();
    file.write_all(&vec![0xa5; length]).unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_moved_aside_and_built_again() {
    for (from, length) in [(0, 100), (100, 200_000)] {
        let folder = tempfile::tempdir().unwrap();
        let (file, aside) = (folder.path().join("index.db"), folder.path().join("index.db.damaged"));
        let database = Database::Sqlite(folder);
        let chain = chain(1, 300);
        let index = database.index(&chain, settings(&database));
        let task = index.start(chain.feed((3, 100)).await);
        index.at_least(300).await.unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        index.pool().close().await;
        damage(&file, from, length);
        let index = database.index(&chain, settings(&database));
        let task = index.start(chain.feed((300, 100)).await);
        let newest = ObjectQuery { limit: 1_000, ..ObjectQuery::default() };
        assert_eq!(index.objects(&newest, 300).await.unwrap().objects.len(), 300, "{from}");
        assert!(aside.exists());
        task.abort();
    }
}

#[tokio::test]
async fn a_database_server_that_stops_is_waited_for() {
    let [_, mut database] = Database::both();
    let chain = chain(1, 3);
    let index = database.index(&chain, settings(&database));
    let task = index.start(chain.feed((3, 100)).await);
    index.at_least(3).await.unwrap();
    let Database::Postgres(server) = &mut database else { panic!("a server was expected") };
    server.stop();
    chain.push(vec![events::recorded(events::object(1, 4), 1, 1)]);
    assert!(index.objects(&all(), 0).await.is_err());
    let mut states = index.states();
    states.wait_for(|state| state.problem.is_some()).await.unwrap();
    server.resume();
    assert_eq!(index.objects(&all(), 4).await.unwrap().objects.len(), 4);
    assert_eq!(index.state().problem, None);
    task.abort();
}
