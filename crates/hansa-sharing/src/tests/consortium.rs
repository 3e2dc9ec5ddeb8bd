//! A consortium in one process: one ledger that finalises whatever is pending, one block store a member, and a swarm
//! that hands bytes from store to store.

use std::{
    collections::{HashMap, HashSet},
    io,
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use cid::Cid;
use futures::StreamExt;
use hansa_adapters::{LedgerChain, PeerRequests, SwarmNode};
use hansa_api::{
    Content, ContentEntry, GrantRequest, ObjectKind, ProgressSink, PutMeta, PutReceipt, VerifyReport,
    VerifyRequest,
};
use hansa_content::{Block, BlockFile, BlockStore, Hold, links};
use hansa_contracts::draft_genesis;
use hansa_envelope::MemberKeys;
use hansa_kv::{KvStore, MemoryStore};
use hansa_ledger::Ledger;
use hansa_ports::{Chain, FetchSink, Swarm, SwarmFault, Tip};
use hansa_types::{ClusterId, DcId, Limits, NetworkKey, ObjectId, Version, Visibility};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::{
    doubles::Validators,
    miner::{mine, mine_block},
};
use crate::{DiskSpace, OpenMode, Parts, Responder, Sharing, SharingError, SharingSettings, SpaceFn};

/// The chain's clock starts here.
pub(super) const START: u64 = 1_790_000_000;

/// Files in memory; `None` is a folder.
pub(super) struct Files(std::vec::IntoIter<(String, Option<Vec<u8>>)>, io::Cursor<Vec<u8>>);

impl Files {
    pub(super) fn new(files: &[(&str, Option<&[u8]>)]) -> Box<Self> {
        let files: Vec<_> =
            files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.map(<[u8]>::to_vec))).collect();
        Box::new(Self(files.into_iter(), io::Cursor::default()))
    }
}

impl Content for Files {
    fn next_entry(&mut self) -> io::Result<Option<ContentEntry>> {
        Ok(self.0.next().map(|(path, bytes)| {
            let directory = bytes.is_none();
            self.1 = io::Cursor::new(bytes.unwrap_or_default());
            ContentEntry { path, directory, executable: false, size: None }
        }))
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        io::Read::read(&mut self.1, buffer)
    }
}

/// A source that breaks off.
pub(super) struct Broken;

impl Content for Broken {
    fn next_entry(&mut self) -> io::Result<Option<ContentEntry>> {
        Ok(Some(ContentEntry {
            path: "half.bin".to_owned(),
            directory: false,
            executable: false,
            size: None,
        }))
    }

    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// What is wrong with a node's answers.
#[derive(Clone, Default)]
pub(super) enum Fault {
    #[default]
    None,
    /// They are lost on their way.
    Mute,
    /// They are these bytes.
    Garbled(Bytes),
}

struct Peer {
    store: BlockStore,
    responder: Arc<Responder>,
    online: AtomicBool,
    fault: Mutex<Fault>,
}

/// All nodes' stores and responders.
#[derive(Default)]
struct Mesh {
    peers: Mutex<HashMap<NetworkKey, Arc<Peer>>>,
    /// What nodes answered, with the key of the node that asked.
    answers: Mutex<Vec<(NetworkKey, Bytes)>>,
    /// Roots below which nothing ever arrives: whoever serves them is a withholder.
    withheld: Mutex<HashSet<Cid>>,
}

/// A disk with room for everything.
const PLENTY: DiskSpace = DiskSpace { total: 1 << 40, free: 1 << 40 };

fn space(disk: Arc<Mutex<DiskSpace>>) -> SpaceFn {
    Arc::new(move || Ok(*disk.lock()))
}

fn plenty() -> SpaceFn {
    space(Arc::new(Mutex::new(PLENTY)))
}

/// One node's view of the mesh.
struct MeshSwarm {
    me: NetworkKey,
    store: BlockStore,
    mesh: Arc<Mesh>,
}

impl MeshSwarm {
    fn peer(&self, key: NetworkKey) -> Result<Arc<Peer>, SwarmFault> {
        let peer = self.mesh.peers.lock().get(&key).cloned().ok_or(SwarmFault::Unreachable)?;
        let both = peer.online.load(Ordering::SeqCst)
            && self.mesh.peers.lock().get(&self.me).is_some_and(|me| me.online.load(Ordering::SeqCst));
        if both { Ok(peer) } else { Err(SwarmFault::Unreachable) }
    }

