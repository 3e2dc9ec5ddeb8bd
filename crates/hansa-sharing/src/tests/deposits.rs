//! Deposited keys: what validators judge, and what a grantee's node makes of it.

use std::sync::atomic::Ordering;

use alloy_primitives::B256;
use alloy_sol_types::SolCall as _;
use hansa_contracts::{GOVERNANCE, abi};
use hansa_types::{
    DcId, ObjectId, ReleaseId, ReleaseRefusal, ReleaseVerdict, ReleasedKey, Version, Visibility,
};

use super::{
    consortium::{Consortium, Node, START},
    doubles::Validators,
};
use crate::SharingError;

const RELEASE: ReleaseVerdict = ReleaseVerdict::Release;

fn refused(reason: ReleaseRefusal) -> ReleaseVerdict {
    ReleaseVerdict::Refused(reason)
}

impl Node {
    /// Opens on the chain without asking for the key; returns the opening's number.
    async fn opening(&self, object: ObjectId, version: u32) -> u64 {
        let (contracts, version) = (&self.sharing.0.contracts, Version(version));
        contracts.open(object, version, self.id).await.unwrap();
        contracts.opened_since(object, version, self.id, 0).await.unwrap().unwrap().id
    }
}

/// The identity of the first deposit with a grant to member 2.
fn first(net: &Consortium, object: ObjectId) -> ReleaseId {
    ReleaseId {
        chain: net.ledger.genesis_block().hash(),
        object,
        key: ReleasedKey::Epoch(1),
        grantee: DcId::new(2),
        grant_nonce: 1,
    }
}

