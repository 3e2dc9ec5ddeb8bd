//! A whole network in the deterministic runtime: the production assembly over simulated links, clocks and storage.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use alloy_primitives::B256;
use commonware_actor::Feedback;
use commonware_consensus::types::Epoch;
use commonware_cryptography::{Signer as _, bls12381::primitives::group::Share};
use commonware_glue::dkg::SecretStore as _;
use commonware_p2p::{
    Address, AddressableManager, AddressableTrackedPeers, Manager as _, PeerSetSubscription, PeerSetUpdate,
    Provider, Recipients, TrackedPeers,
    simulated::{self, Link, Network, Oracle, SplitOrigin, SplitTarget},
};
use commonware_runtime::{
    Clock as _, Handle, IoBuf, Quota, Runner as _, Spawner as _, Supervisor as _,
    deterministic::{self, Context},
};
use commonware_utils::{
    NZU32, NZUsize,
    channel::mpsc,
    ordered::{Map, Set},
};
use hansa_kv::MemoryStore;
use hansa_ledger::Ledger;
use hansa_types::Genesis;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::{
    fixture::{dealt, signer},
    judges::Judges,
    organisation::{Organisation, ledger},
};
use crate::{
    config::Timing,
    engine::{self, Node},
    network::{Channels, QUOTAS},
    release::{GroupKey, KeyReleases},
    secrets::SealedSecrets,
    status::StatusBoard,
    types::PublicKey,
};

/// The peer sets of one simulated node. The simulated oracle has only one history for the whole network.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalPeers(Arc<Mutex<Tracked>>);

#[derive(Debug, Default)]
struct Tracked {
    sets: BTreeMap<u64, TrackedPeers<PublicKey>>,
    subscribers: Vec<mpsc::UnboundedSender<PeerSetUpdate<PublicKey>>>,
}

impl Tracked {
    fn update(&self) -> Option<PeerSetUpdate<PublicKey>> {
        let (index, latest) = self.sets.last_key_value()?;
        Some(PeerSetUpdate { index: *index, latest: latest.clone(), all: latest.clone() })
    }
}

impl Provider for LocalPeers {
    type PublicKey = PublicKey;

    async fn peer_set(&mut self, id: u64) -> Option<TrackedPeers<PublicKey>> {
        self.0.lock().sets.get(&id).cloned()
    }

    async fn subscribe(&mut self) -> PeerSetSubscription<PublicKey> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut tracked = self.0.lock();
        if let Some(update) = tracked.update() {
            let _ = sender.send(update);
        }
        tracked.subscribers.push(sender);
        receiver
    }
}

impl AddressableManager for LocalPeers {
    fn track<R>(&mut self, id: u64, peers: R) -> Feedback
    where
        R: Into<AddressableTrackedPeers<PublicKey>> + Send,
    {
        let peers = peers.into();
        let mut tracked = self.0.lock();
        let peers = TrackedPeers::new(peers.primary.into_keys(), peers.secondary.into_keys());
        tracked.sets.insert(id, peers);
        let update = tracked.update().unwrap();
        tracked.subscribers.retain(|subscriber| subscriber.send(update.clone()).is_ok());
        Feedback::Ok
    }

    fn overwrite(&mut self, _: Map<PublicKey, Address>) -> Feedback {
        Feedback::Ok
    }
}

/// The halves of the network that two twins see. Twins are nodes with one key that contradict each other. An honest node has no halves
/// and sends to all.
type Halves = Option<[Vec<PublicKey>; 2]>;

/// The filter of messages from a node, or from one of two twins.
type Forward = &'static (
             dyn Fn(SplitOrigin, &Recipients<PublicKey>, &IoBuf) -> Option<Recipients<PublicKey>>
                 + Send
                 + Sync
         );
pub(super) type SimSender = simulated::SplitSender<PublicKey, Context, Forward>;
pub(super) type SimReceiver = simulated::Receiver<PublicKey>;

fn forward(halves: Halves) -> Forward {
    Box::leak(Box::new(move |origin, recipients: &Recipients<PublicKey>, _: &IoBuf| {
        let Some([first, second]) = &halves else { return Some(recipients.clone()) };
        let mine = if origin == SplitOrigin::Primary { first } else { second };
        let peers = match recipients {
            Recipients::One(peer) => vec![peer.clone()],
            Recipients::Some(peers) => peers.clone(),
            Recipients::All => mine.clone(),
        };
        Some(Recipients::Some(peers.into_iter().filter(|peer| mine.contains(peer)).collect()))
    }))
}

fn route(halves: Halves) -> impl Fn(&(PublicKey, IoBuf)) -> SplitTarget + Send + Sync + 'static {
    move |(peer, _)| match &halves {
        Some([_, second]) if second.contains(peer) => SplitTarget::Secondary,
        _ => SplitTarget::Primary,
    }
}

