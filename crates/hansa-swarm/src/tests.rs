//! Several nodes on loopback: transfers, admission, failures and protocol violations.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cid::Cid;
use hansa_content::{Block, BlockFile, BlockStore, DAG_CBOR, Importer, RAW};
use hansa_kv::MemoryStore;
use hansa_types::{NetworkKey, SwarmKey};
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::*;

mod hostile;
mod links;

/// Responds with the requester's key and the request.
struct Echo;

#[async_trait]
impl KeyResponder for Echo {
    async fn respond(&self, peer: NetworkKey, request: Bytes) -> Bytes {
        [peer.0.as_slice(), &request].concat().into()
    }
}

struct Member {
    secret: [u8; 32],
    swarm_key: SwarmKey,
    swarm: Swarm,
    store: BlockStore,
    endpoint: String,
    _dir: TempDir,
}

fn silent() -> FetchProgressFn {
    Arc::new(|_| {})
}

fn any_port() -> String {
    "/ip4/127.0.0.1/tcp/0".into()
}

fn swarm_key() -> SwarmKey {
    SwarmKey::from_bytes([7; 32])
}

async fn launch(
    secret: [u8; 32],
    swarm_key: &SwarmKey,
    listen: String,
    store: &BlockStore,
    limits: Limits,
) -> Swarm {
    Swarm::start(Config {
        secret,
        swarm_key: swarm_key.clone(),
        listen: vec![listen],
        members: Vec::new(),
        store: store.clone(),
        responder: Arc::new(Echo),
        limits,
    })
    .await
    .unwrap()
}

/// Long enough for a loaded machine.
const PATIENT: Duration = Duration::from_secs(60);
/// For expected failures.
const IMPATIENT: Duration = Duration::from_secs(2);

fn idle(fetch_idle: Duration) -> Limits {
    Limits { fetch_idle, ..Default::default() }
}

impl Member {
    async fn start(number: u8, swarm_key: SwarmKey, fetch_idle: Duration) -> Self {
        Self::start_with(number, swarm_key, idle(fetch_idle)).await
    }

    async fn start_with(number: u8, swarm_key: SwarmKey, limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = BlockStore::open(Arc::new(MemoryStore::new()), dir.path()).unwrap();
        let secret = [number; 32];
        let swarm = launch(secret, &swarm_key, any_port(), &store, limits).await;
        let endpoint = swarm.listen_addrs().await.unwrap().remove(0);
        Self { secret, swarm_key, swarm, store, endpoint, _dir: dir }
    }

    fn card(&self) -> SwarmMember {
        SwarmMember { key: self.key(), endpoint: self.endpoint.clone() }
    }

    fn key(&self) -> NetworkKey {
        self.swarm.network_key()
    }

    async fn sees(&self, others: &[&Member]) {
        let mut keys: Vec<NetworkKey> = others.iter().map(|member| member.key()).collect();
        keys.sort_unstable();
        self.swarm.watch_peers().wait_for(|peers| *peers == keys).await.unwrap();
    }

    /// Restarts the node at the same address.
    async fn restart(&mut self, members: Vec<SwarmMember>) {
        self.swarm.shutdown().await;
        let listen = self.endpoint.clone();
        self.swarm = launch(self.secret, &self.swarm_key, listen, &self.store, idle(PATIENT)).await;
        self.swarm.set_members(members).await.unwrap();
    }

    /// A file of `mib` MiB below a dag-cbor root.
    fn object(&self, mib: u64) -> Cid {
        let mut importer = Importer::new(&self.store);
        for index in 0..mib {
            let mut leaf = vec![index as u8; 1 << 20];
            leaf[..8].copy_from_slice(&index.to_be_bytes());
            importer.push_leaf(leaf.into()).unwrap();
        }
        importer.push_leaf(Bytes::from_static(b"the end")).unwrap();
        let file = importer.finish().unwrap();
        let root = BTreeMap::from([("file", file.root), ("manifest", self.block(b"manifest"))]);
        let root = Block::new(DAG_CBOR, serde_ipld_dagcbor::to_vec(&root).unwrap().into()).unwrap();
        self.store.put(&root).unwrap();
        self.store.pin(root.cid(), "object").unwrap();
        *root.cid()
    }

    fn block(&self, bytes: &[u8]) -> Cid {
        let block = Block::new(RAW, Bytes::copy_from_slice(bytes)).unwrap();
        self.store.put(&block).unwrap();
        *block.cid()
    }

    fn is_whole(&self, root: &Cid) -> bool {
        self.store.check_dag(root, |_| {}).unwrap().is_healthy()
    }
}

