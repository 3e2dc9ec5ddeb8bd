//! Replicas when owners are hostile, disks fill up, members come and go, and nodes lose power.

use std::{sync::Arc, time::Duration};

use alloy_primitives::B256;
use bytes::Bytes;
use hansa_api::{PutMeta, PutReceipt, VerifyRequest};
use hansa_content::{Block, DAG_CBOR, DAG_PB};
use hansa_contracts::abi;
use hansa_envelope::{ObjectRoot, root_cid};
use hansa_kv::{Batch, KvStore, MemoryStore};
use hansa_ports::Chain;
use hansa_types::{DcId, ObjectId, Version};

use super::{
    consortium::{Consortium, Files, Node, meta, quiet},
    doubles::{Power, PoweredStore},
};
use crate::{
    DiskSpace, allocate,
    allocation::rank,
    keyring::SPACE,
    message::{Answer, Request, decode, encode},
    replicate::{Table, Verdict, VersionId},
};

fn large() -> Vec<u8> {
    (0..3_000_000_u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[2]).collect()
}

fn first(object: ObjectId) -> VersionId {
    VersionId::new(object, Version(1))
}

/// Puts an object for which no replicas are waited.
async fn put_alone(node: &Node, bytes: &[u8]) -> PutReceipt {
    put_for(node, bytes, 0).await
}

async fn put_for(node: &Node, bytes: &[u8], replicas: u32) -> PutReceipt {
    let meta = PutMeta { replicas: Some(replicas), ..meta("a") };
    node.sharing.put(meta, Files::new(&[("a", Some(bytes))]), quiet()).await.unwrap()
}

pub(super) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let mut poll = tokio::time::interval(Duration::from_millis(20));
    let arrived = async {
        while !holds().await {
            poll.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), arrived).await.expect(what);
}

/// The members besides the owner that are to keep an object.
pub(super) fn keepers(net: &Consortium, object: ObjectId) -> Vec<&Node> {
    allocate(object, &net.ledger.members())[1..].iter().map(|id| net.node(id.value())).collect()
}

pub(super) fn holds(node: &Node, object: ObjectId) -> bool {
    node.sharing.0.table().replica(first(object)).unwrap().is_some_and(|replica| replica.whole)
}

/// A hostile owner: records a root of its own making, and serves it.
async fn record(owner: &Node, number: u64, root: Block, size_class: u64) -> ObjectId {
    let digest = B256::try_from(root.cid().hash().digest()).unwrap();
    owner.store.pin(root.cid(), "its own").unwrap();
    owner.store.put(&root).unwrap();
    owner.sharing.0.table().mark_held(digest).unwrap();
    let record = abi::Record {
        number,
        version: 1,
        root: digest,
        commitment: B256::ZERO,
        visibility: 1,
        keyEpoch: 1,
        sizeClass: size_class,
        createdAt: 1,
        validUntil: 0,
    };
    owner.sharing.0.contracts.record_version(owner.id, record).await.unwrap();
    ObjectId { owner: owner.id, number }
}