/// D3 for every member: the key is deposited once, and each opening of each member releases it, with the owner away.
#[tokio::test(flavor = "multi_thread")]
async fn what_every_member_may_read_opens_with_the_owner_away() {
    let net = Consortium::start(4).await;
    let (a, b, c) = (net.node(1), net.node(2), net.node(3));
    let object = a.put("notice.txt", b"to all").await.id;
    a.sharing.set_visibility(object, Visibility::Members).await.unwrap();
    a.go_offline();
    for reader in [b, c] {
        assert_eq!(reader.get(object, None).await.unwrap(), b"to all");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn validators_release_for_the_grantees_opening_of_the_deposited_key_alone() {
    let net = Consortium::start_idle(3).await;
    let (a, b, c) = (net.node(1), net.node(2), net.node(3));
    let (object, other) = (a.put("one", b"1").await.id, a.put("two", b"2").await.id);
    for shared in [object, other] {
        a.share(shared, b, |grant| grant.deposit = true).await;
        a.share(shared, c, |grant| grant.deposit = true).await;
    }
    let id = first(&net, object);
    assert_eq!(b.validators.judge(1, &id), ReleaseVerdict::NotYet, "nobody has opened");
    let (own, of_other, of_c) =
        (b.opening(object, 1).await, b.opening(other, 1).await, c.opening(object, 1).await);
    let version = ReleasedKey::Version(Version(1));
    let for_c = ReleaseId { grantee: DcId::new(3), ..id };
    let cases = [
        (own, id, RELEASE),
        (own, id, RELEASE),
        (own, ReleaseId { key: version, ..id }, RELEASE),
        (99, id, ReleaseVerdict::NotYet),
        (of_c, id, refused(ReleaseRefusal::OtherMember)),
        (own, for_c, refused(ReleaseRefusal::OtherMember)),
        (of_other, id, refused(ReleaseRefusal::OtherKey)),
        (own, ReleaseId { object: other, ..id }, refused(ReleaseRefusal::OtherKey)),
        (own, ReleaseId { key: ReleasedKey::Epoch(2), ..id }, refused(ReleaseRefusal::OtherKey)),
        (own, ReleaseId { key: ReleasedKey::Version(Version(2)), ..id }, refused(ReleaseRefusal::OtherKey)),
        (own, ReleaseId { grant_nonce: 2, ..id }, refused(ReleaseRefusal::Withdrawn)),
        (own, ReleaseId { grantee: None, grant_nonce: 0, ..id }, refused(ReleaseRefusal::Withdrawn)),
        (own, ReleaseId { chain: B256::ZERO, ..id }, refused(ReleaseRefusal::OtherChain)),
    ];
    for (opening, id, verdict) in cases {
        assert_eq!(b.validators.judge(opening, &id), verdict, "{opening} {id:?}");
    }
    assert_eq!(c.validators.judge(own, &id), refused(ReleaseRefusal::OtherMember));
    let stranger = hansa_envelope::MemberKeys::generate().unwrap().network_key();
    let stranger = Validators::new(&net.ledger, stranger);
    assert_eq!(stranger.judge(own, &id), refused(ReleaseRefusal::Inactive));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_or_granted_anew_needs_another_opening() {
    let net = Consortium::start_idle(2).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = a.put("order.json", b"{}").await.id;
    let id = first(&net, object);
    a.share(object, b, |grant| (grant.deposit, grant.expires_at) = (true, Some(START + 100))).await;
    let opening = b.opening(object, 1).await;
    // Expiry after the opening takes nothing back.
    net.set_time(200);
    a.put("later", b"").await;
    assert_eq!(b.validators.judge(opening, &id), RELEASE);
    a.sharing.revoke(object, b.id).await.unwrap();
    assert_eq!(b.validators.judge(opening, &id), refused(ReleaseRefusal::Withdrawn));
    a.share(object, b, |grant| grant.deposit = true).await;
    let anew = ReleaseId { grant_nonce: 3, ..id };
    for id in [id, anew] {
        assert_eq!(b.validators.judge(opening, &id), refused(ReleaseRefusal::Withdrawn), "{id:?}");
    }
    let opening = b.opening(object, 1).await;
    assert_eq!(b.validators.judge(opening, &anew), RELEASE);
    assert_eq!(b.validators.judge(opening, &id), refused(ReleaseRefusal::Withdrawn));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_every_member_may_read_is_released_as_long_as_that_is_so() {
    let net = Consortium::start_idle(2).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = a.put_as("order.json", b"{}", Visibility::Members).await.id;
    let id = ReleaseId { grantee: None, grant_nonce: 0, ..first(&net, object) };
    let opening = b.opening(object, 1).await;
    assert_eq!(b.validators.judge(opening, &id), RELEASE);
    assert_eq!(
        b.validators.judge(opening, &ReleaseId { grant_nonce: 1, ..id }),
        refused(ReleaseRefusal::Withdrawn)
    );
    a.sharing.set_visibility(object, Visibility::Listed).await.unwrap();
    assert_eq!(b.validators.judge(opening, &id), refused(ReleaseRefusal::Withdrawn));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_is_released_once_an_opening_and_not_without_one() {
    let net = Consortium::start(3).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = a.put("order.json", b"deposited").await.id;
    a.share(object, b, |grant| (grant.deposit, grant.expires_at) = (true, Some(START + 100))).await;
    a.go_offline();
    assert_eq!(b.get(object, None).await.unwrap(), b"deposited");
    assert_eq!(b.validators.released.load(Ordering::SeqCst), 1);
    net.set_time(200);
    let expired = b.get(object, None).await;
    assert!(matches!(expired, Err(SharingError::RefusedByChain { .. })), "{expired:?}");
    assert_eq!(b.validators.released.load(Ordering::SeqCst), 1, "no opening, no key");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_the_owner_is_asked_and_without_both_the_opening_stays() {
    let net = Consortium::start(3).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = a.put("order.json", b"deposited").await.id;
    a.share(object, b, |grant| (grant.deposit, grant.max_openings) = (true, Some(2))).await;
    b.validators.down.store(true, Ordering::SeqCst);
    assert_eq!(b.get(object, None).await.unwrap(), b"deposited", "from the owner");
    a.go_offline();
    match b.get(object, None).await {
        Err(SharingError::OwnerUnreachable { why, .. }) => assert!(why.contains("no quorum"), "{why}"),
        other => panic!("{other:?}"),
    }
    b.validators.down.store(false, Ordering::SeqCst);
    assert_eq!(b.get(object, None).await.unwrap(), b"deposited", "the opening was kept for this");
    assert_eq!(b.validators.released.load(Ordering::SeqCst), 1);
}

/// Whether the owner's newest version is under a later key than the one before.
async fn is_rotated_by_update(a: &Node, object: ObjectId) -> bool {
    let epoch = async || a.sharing.0.contracts.record(object, None).await.unwrap().keyEpoch;
    let before = epoch().await;
    a.update(object, "order.json", b"next").await;
    epoch().await > before
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_changes_when_a_member_that_may_hold_it_may_no_longer_read() {
    let net = Consortium::start(3).await;
    let (a, b, c) = (net.node(1), net.node(2), net.node(3));
    let object = a.put("order.json", b"one").await.id;
    a.share(object, b, |grant| grant.deposit = true).await;
    a.share(object, c, |grant| (grant.deposit, grant.max_openings) = (true, Some(2))).await;
    assert!(!is_rotated_by_update(a, object).await, "nobody has the key");
    b.get(object, None).await.unwrap();
    c.get(object, None).await.unwrap();
    assert!(!is_rotated_by_update(a, object).await, "both may read");
    c.get(object, None).await.unwrap();
    assert!(!is_rotated_by_update(a, object).await, "the one that may no longer read had keys of versions");
    let held = a.sharing.0.keyring.key(object, 1).unwrap().unwrap();
    a.share(object, b, |grant| grant.max_openings = Some(5)).await;
    assert!(is_rotated_by_update(a, object).await, "the one that has the key may read within limits alone");
    b.get(object, None).await.unwrap();
    assert!(!is_rotated_by_update(a, object).await, "nobody has the new key");
    let record = a.sharing.0.contracts.record(object, None).await.unwrap();
    let cheated = b.sharing.unlock(object, &record, &held).await.unwrap_err();
    assert!(matches!(cheated, SharingError::Damaged { .. }), "{cheated}");
}

/// The programs before answered every opening with the epoch's key.
#[tokio::test(flavor = "multi_thread")]
async fn of_an_epoch_that_began_under_an_earlier_program_each_reader_counts() {
    let net = Consortium::start(3).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = a.put("order.json", b"one").await.id;
    a.share(object, b, |grant| grant.max_openings = Some(1)).await;
    let contracts = &a.sharing.0.contracts;
    for (opened, by_version, former) in [(false, false, false), (true, false, true), (true, true, false)] {
        if opened && !by_version {
            b.get(object, None).await.unwrap();
        }
        let found = contracts.has_former_reader(object, Version(1), (1, by_version)).await.unwrap();
        assert_eq!(found, former, "{opened} {by_version}");
    }
}

/// The contracts' number of this standing.
const SUSPENDED: u8 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn the_key_changes_when_a_member_that_may_hold_it_is_suspended() {
    let net = Consortium::start(3).await;
    let (a, b) = (net.node(1), net.node(2));
    let object = a.put_as("order.json", b"one", Visibility::Members).await.id;
    b.get(object, None).await.unwrap();
    assert!(!is_rotated_by_update(a, object).await);
    let suspend = abi::Governance::openStandingCall { dcId: b.id.value(), status: SUSPENDED }.abi_encode();
    a.chain().submit(GOVERNANCE, suspend.into()).await.unwrap();
    for voter in [a, net.node(3)] {
        let vote = abi::Governance::voteCall { id: 1, support: true }.abi_encode();
        voter.chain().submit(GOVERNANCE, vote.into()).await.unwrap();
    }
    assert!(is_rotated_by_update(a, object).await);
}