async fn introduce(members: &[&Member]) {
    let cards: Vec<SwarmMember> = members.iter().map(|member| member.card()).collect();
    for member in members {
        member.swarm.set_members(cards.clone()).await.unwrap();
    }
    for member in members {
        let others: Vec<&Member> =
            members.iter().copied().filter(|other| other.key() != member.key()).collect();
        member.sees(&others).await;
    }
}

/// Connected members 1 to `count`.
async fn consortium(count: u8) -> Vec<Member> {
    consortium_with(count, idle(PATIENT)).await
}

async fn consortium_with(count: u8, limits: Limits) -> Vec<Member> {
    let mut members = Vec::new();
    for number in 1..=count {
        members.push(Member::start_with(number, swarm_key(), limits.clone()).await);
    }
    introduce(&members.iter().collect::<Vec<_>>()).await;
    members
}

fn not_found<T: std::fmt::Debug>(result: Result<T, SwarmError>) -> bool {
    matches!(result, Err(SwarmError::NotFound(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_stand_in_for_an_owner_that_is_gone() {
    let members = consortium(3).await;
    let [owner, replica, reader] = &members[..] else { unreachable!() };
    let root = owner.object(9);
    let last = Arc::new(std::sync::Mutex::new(FetchProgress::default()));
    let seen = Arc::clone(&last);
    let progress: FetchProgressFn = Arc::new(move |progress| *seen.lock().unwrap() = progress);
    let fetched = replica.swarm.fetch_dag(root, progress).await.unwrap();
    assert!(replica.is_whole(&root));
    let last = *last.lock().unwrap();
    assert_eq!((last.blocks, last.bytes, last.bytes_known), (fetched.blocks, fetched.bytes, fetched.bytes));
    assert_eq!(fetched.blocks, 13);

    owner.swarm.shutdown().await;
    assert!(owner.swarm.fetch(root).await.is_ok(), "its own store still answers");
    reader.sees(&[replica]).await;
    reader.swarm.fetch_dag(root, silent()).await.unwrap();
    assert!(reader.is_whole(&root));
    assert_eq!(reader.swarm.fetch_dag(root, silent()).await.unwrap().bytes, fetched.bytes);
    assert!(matches!(
        reader.swarm.fetch_from(owner.key(), root).await,
        Err(SwarmError::NotConnected(key)) if key == owner.key()
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_goes_on_when_its_only_provider_restarts() {
    let mut members = consortium(2).await;
    let cards: Vec<SwarmMember> = members.iter().map(Member::card).collect();
    let root = members[0].object(96);
    let amid = Arc::new(Notify::new());
    let notify = Arc::clone(&amid);
    let progress: FetchProgressFn = Arc::new(move |progress| {
        if progress.blocks == 12 {
            notify.notify_one();
        }
    });
    let reader = members[1].swarm.clone();
    let fetch = tokio::spawn(async move { reader.fetch_dag(root, progress).await });
    amid.notified().await;
    members[0].restart(cards).await;
    fetch.await.unwrap().unwrap();
    assert!(members[1].is_whole(&root));
}

#[tokio::test(flavor = "multi_thread")]
async fn knowing_the_swarm_key_is_not_enough() {
    let members = consortium(2).await;
    let stranger = Member::start(9, swarm_key(), IMPATIENT).await;
    let cid = members[0].block(b"for members");
    let cards = members.iter().map(Member::card).collect();
    stranger.swarm.set_members(cards).await.unwrap();
    let lonely = stranger.swarm.fetch(cid);
    assert!(not_found(lonely.await));
    assert_eq!(members[0].swarm.peers(), vec![members[1].key()]);
    assert_eq!(members[1].swarm.fetch(cid).await.unwrap(), Bytes::from_static(b"for members"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_node_without_the_swarm_key_is_not_enough_either() {
    let member = Member::start(1, swarm_key(), PATIENT).await;
    let outsider = Member::start(2, SwarmKey::from_bytes([8; 32]), IMPATIENT).await;
    let cards = vec![member.card(), outsider.card()];
    member.swarm.set_members(cards.clone()).await.unwrap();
    outsider.swarm.set_members(cards).await.unwrap();
    let cid = member.block(b"for members");
    assert!(not_found(outsider.swarm.fetch(cid).await));
    assert!(member.swarm.peers().is_empty() && outsider.swarm.peers().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_is_cut_off_at_once() {
    let members = consortium(2).await;
    let [a, b] = &members[..] else { unreachable!() };
    let removed = &Member::start(9, swarm_key(), IMPATIENT).await;
    introduce(&[a, b, removed]).await;
    let cid = a.block(b"later");
    for member in [a, b] {
        member.swarm.set_members(vec![a.card(), b.card()]).await.unwrap();
    }
    removed.sees(&[]).await;
    a.sees(&[b]).await;
    assert!(matches!(
        removed.swarm.request_key(a.key(), Bytes::new()).await,
        Err(SwarmError::NotConnected(_) | SwarmError::KeyRequest { .. })
    ));
    assert!(not_found(removed.swarm.fetch(cid).await));
    introduce(&[a, b, removed]).await;
    removed.swarm.fetch(cid).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn key_requests_reach_the_responder_with_the_askers_identity() {
    let members = consortium(2).await;
    let [a, b] = &members[..] else { unreachable!() };
    let answer = a.swarm.request_key(b.key(), Bytes::from_static(b"object 1/42")).await.unwrap();
    assert_eq!(answer, [a.key().0.as_slice(), b"object 1/42"].concat());
    let longest = Bytes::from(vec![1; MAX_KEY_MESSAGE_BYTES - 32]);
    assert_eq!(a.swarm.request_key(b.key(), longest).await.unwrap().len(), MAX_KEY_MESSAGE_BYTES);
    let answer_too_long = Bytes::from(vec![1; MAX_KEY_MESSAGE_BYTES]);
    assert!(a.swarm.request_key(b.key(), answer_too_long).await.is_err());
    let too_long = Bytes::from(vec![1; MAX_KEY_MESSAGE_BYTES + 1]);
    assert!(matches!(a.swarm.request_key(b.key(), too_long).await, Err(SwarmError::TooLong(_))));
    let nobody = NetworkKey([0; 32].into());
    assert!(a.swarm.request_key(nobody, Bytes::new()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_not_connected_is_dialled_for_a_key() {
    // The keys decide which of the two dials first.
    for (one, other) in [(1, 2), (2, 1)] {
        let owner = Member::start(one, swarm_key(), PATIENT).await;
        let asker = Member::start(other, swarm_key(), PATIENT).await;
        let cards = vec![owner.card(), asker.card()];
        owner.swarm.set_members(cards.clone()).await.unwrap();
        asker.swarm.set_members(cards).await.unwrap();
        asker.swarm.request_key(owner.key(), Bytes::from_static(b"object 1/42")).await.unwrap();
        owner.swarm.shutdown().await;
        asker.sees(&[]).await;
        let away = asker.swarm.request_key(owner.key(), Bytes::new()).await;
        assert!(matches!(away, Err(SwarmError::NotConnected(_))), "{away:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_fetch_finds_here_is_kept_like_what_it_fetches() {
    let members = consortium(2).await;
    let [owner, reader] = &members[..] else { unreachable!() };
    let root = owner.object(3);
    drop(reader.swarm.fetch_dag(root, Arc::new(|_| {})).await.unwrap());
    let again = reader.swarm.fetch_dag(root, Arc::new(|_| {})).await.unwrap();
    assert_eq!(reader.store.collect_garbage().unwrap().blocks, 0);
    assert!(reader.is_whole(&root));
    let blocks = again.blocks;
    drop(again);
    assert_eq!(reader.store.collect_garbage().unwrap().blocks, blocks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certain_members_replica_can_be_asked() {
    let members = consortium(3).await;
    let [auditor, keeper, other] = &members[..] else { unreachable!() };
    let (large, elsewhere) = (keeper.block(&[1; 5000]), other.block(&[2; 5000]));
    assert_eq!(auditor.swarm.fetch_from(keeper.key(), large).await.unwrap(), vec![1; 5000]);
    assert!(!auditor.store.has(&large).unwrap());
    assert!(not_found(auditor.swarm.fetch_from(keeper.key(), elsewhere).await));
    auditor.swarm.announce(large).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_block_is_not_served_and_comes_from_elsewhere() {
    let members = consortium(3).await;
    let [damaged, healthy, reader] = &members[..] else { unreachable!() };
    let cid = damaged.block(&[5; 200_000]);
    healthy.block(&[5; 200_000]);
    let BlockFile { path, offset } = damaged.store.file(&cid).unwrap().unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&[5 ^ 1], offset + 1000).unwrap();
    assert!(not_found(reader.swarm.fetch_from(damaged.key(), cid).await));
    assert_eq!(reader.swarm.fetch(cid).await.unwrap(), vec![5; 200_000]);
    let repaired = damaged.swarm.fetch_from(healthy.key(), cid).await.unwrap();
    damaged.store.repair(&cid, repaired).unwrap();
    assert!(damaged.store.get(&cid).unwrap().is_some());
    assert_eq!(damaged.swarm.fetch(cid).await.unwrap(), vec![5; 200_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_blocks_and_several_readers_at_once() {
    let members = consortium(3).await;
    let [owner, a, b] = &members[..] else { unreachable!() };
    let children: Vec<Cid> = (0..3000u32)
        .map(|number| Block::new(RAW, number.to_be_bytes().repeat(300).into()).unwrap())
        .map(|block| {
            owner.store.put(&block).unwrap();
            *block.cid()
        })
        .collect();
    let root = Block::new(DAG_CBOR, serde_ipld_dagcbor::to_vec(&children).unwrap().into()).unwrap();
    owner.store.put(&root).unwrap();
    let (first, second) =
        tokio::join!(a.swarm.fetch_dag(*root.cid(), silent()), b.swarm.fetch_dag(*root.cid(), silent()));
    assert_eq!((first.unwrap().blocks, second.unwrap().blocks), (3001, 3001));
    assert!(a.is_whole(root.cid()) && b.is_whole(root.cid()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_fetch_leaves_nothing_behind() {
    let members = consortium(2).await;
    let [owner, reader] = &members[..] else { unreachable!() };
    let root = owner.object(40);
    let stopped = Arc::new(AtomicBool::new(false));
    let amid = Arc::new(Notify::new());
    let (notify, stop) = (Arc::clone(&amid), Arc::clone(&stopped));
    let progress: FetchProgressFn = Arc::new(move |progress| {
        assert!(!stop.load(Ordering::SeqCst), "progress after the end");
        if progress.blocks == 10 {
            notify.notify_one();
        }
    });
    let swarm = reader.swarm.clone();
    let fetch = tokio::spawn(async move { swarm.fetch_dag(root, progress).await });
    amid.notified().await;
    fetch.abort();
    assert!(fetch.await.is_err());
    stopped.store(true, Ordering::SeqCst);
    reader.swarm.fetch_dag(root, silent()).await.unwrap();
    assert!(reader.is_whole(&root));
}

/// An object can contain a digest twice, as a leaf and as a node with children.
#[tokio::test(flavor = "multi_thread")]
async fn a_digest_under_two_codecs_does_not_hang_a_fetch() {
    let members = consortium(2).await;
    let [owner, reader] = &members[..] else { unreachable!() };
    let put = |links: &[Cid]| {
        let block = Block::new(DAG_CBOR, serde_ipld_dagcbor::to_vec(links).unwrap().into()).unwrap();
        owner.store.put(&block).unwrap();
        *block.cid()
    };
    let node = put(&[owner.block(b"below the node")]);
    let alias = Cid::new_v1(RAW, *node.hash());
    for children in [[node, alias], [alias, node]] {
        let root = put(&children);
        let fetched = reader.swarm.fetch_dag(root, silent()).await.unwrap();
        assert_eq!(fetched.blocks, 3);
        assert!(reader.is_whole(&root));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_ends_where_its_bounds_do() {
    let members = consortium(2).await;
    let [owner, reader] = &members[..] else { unreachable!() };
    let root = owner.object(9);
    let fetch = |bytes_max, blocks_max| {
        reader.swarm.fetch_dag_within(root, FetchBounds { bytes_max, blocks_max }, &[], silent())
    };
    assert!(matches!(fetch(9 << 20, 100).await, Err(SwarmError::TooLarge(cid)) if cid == root));
    assert!(matches!(fetch(10 << 20, 12).await, Err(SwarmError::TooLarge(_))));
    assert_eq!(fetch(10 << 20, 13).await.unwrap().blocks, 13);
}

/// The server answers just often enough that the session never stalls.
#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_is_slow_on_the_whole_ends() {
    let owner = &Member::start(1, swarm_key(), PATIENT).await;
    // A minimum rate that no network reaches.
    let demanding = Limits {
        fetch_idle: Duration::from_millis(10),
        fetch_bytes_per_second_min: u64::MAX,
        ..Default::default()
    };
    let reader = &Member::start_with(2, swarm_key(), demanding).await;
    introduce(&[owner, reader]).await;
    let root = owner.object(200);
    let fetched = reader.swarm.fetch_dag(root, silent()).await;
    assert!(matches!(fetched, Err(SwarmError::TooSlow(cid)) if cid == root), "{fetched:?}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_cause() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port());
    let dir = tempfile::tempdir().unwrap();
    let started = Swarm::start(Config {
        secret: [1; 32],
        swarm_key: swarm_key(),
        listen: vec![address.clone()],
        members: Vec::new(),
        store: BlockStore::open(Arc::new(MemoryStore::new()), dir.path()).unwrap(),
        responder: Arc::new(Echo),
        limits: Limits::default(),
    });
    match started.await {
        Err(SwarmError::Listen { address: named, reason }) => {
            assert_eq!(named, address);
            assert!(reason.contains("in use"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}
