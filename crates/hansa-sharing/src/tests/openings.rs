//! Openings under every fault: hostile objects, readers at the same time, owners that are late, stale or lie, crashes at
//! every step.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::atomic::Ordering,
    task::{Context, Poll},
    time::Duration,
};

use alloy_primitives::B256;
use bytes::Bytes;
use futures::{StreamExt, future::join_all};
use hansa_api::{Code, LogKind, PutMeta};
use hansa_content::{Block, DAG_CBOR, DAG_PB, RAW};
use hansa_contracts::{RefusalReason, abi};
use hansa_envelope::{DataKey, ObjectRoot, RootParts, VersionKeys, WRAPPED_DEK_BYTES};
use hansa_types::{ObjectId, Version, Visibility};

use super::{
    consortium::{Consortium, Fault, Files, Node, meta, quiet, read},
    stories::released,
};
use crate::{
    OpenMode, SharingError,
    message::{Answer, Request, decode, encode},
};

/// Protects a file without waiting for replicas.
pub(super) async fn put(node: &Node, bytes: &[u8]) -> ObjectId {
    let files = Files::new(&[("order.json", Some(bytes))]);
    node.sharing.put(alone(), files, quiet()).await.unwrap().id
}

pub(super) async fn update(node: &Node, object: ObjectId, bytes: &[u8]) {
    let files = Files::new(&[("order.json", Some(bytes))]);
    node.sharing.update(object, alone(), files, quiet()).await.unwrap();
}

fn alone() -> PutMeta {
    PutMeta { replicas: Some(0), ..meta("order.json") }
}

/// How often the object's log has a kind of entry.
pub(super) async fn count(node: &Node, object: ObjectId, kind: LogKind) -> usize {
    node.sharing.log(object).await.unwrap().iter().filter(|entry| entry.kind == kind).count()
}

pub(super) fn refused_for(outcome: Result<Vec<u8>, SharingError>) -> RefusalReason {
    match outcome {
        Err(SharingError::RefusedByChain { reason, .. }) => reason,
        other => panic!("not refused by the chain: {other:?}"),
    }
}

async fn ask(owner: &Node, asking: &Node, object: ObjectId, opening: Option<u64>, height: u64) -> Answer {
    let request = Request::Key { object, version: Version(1), opening, height };
    decode(&owner.answer(asking, encode(&request)).await).unwrap()
}

/// A future that is given up after so many steps.
struct Steps<F> {
    inner: F,
    left: usize,
}

impl<F: Future + Unpin> Future for Steps<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
        self.left = left;
        Pin::new(&mut self.inner).poll(context).map(Some)
    }
}

/// An owner whose object has a manifest of a tebibyte in four blocks: each node names the one below it 1,024 times.
async fn manifest_bomb(owner: &Node) -> ObjectId {
    let mut block = Block::new(RAW, vec![0; 1 << 20].into()).unwrap();
    owner.store.put(&block).unwrap();
    let mut bytes = 1 << 20;
    for _ in 0..2 {
        block = Block::new(DAG_PB, node_naming(&block, bytes, 1024)).unwrap();
        owner.store.put(&block).unwrap();
        bytes *= 1024;
    }
    let content = Block::new(RAW, vec![1; 4112].into()).unwrap();
    owner.store.put(&content).unwrap();
    let (keys, _) = VersionKeys::create(&DataKey::generate().unwrap()).unwrap();
    let parts = RootParts {
        manifest: *block.cid(),
        manifest_salt: B256::ZERO,
        content: *content.cid(),
        content_length: 4112,
        wrapped_key: vec![5; WRAPPED_DEK_BYTES],
        key_epoch: 1,
        owner_key: vec![5; 60],
        deposits: None,
        commitment: B256::ZERO,
        size_class: 4096,
        created_at: 1,
        valid_until: 0,
    };
    let root = ObjectRoot::new(&keys, parts);
    owner.store.put(&Block::new(DAG_CBOR, root.encode().unwrap()).unwrap()).unwrap();
    let record = abi::Record {
        number: 1,
        version: 1,
        root: root.digest().unwrap(),
        commitment: B256::ZERO,
        visibility: Visibility::Members.code(),
        keyEpoch: 1,
        sizeClass: 4096,
        createdAt: 1,
        validUntil: 0,
    };
    owner.sharing.0.contracts.record_version(owner.id, record).await.unwrap();
    ObjectId { owner: owner.id, number: 1 }
}