/// A running or crashed node.
pub(super) struct Running {
    pub(super) ledger: Ledger,
    pub(super) board: StatusBoard,
    pub(super) releases: KeyReleases,
    handle: Handle<()>,
}

/// The network and everything in it.
pub(super) struct World {
    pub(super) context: Context,
    pub(super) organisations: Vec<Organisation>,
    pub(super) genesis: Genesis,
    pub(super) nodes: BTreeMap<usize, Running>,
    /// Timing of nodes started later.
    pub(super) timing: Timing,
    /// The openings that the nodes know.
    pub(super) judges: Judges,
    oracle: Oracle<PublicKey, Context>,
    pub(super) shares: Map<PublicKey, Share>,
    pub(super) stores: Vec<MemoryStore>,
    /// Number of data losses of each node, part of its partition names.
    wiped: Vec<u32>,
    secrets: TempDir,
    starts: u32,
}

/// The shape of a network.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Number of founders, all validators.
    pub(super) founders: usize,
    /// Number of further nodes without a seat.
    pub(super) followers: usize,
    pub(super) epoch_blocks: u64,
    pub(super) seed: u64,
}

pub(super) const GOOD_LINK: Link = Link {
    latency: Duration::from_millis(10),
    jitter: Duration::from_millis(2),
    success_rate: commonware_utils::probability!(1.0),
};

/// Runs a scenario in a new network; returns its outcome and the fingerprint of all events.
pub(super) fn simulate<T, F>(shape: Shape, scenario: impl FnOnce(World) -> F) -> (T, String)
where
    F: Future<Output = (T, World)>,
{
    let limit = Some(Duration::from_secs(1_200));
    let config = deterministic::Config::new().with_seed(shape.seed).with_timeout(limit);
    deterministic::Runner::new(config).start(|context| async move {
        let world = World::new(context, shape).await;
        let (outcome, world) = scenario(world).await;
        let fingerprint = world.context.auditor().state();
        (outcome, fingerprint)
    })
}

impl World {
    async fn new(context: Context, shape: Shape) -> Self {
        let organisations: Vec<_> = (1..=shape.founders + shape.followers)
            .map(|i| Organisation::new(i as u8, format!("127.0.0.1:{}", 10_000 + i)))
            .collect();
        let (genesis, shares) = dealt(&organisations[..shape.founders], shape.epoch_blocks);
        let config = simulated::Config {
            max_size: 16 * 1024 * 1024,
            max_peers_per_set: NZUsize!(64),
            disconnect_on_block: true,
            tracked_peer_sets: NZUsize!(1),
        };
        let (network, oracle) = Network::new(context.child("network"), config);
        network.start();
        let keys: Vec<_> = organisations.iter().map(|o| signer(o).public_key()).collect();
        oracle.manager().track(0, Set::from_iter_dedup(keys));
        let mut world = Self {
            stores: organisations.iter().map(|_| MemoryStore::new()).collect(),
            wiped: vec![0; organisations.len()],
            context,
            organisations,
            genesis,
            nodes: BTreeMap::new(),
            timing: Timing { filling: None, ..Timing::default() },
            judges: Judges::default(),
            oracle,
            shares,
            secrets: tempfile::tempdir().unwrap(),
            starts: 0,
        };
        world.connect(GOOD_LINK, |_, _| true).await;
        world
    }

    pub(super) fn key(&self, index: usize) -> PublicKey {
        signer(&self.organisations[index]).public_key()
    }

    /// Replaces all links: pairs with `linked` get `link`, the others none.
    pub(super) async fn connect(&mut self, link: Link, linked: impl Fn(usize, usize) -> bool) {
        for from in 0..self.organisations.len() {
            for to in (0..self.organisations.len()).filter(|to| *to != from) {
                let _ = self.oracle.remove_link(self.key(from), self.key(to)).await;
                if linked(from, to) {
                    self.oracle.add_link(self.key(from), self.key(to), link.clone()).await.unwrap();
                }
            }
        }
    }

    /// Replaces one direction of one link.
    pub(super) async fn relink(&mut self, from: usize, to: usize, link: Link) {
        let (from, to) = (self.key(from), self.key(to));
        self.oracle.remove_link(from.clone(), to.clone()).await.unwrap();
        self.oracle.add_link(from, to, link).await.unwrap();
    }

    async fn channels(&mut self, index: usize, halves: Halves) -> [Vec<(SimSender, SimReceiver)>; 2] {
        let control = self.oracle.control(self.key(index));
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (channel, (rate, _)) in (0..).zip(QUOTAS) {
            let quota = Quota::per_second(rate.max(NZU32!(4_096)));
            let (sender, receiver) = control.register(channel, quota).await.unwrap();
            let context = self.context.child("split").with_attribute("start", self.starts);
            let context = context.with_attribute("channel", channel);
            let (to_first, to_second) = sender.split_with(forward(halves.clone()));
            let (of_first, of_second) = receiver.split_with(context, route(halves.clone()));
            first.push((to_first, of_first));
            second.push((to_second, of_second));
        }
        [first, second]
    }