    fn find(&self, cid: &Cid) -> Result<Bytes, SwarmFault> {
        if let Ok(Some(bytes)) = self.store.get(cid) {
            return Ok(bytes);
        }
        let keys: Vec<_> = self.mesh.peers.lock().keys().copied().filter(|key| *key != self.me).collect();
        keys.into_iter()
            .filter_map(|key| self.peer(key).ok())
            .find_map(|peer| peer.store.get(cid).ok().flatten())
            .ok_or(SwarmFault::NotFound(*cid))
    }
}

#[async_trait]
impl Swarm for MeshSwarm {
    async fn fetch_dag(
        &self,
        root: Cid,
        _: &[NetworkKey],
        progress: FetchSink,
    ) -> Result<Arc<Hold>, SwarmFault> {
        let hold = Arc::new(self.store.hold());
        let (mut waiting, mut seen) = (vec![root], HashSet::from([root]));
        let mut here = 0;
        while let Some(cid) = waiting.pop() {
            let bytes = self.find(&cid)?;
            here += bytes.len() as u64;
            let below = links(&cid, &bytes).map_err(|_| SwarmFault::Malformed(cid))?;
            waiting.extend(below.into_iter().map(|link| link.cid).filter(|cid| seen.insert(*cid)));
            if self.mesh.withheld.lock().contains(&cid) {
                std::future::pending::<()>().await;
            }
            let stored = self.store.put_held(&[Block::verify(cid, bytes).unwrap()], &hold);
            stored.map_err(|error| SwarmFault::Failed(error.to_string()))?;
            progress(here, here);
        }
        Ok(hold)
    }

    async fn fetch(&self, cid: Cid, _: &[NetworkKey]) -> Result<Bytes, SwarmFault> {
        self.find(&cid)
    }

    async fn fetch_from(&self, peer: NetworkKey, cid: Cid) -> Result<Bytes, SwarmFault> {
        let peer = self.peer(peer)?;
        peer.store.get(&cid).ok().flatten().ok_or(SwarmFault::NotFound(cid))
    }

    async fn ask(&self, peer: NetworkKey, request: Bytes) -> Result<Bytes, SwarmFault> {
        let peer = self.peer(peer)?;
        let answer = peer.responder.answer(self.me, request).await;
        let fault = peer.fault.lock().clone();
        let answer = match fault {
            Fault::None => answer,
            Fault::Mute => return Err(SwarmFault::Unreachable),
            Fault::Garbled(bytes) => bytes,
        };
        self.mesh.answers.lock().push((self.me, answer.clone()));
        Ok(answer)
    }

    fn announce(&self, _: Cid) {}
}

/// What a node has heard of the chain's tip.
pub(super) struct Heard {
    ledger: Ledger,
    pub(super) silent: AtomicBool,
    pub(super) ahead: AtomicU64,
}

#[async_trait]
impl Tip for Heard {
    async fn final_height(&self) -> Option<u64> {
        let height = self.ledger.head().number() + self.ahead.load(Ordering::SeqCst);
        (!self.silent.load(Ordering::SeqCst)).then_some(height)
    }
}

/// One member's node.
pub(super) struct Node {
    pub(super) id: DcId,
    pub(super) keys: MemberKeys,
    pub(super) sharing: Sharing,
    pub(super) store: BlockStore,
    pub(super) tip: Arc<Heard>,
    pub(super) validators: Arc<Validators>,
    /// What its disk is said to be.
    pub(super) disk: Arc<Mutex<DiskSpace>>,
    peer: Arc<Peer>,
    recording: JoinHandle<()>,
    replication: Option<JoinHandle<()>>,
    dir: Arc<tempfile::TempDir>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.recording.abort();
    }
}

impl Node {
    pub(super) fn go_offline(&self) {
        self.peer.online.store(false, Ordering::SeqCst);
    }

    pub(super) fn go_online(&self) {
        self.peer.online.store(true, Ordering::SeqCst);
    }

    pub(super) fn fail(&self, fault: Fault) {
        *self.peer.fault.lock() = fault;
    }

    /// This node after a restart: what it had in memory is gone.
    pub(super) fn restarted(&self) -> Sharing {
        self.on(Arc::clone(&self.sharing.0.contracts.chain))
    }

