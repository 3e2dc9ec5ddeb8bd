//! Limited grants (expiry, openings): each version takes an opening of its own, whatever the grantee has kept, whoever answers, and
//! whatever the owner sends.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use hansa_api::{Code, LogKind};
use hansa_contracts::{GOVERNANCE, RefusalReason, abi, signed_card_from_types};
use hansa_envelope::{
    AudienceKey, DataKey, GrantedDekContext, KekContext, MEMBER_WRAPPED_BYTES, MemberKeys, ObjectRoot,
    root_cid, unwrap_granted_dek, unwrap_kek, wrap_granted_dek, wrap_kek,
};
use hansa_types::{
    ClusterId, GrantDeposit, ObjectId, ReleaseId, ReleaseRefusal, ReleaseVerdict, ReleasedKey,
    VERSION_DEPOSITS_MAX, Version, VersionDeposits,
};

use super::{
    consortium::{Consortium, Fault, Node, START},
    openings::{count, put, refused_for, update},
    replicas::until,
};
use crate::{
    content::version_key,
    message::{Answer, Request, decode, encode},
};

const CHAIN: u64 = 4242;

async fn record(node: &Node, object: ObjectId, version: u32) -> abi::RecordedVersion {
    node.sharing.0.contracts.record(object, Some(Version(version))).await.unwrap()
}

async fn root(owner: &Node, object: ObjectId, version: u32) -> ObjectRoot {
    let cid = root_cid(record(owner, object, version).await.root);
    ObjectRoot::decode(&owner.store.expect(&cid).unwrap()).unwrap()
}

async fn key_of(owner: &Node, object: ObjectId, version: u32) -> DataKey {
    let kek = owner.sharing.0.keyring.key(object, 1).unwrap().unwrap();
    let record = record(owner, object, version).await;
    version_key(&owner.store, CHAIN, object, &record, &kek).unwrap()
}

/// All keys in what a member's node was ever sent: by other nodes, and from deposits.
fn received(net: &Consortium, reader: &Node, object: ObjectId) -> (Vec<AudienceKey>, Vec<DataKey>) {
    let (mut audience, mut data) = (Vec::new(), Vec::new());
    let answers = net.answers_to(reader).into_iter().filter_map(|answer| match decode(&answer) {
        Some(Answer::Released { wrapped }) => Some(wrapped.to_vec()),
        _ => None,
    });
    let deposits = reader.validators.contents.lock().clone();
    for wrapped in answers.chain(deposits) {
        for number in 1..=4 {
            let (chain_id, recipient) = (CHAIN, reader.id);
            let kek = KekContext { chain_id, object, epoch: number, recipient };
            audience.extend(unwrap_kek(&reader.keys, &wrapped, &kek));
            let dek = GrantedDekContext { chain_id, object, version: Version(number), recipient };
            data.extend(unwrap_granted_dek(&reader.keys, &wrapped, &dek));
        }
    }
    (audience, data)
}

/// That what a member was sent opens one version and not another.
async fn opens_only(net: &Consortium, owner: &Node, reader: &Node, object: ObjectId, versions: (u32, u32)) {
    let (audience, data) = received(net, reader, object);
    assert!(audience.is_empty(), "{} audience keys", audience.len());
    let (opened, closed) = (root(owner, object, versions.0).await, root(owner, object, versions.1).await);
    assert!(data.iter().any(|key| opened.unlock(key).is_ok()));
    for key in data {
        assert!(closed.unlock(&key).is_err());
        let as_audience = AudienceKey::from_slice(key.expose()).unwrap();
        assert!(closed.data_key(&as_audience, CHAIN, object, Version(versions.1)).is_err());
    }
}

async fn opening_of(reader: &Node, object: ObjectId) -> u64 {
    let contracts = &reader.sharing.0.contracts;
    contracts.opened_since(object, Version(1), reader.id, 0).await.unwrap().unwrap().id
}