    /// The key to which deposits are sealed.
    pub(super) fn group(&self) -> GroupKey {
        let genesis = ledger(MemoryStore::new(), &self.genesis).genesis_block();
        GroupKey::of(&self.genesis, genesis.hash()).unwrap()
    }

    /// The channel for releases of a node that does not run, for a double.
    pub(super) async fn release_channel(&mut self, index: usize) -> (SimSender, SimReceiver) {
        let [mut first, _second] = self.channels(index, None).await;
        first.pop().unwrap()
    }

    /// Starts a node, or starts it again with what it had stored.
    pub(super) async fn start(&mut self, index: usize) {
        let [first, _second] = self.channels(index, None).await;
        let store = self.stores[index].clone();
        let running = self.launch(index, self.name(index), store, first).await;
        self.nodes.insert(index, running);
    }

    /// Starts two nodes with one key, each of which sends to half of the others: an equivocator.
    pub(super) async fn start_twins(&mut self, index: usize) {
        let half = |remainder| {
            let others = (0..self.organisations.len()).filter(|other| *other != index);
            others.filter(|other| other % 2 == remainder).map(|other| self.key(other)).collect()
        };
        let halves = Some([half(0), half(1)]);
        let [first, second] = self.channels(index, halves).await;
        for (name, channels) in [("first", first), ("second", second)] {
            let store = MemoryStore::new();
            self.launch(index, format!("{index}-{name}"), store, channels).await;
        }
    }

    async fn launch(
        &mut self,
        index: usize,
        name: String,
        store: MemoryStore,
        mut channels: Vec<(SimSender, SimReceiver)>,
    ) -> Running {
        self.starts += 1;
        let organisation = &self.organisations[index];
        let signer = signer(organisation);
        let mut secrets = SealedSecrets::open(self.secrets.path().join(&name), &[7; 32]).unwrap();
        if let Some(share) = self.shares.get_value(&signer.public_key()) {
            secrets.put_share(Epoch::zero(), share.clone()).await;
        }
        let (ledger, board) = (ledger(store, &self.genesis), StatusBoard::default());
        let (releases, inbox) = KeyReleases::new(self.group());
        let node = Node {
            signer: signer.clone(),
            ledger: ledger.clone(),
            transport: LocalPeers::default(),
            blocker: self.oracle.control(signer.public_key()),
            secrets,
            settings: Default::default(),
            timing: self.timing,
            board: board.clone(),
            judge: self.judges.of(index),
            releases: inbox,
            partition: name,
        };
        channels.reverse();
        let channels = Channels::register(|_, _| channels.pop().unwrap());
        let context = self.context.child("node").with_attribute("start", self.starts);
        let handle = context.spawn(move |context| async move {
            let parts = engine::start(context.child("engine"), node, channels).await.unwrap();
            parts.await.unwrap().unwrap();
            panic!("a node ended by itself");
        });
        Running { ledger, board, releases, handle }
    }

    /// The prefix of a node's partitions.
    pub(super) fn name(&self, index: usize) -> String {
        format!("{index}-{}", self.wiped[index])
    }

    /// Crashes a node and deletes its data.
    pub(super) fn wipe(&mut self, index: usize) {
        self.crash(index);
        self.stores[index] = MemoryStore::new();
        self.wiped[index] += 1;
    }

    pub(super) fn status(&self, index: usize) -> crate::Status {
        self.nodes[&index].board.subscribe().borrow().clone()
    }

    /// Crashes a node. Its data stay.
    pub(super) fn crash(&mut self, index: usize) {
        self.nodes.remove(&index).unwrap().handle.abort();
    }

    pub(super) fn height(&self, index: usize) -> u64 {
        self.nodes[&index].ledger.head().number()
    }

    /// Waits until all running nodes have executed `height`.
    pub(super) async fn reach(&self, height: u64) {
        while self.nodes.values().any(|node| node.ledger.head().number() < height) {
            self.context.sleep(Duration::from_millis(20)).await;
        }
    }

    /// Checks that all running nodes have equal blocks up to their lowest height; returns that height, its hash and state root.
    pub(super) fn agreed(&self) -> (u64, B256, B256) {
        let height = self.nodes.values().map(|node| node.ledger.head().number()).min().unwrap();
        for number in 1..=height {
            let blocks: Vec<_> =
                self.nodes.values().map(|node| node.ledger.block(number).unwrap().unwrap()).collect();
            assert!(blocks.iter().all(|block| *block == blocks[0]), "the nodes disagree at height {number}");
        }
        let head = self.nodes.values().next().unwrap().ledger.block(height).unwrap().unwrap();
        (height, head.hash(), head.header().state_root)
    }
}
