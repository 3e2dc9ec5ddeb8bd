//! What members do when nothing is broken: put, share, open, update, revoke, publish.

use hansa_api::{Code, GrantRequest, GrantSummary, LogKind, ObjectKind, PutMeta, VerifyRequest};
use hansa_contracts::RefusalReason;
use hansa_types::{ObjectId, Version, Visibility};

use super::consortium::{Broken, Consortium, Files, Node, START, meta, quiet};
use crate::{OpenMode, SharingError};

fn kinds(log: &[hansa_api::LogEntry]) -> Vec<LogKind> {
    log.iter().map(|entry| entry.kind).collect()
}

/// Waits until the object's log has so many releases, which are recorded after the key has left.
pub(super) async fn released(net: &Consortium, node: &Node, object: ObjectId, wanted: usize) {
    let mut blocks = net.ledger.subscribe();
    let recorded = async || {
        let log = node.sharing.log(object).await.unwrap();
        kinds(&log).into_iter().filter(|kind| *kind == LogKind::KeyReleased).count()
    };
    while recorded().await < wanted {
        blocks.recv().await.unwrap();
    }
}

fn refused(outcome: Result<Vec<u8>, SharingError>) -> RefusalReason {
    match outcome {
        Err(SharingError::RefusedByChain { reason, .. }) => reason,
        other => panic!("not refused by the chain: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_recorded_replicated_and_read_back() {
    let net = Consortium::start(4).await;
    let owner = net.node(1);
    let bytes: Vec<u8> = (0..2_500_000_u32).map(|i| i.to_le_bytes()[1]).collect();
    let receipt = owner.put("shipments.csv", &bytes).await;
    assert_eq!(
        (receipt.id.to_string(), receipt.version, receipt.size),
        ("1/1".into(), Version(1), 2_500_000)
    );
    assert_eq!((receipt.files, receipt.replicas.len()), (1, 3), "{receipt:?}");
    for keeper in &receipt.replicas {
        let figures = net.node(keeper.value()).sharing.store_figures();
        assert_eq!((figures.replicas, figures.replicas_waiting), (u64::from(*keeper != owner.id), 0));
        assert!(figures.segment_bytes >= 2_000_000, "{figures:?}");
    }
    assert_eq!(owner.get(receipt.id, None).await.unwrap(), bytes);
    assert_eq!(owner.sharing.replicas(receipt.id, Version(1)).await.unwrap(), receipt.replicas);
    let own = owner.sharing.summary(receipt.id).await.unwrap();
    assert_eq!((own.name.as_deref(), own.size), (Some("shipments.csv"), Some(2_500_000)));
    assert_eq!(own.cid, receipt.cid);
    assert!(own.size_class >= 2_500_000 && own.readable);
    let abroad = net.node(2).sharing.summary(receipt.id).await.unwrap();
    assert_eq!((abroad.name.as_deref(), abroad.size, abroad.readable), (None, None, false));
    assert_eq!(kinds(&net.node(3).sharing.log(receipt.id).await.unwrap()), [LogKind::Version]);
    let report = owner.verify(receipt.id).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.nodes, receipt.replicas);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_takes_what_was_fetched_to_be_read_and_no_replica() {
    let net = Consortium::start(4).await;
    let owner = net.node(1);
    let bytes = vec![7; 2_500_000];
    let receipt = owner.put_as("shipments.csv", &bytes, Visibility::Members).await;
    let (keepers, readers): (Vec<_>, Vec<_>) =
        (1..=4).partition(|id| receipt.replicas.iter().any(|keeper| keeper.value() == *id));
    let [reader] = readers[..] else { panic!("{readers:?}") };
    let reader = net.node(reader);
    assert_eq!(reader.get(receipt.id, None).await.unwrap(), bytes);
    let collected = reader.sharing.collect_garbage().await.unwrap();
    assert!(collected.blocks >= 4 && collected.bytes >= 2_500_000, "{collected:?}");
    assert_eq!(reader.sharing.collect_garbage().await.unwrap().blocks, 0);
    for keeper in keepers {
        assert_eq!(net.node(keeper).sharing.collect_garbage().await.unwrap().blocks, 0);
    }
    assert!(owner.verify(receipt.id).await.is_clean());
    assert_eq!(reader.get(receipt.id, None).await.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_leaves_the_owner_contains_plaintext() {
    let net = Consortium::start(4).await;
    let (secret, name) = (b"price: 17 EUR, nobody must know".as_slice(), "purchase-order-4711.json");
    let receipt = net.node(1).put(name, secret).await;
    for node in &net.nodes {
        for cid in node.store.cids(None, 1000).unwrap() {
            let block = node.store.get(&cid).unwrap().unwrap();
            for part in [&secret[..12], name.as_bytes()] {
                assert!(!block.windows(part.len()).any(|window| window == part), "{cid}");
            }
        }
    }
    let block = net.ledger.block(receipt.block).unwrap().unwrap();
    assert!(!block.encoded().windows(name.len()).any(|window| window == name.as_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_keep_nested_empty_and_odd_files() {
    let net = Consortium::start(4).await;
    let files: [(&str, Option<&[u8]>); 6] = [
        ("Icon\r", Some(b"")),
        ("orders", None),
        ("orders/a.json", Some(b"{}")),
        ("orders/empty", Some(b"")),
        ("void", None),
        ("zuletzt ü.txt", Some(b"end")),
    ];
    let meta = PutMeta { kind: ObjectKind::Directory, ..meta("folder") };
    let receipt = net.node(1).sharing.put(meta, Files::new(&files), quiet()).await.unwrap();
    assert_eq!((receipt.files, receipt.size), (4, 5));
    let opened = net.node(1).sharing.open(receipt.id, None, OpenMode::Ordinary).await.unwrap();
    let paths: Vec<_> = opened.manifest.entries.iter().map(|e| (e.path.as_str(), e.size)).collect();
    assert_eq!(
        paths,
        [
            ("Icon\r", 0),
            ("orders", 0),
            ("orders/a.json", 2),
            ("orders/empty", 0),
            ("void", 0),
            ("zuletzt ü.txt", 3)
        ]
    );
    assert_eq!(net.node(1).get(receipt.id, None).await.unwrap(), b"{}end");
    let empty = net.node(1).put("empty", b"").await;
    assert_eq!(net.node(1).get(empty.id, None).await.unwrap(), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_keeps_the_name_unless_it_gives_another() {
    let net = Consortium::start(4).await;
    let owner = net.node(1);
    let id = owner.put("report.pdf", b"one").await.id;
    let unnamed = PutMeta { name: None, ..meta("") };
    for (meta, name) in
        [(unnamed.clone(), "report.pdf"), (meta("final.pdf"), "final.pdf"), (unnamed, "final.pdf")]
    {
        owner.sharing.update(id, meta, Files::new(&[("stdin", Some(b"two"))]), quiet()).await.unwrap();
        let manifest = owner.sharing.open(id, None, OpenMode::Ordinary).await.unwrap().manifest;
        assert_eq!((manifest.name.as_str(), manifest.entries[0].path.as_str()), (name, name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_breaks_or_climbs_records_nothing() {
    let net = Consortium::start(4).await;
    let sharing = &net.node(1).sharing;
    let broken = sharing.put(meta("half.bin"), Box::new(Broken), quiet()).await.unwrap_err();
    assert_eq!(broken.code(), Code::UploadInterrupted);
    let directory = PutMeta { kind: ObjectKind::Directory, ..meta("x") };
    for path in ["../up", "/abs", "a/../b", "a\0b"] {
        let outcome = sharing.put(directory.clone(), Files::new(&[(path, Some(b"x"))]), quiet()).await;
        assert_eq!(outcome.unwrap_err().code(), Code::UnsafePath, "{path}");
    }
    for name in [None, Some("a/b"), Some("..")] {
        let meta = PutMeta { name: name.map(str::to_owned), ..meta("x") };
        let outcome = sharing.put(meta, Files::new(&[("x", Some(b"x"))]), quiet()).await;
        assert_eq!(outcome.unwrap_err().code(), Code::UnsafePath, "{name:?}");
    }
    let twice = Files::new(&[("a", Some(b"1".as_slice())), ("a", Some(b"2".as_slice()))]);
    assert_eq!(sharing.put(directory, twice, quiet()).await.unwrap_err().code(), Code::UnsafePath);
    let first = sharing.summary("1/1".parse().unwrap()).await.unwrap_err();
    assert_eq!(first.code(), Code::UnknownObject);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_opens_and_everybody_else_is_refused_on_the_record() {
    let net = Consortium::start(4).await;
    let (a, b, c) = (net.node(1), net.node(2), net.node(3));
    let object = a.put("order.json", b"{\"n\":1}").await.id;
    a.share(object, b, |_| ()).await;
    assert_eq!(b.get(object, None).await.unwrap(), b"{\"n\":1}");
    released(&net, a, object, 1).await;
    assert_eq!(refused(c.get(object, None).await), RefusalReason::NotGranted);
    let asked = c.sharing.open(object, None, OpenMode::AskOwnerOnly).await.unwrap_err();
    assert!(
        matches!(asked, SharingError::RefusedByOwner { reason: RefusalReason::NotGranted, .. }),
        "{asked}"
    );
    assert_eq!(asked.code(), Code::KeyRefused);
    let log = a.sharing.log(object).await.unwrap();
    use LogKind::{KeyReleased, Opened, Refused, Shared, Version as Recorded};
    assert_eq!(kinds(&log), [Recorded, Shared, Opened, KeyReleased, Refused, Refused]);
    let who: Vec<_> = log.iter().map(|entry| entry.dc_id.unwrap().value()).collect();
    assert_eq!(who, [1, 2, 2, 2, 3, 3]);
    assert!(log[4].detail.starts_with("by the contract") && log[5].detail.starts_with("by the owner's node"));
    assert!(log[4..].iter().all(|entry| entry.reason.as_deref() == Some("notGranted")));
    assert_eq!((log[3].reason.as_deref(), log[4].refused_by, log[5].refused_by), (None, None, Some(a.id)));
    let opened = b.sharing.summary(object).await.unwrap();
    assert_eq!((opened.name.as_deref(), opened.readable), (Some("order.json"), true));
    assert_eq!(a.sharing.summary(object).await.unwrap().shared_with, [b.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_what_is_left_of_each_grant() {
    let net = Consortium::start(4).await;
    let (a, b, c) = (net.node(1), net.node(2), net.node(3));
    let object = a.put("order.json", b"{}").await.id;
    a.share(object, b, |grant| grant.max_openings = Some(2)).await;
    a.share(object, c, |grant| grant.expires_at = Some(START + 100)).await;
    b.get(object, None).await.unwrap();
    let counted = GrantSummary { to: b.id, expires_at: None, expired: false, openings_left: Some(1) };
    let timed =
        |expired| GrantSummary { to: c.id, expires_at: Some(START + 100), expired, openings_left: None };
    assert_eq!(a.sharing.summary(object).await.unwrap().grants, [counted.clone(), timed(false)]);
    assert_eq!(b.sharing.summary(object).await.unwrap().grants, [counted], "a grantee sees its own");
    net.set_time(101);
    // The chain's time is that of its last block.
    a.put("another", b"{}").await;
    assert_eq!(a.sharing.summary(object).await.unwrap().grants[1], timed(true));
    a.sharing.revoke(object, c.id).await.unwrap();
    assert_eq!(a.sharing.summary(object).await.unwrap().grants.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_opens_while_the_owner_is_away_and_without_one_the_opening_is_not_lost() {
    let net = Consortium::start(4).await;
    let (a, b, c) = (net.node(1), net.node(2), net.node(3));
    let object = a.put("order.json", b"deposited").await.id;
    a.share(object, b, |grant| grant.deposit = true).await;
    a.share(object, c, |grant| grant.max_openings = Some(1)).await;
    a.go_offline();
    assert_eq!(b.get(object, None).await.unwrap(), b"deposited");
    for _ in 0..2 {
        let away = c.get(object, None).await.unwrap_err();
        assert_eq!(away.code(), Code::OwnerUnreachable, "{away}");
    }
    a.go_online();
    assert_eq!(c.get(object, None).await.unwrap(), b"deposited", "the one opening was kept for this");
    assert_eq!(refused(c.get(object, None).await), RefusalReason::Exhausted);
    let openings = kinds(&a.sharing.log(object).await.unwrap()).into_iter().filter(|k| *k == LogKind::Opened);
    assert_eq!(openings.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_stay_and_a_revocation_locks_the_next_one() {
    let net = Consortium::start(4).await;
    let (a, b, c) = (net.node(1), net.node(2), net.node(3));
    let object = a.put("order.json", b"one").await.id;
    a.share(object, b, |_| ()).await;
    a.share(object, c, |grant| grant.deposit = true).await;
    assert_eq!(a.update(object, "order.json", b"two").await.version, Version(2));
    for node in [a, b, c] {
        assert_eq!(node.get(object, Some(1)).await.unwrap(), b"one");
        assert_eq!(node.get(object, Some(2)).await.unwrap(), b"two");
    }
    let keys = a.sharing.0.contracts.clone();
    let old = a.sharing.0.keyring.key(object, 1).unwrap().unwrap();
    a.sharing.revoke(object, b.id).await.unwrap();
    assert_eq!(b.get(object, Some(2)).await.unwrap(), b"two", "what was opened stays readable");
    let third = a.update(object, "order.json", b"three").await;
    assert_eq!(keys.record(object, None).await.unwrap().keyEpoch, 2);
    assert_eq!(refused(b.get(object, None).await), RefusalReason::Revoked);
    // Even with the old key and the ciphertext in hand there is nothing to read.
    let record = keys.record(object, Some(third.version)).await.unwrap();
    let cheated = b.sharing.unlock(object, &record, &old).await.unwrap_err();
    assert_eq!(cheated.code(), Code::ContentDamaged, "{cheated}");
    a.go_offline();
    assert_eq!(c.get(object, None).await.unwrap(), b"three", "the new key was deposited for the others");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_a_grant_and_of_a_version_hold() {
    let net = Consortium::start(4).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = a.put("order.json", b"short").await.id;
    a.share(object, b, |grant| grant.expires_at = Some(START + 100)).await;
    assert!(b.get(object, None).await.is_ok());
    net.set_time(101);
    assert_eq!(refused(b.get(object, None).await), RefusalReason::Expired);
    let brief =
        PutMeta { valid_until: Some(START + 200), visibility: Some(Visibility::Members), ..meta("offer") };
    let offer = a.sharing.put(brief, Files::new(&[("offer", Some(b"5 EUR"))]), quiet()).await.unwrap().id;
    assert!(b.get(offer, None).await.is_ok());
    net.set_time(201);
    assert_eq!(refused(b.get(offer, None).await), RefusalReason::NoLongerValid);
    assert!(a.get(offer, None).await.is_ok(), "the owner always may");
}

#[tokio::test(flavor = "multi_thread")]
async fn visibility_opens_to_members_and_to_everybody_and_closing_changes_the_key() {
    let net = Consortium::start(4).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = a.put("terms.txt", b"terms").await.id;
    assert_eq!(refused(b.get(object, None).await), RefusalReason::NotGranted);
    a.sharing.set_visibility(object, Visibility::Members).await.unwrap();
    assert_eq!(b.get(object, None).await.unwrap(), b"terms");
    a.sharing.set_visibility(object, Visibility::Public).await.unwrap();
    a.go_offline();
    let before = kinds(&b.sharing.log(object).await.unwrap()).len();
    assert_eq!(b.get(object, None).await.unwrap(), b"terms");
    assert_eq!(
        kinds(&b.sharing.log(object).await.unwrap()).len(),
        before,
        "a public object is read without asking"
    );
    a.go_online();
    a.sharing.set_visibility(object, Visibility::Listed).await.unwrap();
    a.update(object, "terms.txt", b"secret terms").await;
    assert_eq!(refused(b.get(object, None).await), RefusalReason::NotGranted);
    let contracts = &a.sharing.0.contracts;
    assert_eq!(contracts.record(object, None).await.unwrap().keyEpoch, 2);
    assert!(contracts.published_key(object, 2).await.unwrap().is_none());
    let public = a.put_as("open.txt", b"for all", Visibility::Public).await.id;
    a.go_offline();
    assert_eq!(b.get(public, None).await.unwrap(), b"for all");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_changes_and_unknown_things_are_named() {
    let net = Consortium::start(4).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = a.put("order.json", b"{}").await.id;
    let grant =
        |to| hansa_api::GrantRequest { to: vec![to], expires_at: None, max_openings: None, deposit: false };
    assert_eq!(b.sharing.share(object, grant(b.id)).await.unwrap_err().code(), Code::NotOwner);
    assert_eq!(b.sharing.revoke(object, b.id).await.unwrap_err().code(), Code::NotOwner);
    assert_eq!(
        b.sharing.set_visibility(object, Visibility::Public).await.unwrap_err().code(),
        Code::NotOwner
    );
    let stolen = b.sharing.update(object, meta("x"), Files::new(&[("x", Some(b"x"))]), quiet()).await;
    assert_eq!(stolen.unwrap_err().code(), Code::NotOwner);
    assert_eq!(a.sharing.revoke(object, b.id).await.unwrap_err().code(), Code::UnknownGrant);
    let nobody = hansa_types::DcId::new(9).unwrap();
    assert_eq!(a.sharing.share(object, grant(nobody)).await.unwrap_err().code(), Code::UnknownMember);
    assert_eq!(a.sharing.share(object, grant(a.id)).await.unwrap_err().code(), Code::TransactionFailed);
    // A list that names a member more than once, as merged lists do, grants once.
    let thrice = GrantRequest { to: vec![b.id; 3], ..grant(b.id) };
    assert_eq!(a.sharing.share(object, thrice).await.unwrap().transactions.len(), 1);
    let missing: ObjectId = "1/77".parse().unwrap();
    assert_eq!(a.get(missing, None).await.unwrap_err().code(), Code::UnknownObject);
    assert_eq!(a.get("9/1".parse().unwrap(), None).await.unwrap_err().code(), Code::UnknownObject);
    assert_eq!(a.get(object, Some(2)).await.unwrap_err().code(), Code::UnknownVersion);
    assert_eq!(a.sharing.log(missing).await.unwrap_err().code(), Code::UnknownObject);
    let verified = a.sharing.verify(Some(missing), VerifyRequest::default(), quiet()).await;
    assert_eq!(verified.unwrap_err().code(), Code::UnknownObject);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_puts_and_updates_do_not_disturb_one_another() {
    let net = Consortium::start(4).await;
    let a = net.node(1);
    let names: Vec<String> = (0..12).map(|i| format!("file {i}")).collect();
    let puts = names.iter().map(|name| a.put(name, name.as_bytes()));
    let receipts = futures::future::join_all(puts).await;
    for (receipt, name) in receipts.iter().zip(&names) {
        assert_eq!(a.get(receipt.id, None).await.unwrap(), name.as_bytes());
    }
    let object = receipts[0].id;
    let updates = names.iter().take(4).map(|name| a.update(object, name, name.as_bytes()));
    let mut versions: Vec<_> = futures::future::join_all(updates).await.iter().map(|r| r.version.0).collect();
    versions.sort_unstable();
    assert_eq!(versions, [2, 3, 4, 5]);
}