/// The members with a deposit beside a version.
async fn beside(net: &Consortium, object: ObjectId, version: u32) -> Vec<u32> {
    let owner = net.node(1);
    let Some(cid) = root(owner, object, version).await.deposits else { return Vec::new() };
    let deposits = VersionDeposits::decode(&owner.store.expect(&cid).unwrap()).unwrap();
    net.nodes.iter().filter(|node| deposits.of(node.id).is_some()).map(|node| node.id.value()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_grantee_reads_no_later_version_of_the_epoch_with_what_it_has_kept() {
    let net = Consortium::start_idle(3).await;
    let (a, b, c) = (net.node(1), net.node(2), net.node(3));
    for (begun, deposit) in [(0, false), (1000, true)] {
        let object = put(a, b"one").await;
        let end = START + begun + 100;
        a.share(object, b, |grant| (grant.deposit, grant.max_openings) = (deposit, Some(1))).await;
        a.share(object, c, |grant| (grant.deposit, grant.expires_at) = (deposit, Some(end))).await;
        for reader in [b, c] {
            assert_eq!(reader.get(object, None).await.unwrap(), b"one");
        }
        update(a, object, b"two").await;
        assert_eq!(record(a, object, 2).await.keyEpoch, 1, "nobody was given the epoch's key");
        for (reader, refusal) in [(b, RefusalReason::Exhausted), (c, RefusalReason::NotOpened)] {
            opens_only(&net, a, reader, object, (1, 2)).await;
            let (opening, height) = (opening_of(reader, object).await, net.ledger.head().number());
            let request = Request::Key { object, version: Version(2), opening: Some(opening), height };
            let answer = decode(&a.answer(reader, encode(&request)).await);
            assert_eq!(answer, Some(Answer::Refused { reason: refusal.code() }));
            let id = ReleaseId {
                chain: net.ledger.genesis_block().hash(),
                object,
                key: ReleasedKey::Version(Version(2)),
                grantee: Some(reader.id),
                grant_nonce: 1,
            };
            let verdict = ReleaseVerdict::Refused(ReleaseRefusal::OtherKey);
            assert_eq!(reader.validators.judge(opening, &id), verdict);
        }
        assert_eq!(refused_for(b.get(object, None).await), RefusalReason::Exhausted);
        assert_eq!(c.get(object, None).await.unwrap(), b"two", "by an opening of its own");
        net.set_time(begun + 200);
        put(a, b"later").await;
        update(a, object, b"three").await;
        assert_eq!(refused_for(c.get(object, None).await), RefusalReason::Expired);
        opens_only(&net, a, c, object, (2, 3)).await;
    }
}

/// D3 within limits: the version that stands at the grant, and each that is recorded under it.
#[tokio::test(flavor = "multi_thread")]
async fn with_the_owner_away_a_limited_grantee_opens_the_newest_version_at_the_grant_and_all_later_ones() {
    let net = Consortium::start_idle(3).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = put(a, b"one").await;
    update(a, object, b"two").await;
    a.share(object, b, |grant| (grant.deposit, grant.max_openings) = (true, Some(4))).await;
    update(a, object, b"three").await;
    update(a, object, b"four").await;
    // The double's blocks come from the owner's store, so everything is fetched before it goes.
    for version in 1..=4 {
        b.sharing
            .0
            .fetch(object, Version(version), root_cid(record(b, object, version).await.root))
            .await
            .unwrap();
    }
    a.go_offline();
    for (version, bytes) in [(2, &b"two"[..]), (3, b"three"), (4, b"four")] {
        assert_eq!(b.get(object, Some(version)).await.unwrap(), bytes);
    }
    assert_eq!(b.validators.released.load(Ordering::SeqCst), 3);
    let older = b.get(object, Some(1)).await.unwrap_err();
    assert_eq!(older.code(), Code::OwnerUnreachable, "{older}");
    assert!(older.to_string().contains("owner 1"), "{older}");
    a.go_online();
    assert_eq!(b.get(object, Some(1)).await.unwrap(), b"one", "the opening was kept for this");
    assert_eq!(refused_for(b.get(object, Some(4)).await), RefusalReason::Exhausted);
    assert_eq!(b.validators.released.load(Ordering::SeqCst), 3, "no opening, no key");
    assert!(received(&net, b, object).0.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposited_key_is_there_at_the_first_finality_after_the_request() {
    let net = Consortium::start_idle(3).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = put(a, b"one").await;
    a.share(object, b, |grant| (grant.deposit, grant.max_openings) = (true, Some(1))).await;
    b.sharing.0.fetch(object, Version(1), root_cid(record(b, object, 1).await.root)).await.unwrap();
    a.go_offline();
    let requested = net.ledger.head().number();
    assert_eq!(b.get(object, None).await.unwrap(), b"one");
    assert_eq!(net.ledger.head().number(), requested + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn deposits_travel_with_a_version_for_the_limited_grants_that_stand() {
    let net = Consortium::start_idle(7).await;
    let a = net.node(1);
    let object = put(a, b"one").await;
    a.share(object, net.node(2), |grant| (grant.deposit, grant.max_openings) = (true, Some(9))).await;
    a.share(object, net.node(3), |grant| (grant.deposit, grant.max_openings) = (true, Some(1))).await;
    a.share(object, net.node(4), |grant| grant.max_openings = Some(9)).await;
    a.share(object, net.node(5), |grant| grant.deposit = true).await;
    a.share(object, net.node(6), |grant| (grant.deposit, grant.expires_at) = (true, Some(START + 50))).await;
    a.share(object, net.node(7), |grant| (grant.deposit, grant.max_openings) = (true, Some(9))).await;
    assert_eq!(beside(&net, object, 1).await, [0; 0]);
    update(a, object, b"two").await;
    assert_eq!(beside(&net, object, 2).await, [2, 3, 6, 7]);
    net.node(3).get(object, None).await.unwrap();
    a.sharing.revoke(object, net.node(7).id).await.unwrap();
    net.set_time(60);
    put(a, b"later").await;
    update(a, object, b"three").await;
    assert_eq!(beside(&net, object, 3).await, [2]);
    // The grant without limits has the new epoch's key.
    let record = record(a, object, 3).await;
    let cell = a.sharing.0.contracts.cell(object, net.node(5).id).await.unwrap();
    assert_eq!((record.keyEpoch, cell.keyEpoch), (2, 2));
    let granted = GrantDeposit::decode(&cell.wrappedKey, cell.keyEpoch).unwrap();
    assert_eq!(granted.key, ReleasedKey::Epoch(2));
    let cell = a.sharing.0.contracts.cell(object, net.node(2).id).await.unwrap();
    let granted = GrantDeposit::decode(&cell.wrappedKey, cell.keyEpoch).unwrap();
    assert_eq!(granted.key, ReleasedKey::Version(Version(1)), "a limited grant is not renewed");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_version_go_so_many_deposits_and_the_other_grantees_ask_the_owner() {
    let most = VERSION_DEPOSITS_MAX as u32;
    let net = Consortium::start_idle(VERSION_DEPOSITS_MAX + 2).await;
    let (a, served, last) = (net.node(1), net.node(most + 1), net.node(most + 2));
    let object = put(a, b"one").await;
    for grantee in &net.nodes[1..] {
        a.share(object, grantee, |grant| (grant.deposit, grant.max_openings) = (true, Some(9))).await;
    }
    update(a, object, b"two").await;
    assert_eq!(beside(&net, object, 2).await, (2..=most + 1).collect::<Vec<_>>());
    for reader in [served, last] {
        reader.sharing.0.fetch(object, Version(2), root_cid(record(a, object, 2).await.root)).await.unwrap();
    }
    a.go_offline();
    assert_eq!(served.get(object, None).await.unwrap(), b"two");
    assert_eq!(last.get(object, None).await.unwrap_err().code(), Code::OwnerUnreachable);
    a.go_online();
    assert_eq!(last.get(object, None).await.unwrap(), b"two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grantee_with_new_keys_gets_single_versions_again() {
    let mut net = Consortium::start_idle(5).await;
    let object = put(net.node(1), b"one").await;
    update(net.node(1), object, b"two").await;
    let limited = |grant: &mut hansa_api::GrantRequest| {
        (grant.deposit, grant.max_openings) = (true, Some(2));
    };
    net.node(1).share(object, net.node(2), limited).await;
    let keys = MemberKeys::generate().unwrap();
    let endpoint = ("127.0.0.1:3001".to_owned(), "/ip4/127.0.0.1/tcp/4001".to_owned());
    let card = keys.card("member 2".to_owned(), ClusterId(1), endpoint.0, endpoint.1).unwrap();
    let reset = abi::Governance::openResetCall { dcId: 2, card: signed_card_from_types(&card) };
    net.node(1)
        .chain()
        .submit(GOVERNANCE, alloy_sol_types::SolCall::abi_encode(&reset).into())
        .await
        .unwrap();
    for voter in [1, 3, 4] {
        let vote = alloy_sol_types::SolCall::abi_encode(&abi::Governance::voteCall { id: 1, support: true });
        net.node(voter).chain().submit(GOVERNANCE, vote.into()).await.unwrap();
    }
    net.rekey(2, keys);
    let (a, b) = (net.node(1), net.node(2));
    let rewrapping = a.sharing.start_rewrapping();
    let cell = async || a.sharing.0.contracts.cell(object, b.id).await.unwrap();
    until("the deposit is wrapped anew", async || cell().await.shareNonce == 2).await;
    rewrapping.abort();
    let granted = GrantDeposit::decode(&cell().await.wrappedKey, 1).unwrap();
    assert_eq!(granted.key, ReleasedKey::Version(Version(2)));
    update(a, object, b"three").await;
    for version in 2..=3 {
        b.sharing
            .0
            .fetch(object, Version(version), root_cid(record(b, object, version).await.root))
            .await
            .unwrap();
    }
    a.go_offline();
    assert_eq!(b.get(object, Some(2)).await.unwrap(), b"two");
    assert_eq!(b.get(object, Some(3)).await.unwrap(), b"three");
    let (audience, data) = received(&net, b, object);
    assert_eq!((audience.len(), data.len()), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_sends_another_key_is_told_apart_and_nothing_of_it_is_kept() {
    let net = Consortium::start_idle(2).await;
    let (a, b) = (net.node(1), net.node(2));
    let (object, other) = (put(a, b"one").await, put(a, b"other").await);
    update(a, object, b"two").await;
    a.share(object, b, |grant| grant.max_openings = Some(1)).await;
    let to = b.keys.encryption_key().unwrap();
    let right = GrantedDekContext { chain_id: CHAIN, object, version: Version(1), recipient: b.id };
    let wrap = |key: &DataKey, context| wrap_granted_dek(&to, key, &context).unwrap();
    let own = key_of(a, object, 1).await;
    let kek = a.sharing.0.keyring.key(object, 1).unwrap().unwrap();
    let of_epoch = KekContext { chain_id: CHAIN, object, epoch: 1, recipient: b.id };
    let answers = [
        wrap(&key_of(a, object, 2).await, right),
        wrap(&key_of(a, other, 1).await, right),
        wrap(&DataKey::generate().unwrap(), right),
        wrap(&own, GrantedDekContext { version: Version(2), ..right }),
        wrap(&own, GrantedDekContext { object: other, ..right }),
        wrap(&own, GrantedDekContext { recipient: a.id, ..right }),
        wrap_kek(&to, &kek, &of_epoch).unwrap(),
        vec![7; MEMBER_WRAPPED_BYTES],
    ];
    for (case, wrapped) in answers.into_iter().enumerate() {
        a.fail(Fault::Garbled(encode(&Answer::Released { wrapped: wrapped.into() })));
        let error = b.get(object, Some(1)).await.unwrap_err();
        assert_eq!(error.code(), Code::OwnerUnreachable, "{case}: {error}");
        assert!(error.to_string().contains("it sent a key that"), "{case}: {error}");
        assert!(b.sharing.0.keyring.version_key(object, Version(1)).unwrap().is_none(), "{case}");
    }
    a.fail(Fault::None);
    assert_eq!(b.get(object, Some(1)).await.unwrap(), b"one");
    assert_eq!(count(a, object, LogKind::Opened).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_of_another_key_is_told_apart_and_the_owner_is_asked() {
    let net = Consortium::start_idle(2).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = put(a, b"one").await;
    update(a, object, b"two").await;
    b.sharing.0.fetch(object, Version(1), root_cid(record(b, object, 1).await.root)).await.unwrap();
    let to = b.keys.encryption_key().unwrap();
    let right = GrantedDekContext { chain_id: CHAIN, object, version: Version(1), recipient: b.id };
    let (version, epoch) = (ReleasedKey::Version(Version(1)), ReleasedKey::Epoch(1));
    let second = wrap_granted_dek(&to, &key_of(a, object, 2).await, &right).unwrap();
    let of_epoch = KekContext { chain_id: CHAIN, object, epoch: 1, recipient: b.id };
    let stranger = wrap_kek(&to, &AudienceKey::generate().unwrap(), &of_epoch).unwrap();
    let cases =
        [(version, second), (version, b"garbage".to_vec()), (epoch, stranger), (epoch, b"garbage".to_vec())];
    for (case, (key, inner)) in (0_u32..).zip(cases) {
        let grant = |nonce| {
            let (chain, grantee) = (net.ledger.genesis_block().hash(), Some(b.id));
            let id = ReleaseId { chain, object, key, grantee, grant_nonce: nonce };
            let deposit = a.sharing.0.depository.seal(&id, &inner)?.into();
            Ok(abi::Grant {
                owner: 1,
                number: object.number,
                grantee: 2,
                expiresAt: 0,
                maxOpenings: 1,
                keyEpoch: 1,
                wrappedKey: GrantDeposit { key, deposit }.encode().into(),
                nonce,
            })
        };
        a.sharing.0.contracts.share(object, b.id, grant).await.unwrap();
        a.go_offline();
        let error = b.get(object, Some(1)).await.unwrap_err();
        assert_eq!(error.code(), Code::OwnerUnreachable, "{case}: {error}");
        assert!(error.to_string().contains("of the deposited key"), "{case}: {error}");
        assert_eq!(b.validators.released.load(Ordering::SeqCst), case + 1);
        assert!(b.sharing.0.keyring.version_key(object, Version(1)).unwrap().is_none(), "{case}");
        a.go_online();
    }
    assert_eq!(b.get(object, Some(1)).await.unwrap(), b"one");
    assert_eq!(
        b.sharing.0.keyring.version_key(object, Version(1)).unwrap(),
        Some(key_of(a, object, 1).await)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_beside_a_version_that_is_no_list_of_deposits_counts_as_none() {
    let net = Consortium::start_idle(2).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = put(a, b"one").await;
    a.share(object, b, |grant| (grant.deposit, grant.max_openings) = (true, Some(1))).await;
    update(a, object, b"two").await;
    let good = root(a, object, 2).await;
    for bytes in [&b"garbage"[..], &[1, 0, 0], &[0; 100_000]] {
        let block = hansa_content::Block::new(hansa_content::RAW, Bytes::copy_from_slice(bytes)).unwrap();
        b.store.put(&block).unwrap();
        let mut bad = good.clone();
        bad.deposits = Some(*block.cid());
        let record = record(b, object, 2).await;
        let key = b.sharing.0.deposited_key(b.id, object, &record, &bad, 1).await.unwrap();
        assert!(key.is_none());
    }
}
