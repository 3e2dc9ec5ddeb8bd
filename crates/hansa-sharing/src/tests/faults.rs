//! What happens when blocks rot, nodes are away, members lie or a node comes late.

use hansa_contracts::{ContractEvent, RefusalReason};
use hansa_types::{
    ObjectId, Version,
    api::{Code, FaultLayer, VerifyRequest, VerifyScope},
};

use super::consortium::{Consortium, Node, quiet};
use crate::{
    allocate,
    history::events_of,
    message::{Answer, Request, decode, encode},
};

fn large() -> Vec<u8> {
    (0..3_000_000_u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[2]).collect()
}

/// A large block of the object's newest version on the node.
async fn large_block(node: &Node, object: ObjectId) -> String {
    let blocks = node.sharing.stored_blocks(object).await.unwrap();
    blocks.into_iter().find(|block| block.file.is_some() && block.bytes > 100_000).unwrap().cid
}

fn keeper(net: &Consortium, object: ObjectId) -> &Node {
    let allocated = allocate(object, &net.ledger.members());
    net.node(allocated[1].value())
}

/// Waits until everybody holds the object's first version who should.
async fn settled(net: &Consortium, object: ObjectId) {
    let mut allocated = allocate(object, &net.ledger.members());
    allocated.sort_unstable();
    let mut poll = tokio::time::interval(std::time::Duration::from_millis(20));
    let arrived = async {
        while net.node(1).sharing.replicas(object, Version(1)).await.unwrap() != allocated {
            poll.tick().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), arrived).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_flipped_byte_is_named_from_afar_and_repaired_where_it_is() {
    let net = Consortium::start(4).await;
    let owner = net.node(1);
    let object = owner.put("large.bin", &large()).await.id;
    let keeper = keeper(&net, object);
    let cid = large_block(keeper, object).await;
    assert!(keeper.flip(&cid));
    let report = owner.verify(object).await;
    assert_eq!(report.faults.len(), 1, "{report:?}");
    let fault = &report.faults[0];
    assert_eq!(
        (fault.layer, fault.dc_id, fault.cid.as_deref()),
        (FaultLayer::Ipfs, keeper.id, Some(cid.as_str()))
    );
    assert!(fault.detail.starts_with("corrupt"), "{fault:?}");
    let mended = keeper.sharing.repair(Some(object), quiet()).await.unwrap();
    assert_eq!((mended.repaired, mended.remaining.len()), (vec![cid], 0));
    assert!(owner.verify(object).await.is_clean());
    assert!(keeper.sharing.repair(None, quiet()).await.unwrap().repaired.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owners_own_damage_is_found_locally_and_never_served_as_content() {
    let net = Consortium::start(4).await;
    let owner = net.node(1);
    let bytes = large();
    let object = owner.put("large.bin", &bytes).await.id;
    let cid = large_block(owner, object).await;
    assert!(owner.flip(&cid));
    let local = VerifyRequest { scope: VerifyScope::Local, ..VerifyRequest::default() };
    let report = owner.sharing.verify(None, local, quiet()).await.unwrap();
    assert_eq!((report.faults.len(), report.faults[0].cid.as_deref()), (1, Some(cid.as_str())));
    match owner.get(object, None).await {
        Ok(content) => assert!(content == bytes, "fetched anew from a replica"),
        Err(error) => {
            assert!(matches!(error.code(), Code::ContentDamaged | Code::ContentUnavailable), "{error}")
        }
    }
    owner.sharing.repair(None, quiet()).await.unwrap();
    assert!(owner.get(object, None).await.unwrap() == bytes);
    assert!(owner.verify(object).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_holder_that_is_away_is_reported_as_unreachable() {
    let net = Consortium::start(4).await;
    let owner = net.node(1);
    let object = owner.put("a", b"a").await.id;
    let keeper = keeper(&net, object);
    keeper.go_offline();
    let report = owner.verify(object).await;
    assert_eq!((report.faults.len(), report.faults[0].dc_id), (1, keeper.id));
    assert!(report.faults[0].detail.starts_with("unreachable"));
    keeper.go_online();
    assert!(owner.verify(object).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_does_not_wait_for_a_keeper_that_is_away_and_it_catches_up() {
    let net = Consortium::start(4).await;
    let next = ObjectId { owner: net.node(1).id, number: 1 };
    let keeper = keeper(&net, next);
    keeper.go_offline();
    let receipt = net.node(1).put("a", b"a").await;
    assert_eq!((receipt.id, receipt.replicas.len()), (next, 2));
    assert!(!receipt.replicas.contains(&keeper.id));
    keeper.go_online();
    settled(&net, next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_without_content_do_not_hold_up_those_with_it() {
    let net = Consortium::start(4).await;
    let (a, b) = (net.node(1), net.node(2));
    for number in 1..=40 {
        let record = hansa_contracts::abi::Record {
            number,
            version: 1,
            root: alloy_primitives::keccak256(number.to_be_bytes()),
            commitment: alloy_primitives::B256::ZERO,
            visibility: 1,
            keyEpoch: 1,
            sizeClass: 4096,
            createdAt: 1,
            validUntil: 0,
        };
        b.sharing.0.contracts.record_version(b.id, record).await.unwrap();
    }
    let receipt = a.put("a", b"a").await;
    assert_eq!(receipt.replicas.len(), 3);
    assert_eq!(b.put("b", b"b").await.replicas.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_any_more_remains_in_the_repair_report() {
    let net = Consortium::start(4).await;
    let owner = net.node(1);
    let object = owner.put("large.bin", &large()).await.id;
    let cid = large_block(owner, object).await;
    for node in &net.nodes {
        node.flip(&cid);
    }
    let report = owner.sharing.repair(Some(object), quiet()).await.unwrap();
    assert_eq!((report.repaired.len(), report.remaining.len()), (0, 1));
    assert_eq!(report.remaining[0].cid.as_deref(), Some(cid.as_str()));
    assert_eq!(owner.verify(object).await.faults.len(), 3, "one for each keeper");
}

#[tokio::test(flavor = "multi_thread")]
async fn replication_that_starts_late_catches_up() {
    let mut net = Consortium::start_idle(4).await;
    let none = hansa_types::api::PutMeta { replicas: Some(0), ..super::consortium::meta("a") };
    let mut objects = Vec::new();
    for _ in 0..5 {
        let files = super::consortium::Files::new(&[("a", Some(b"late".as_slice()))]);
        let receipt = net.node(1).sharing.put(none.clone(), files, quiet()).await.unwrap();
        assert_eq!(receipt.replicas, [net.node(1).id]);
        objects.push(receipt.id);
    }
    net.nodes.iter_mut().for_each(Node::replicate);
    for object in objects {
        settled(&net, object).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_of_somebody_elses_opening_gets_nothing() {
    let net = Consortium::start(4).await;
    let (a, b, c) = (net.node(1), net.node(2), net.node(3));
    let object = a.put("order.json", b"{}").await.id;
    a.share(object, b, |_| ()).await;
    b.get(object, None).await.unwrap();
    let events = a.sharing.0.contracts.chain.events(events_of(object)).await.unwrap();
    let opening = events
        .iter()
        .find_map(|event| match ContractEvent::decode(&event.log) {
            Some(ContractEvent::Opened(e)) => Some(e.openingId),
            _ => None,
        })
        .unwrap();
    let height = net.ledger.head().number();
    let request =
        |opening, version| encode(&Request::Key { object, version: Version(version), opening, height });
    let ask = async |node: &Node, opening, version| decode(&a.answer(node, request(opening, version)).await);
    let refused = |reason: RefusalReason| Some(Answer::Refused { reason: reason.code() });
    assert_eq!(ask(c, Some(opening), 1).await, refused(RefusalReason::NotGranted));
    assert_eq!(ask(b, Some(opening), 2).await, refused(RefusalReason::UnknownVersion));
    assert_eq!(ask(b, Some(opening + 1), 1).await, refused(RefusalReason::NotOpened));
    assert_eq!(ask(b, None, 1).await, refused(RefusalReason::NotOpened));
    assert!(
        matches!(ask(b, Some(opening), 1).await, Some(Answer::Released { .. })),
        "a lost answer is repeated"
    );
    a.sharing.revoke(object, b.id).await.unwrap();
    assert_eq!(ask(b, Some(opening), 1).await, refused(RefusalReason::Revoked));
    let elsewhere = decode(&b.answer(c, request(None, 1)).await);
    assert_eq!(elsewhere, refused(RefusalReason::UnknownObject), "only the owner decides");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_strangers_get_an_answer_and_no_more() {
    let net = Consortium::start(4).await;
    let (a, b) = (net.node(1), net.node(2));
    for garbage in [&b""[..], b"\xa1", &[0xff; 100], &[0x61; 70_000]] {
        let answer = decode(&a.answer(b, bytes::Bytes::copy_from_slice(garbage)).await);
        assert!(matches!(answer, Some(Answer::Failed { .. })));
    }
    let root = hansa_envelope::root_cid(alloy_primitives::B256::repeat_byte(7));
    let holds = decode(&a.answer(b, encode(&Request::Holds { roots: vec![root] })).await);
    assert_eq!(holds, Some(Answer::Holds { whole: vec![false] }));
    let checked = decode(&a.answer(b, encode(&Request::Check { root })).await);
    assert!(matches!(checked, Some(Answer::Checked { blocks: 0, .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_business_systems_copy_is_compared() {
    let net = Consortium::start(4).await;
    let a = net.node(1);
    let object = a.put("invoice.pdf", b"abc").await.id;
    // FIPS 180-4, SHA-256("abc").
    let digest = "0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".parse().unwrap();
    let request = |digest| VerifyRequest { copy_digest: Some(digest), ..VerifyRequest::default() };
    assert!(a.sharing.verify(Some(object), request(digest), quiet()).await.unwrap().is_clean());
    let other = alloy_primitives::B256::ZERO;
    let report = a.sharing.verify(Some(object), request(other), quiet()).await.unwrap();
    assert_eq!((report.faults.len(), report.faults[0].layer), (1, FaultLayer::DataCentre));
}