    /// This node's responder after a restart. It records nothing.
    pub(super) fn responder_restarted(&self) -> Arc<Responder> {
        let inner = &self.sharing.0;
        let (chain, tip) = (Arc::clone(&inner.contracts.chain), Arc::clone(&self.tip) as Arc<dyn Tip>);
        Responder::new(chain, tip, self.keys.clone(), Arc::clone(&inner.kv), self.store.clone()).unwrap()
    }

    pub(super) fn replicate(&mut self) {
        self.stop_replicating();
        self.replication = Some(self.sharing.start_replication());
    }

    /// The same member's service on another chain.
    pub(super) fn on(&self, chain: Arc<dyn Chain>) -> Sharing {
        self.with(chain, self.keys.clone())
    }

    /// Its service on another chain and with other keys.
    pub(super) fn with(&self, chain: Arc<dyn Chain>, keys: MemberKeys) -> Sharing {
        let inner = &self.sharing.0;
        Sharing::new(Parts {
            chain,
            swarm: Arc::clone(&inner.swarm),
            depository: Arc::clone(&inner.depository),
            keys,
            kv: Arc::clone(&inner.kv),
            store: self.store.clone(),
            responder: Arc::clone(&self.peer.responder),
            settings: SharingSettings::default(),
            space: space(Arc::clone(&self.disk)),
        })
        .unwrap()
    }

    pub(super) fn chain(&self) -> Arc<dyn Chain> {
        Arc::clone(&self.sharing.0.contracts.chain)
    }

    pub(super) fn stop_replicating(&mut self) {
        self.replication.take().iter().for_each(JoinHandle::abort);
    }

    pub(super) async fn answer(&self, asking: &Node, request: Bytes) -> Bytes {
        self.peer.responder.answer(asking.keys.network_key(), request).await
    }

    /// Answers a node that may be nobody's.
    pub(super) async fn answer_key(&self, asking: NetworkKey, request: Bytes) -> Bytes {
        self.peer.responder.answer(asking, request).await
    }

    pub(super) async fn put(&self, name: &str, bytes: &[u8]) -> PutReceipt {
        self.put_as(name, bytes, Visibility::Listed).await
    }

    pub(super) async fn put_as(&self, name: &str, bytes: &[u8], visibility: Visibility) -> PutReceipt {
        let meta = PutMeta { visibility: Some(visibility), ..meta(name) };
        self.sharing.put(meta, Files::new(&[(name, Some(bytes))]), quiet()).await.unwrap()
    }

    pub(super) async fn update(&self, object: ObjectId, name: &str, bytes: &[u8]) -> PutReceipt {
        self.sharing.update(object, meta(name), Files::new(&[(name, Some(bytes))]), quiet()).await.unwrap()
    }

    pub(super) async fn get(&self, object: ObjectId, version: Option<u32>) -> Result<Vec<u8>, SharingError> {
        read(&self.sharing, object, version).await
    }

    pub(super) async fn share(&self, object: ObjectId, with: &Node, change: impl FnOnce(&mut GrantRequest)) {
        let mut request =
            GrantRequest { to: vec![with.id], expires_at: None, max_openings: None, deposit: false };
        change(&mut request);
        self.sharing.share(object, request).await.unwrap();
    }

    pub(super) async fn verify(&self, object: ObjectId) -> VerifyReport {
        self.sharing.verify(Some(object), VerifyRequest::default(), quiet()).await.unwrap()
    }

    /// This member's service over an empty key store, as after the loss of its data folder.
    pub(super) fn emptied(&self) -> Sharing {
        let inner = &self.sharing.0;
        Sharing::new(Parts {
            chain: Arc::clone(&inner.contracts.chain),
            swarm: Arc::clone(&inner.swarm),
            depository: Arc::clone(&inner.depository),
            keys: self.keys.clone(),
            kv: Arc::new(MemoryStore::new()),
            store: self.store.clone(),
            responder: Arc::clone(&self.peer.responder),
            settings: SharingSettings::default(),
            space: space(Arc::clone(&self.disk)),
        })
        .unwrap()
    }

    /// Flips one bit of a large block; `false` when the block is small, or not here.
    pub(super) fn flip(&self, cid: &str) -> bool {
        let cid = cid.parse().unwrap();
        let Some(BlockFile { path, offset }) = self.store.file(&cid).unwrap() else { return false };
        let bytes = self.store.expect(&cid).unwrap();
        let middle = bytes.len() / 2;
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.write_all_at(&[bytes[middle] ^ 1], offset + middle as u64).unwrap();
        true
    }
}