/// The root of an honest object with something about it changed.
async fn forged(owner: &Node, change: impl FnOnce(&mut ObjectRoot)) -> Block {
    let receipt = put_alone(owner, &large()).await;
    let bytes = owner.store.expect(&receipt.cid.parse().unwrap()).unwrap();
    let mut root = ObjectRoot::decode(&bytes).unwrap();
    change(&mut root);
    Block::new(DAG_CBOR, root.encode().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_can_never_be_valid_are_given_up_and_disturb_nothing_else() {
    let net = Consortium::start(4).await;
    let (honest, hostile) = (net.node(1), net.node(2));
    let no_root = Block::new(DAG_CBOR, Bytes::from_static(b"\xff\xff no cbor")).unwrap();
    let garbage = Block::new(DAG_PB, Bytes::from_static(b"\xff\xff no dag-pb")).unwrap();
    hostile.store.put(&garbage).unwrap();
    hostile.store.pin(garbage.cid(), "its own").unwrap();
    let malformed = forged(hostile, |root| root.content = *garbage.cid()).await;
    let larger = forged(hostile, |root| root.key_epoch = 7).await;
    let nodes = forged(hostile, |root| root.deposits = Some(*garbage.cid())).await;
    let bad = [
        (record(hostile, 1001, no_root, 4096).await, Verdict::NotARoot),
        (record(hostile, 1002, malformed, 3_014_656).await, Verdict::Malformed),
        (record(hostile, 1003, larger, 4096).await, Verdict::TooLarge),
        (record(hostile, 1004, nodes, 3_014_656).await, Verdict::NotARoot),
    ];
    let receipt = honest.put("a", b"a").await;
    assert_eq!(receipt.replicas.len(), 3, "{receipt:?}");
    for (object, verdict) in bad {
        for keeper in keepers(&net, object) {
            let table = keeper.sharing.0.table();
            until("given up", async || table.given_up(first(object)).unwrap() == Some(verdict)).await;
            let record = honest.sharing.0.contracts.record(object, None).await.unwrap();
            assert!(!keeper.store.is_pinned(&root_cid(record.root)).unwrap());
            assert_eq!(table.pending(first(object)).unwrap(), None);
            let all = keeper.sharing.verify(None, VerifyRequest::default(), quiet()).await.unwrap();
            assert!(all.given_up.iter().any(|given_up| given_up.id == object), "{all:?}");
            let one = keeper.verify(object).await;
            assert_eq!((one.faults.len(), one.faults[0].dc_id), (1, hostile.id), "{one:?}");
            keeper.sharing.repair(None, quiet()).await.unwrap();
            keeper.sharing.collect_garbage().await.unwrap();
        }
    }
    for node in &net.nodes {
        let report = node.sharing.verify(Some(receipt.id), VerifyRequest::default(), quiet()).await.unwrap();
        assert!(report.is_clean(), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_replica_is_a_finding_about_one_object() {
    let net = Consortium::start_idle(4).await;
    let owner = net.node(2);
    let honest = put_alone(owner, b"a").await.id;
    let garbage = Block::new(DAG_PB, Bytes::from_static(b"\xff\xff no dag-pb")).unwrap();
    owner.store.put(&garbage).unwrap();
    let root = forged(owner, |root| root.content = *garbage.cid()).await;
    let bad = record(owner, 1001, root, 3_014_656).await;
    let local = VerifyRequest { scope: hansa_api::VerifyScope::Local, ..VerifyRequest::default() };
    let report = owner.sharing.verify(None, local, quiet()).await.unwrap();
    assert_eq!((report.faults.len(), report.faults[0].cid.clone()), (1, Some(garbage.cid().to_string())));
    assert_eq!((report.own_versions, report.replica_versions), (3, 0));
    let repaired = owner.sharing.repair(None, quiet()).await.unwrap();
    assert_eq!(repaired.remaining.len(), 1, "{repaired:?}");
    assert!(owner.sharing.repair(Some(honest), quiet()).await.unwrap().remaining.is_empty());
    assert!(!owner.verify(bad).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withholder_takes_its_share_of_the_fetches_and_no_more() {
    let mut net = Consortium::start_idle(4).await;
    for _ in 0..20 {
        let receipt = put_alone(net.node(2), b"never arrives").await;
        net.withhold(receipt.cid.parse().unwrap());
    }
    for _ in 0..2 {
        // The second time, after a restart, everything withheld is pending on the disk.
        net.nodes.iter_mut().for_each(Node::replicate);
        let receipt = net.node(1).put("a", b"a").await;
        assert_eq!(receipt.replicas.len(), 3, "{receipt:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_fills_its_share_of_a_disk_and_no_more() {
    let net = Consortium::start(4).await;
    // 20 % is room for one of the large objects, not for two.
    net.nodes.iter().for_each(|node| *node.disk.lock() = DiskSpace { total: 20_000_000, free: 20_000_000 });
    let greedy = net.node(2);
    for _ in 0..4 {
        put_alone(greedy, &large()).await;
    }
    let full = |node: &Node| node.sharing.replication().full_owners == [greedy.id];
    until("full", async || net.nodes.iter().any(full)).await;
    let receipt = net.node(1).put("a", b"a").await;
    assert_eq!(receipt.replicas.len(), 3, "{receipt:?}");
    for node in &net.nodes {
        assert!(node.sharing.replication().bytes <= 4_000_000 + 200_000, "{:?}", node.sharing.replication());
        let full = node.sharing.0.table().replicas(None, 100).unwrap();
        assert!(full.iter().filter(|(id, _)| id.object.owner == greedy.id).count() <= 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_stop_before_the_disk_is_full_and_another_member_keeps_them() {
    let net = Consortium::start(4).await;
    let next = ObjectId { owner: net.node(1).id, number: 1 };
    let order = rank(next, &net.ledger.members());
    let full = net.node(order[0].value());
    *full.disk.lock() = DiskSpace { total: 1_000_000_000, free: 50_000_000 };
    let receipt = net.node(1).put("a", b"a").await;
    assert!(full.sharing.replication().paused_by_disk);
    assert!(!holds(full, next) && !receipt.replicas.contains(&full.id), "{receipt:?}");
    assert_eq!((receipt.replicas.len(), receipt.asked, receipt.replicas_short()), (3, 2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn for_a_keeper_that_is_away_the_next_one_keeps_the_version_until_it_is_back() {
    let net = Consortium::start(4).await;
    let owner = net.node(1);
    let next = ObjectId { owner: owner.id, number: 1 };
    let order = rank(next, &net.ledger.members());
    let [away, substitute] = [order[0], order[2]].map(|id| net.node(id.value()));
    away.go_offline();
    let receipt = owner.put("a", b"a").await;
    assert_eq!((receipt.id, receipt.replicas.len(), receipt.replicas_short()), (next, 3, 0));
    assert!(!receipt.replicas.contains(&away.id) && holds(substitute, next));
    substitute.sharing.0.tidy_pins().await.unwrap();
    assert!(holds(substitute, next), "the others do not hold it yet");
    away.go_online();
    until("caught up", async || holds(away, next)).await;
    substitute.sharing.0.tidy_pins().await.unwrap();
    assert!(!holds(substitute, next) && substitute.sharing.replication().bytes == 0);
    let mut allocated = allocate(next, &net.ledger.members());
    allocated.sort_unstable();
    assert_eq!(owner.sharing.replicas(next, Version(1)).await.unwrap(), allocated);
    assert!(substitute.sharing.collect_garbage().await.unwrap().blocks > 0);
    assert!(owner.verify(next).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_tells_replicas_that_do_not_exist() {
    let net = Consortium::start(4).await;
    let receipt = put_for(net.node(1), b"a", 5).await;
    assert_eq!((receipt.replicas.len(), receipt.asked, receipt.replicas_short()), (4, 5, 2));
    let third = rank(receipt.id, &net.ledger.members())[2];
    net.node(third.value()).sharing.0.tidy_pins().await.unwrap();
    assert!(holds(net.node(third.value()), receipt.id), "a replica that was asked for is kept");
    net.nodes[1..].iter().for_each(Node::go_offline);
    let receipt = net.node(1).put("b", b"b").await;
    assert_eq!((receipt.replicas.len(), receipt.asked, receipt.replicas_short()), (1, 2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_was_never_recorded_is_let_go_after_a_while() {
    let net = Consortium::start_idle(4).await;
    let owner = net.node(1);
    let kept = put_alone(owner, b"a").await;
    let ghost = Block::new(DAG_CBOR, Bytes::from_static(b"\xa0")).unwrap();
    let (id, digest) = (VersionId::new("1/9".parse().unwrap(), Version(1)), ghost.cid().hash().digest());
    let table = owner.sharing.0.table();
    let mut batch = Batch::new();
    Table::add_unrecorded(&mut batch, id, B256::try_from(digest).unwrap());
    table.0.write(batch).unwrap();
    owner.store.pin(ghost.cid(), &id.label()).unwrap();
    for _ in 0..40 {
        owner.sharing.0.tidy_pins().await.unwrap();
    }
    assert!(owner.store.is_pinned(ghost.cid()).unwrap(), "the chain stands still");
    for _ in 0..25 {
        put_alone(owner, b"b").await;
        owner.sharing.0.tidy_pins().await.unwrap();
    }
    assert!(!owner.store.is_pinned(ghost.cid()).unwrap() && table.unrecorded(10).unwrap().is_empty());
    assert!(owner.store.is_pinned(&kept.cid.parse().unwrap()).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_active_members_are_told_of_replicas_and_only_owners_may_ask_for_one() {
    let net = Consortium::start_idle(4).await;
    let (a, b) = (net.node(1), net.node(2));
    let receipt = put_alone(a, b"a").await;
    let root = receipt.cid.parse().unwrap();
    let stranger = hansa_envelope::MemberKeys::generate().unwrap().network_key();
    let keep = Request::Keep { object: receipt.id, version: Version(1), others: 2 };
    for request in
        [Request::Holds { roots: vec![root] }, Request::Check { root }, Request::Kept { roots: vec![root] }]
    {
        let answer = decode(&a.answer_key(stranger, encode(&request)).await);
        assert!(matches!(answer, Some(Answer::Failed { .. })), "{answer:?}");
    }
    let answer = decode(&net.node(3).answer(b, encode(&keep)).await);
    assert!(matches!(answer, Some(Answer::Failed { .. })), "{answer:?}");
    let ghost = Request::Keep { object: "1/77".parse().unwrap(), version: Version(1), others: 2 };
    assert_eq!(decode(&b.answer(a, encode(&ghost)).await), Some(Answer::Holds { whole: vec![false] }));
    assert_eq!(b.sharing.0.table().pending_of(DcId::new(1).unwrap(), None, 9).unwrap(), []);
}

/// What has to be true of a node that has just started, whatever its last run was doing.
async fn assert_old_or_new(node: &Node, object: ObjectId) {
    let (table, id) = (node.sharing.0.table(), first(object));
    let record = node.sharing.0.contracts.record(object, None).await.unwrap();
    let root = root_cid(record.root);
    let replica = table.replica(id).unwrap();
    if table.holds(record.root).unwrap() {
        assert!(node.store.is_pinned(&root).unwrap() && replica.is_some_and(|replica| replica.whole));
        assert!(node.store.check_dag(&root, |_| ()).unwrap().is_healthy());
        assert_eq!(table.pending(id).unwrap(), None);
    } else {
        let lets_go = replica.is_some_and(|replica| replica.whole);
        assert!(lets_go || replica.is_none() || table.pending(id).unwrap().is_some());
    }
    if node.store.is_pinned(&root).unwrap() {
        assert!(replica.is_some(), "a pin that nobody counts");
    }
}

/// A consortium in which one node loses power and starts again.
struct Fragile {
    net: Consortium,
    id: u32,
    chain: Arc<dyn Chain>,
    store: Arc<PoweredStore>,
    machine_ends: bool,
}

impl Fragile {
    fn new(net: Consortium, id: DcId, machine_ends: bool) -> Self {
        let (id, chain) = (id.value(), net.node(id.value()).chain());
        let store = PoweredStore::new(&MemoryStore::new(), &Power::steps(0));
        let mut fragile = Self { net, id, chain, store, machine_ends };
        fragile.restart(u32::MAX);
        fragile
    }

    /// Starts the node on what is left of its store, with power for some writes.
    fn restart(&mut self, steps: u32) -> Arc<Power> {
        let power = Power::steps(steps);
        self.store = PoweredStore::new(self.store.survivor(self.machine_ends), &power);
        self.net.restart(self.id, Arc::clone(&self.chain), Arc::clone(&self.store) as _);
        power
    }

    fn node(&self) -> &Node {
        self.net.node(self.id)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_crashes_while_it_replicates_has_a_whole_replica_or_fetches_it_again() {
    for machine_ends in [false, true] {
        let net = Consortium::start_idle(4).await;
        let object = put_alone(net.node(1), &large()).await.id;
        let keeper = allocate(object, &net.ledger.members())[1];
        let mut fragile = Fragile::new(net, keeper, machine_ends);
        let mut steps = 0;
        loop {
            let power = fragile.restart(steps);
            let outcome = fragile.node().sharing.0.catch_up().await;
            assert_eq!(outcome.is_err(), power.has_failed());
            fragile.restart(u32::MAX);
            assert_old_or_new(fragile.node(), object).await;
            if !power.has_failed() {
                break;
            }
            steps += 1;
            assert!(steps < 100, "it never ends");
        }
        // The last words may have been lost with the machine: everything is found here again.
        fragile.node().sharing.0.catch_up().await.unwrap();
        assert!(holds(fragile.node(), object));
        assert!(steps > 4, "{steps}: progress, pin, blocks, record");
        let report = fragile.node().verify(object).await;
        assert!(report.faults.iter().all(|fault| fault.dc_id != keeper), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_crashes_while_it_lets_go_and_collects_has_a_whole_replica_or_none() {
    for machine_ends in [false, true] {
        let net = Consortium::start_idle(4).await;
        let next = ObjectId { owner: net.node(1).id, number: 1 };
        let substitute = rank(next, &net.ledger.members())[2];
        let mut fragile = Fragile::new(net, substitute, machine_ends);
        fragile.net.nodes.iter_mut().for_each(Node::replicate);
        let object = put_for(fragile.net.node(1), &large(), 3).await.id;
        assert_eq!(object, next);
        fragile.store.sync().unwrap();
        fragile.node().sharing.0.table().ask_fewer(VersionId::new(object, Version(1))).unwrap();
        let mut steps = 0;
        while holds(fragile.node(), object) {
            let power = fragile.restart(steps);
            let tidied = fragile.node().sharing.0.tidy_pins().await;
            let collected = fragile.node().sharing.collect_garbage().await;
            assert_eq!(tidied.is_err() || collected.is_err(), power.has_failed());
            fragile.restart(u32::MAX);
            assert_old_or_new(fragile.node(), object).await;
            steps += 1;
            assert!(steps < 100, "it never ends");
        }
        assert!(steps > 2, "{steps}: mark, pin, record");
        fragile.node().sharing.collect_garbage().await.unwrap();
        assert_eq!(fragile.node().sharing.collect_garbage().await.unwrap().blocks, 0);
        assert!(fragile.net.node(1).verify(object).await.is_clean());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_does_not_fit_has_the_chain_read_from_the_beginning() {
    let net = Consortium::start_idle(4).await;
    let object = put_alone(net.node(1), b"a").await.id;
    let keeper = keepers(&net, object)[0];
    let inner = &keeper.sharing.0;
    inner.catch_up().await.unwrap();
    let damages: [Option<(&str, &[u8])>; 4] = [
        Some(("feed/replication", b"short")),
        Some(("followed", &[7; 32])),
        Some(("followed", &[0; 40])),
        None,
    ];
    for damage in damages {
        assert!(holds(keeper, object));
        inner.table().let_go(first(object)).unwrap();
        let mut batch = Batch::new();
        if let Some((key, value)) = damage {
            batch.put(SPACE, key.as_bytes(), value);
        }
        inner.kv.write(batch).unwrap();
        inner.catch_up().await.unwrap();
        assert_eq!(holds(keeper, object), damage.is_some(), "{damage:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_crashes_while_it_gives_a_version_up_has_given_it_up_or_judges_it_again() {
    for machine_ends in [false, true] {
        let net = Consortium::start_idle(4).await;
        let garbage = Block::new(DAG_PB, Bytes::from_static(b"\xff\xff no dag-pb")).unwrap();
        net.node(2).store.put(&garbage).unwrap();
        net.node(2).store.pin(garbage.cid(), "its own").unwrap();
        let root = forged(net.node(2), |root| root.content = *garbage.cid()).await;
        let object = record(net.node(2), 1001, root, 3_014_656).await;
        let (id, keeper) = (first(object), keepers(&net, object)[0].id);
        let mut fragile = Fragile::new(net, keeper, machine_ends);
        let mut steps = 0;
        loop {
            let power = fragile.restart(steps);
            let outcome = fragile.node().sharing.0.catch_up().await;
            assert_eq!(outcome.is_err(), power.has_failed());
            fragile.restart(u32::MAX);
            let node = fragile.node();
            let table = node.sharing.0.table();
            let recorded = node.sharing.0.contracts.record(object, None).await.unwrap();
            let is_pinned = node.store.is_pinned(&root_cid(recorded.root)).unwrap();
            if table.given_up(id).unwrap().is_some() {
                assert!(!is_pinned && table.replica(id).unwrap().is_none(), "after {steps} steps");
                assert_eq!(table.pending(id).unwrap(), None);
            } else {
                assert!(!is_pinned || table.replica(id).unwrap().is_some(), "a pin that nobody counts");
            }
            node.sharing.collect_garbage().await.unwrap();
            if !power.has_failed() {
                break;
            }
            steps += 1;
            assert!(steps < 100, "it never ends");
        }
        fragile.node().sharing.0.catch_up().await.unwrap();
        assert_eq!(fragile.node().sharing.0.table().given_up(id).unwrap(), Some(Verdict::Malformed));
        assert!(steps > 4, "{steps}: progress, room, pin, unpin, verdict");
    }
}