/// A UnixFS file node in dag-pb that names one child of so many bytes again and again.
fn node_naming(child: &Block, bytes: u64, times: usize) -> Bytes {
    fn varint(out: &mut Vec<u8>, mut value: u64) {
        while value > 0x7f {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
        out.push(number << 3 | 2);
        varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
    let (mut link, mut node, mut data) = (Vec::new(), Vec::new(), vec![0x08, 2, 0x18]);
    field(&mut link, 1, &child.cid().to_bytes());
    varint(&mut data, bytes * times as u64);
    for _ in 0..times {
        field(&mut node, 2, &link);
        data.push(0x20);
        varint(&mut data, bytes);
    }
    field(&mut node, 1, &data);
    node.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_bomb_is_refused_before_it_is_read_and_before_an_opening_is_spent() {
    let net = Consortium::start_idle(3).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = manifest_bomb(a).await;
    let refused = b.get(object, None).await.unwrap_err();
    assert_eq!(refused.code(), Code::ContentDamaged, "{refused}");
    assert!(refused.to_string().contains("its manifest has 1099511627776 bytes"), "{refused}");
    assert_eq!(count(a, object, LogKind::Opened).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_nobody_has_spends_no_opening() {
    let net = Consortium::start_idle(3).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = put(a, b"here").await;
    a.share(object, b, |grant| grant.max_openings = Some(1)).await;
    a.go_offline();
    assert_eq!(b.get(object, None).await.unwrap_err().code(), Code::ContentUnavailable);
    a.go_online();
    assert_eq!(b.get(object, None).await.unwrap(), b"here");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_one_object_at_one_member_share_its_only_opening() {
    let net = Consortium::start_idle(3).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = put(a, b"for all").await;
    a.share(object, b, |grant| grant.max_openings = Some(1)).await;
    for bytes in join_all((0..8).map(|_| b.get(object, None))).await {
        assert_eq!(bytes.unwrap(), b"for all");
    }
    assert_eq!(count(a, object, LogKind::Opened).await, 1);
    assert_eq!(refused_for(b.get(object, None).await), RefusalReason::Exhausted);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_many_versions_at_one_member_do_not_disturb_one_another() {
    let net = Consortium::start_idle(3).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = put(a, b"1").await;
    for version in 2..=8_u32 {
        update(a, object, version.to_string().as_bytes()).await;
    }
    a.share(object, b, |_| ()).await;
    let got = join_all((1..=8).map(|version| b.get(object, Some(version)))).await;
    for (version, bytes) in (1..=8_u32).zip(got) {
        assert_eq!(bytes.unwrap(), version.to_string().as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_opened_stays_readable_after_a_revocation_and_nothing_else_does() {
    let net = Consortium::start_idle(3).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = put(a, b"one").await;
    update(a, object, b"two").await;
    a.share(object, b, |_| ()).await;
    assert_eq!(b.get(object, Some(2)).await.unwrap(), b"two");
    released(&net, a, object, 1).await;
    a.sharing.revoke(object, b.id).await.unwrap();
    let before = a.sharing.log(object).await.unwrap().len();
    assert_eq!(b.get(object, Some(2)).await.unwrap(), b"two");
    assert_eq!(read(&b.restarted(), object, Some(2)).await.unwrap(), b"two", "kept on disk");
    assert_eq!(a.sharing.log(object).await.unwrap().len(), before, "nothing new is released or recorded");
    assert_eq!(refused_for(b.get(object, Some(1)).await), RefusalReason::Revoked);
    update(a, object, b"three").await;
    assert_eq!(refused_for(b.get(object, None).await), RefusalReason::Revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_keeps_asking_is_refused_every_time_and_recorded_once() {
    let net = Consortium::start_idle(3).await;
    let (a, c) = (net.node(1), net.node(3));
    let object = put(a, b"{}").await;
    let height = net.ledger.head().number();
    let refused = |reason: RefusalReason| Answer::Refused { reason: reason.code() };
    for answer in join_all((0..20).map(|_| ask(a, c, object, None, height))).await {
        assert_eq!(answer, refused(RefusalReason::NotGranted));
    }
    assert_eq!(count(a, object, LogKind::Refused).await, 1);
    let head = net.ledger.head().number();
    let unknown = ObjectId { owner: a.id, number: 77 };
    assert_eq!(ask(a, c, unknown, None, height).await, refused(RefusalReason::UnknownObject));
    assert_eq!(net.ledger.head().number(), head, "nothing is recorded of what does not exist");
    net.set_time(700);
    put(a, b"").await;
    ask(a, c, object, None, height).await;
    assert_eq!(count(a, object, LogKind::Refused).await, 2, "a new period");
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_the_owner_alone_leaves_no_refusal_of_a_member_that_may_open() {
    let net = Consortium::start_idle(3).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = put(a, b"{}").await;
    a.share(object, b, |_| ()).await;
    let asked = b.sharing.open(object, None, OpenMode::AskOwnerOnly).await.unwrap_err();
    let reason = RefusalReason::NotOpened;
    assert!(matches!(asked, SharingError::RefusedByOwner { reason: told, .. } if told == reason), "{asked}");
    assert_eq!(count(a, object, LogKind::Refused).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_released_at_a_stale_head_and_the_opening_is_not_lost() {
    let net = Consortium::start_idle(3).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = put(a, b"{}").await;
    a.share(object, b, |grant| grant.max_openings = Some(1)).await;
    a.tip.silent.store(true, Ordering::SeqCst);
    let stale = b.get(object, None).await.unwrap_err();
    assert_eq!(stale.code(), Code::OwnerUnreachable, "{stale}");
    a.tip.silent.store(false, Ordering::SeqCst);
    assert_eq!(b.get(object, None).await.unwrap(), b"{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_released_before_everything_known_to_be_final_is_executed() {
    let net = Consortium::start_idle(3).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = put(a, b"{}").await;
    a.share(object, b, |_| ()).await;
    let opening = b.sharing.0.contracts.open(object, Version(1), b.id).await.unwrap();
    let ahead = 2;
    a.tip.ahead.store(ahead, Ordering::SeqCst);
    let behind = net.ledger.head().number();
    let asked = ask(a, b, object, Some(1), opening.block);
    let revoked = async {
        // The block in which the grant is taken back is final, and not executed yet.
        a.sharing.revoke(object, b.id).await.unwrap();
        put(a, b"").await;
    };
    let (answer, ()) = tokio::join!(asked, revoked);
    assert!(net.ledger.head().number() >= behind + ahead);
    assert_eq!(answer, Answer::Refused { reason: RefusalReason::Revoked.code() });
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_heights_are_turned_away_at_once() {
    let net = Consortium::start_idle(2).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = put(a, b"{}").await;
    for height in [u64::MAX, net.ledger.head().number() + 2000] {
        let answer = tokio::time::timeout(Duration::from_secs(5), ask(a, b, object, None, height)).await;
        assert!(matches!(answer, Ok(Answer::Failed { .. })), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_older_than_a_revocation_gets_no_key_under_a_later_grant() {
    let net = Consortium::start_idle(3).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = put(a, b"{}").await;
    a.share(object, b, |grant| grant.max_openings = Some(1)).await;
    a.fail(Fault::Mute);
    assert_eq!(b.get(object, None).await.unwrap_err().code(), Code::OwnerUnreachable);
    a.fail(Fault::None);
    a.sharing.revoke(object, b.id).await.unwrap();
    a.share(object, b, |grant| grant.max_openings = Some(1)).await;
    let height = net.ledger.head().number();
    let old = ask(a, b, object, Some(1), height).await;
    assert_eq!(old, Answer::Refused { reason: RefusalReason::NotOpened.code() });
    assert_eq!(b.get(object, None).await.unwrap(), b"{}", "under the grant that stands");
    assert_eq!(count(a, object, LogKind::Opened).await, 2);
    assert_eq!(refused_for(b.get(object, None).await), RefusalReason::Exhausted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_late_is_asked_for_again_also_after_a_restart() {
    let net = Consortium::start_idle(3).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = put(a, b"late").await;
    a.share(object, b, |grant| grant.max_openings = Some(1)).await;
    a.fail(Fault::Mute);
    assert_eq!(b.get(object, None).await.unwrap_err().code(), Code::OwnerUnreachable);
    released(&net, a, object, 1).await;
    a.fail(Fault::None);
    assert_eq!(read(&b.restarted(), object, None).await.unwrap(), b"late");
    let counts = [LogKind::Opened, LogKind::KeyReleased].map(|kind| count(a, object, kind));
    assert_eq!(join_all(counts).await, [1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_from_the_owner_costs_no_opening() {
    let net = Consortium::start_idle(3).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = put(a, b"whole").await;
    a.share(object, b, |grant| grant.max_openings = Some(1)).await;
    let wrapped = Bytes::from(vec![7; hansa_envelope::MEMBER_WRAPPED_BYTES]);
    for garbage in [
        Bytes::new(),
        Bytes::from(vec![0xff; 100]),
        Bytes::from(vec![0x5a; 70_000]),
        encode(&Answer::Released { wrapped }),
        encode(&Answer::Released { wrapped: Bytes::new() }),
        encode(&Answer::Holds { whole: vec![true] }),
    ] {
        a.fail(Fault::Garbled(garbage));
        assert_eq!(b.get(object, None).await.unwrap_err().code(), Code::OwnerUnreachable);
    }
    a.fail(Fault::None);
    assert_eq!(b.get(object, None).await.unwrap(), b"whole");
    assert_eq!(count(a, object, LogKind::Opened).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_killed_at_any_step_reads_with_the_same_opening_afterwards() {
    let net = Consortium::start_idle(3).await;
    let (a, b) = (net.node(1), net.node(2));
    for steps in 1.. {
        let object = put(a, b"once").await;
        a.share(object, b, |grant| grant.max_openings = Some(1)).await;
        let doomed = b.restarted();
        let reading = async {
            let opened = doomed.open(object, None, OpenMode::Ordinary).await.unwrap();
            opened.content().next().await.unwrap().unwrap()
        };
        let killed = Steps { inner: pin!(reading), left: steps }.await;
        if let Some(whole) = &killed {
            assert_eq!(whole.as_ref(), b"once");
            assert_eq!(refused_for(b.get(object, None).await), RefusalReason::Exhausted);
        } else {
            let again = read(&b.restarted(), object, None).await;
            assert_eq!(again.unwrap(), b"once", "step {steps}");
        }
        assert_eq!(count(a, object, LogKind::Opened).await, 1, "step {steps}");
        if killed.is_some() {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_killed_at_any_step_of_a_release_answers_again_and_records_it_once() {
    let net = Consortium::start_idle(3).await;
    let (a, b) = (net.node(1), net.node(2));
    for steps in 1.. {
        let object = put(a, b"{}").await;
        a.share(object, b, |_| ()).await;
        let opening = b.sharing.0.contracts.open(object, Version(1), b.id).await.unwrap();
        let (peer, height) = (b.keys.network_key(), opening.block);
        let request =
            encode(&Request::Key { object, version: Version(1), opening: Some(steps as u64), height });
        let doomed = a.responder_restarted();
        let killed = Steps { inner: pin!(doomed.answer(peer, request.clone())), left: steps }.await;
        let restarted = a.responder_restarted();
        let recording = restarted.start_recording();
        let answer = restarted.answer(peer, request).await;
        assert!(matches!(decode(&answer), Some(Answer::Released { .. })), "step {steps}");
        released(&net, a, object, 1).await;
        recording.abort();
        assert_eq!(count(a, object, LogKind::KeyReleased).await, 1, "step {steps}");
        if killed.is_some() {
            break;
        }
    }
}