/// Opens a version and reads it to its end.
pub(super) async fn read(
    sharing: &Sharing,
    object: ObjectId,
    version: Option<u32>,
) -> Result<Vec<u8>, SharingError> {
    let opened = sharing.open(object, version.map(Version), OpenMode::Ordinary).await?;
    let mut bytes = Vec::new();
    let mut content = opened.content();
    while let Some(piece) = content.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

pub(super) fn meta(name: &str) -> PutMeta {
    PutMeta {
        name: Some(name.to_owned()),
        kind: ObjectKind::File,
        executable: false,
        size: None,
        visibility: None,
        valid_until: None,
        replicas: None,
    }
}

pub(super) fn quiet() -> ProgressSink {
    Arc::new(|_| ())
}

/// Members 1, 2, … on one chain.
pub(super) struct Consortium {
    pub(super) nodes: Vec<Node>,
    pub(super) ledger: Ledger,
    clock: Arc<Mutex<u64>>,
    mining: JoinHandle<()>,
    mesh: Arc<Mesh>,
}

impl Drop for Consortium {
    fn drop(&mut self) {
        self.mining.abort();
        self.nodes.iter().filter_map(|node| node.replication.as_ref()).for_each(JoinHandle::abort);
    }
}

impl Consortium {
    /// `count` members, all of them keeping replicas.
    pub(super) async fn start(count: usize) -> Self {
        let mut consortium = Self::start_idle(count).await;
        consortium.nodes.iter_mut().for_each(Node::replicate);
        consortium
    }

    /// `count` members whose replication has not been started.
    pub(super) async fn start_idle(count: usize) -> Self {
        let keys: Vec<_> = (0..count).map(|_| MemberKeys::generate().unwrap()).collect();
        let founders = keys
            .iter()
            .enumerate()
            .map(|(i, keys)| {
                let swarm = format!("/ip4/127.0.0.1/tcp/{}", 4000 + i);
                keys.card(format!("member {}", i + 1), ClusterId(1), format!("127.0.0.1:{}", 3000 + i), swarm)
                    .unwrap()
                    .card
            })
            .collect();
        let limits = Limits::default();
        let genesis = draft_genesis(4242, START, limits, founders);
        let ledger = Ledger::open(Arc::new(MemoryStore::new()), &genesis).unwrap();
        let clock = Arc::new(Mutex::new(START + 1));
        let mining = tokio::spawn(mine(ledger.clone(), Arc::clone(&clock)));
        let mesh = Arc::new(Mesh::default());
        let chain = |keys: &MemberKeys| Arc::new(LedgerChain::new(ledger.clone(), keys.clone()));
        let start = |(keys, id): (MemberKeys, u32)| {
            let (chain, dir) = (chain(&keys), Arc::new(tempfile::tempdir().unwrap()));
            node(keys, id, &ledger, chain, Arc::new(MemoryStore::new()), dir, &mesh)
        };
        let nodes = keys.into_iter().zip(1..).map(start).collect();
        Self { nodes, ledger, clock, mining, mesh }
    }

    /// Like [`Consortium::start`], with the real swarm over loopback instead of the mesh.
    pub(super) async fn start_on_sockets(count: usize) -> (Self, Vec<hansa_swarm::Swarm>) {
        let mut consortium = Self::start_idle(count).await;
        let swarm_key = hansa_types::SwarmKey::from_bytes([7; 32]);
        let mut swarms = Vec::new();
        let mut members = Vec::new();
        for node in &consortium.nodes {
            let config = hansa_swarm::Config {
                secret: *node.keys.network_secret(),
                swarm_key: swarm_key.clone(),
                listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
                members: Vec::new(),
                store: node.store.clone(),
                responder: Arc::new(PeerRequests(node.peer.responder.clone())),
                limits: hansa_swarm::Limits::default(),
            };
            let swarm = hansa_swarm::Swarm::start(config).await.unwrap();
            let endpoint = swarm.listen_addrs().await.unwrap().remove(0);
            members.push(hansa_swarm::SwarmMember { key: node.keys.network_key(), endpoint });
            swarms.push(swarm);
        }
        for swarm in &swarms {
            swarm.set_members(members.clone()).await.unwrap();
        }
        for (node, swarm) in consortium.nodes.iter_mut().zip(&swarms) {
            swarm.watch_peers().wait_for(|peers| peers.len() + 1 == count).await.unwrap();
            let inner = &node.sharing.0;
            node.sharing = Sharing::new(Parts {
                chain: Arc::clone(&inner.contracts.chain),
                swarm: Arc::new(SwarmNode(swarm.clone())),
                depository: Arc::clone(&inner.depository),
                keys: node.keys.clone(),
                kv: Arc::clone(&inner.kv),
                store: node.store.clone(),
                responder: Arc::clone(&node.peer.responder),
                settings: SharingSettings::default(),
                space: plenty(),
            })
            .unwrap();
            node.replicate();
        }
        (consortium, swarms)
    }

    /// Starts a member's node anew, on what is left of its store, and in its folder.
    pub(super) fn restart(&mut self, id: u32, chain: Arc<dyn Chain>, kv: Arc<dyn KvStore>) {
        let old = &mut self.nodes[id as usize - 1];
        old.stop_replicating();
        let (keys, dir) = (old.keys.clone(), Arc::clone(&old.dir));
        *old = node(keys, id, &self.ledger, chain, kv, dir, &self.mesh);
    }

    /// What other nodes ever answered this one.
    pub(super) fn answers_to(&self, node: &Node) -> Vec<Bytes> {
        let (answers, me) = (self.mesh.answers.lock(), node.keys.network_key());
        answers.iter().filter(|(asking, _)| *asking == me).map(|(_, answer)| answer.clone()).collect()
    }

    /// Starts a member's node anew with other keys and an empty disk, as after a reset.
    pub(super) fn rekey(&mut self, id: u32, keys: MemberKeys) {
        let old = &mut self.nodes[id as usize - 1];
        old.stop_replicating();
        self.mesh.peers.lock().remove(&old.keys.network_key());
        let chain = Arc::new(LedgerChain::new(self.ledger.clone(), keys.clone()));
        let (kv, dir) = (Arc::new(MemoryStore::new()), Arc::new(tempfile::tempdir().unwrap()));
        *old = node(keys, id, &self.ledger, chain, kv, dir, &self.mesh);
    }

    /// Stops finalising by itself.
    pub(super) fn stop_mining(&self) {
        self.mining.abort();
    }

    /// Finalises what is pending in one block.
    pub(super) fn mine_once(&self) {
        mine_block(&self.ledger, &self.clock);
    }

    /// Sets the time of the blocks to come.
    pub(super) fn set_time(&self, seconds_after_start: u64) {
        *self.clock.lock() = START + seconds_after_start;
    }

    /// Has nothing ever arrive below a root.
    pub(super) fn withhold(&self, root: Cid) {
        self.mesh.withheld.lock().insert(root);
    }

    pub(super) fn node(&self, id: u32) -> &Node {
        &self.nodes[id as usize - 1]
    }
}

fn node(
    keys: MemberKeys,
    id: u32,
    ledger: &Ledger,
    chain: Arc<dyn Chain>,
    kv: Arc<dyn KvStore>,
    dir: Arc<tempfile::TempDir>,
    mesh: &Arc<Mesh>,
) -> Node {
    let store = BlockStore::open(Arc::clone(&kv), dir.path()).unwrap();
    let (silent, ahead) = Default::default();
    let tip = Arc::new(Heard { ledger: ledger.clone(), silent, ahead });
    let (heard, own) = (Arc::clone(&tip) as Arc<dyn Tip>, keys.clone());
    let responder = Responder::new(Arc::clone(&chain), heard, own, Arc::clone(&kv), store.clone()).unwrap();
    let recording = responder.start_recording();
    let me = keys.network_key();
    let (online, fault) = (AtomicBool::new(true), Mutex::default());
    let peer = Arc::new(Peer { store: store.clone(), responder, online, fault });
    mesh.peers.lock().insert(me, Arc::clone(&peer));
    let swarm = Arc::new(MeshSwarm { me, store: store.clone(), mesh: Arc::clone(mesh) });
    let disk = Arc::new(Mutex::new(PLENTY));
    let validators = Arc::new(Validators::new(ledger, me));
    let sharing = Sharing::new(Parts {
        chain,
        swarm,
        depository: Arc::clone(&validators) as Arc<dyn hansa_ports::Depository>,
        keys: keys.clone(),
        kv,
        store: store.clone(),
        responder: Arc::clone(&peer.responder),
        settings: SharingSettings::default(),
        space: space(Arc::clone(&disk)),
    })
    .unwrap();
    let id = DcId::new(id).unwrap();
    Node { id, keys, sharing, store, tip, validators, disk, peer, recording, replication: None, dir }
}
