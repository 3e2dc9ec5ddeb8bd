//! Crashes at every step of put, update, revoke, open and release, and during the wait for keepers. Afterwards others see the
//! old state or the new one.
//!
//! A step is a write or flush of the node's store, or a transaction, before it is sent or after it is final. The process ends
//! alone, or with the machine: then what was not flushed is gone too.

use std::sync::{Arc, atomic::Ordering};

use hansa_api::{Code, LogKind, Progress, PutMeta, PutReceipt, Stage};
use hansa_envelope::root_cid;
use hansa_kv::MemoryStore;
use hansa_ports::Chain;
use hansa_types::{ObjectId, Version, Visibility};

use super::{
    consortium::{Consortium, Files, Node, meta, quiet},
    doubles::{Fault, Faulty, Power, PoweredStore},
    replicas::{holds, keepers, until},
    stories::released,
};
use crate::SharingError;

/// More steps than any change has.
const STEPS_MAX: u32 = 40;

/// A consortium whose first member's node crashes and starts again.
struct Fragile {
    net: Consortium,
    chain: Arc<dyn Chain>,
    store: Arc<PoweredStore>,
    machine_ends: bool,
}

impl Fragile {
    async fn start(machine_ends: bool) -> Self {
        let net = Consortium::start_idle(4).await;
        let chain = net.node(1).chain();
        let store = PoweredStore::new(&MemoryStore::new(), &Power::steps(0));
        let mut fragile = Self { net, chain, store, machine_ends };
        fragile.restart(u32::MAX);
        fragile
    }

    /// Starts the node on what is left of its store, with power for some steps.
    fn restart(&mut self, steps: u32) -> Arc<Power> {
        let power = Power::steps(steps);
        self.store = PoweredStore::new(self.store.survivor(self.machine_ends), &power);
        let chain = Faulty { chain: Arc::clone(&self.chain), fault: Fault::Powered(Arc::clone(&power)) };
        self.net.restart(1, Arc::new(chain), Arc::clone(&self.store) as _);
        power
    }

    async fn put(&self, content: &str, visibility: Visibility) -> Result<PutReceipt, SharingError> {
        let meta = PutMeta { visibility: Some(visibility), replicas: Some(0), ..meta("order.json") };
        let files = Files::new(&[("order.json", Some(content.as_bytes()))]);
        self.net.node(1).sharing.put(meta, files, quiet()).await
    }

    async fn update(&self, object: ObjectId, content: &str) -> Result<PutReceipt, SharingError> {
        let meta = PutMeta { replicas: Some(0), ..meta("order.json") };
        let files = Files::new(&[("order.json", Some(content.as_bytes()))]);
        self.net.node(1).sharing.update(object, meta, files, quiet()).await
    }

