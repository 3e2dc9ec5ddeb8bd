//! The production path: a ceremony and a network of engines over loopback TCP, each in threads of its own.

use std::time::Duration;

use hansa_kv::MemoryStore;
use hansa_ledger::Ledger;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::fixture::{Organisation, draft, free_endpoint, hash_at, ledger};
use crate::{Ceremony, CeremonyConfig, Config, Engine, Seat, Timing};

fn config(organisation: &Organisation, ledger: Ledger, folder: &TempDir) -> Config {
    Config {
        secret_key: Zeroizing::new(organisation.network_secret),
        ledger,
        store: folder.path().to_owned(),
        storage_key: Zeroizing::new([9; 32]),
        listen: organisation.card.consensus_endpoint.parse().unwrap(),
        worker_threads: 1,
        timing: Timing { heartbeat: Duration::from_millis(100), ..Timing::default() },
    }
}

async fn reaches(engine: &Engine, height: u64) {
    let mut status = engine.status();
    let reached = status.wait_for(|status| status.height >= height);
    tokio::time::timeout(Duration::from_secs(60), reached).await.expect("the chain stands still").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn founders_make_a_key_and_agree_over_tcp() {
    let _ =
        tracing_subscriber::fmt().with_env_filter(std::env::var("RUST_LOG").unwrap_or_default()).try_init();
    let founders: Vec<_> = (1..=4).map(|i| Organisation::new(i, free_endpoint())).collect();
    let folders: Vec<_> = founders.iter().map(|_| tempfile::tempdir().unwrap()).collect();
    let draft = draft(&founders, 16);
    let ceremonies: Vec<_> = founders
        .iter()
        .zip(&folders)
        .map(|(founder, folder)| {
            Ceremony::start(CeremonyConfig {
                secret_key: Zeroizing::new(founder.network_secret),
                draft: draft.clone(),
                store: folder.path().to_owned(),
                storage_key: Zeroizing::new([9; 32]),
                listen: founder.card.consensus_endpoint.parse().unwrap(),
            })
            .unwrap()
        })
        .collect();
    let mut files = Vec::new();
    for ceremony in ceremonies {
        files.push(tokio::task::spawn_blocking(|| ceremony.join()).await.unwrap().unwrap());
    }
    assert!(files.iter().all(|file| *file == files[0] && !file.group.is_empty()));

    let genesis = files.remove(0);
    let stores: Vec<_> = founders.iter().map(|_| MemoryStore::new()).collect();
    let ledgers: Vec<_> = stores.iter().map(|store| ledger(store.clone(), &genesis)).collect();
    let mut engines = Vec::new();
    for ((founder, folder), ledger) in founders.iter().zip(&folders).zip(&ledgers) {
        engines.push(Engine::start(config(founder, ledger.clone(), folder)).unwrap());
    }
    for engine in &engines {
        reaches(engine, 40).await;
        assert_eq!(engine.status().borrow().seat, Seat::Validator);
    }
    for height in 1..=40 {
        assert!(ledgers.iter().all(|ledger| hash_at(ledger, height) == hash_at(&ledgers[0], height)));
    }

    // One stops; the others go on; it returns and catches up.
    let absent = engines.pop().unwrap();
    absent.shutdown();
    tokio::task::spawn_blocking(|| absent.join()).await.unwrap().unwrap();
    let height = engines[0].status().borrow().height;
    reaches(&engines[0], height + 20).await;
    engines.push(Engine::start(config(&founders[3], ledgers[3].clone(), &folders[3])).unwrap());
    reaches(&engines[3], height + 30).await;
    assert_eq!(hash_at(&ledgers[3], height + 20), hash_at(&ledgers[0], height + 20));

    for engine in engines {
        engine.shutdown();
        tokio::task::spawn_blocking(|| engine.join()).await.unwrap().unwrap();
    }
}
