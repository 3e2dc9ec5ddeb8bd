//! What happens when blocks rot, nodes are away, members lie or a node comes late.

use std::{pin::pin, sync::Arc};

use alloy_sol_types::SolCall;
use hansa_api::{Code, FaultLayer, GrantRequest, VerifyRequest, VerifyScope};
use hansa_contracts::{ContractEvent, RefusalReason};
use hansa_types::{ObjectId, Version, Visibility};

use super::{
    consortium::{Consortium, Files, Node, START, meta, quiet},
    doubles::{Fault, Faulty, Waiting},
};
use crate::{
    OpenMode, Sharing, allocate,
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
async fn a_scrub_finds_rot_goes_on_where_it_stopped_and_mends_by_itself() {
    let net = Consortium::start(4).await;
    let object = net.node(1).put("large.bin", &large()).await.id;
    let keeper = keeper(&net, object);
    let cid = large_block(keeper, object).await;
    assert!(keeper.flip(&cid));
    let blocks = keeper.store.cids(None, 1000).unwrap().len() as u64;
    let (mut read, mut mended, mut more) = (0, 0, true);
    while more {
        // The service starts anew, and reads a few blocks.
        let sharing = keeper.on(keeper.chain());
        for _ in 0..3 {
            more = more && sharing.0.scrub_portion(1).await.unwrap();
        }
        read += sharing.scrubbed().blocks;
        mended += sharing.scrubbed().repaired;
    }
    assert_eq!((read, mended), (blocks, 1));
    assert!(net.node(1).verify(object).await.is_clean());
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
    let none = hansa_api::PutMeta { replicas: Some(0), ..super::consortium::meta("a") };
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

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowing_during_an_update_holds_for_the_new_version() {
    let net = Consortium::start(4).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = a.put_as("terms", b"for all", Visibility::Public).await.id;
    let (source, reads, go) = Waiting::new(b"for few");
    let sharing = a.sharing.clone();
    let update = tokio::spawn(async move { sharing.update(object, meta("terms"), source, quiet()).await });
    reads.await.unwrap();
    a.sharing.set_visibility(object, Visibility::Listed).await.unwrap();
    go.send(()).unwrap();
    assert_eq!(update.await.unwrap().unwrap().version, Version(2));
    let contracts = &a.sharing.0.contracts;
    assert_eq!(contracts.visibility(object, Version(2)).await.unwrap(), Visibility::Listed);
    assert!(contracts.published_key(object, 2).await.unwrap().is_none());
    assert_eq!(b.get(object, None).await.unwrap_err().code(), Code::AccessRefused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_waits_for_a_change_of_key_deposits_the_new_key() {
    let net = Consortium::start(4).await;
    let (a, b, c) = (net.node(1), net.node(2), net.node(3));
    let object = a.put("order.json", b"one").await.id;
    a.share(object, b, |_| ()).await;
    a.sharing.revoke(object, b.id).await.unwrap();
    // An update holds the lock while the grant arrives.
    let sharing = a.on(Arc::new(Faulty { chain: a.chain(), fault: Fault::Prompt(net.ledger.clone()) }));
    let writer = sharing.0.writing(object).await;
    let request = GrantRequest { to: vec![c.id], expires_at: None, max_openings: None, deposit: true };
    let mut granting = pin!(sharing.share(object, request));
    assert!(futures::poll!(granting.as_mut()).is_pending());
    assert_eq!(a.update(object, "order.json", b"two").await.version, Version(2));
    drop(writer);
    granting.await.unwrap();
    assert_eq!(a.sharing.0.contracts.cell(object, c.id).await.unwrap().keyEpoch, 2);
    a.go_offline();
    assert_eq!(c.get(object, None).await.unwrap(), b"two");
}

/// The member's service on a chain on which another program of the same member sends each call first.
fn front_run(victim: &Node) -> Sharing {
    let fault = Fault::FrontRunner(victim.chain());
    victim.on(Arc::new(Faulty { chain: victim.chain(), fault }))
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_a_front_runner_sends_first_count_as_done() {
    let net = Consortium::start(4).await;
    let (a, b) = (net.node(1), net.node(2));
    let owner = front_run(a);
    let files = |bytes: &[u8]| Files::new(&[("order.json", Some(bytes))]);
    let object = owner.put(meta("order.json"), files(b"one"), quiet()).await.unwrap().id;
    assert_eq!(object.number, 1, "no ghost was left under a first number");
    owner.collect_garbage().await.unwrap();
    assert_eq!(a.get(object, None).await.unwrap(), b"one", "the root is pinned");
    let second = owner.update(object, meta("order.json"), files(b"two"), quiet()).await.unwrap();
    assert_eq!(second.version, Version(2));

    let request = GrantRequest { to: vec![b.id], expires_at: None, max_openings: Some(1), deposit: true };
    owner.share(object, request).await.unwrap();
    let reader = front_run(b);
    reader.open(object, None, crate::OpenMode::Ordinary).await.unwrap();
    let cell = a.sharing.0.contracts.cell(object, b.id).await.unwrap();
    assert_eq!((cell.shareNonce, cell.openings), (1, 1), "each took place once");
    owner.revoke(object, b.id).await.unwrap();
    owner.set_visibility(object, Visibility::Members).await.unwrap();
    assert_eq!(a.sharing.0.contracts.visibility(object, Version(2)).await.unwrap(), Visibility::Members);
    let declined = RefusalReason::Declined;
    owner.0.contracts.record_refusal(object, Version(2), b.id, declined).await.unwrap();
    let never = owner.revoke(object, b.id).await.unwrap_err();
    assert_eq!(never.code(), Code::UnknownGrant, "what did not take place is still refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_overtaken_within_its_block_fails_with_the_contracts_reason() {
    let net = Consortium::start_idle(4).await;
    let (a, d) = (net.node(1), net.node(4));
    let record = hansa_contracts::abi::Record {
        number: 1,
        version: 1,
        root: alloy_primitives::B256::repeat_byte(1),
        commitment: alloy_primitives::B256::ZERO,
        visibility: 1,
        keyEpoch: 1,
        sizeClass: 4096,
        createdAt: 1,
        validUntil: 0,
    };
    net.stop_mining();
    // Signatures are for one chain, which the registry knows from block 1 on.
    net.mine_once();
    let store = hansa_contracts::data_store_of(a.id);
    let chain = hansa_contracts::ChainIdentity {
        chain_id: a.chain().chain_id(),
        genesis_hash: net.ledger.genesis_block().hash(),
    };
    let digest = hansa_contracts::signing_hash(&record, chain, store);
    let signature = a.keys.sign_digest(digest).unwrap().as_bytes().into();
    let input = hansa_contracts::abi::DataStore::relayPutCall { r: record, signature }.abi_encode();
    let send = |node: &Node| {
        let (chain, input) = (node.chain(), input.clone());
        tokio::spawn(async move { chain.submit(store, input.into()).await })
    };
    let mut admitted = net.ledger.pool().watch();
    let sent = [send(a), send(d)];
    let both = |count: &u64| *count >= 2;
    admitted.wait_for(both).await.unwrap();
    net.mine_once();
    let mut outcomes = Vec::new();
    for call in sent {
        outcomes.push(call.await.unwrap());
    }
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    let error = outcomes.into_iter().find_map(Result::err).unwrap();
    assert!(
        crate::contracts::refused_with::<hansa_contracts::abi::DataStore::DataStoreNumberTaken>(&error),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_over_does_not_keep_others_from_the_new_key() {
    let net = Consortium::start(4).await;
    let (a, b, c, d) = (net.node(1), net.node(2), net.node(3), net.node(4));
    let object = a.put("order.json", b"one").await.id;
    a.share(object, b, |grant| (grant.deposit, grant.expires_at) = (true, Some(START + 100))).await;
    for node in [c, d] {
        a.share(object, node, |grant| grant.deposit = true).await;
    }
    net.set_time(101);
    a.sharing.revoke(object, d.id).await.unwrap();
    a.update(object, "order.json", b"two").await;
    a.go_offline();
    assert_eq!(c.get(object, None).await.unwrap(), b"two");
    assert_eq!(b.get(object, None).await.unwrap_err().code(), Code::AccessRefused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_an_impersonator_is_not_opened() {
    let net = Consortium::start(4).await;
    let a = net.node(1);
    let stranger = hansa_envelope::MemberKeys::generate().unwrap();
    let [account, encryption] = [a.keys.account_secret(), a.keys.encryption_seed()];
    let (network, storage) = (stranger.network_secret(), a.keys.storage_secret());
    let keys = hansa_envelope::MemberKeys::from_secrets(*network, *account, *encryption, *storage).unwrap();
    let impersonator = a.with(a.chain(), keys);
    let files = Files::new(&[("order.json", Some(b"{}".as_slice()))]);
    let object = impersonator.put(meta("order.json"), files, quiet()).await.unwrap().id;
    let error = a.get(object, None).await.unwrap_err();
    assert_eq!(error.code(), Code::ContentDamaged, "{error}");
    assert!(error.to_string().contains("manifest"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_its_data_folder_knows_which_keys_are_gone() {
    let net = Consortium::start(4).await;
    let owner = net.node(1);
    let object = owner.put("a", b"content").await.id;
    assert_eq!(owner.sharing.missing_keys().await.unwrap(), []);
    let emptied = owner.emptied();
    assert_eq!(emptied.missing_keys().await.unwrap(), [object]);
    let Err(error) = emptied.open(object, None, OpenMode::Ordinary).await else {
        panic!("opened without key")
    };
    let problem = error.problem();
    assert_eq!(problem.code, Code::KeyMissing);
    assert!(problem.hint.contains("backup"), "{}", problem.hint);
}