    /// What a member reads as the newest version.
    async fn read(&self, member: u32, object: ObjectId) -> Result<String, SharingError> {
        let bytes = self.net.node(member).get(object, None).await?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    /// The first member's objects whose newest version's key is not on the chain.
    async fn unpublished(&self) -> Vec<ObjectId> {
        let owner = self.net.node(1);
        let contracts = &owner.sharing.0.contracts;
        let mut unpublished = Vec::new();
        for number in contracts.numbers(owner.id, 1000).await.unwrap().into_iter().rev() {
            let object = ObjectId { owner: owner.id, number };
            let epoch = contracts.record(object, None).await.unwrap().keyEpoch;
            if contracts.published_key(object, epoch).await.unwrap().is_none() {
                unpublished.push(object);
            }
        }
        unpublished
    }

    /// Checks that every version on the chain is pinned and can be read by its owner, also after a collection.
    async fn check(&self) {
        let owner = self.net.node(1);
        owner.sharing.collect_garbage().await.unwrap();
        let contracts = &owner.sharing.0.contracts;
        for number in contracts.numbers(owner.id, 1000).await.unwrap() {
            let object = ObjectId { owner: owner.id, number };
            for version in 1..=contracts.latest(object).await.unwrap().0 {
                let record = contracts.record(object, Some(Version(version))).await.unwrap();
                assert!(owner.store.is_pinned(&root_cid(record.root)).unwrap(), "{object} {version}");
                owner.get(object, Some(version)).await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_waits_for_the_disk_once() {
    let fragile = Fragile::start(true).await;
    let object = fragile.put("content", Visibility::Listed).await.unwrap().id;
    assert_eq!(fragile.store.flushes(), 1);
    fragile.net.node(1).sharing.collect_garbage().await.unwrap();
    let before = fragile.store.flushes();
    fragile.update(object, "other content").await.unwrap();
    assert_eq!(fragile.store.flushes() - before, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_crashes_leaves_a_whole_object_or_none() {
    for machine_ends in [false, true] {
        let mut fragile = Fragile::start(machine_ends).await;
        for steps in 0.. {
            assert!(steps < STEPS_MAX, "a put ends some time");
            let power = fragile.restart(steps);
            let outcome = fragile.put("content", Visibility::Public).await;
            assert_eq!(outcome.is_err(), power.has_failed());
            fragile.restart(u32::MAX);
            fragile.check().await;
            fragile.net.node(1).sharing.0.publish_missing().await.unwrap();
            assert_eq!(fragile.unpublished().await, [], "after {steps} steps");
            if !power.has_failed() {
                assert_eq!(fragile.read(2, outcome.unwrap().id).await.unwrap(), "content");
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_narrowed_after_a_crash_is_not_published() {
    let mut fragile = Fragile::start(true).await;
    let mut narrowed = Vec::new();
    for steps in 0.. {
        assert!(steps < STEPS_MAX, "a put ends some time");
        let power = fragile.restart(steps);
        // The outcome is known by what is on the chain.
        let _ = fragile.put("content", Visibility::Public).await;
        fragile.restart(u32::MAX);
        let sharing = &fragile.net.node(1).sharing;
        let unpublished = fragile.unpublished().await;
        if let Some(object) = unpublished.get(narrowed.len()) {
            sharing.set_visibility(*object, Visibility::Listed).await.unwrap();
            narrowed.push(*object);
        }
        sharing.0.publish_missing().await.unwrap();
        assert_eq!(fragile.unpublished().await, narrowed, "after {steps} steps");
        if !power.has_failed() {
            break;
        }
    }
    assert!(!narrowed.is_empty(), "some crash was between the record and the key");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_crashes_leaves_the_old_version_or_the_new_one() {
    for machine_ends in [false, true] {
        let mut fragile = Fragile::start(machine_ends).await;
        let object = fragile.put("0", Visibility::Listed).await.unwrap().id;
        let [b, c] = [2, 3].map(|id| fragile.net.node(id).id);
        let mut newest = "0".to_owned();
        for steps in 0.. {
            assert!(steps < STEPS_MAX, "an update ends some time");
            // A grant with a deposit, and a change of key that renews it.
            let owner = fragile.net.node(1);
            owner.share(object, fragile.net.node(2), |grant| grant.deposit = true).await;
            owner.share(object, fragile.net.node(3), |_| ()).await;
            owner.sharing.revoke(object, c).await.unwrap();
            let next = format!("after {steps} steps");
            let power = fragile.restart(steps);
            let outcome = fragile.update(object, &next).await;
            fragile.restart(u32::MAX);
            fragile.check().await;
            let seen = fragile.read(2, object).await.unwrap();
            assert!(seen == next || (seen == newest && outcome.is_err()), "{seen} after {steps} steps");
            assert_eq!(fragile.read(3, object).await.unwrap_err().code(), Code::AccessRefused);
            // What a crash kept from the former deposit is made up for by the next version.
            newest = format!("{seen}, again");
            fragile.update(object, &newest).await.unwrap();
            fragile.read(2, object).await.unwrap();
            fragile.net.node(1).go_offline();
            assert_eq!(fragile.read(2, object).await.unwrap(), newest, "after {steps} steps");
            fragile.net.node(1).go_online();
            if !power.has_failed() {
                assert_eq!((outcome.unwrap().id, seen), (object, next));
                break;
            }
        }
        assert_eq!(fragile.net.node(1).sharing.revoke(object, b).await.unwrap().transactions.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_revocation_that_crashes_no_version_is_under_a_key_of_the_former_reader() {
    for machine_ends in [false, true] {
        let mut fragile = Fragile::start(machine_ends).await;
        let object = fragile.put("0", Visibility::Listed).await.unwrap().id;
        let b = fragile.net.node(2).id;
        for steps in 0.. {
            assert!(steps < STEPS_MAX, "a revocation ends some time");
            fragile.net.node(1).share(object, fragile.net.node(2), |grant| grant.deposit = true).await;
            fragile.read(2, object).await.unwrap();
            let contracts = fragile.net.node(1).sharing.0.contracts.clone();
            let held = contracts.record(object, None).await.unwrap().keyEpoch;
            let power = fragile.restart(steps);
            let outcome = fragile.net.node(1).sharing.revoke(object, b).await;
            fragile.restart(u32::MAX);
            fragile.check().await;
            // What the member has opened it reads again in any case.
            let version = contracts.latest(object).await.unwrap();
            let stands = contracts.refusal(object, version, b).await.unwrap().is_none();
            assert!(!stands || outcome.is_err(), "a revocation that was told holds");
            fragile.update(object, "next").await.unwrap();
            let used = contracts.record(object, None).await.unwrap().keyEpoch;
            assert!(stands || used > held, "epoch {used} after {steps} steps");
            assert_eq!(fragile.read(2, object).await.is_ok(), stands);
            if !power.has_failed() {
                assert!(outcome.is_ok());
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_power_fails_reads_with_the_same_opening_afterwards() {
    for machine_ends in [false, true] {
        let mut fragile = Fragile::start(machine_ends).await;
        for steps in 0.. {
            assert!(steps < STEPS_MAX, "a reading ends some time");
            let (reader, owner) = (fragile.net.node(1), fragile.net.node(2));
            let about = PutMeta { replicas: Some(0), ..meta("order.json") };
            let files = Files::new(&[("order.json", Some(b"once".as_slice()))]);
            let object = owner.sharing.put(about, files, quiet()).await.unwrap().id;
            owner.share(object, reader, |grant| grant.max_openings = Some(1)).await;
            let power = fragile.restart(steps);
            let outcome = fragile.read(1, object).await;
            fragile.restart(u32::MAX);
            if outcome.is_err() {
                assert_eq!(fragile.read(1, object).await.unwrap(), "once", "after {steps} steps");
            }
            let log = fragile.net.node(2).sharing.log(object).await.unwrap();
            assert_eq!(log.iter().filter(|entry| entry.kind == LogKind::Opened).count(), 1);
            if !power.has_failed() {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_by_an_owner_whose_power_fails_is_on_the_chain_once() {
    for machine_ends in [false, true] {
        let mut fragile = Fragile::start(machine_ends).await;
        // Without a quorum of validators the key comes from the owner's node.
        fragile.net.node(2).validators.down.store(true, Ordering::SeqCst);
        for steps in 0.. {
            assert!(steps < STEPS_MAX, "a release ends some time");
            let object = fragile.put("content", Visibility::Members).await.unwrap().id;
            let power = fragile.restart(steps);
            let outcome = fragile.read(2, object).await;
            let recorded = async || {
                let log = fragile.net.node(2).sharing.log(object).await.unwrap();
                log.iter().any(|entry| entry.kind == LogKind::KeyReleased)
            };
            while !power.has_failed() && !recorded().await {
                tokio::task::yield_now().await;
            }
            let failed = power.has_failed();
            fragile.restart(u32::MAX);
            if outcome.is_err() {
                assert_eq!(fragile.read(2, object).await.unwrap(), "content", "after {steps} steps");
            }
            released(&fragile.net, fragile.net.node(2), object, 1).await;
            let log = fragile.net.node(2).sharing.log(object).await.unwrap();
            assert_eq!(log.iter().filter(|entry| entry.kind == LogKind::KeyReleased).count(), 1);
            if !failed {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_owner_puts_that_ends_while_it_waits_for_keepers_is_kept_by_all_of_them() {
    for machine_ends in [false, true] {
        let mut fragile = Fragile::start(machine_ends).await;
        let sharing = fragile.net.node(1).sharing.clone();
        let waits = Arc::new(tokio::sync::Notify::new());
        let waiting = Arc::clone(&waits);
        let progress = Arc::new(move |progress: Progress| {
            if progress.stage == Stage::Replicate {
                waiting.notify_one();
            }
        });
        let putting = tokio::spawn(async move {
            let files = Files::new(&[("order.json", Some(b"content".as_slice()))]);
            sharing.put(meta("order.json"), files, progress).await
        });
        // Nobody keeps replicas yet.
        waits.notified().await;
        putting.abort();
        assert!(putting.await.unwrap_err().is_cancelled());
        fragile.restart(u32::MAX);
        fragile.check().await;
        let object = ObjectId { owner: fragile.net.node(1).id, number: 1 };
        fragile.net.nodes.iter_mut().for_each(Node::replicate);
        for keeper in keepers(&fragile.net, object) {
            until("kept", async || holds(keeper, object)).await;
        }
        assert_eq!(fragile.read(1, object).await.unwrap(), "content");
        let report = fragile.net.node(1).verify(object).await;
        assert!(report.is_clean() && report.nodes.len() == 3, "{report:?}");
    }
}
