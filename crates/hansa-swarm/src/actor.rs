//! The task that owns the libp2p node: it turns commands into protocol actions and protocol events into answers. Whatever
//! takes time (hashing, the disk, key requests) runs elsewhere and comes back as a [`Done`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cid::Cid;
use futures::StreamExt;
use hansa_content::{Block, BlockStore};
use hansa_types::NetworkKey;
use libp2p::request_response::{self, OutboundFailure, OutboundRequestId, ResponseChannel};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ListenError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, ping};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::behaviour::{Node, NodeEvent};
use crate::bitswap::{
    self, Budget, Entry, Key, Kind, Message, Outcome, Payload, Presence, ServeJob, SessionId,
};
use crate::dial::Dialer;
use crate::peer::peer_id;
use crate::{KeyResponder, Limits, SwarmError, SwarmMember};

/// A want for presence of a block this small is answered with the block.
const HAVE_IS_BLOCK_BYTES: u64 = 1024;
/// Bytes of blocks after which an answer is sent.
const ANSWER_BYTES: usize = 1024 * 1024;
/// Key requests answered at the same time.
const KEY_REQUESTS_MAX: usize = 64;
const TICK: Duration = Duration::from_millis(250);

/// What a session is given.
pub(crate) enum Delivery {
    /// A block it wanted; the budget is given back when the message's memory is no longer needed.
    Block(Block, Budget),
    Outcome(Outcome),
}

/// What the handle asks of the node.
pub(crate) enum Command {
    Open { id: SessionId, only: Option<PeerId>, presence: bool, deliveries: mpsc::UnboundedSender<Delivery> },
    Want { id: SessionId, cids: Vec<Cid> },
    Close { id: SessionId },
    SetMembers { members: Vec<SwarmMember>, done: oneshot::Sender<()> },
    ListenAddrs { reply: oneshot::Sender<Vec<String>> },
    RequestKey { peer: NetworkKey, request: Bytes, reply: oneshot::Sender<Result<Bytes, SwarmError>> },
    Provide { cid: Cid, reply: oneshot::Sender<bool> },
    Shutdown { done: oneshot::Sender<()> },
}

/// What comes back from other threads.
enum Done {
    Verified { peer: PeerId, blocks: Vec<Block>, budget: Budget },
    Served { job: ServeJob, answer: Message, leftover: Vec<Entry> },
    Responded { channel: ResponseChannel<Bytes>, response: Bytes },
}

/// A key request under way.
struct Asked {
    of: NetworkKey,
    /// To be sent once more if the connection ends: its peer may have restarted, and nobody knew yet.
    again: Option<Bytes>,
    reply: oneshot::Sender<Result<Bytes, SwarmError>>,
}

pub(crate) struct Actor {
    swarm: libp2p::Swarm<Node>,
    commands: mpsc::UnboundedReceiver<Command>,
    done: mpsc::UnboundedReceiver<Done>,
    back: mpsc::UnboundedSender<Done>,
    sessions: HashMap<SessionId, mpsc::UnboundedSender<Delivery>>,
    members: HashMap<PeerId, NetworkKey>,
    peers: watch::Sender<Vec<NetworkKey>>,
    /// Connections turned away since the start.
    refused: Arc<AtomicU64>,
    dialer: Dialer,
    asked: HashMap<OutboundRequestId, Asked>,
    key_slots: Arc<Semaphore>,
    responder: Arc<dyn KeyResponder>,
    store: BlockStore,
    limits: Limits,
}

impl Actor {
    pub(crate) fn new(
        swarm: libp2p::Swarm<Node>,
        commands: mpsc::UnboundedReceiver<Command>,
        peers: watch::Sender<Vec<NetworkKey>>,
        refused: Arc<AtomicU64>,
        store: BlockStore,
        responder: Arc<dyn KeyResponder>,
        limits: Limits,
    ) -> Self {
        let (back, done) = mpsc::unbounded_channel();
        let dialer = Dialer::new(*swarm.local_peer_id());
        Self {
            swarm,
            commands,
            done,
            back,
            sessions: HashMap::new(),
            members: HashMap::new(),
            peers,
            refused,
            dialer,
            asked: HashMap::new(),
            key_slots: Arc::new(Semaphore::new(KEY_REQUESTS_MAX)),
            responder,
            store,
            limits,
        }
    }

    /// Runs until it is told to stop or nobody can tell it anything any more.
    pub(crate) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(done) = self.done.recv() => self.on_done(done),
                command = self.commands.recv() => match command {
                    Some(Command::Shutdown { done }) => {
                        // The connections close with the node.
                        drop(self);
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.on_command(command),
                    None => return,
                },
                _ = tick.tick() => {
                    self.dial();
                    self.swarm.behaviour_mut().bitswap.tick(self.limits.fetch_idle);
                }
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Open { id, only, presence, deliveries } => {
                self.sessions.insert(id, deliveries);
                self.swarm.behaviour_mut().bitswap.open(id, only, presence);
            }
            Command::Want { id, cids } => self.swarm.behaviour_mut().bitswap.want(id, cids),
            Command::Close { id } => {
                self.sessions.remove(&id);
                self.swarm.behaviour_mut().bitswap.close(id);
            }
            Command::SetMembers { members, done } => {
                self.set_members(members);
                let _ = done.send(());
            }
            Command::ListenAddrs { reply } => {
                let _ = reply.send(self.swarm.listeners().map(Multiaddr::to_string).collect());
            }
            Command::RequestKey { peer, request, reply } => self.request_key(peer, request, reply),
            Command::Provide { cid, reply } => {
                let _ = reply.send(self.swarm.behaviour_mut().provide(&cid));
            }
            Command::Shutdown { .. } => {}
        }
    }

    /// Publishes which members are connected.
    fn publish_peers(&self) {
        let mut peers: Vec<NetworkKey> =
            self.swarm.connected_peers().filter_map(|peer| self.members.get(peer).copied()).collect();
        peers.sort_unstable();
        self.peers.send_if_modified(|old| {
            let changed = *old != peers;
            *old = peers;
            changed
        });
    }

    fn set_members(&mut self, members: Vec<SwarmMember>) {
        let mut addresses = BTreeMap::new();
        let mut keys = HashMap::new();
        for member in members {
            let Ok(peer) = peer_id(&member.key) else {
                tracing::warn!(key = %member.key, "a member's network key is not an ed25519 key");
                continue;
            };
            keys.insert(peer, member.key);
            match member.endpoint.parse::<Multiaddr>() {
                Ok(address) => drop(addresses.insert(peer, address)),
                Err(_) => tracing::warn!(key = %member.key, endpoint = member.endpoint, "not a multiaddr"),
            }
        }
        let node = self.swarm.behaviour_mut();
        for peer in self.members.keys().filter(|peer| !keys.contains_key(peer)) {
            node.members.disallow_peer(*peer);
            node.forget(peer);
        }
        for peer in keys.keys() {
            node.members.allow_peer(*peer);
        }
        for (peer, address) in &addresses {
            node.add_address(peer, address.clone());
        }
        node.bitswap.set_members(keys.keys().copied().collect::<HashSet<_>>());
        self.members = keys;
        self.publish_peers();
        self.dialer.set(&addresses, Instant::now());
        self.dial();
    }

    fn dial(&mut self) {
        for (peer, address) in self.dialer.due(Instant::now()) {
            let options = DialOpts::peer_id(peer)
                .addresses(vec![address])
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .build();
            if let Err(error) = self.swarm.dial(options) {
                tracing::debug!(%peer, %error, "not dialled");
            }
        }
    }

    fn request_key(
        &mut self,
        of: NetworkKey,
        request: Bytes,
        reply: oneshot::Sender<Result<Bytes, SwarmError>>,
    ) {
        match peer_id(&of) {
            Ok(peer) => self.ask(&peer, request.clone(), Asked { of, again: Some(request), reply }),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Sends a request. A member that is not connected, because it has just restarted, is dialled.
    fn ask(&mut self, peer: &PeerId, request: Bytes, asked: Asked) {
        if self.members.contains_key(peer) {
            let id = self.swarm.behaviour_mut().key.send_request(peer, request);
            self.asked.insert(id, asked);
        } else {
            drop(asked.reply.send(Err(SwarmError::NotConnected(asked.of))));
        }
    }

    fn on_event(&mut self, event: SwarmEvent<NodeEvent>) {
        match event {
            SwarmEvent::Behaviour(NodeEvent::Bitswap(event)) => self.on_bitswap(event),
            SwarmEvent::Behaviour(NodeEvent::Key(event)) => self.on_key(event),
            SwarmEvent::Behaviour(NodeEvent::Ping(ping::Event {
                peer,
                connection,
                result: Err(ping::Failure::Timeout),
            })) => {
                tracing::info!(%peer, "a member does not answer; its connection is closed");
                self.swarm.close_connection(connection);
            }
            SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                self.dialer.connected(&peer_id);
                self.publish_peers();
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, "disconnected");
                self.dialer.disconnected(&peer_id, Instant::now());
                self.publish_peers();
            }
            SwarmEvent::NewListenAddr { address, .. } => self.swarm.add_external_address(address),
            SwarmEvent::IncomingConnectionError { error: ListenError::Denied { cause }, peer_id, .. } => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                tracing::info!(peer = ?peer_id, %cause, "a connection was turned away");
            }
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
                tracing::debug!(peer = ?peer_id, %error, "a member could not be reached");
            }
            _ => {}
        }
    }

    fn on_bitswap(&mut self, event: bitswap::Event) {
        match event {
            bitswap::Event::Verify { peer, payloads, budget } => {
                let back = self.back.clone();
                tokio::task::spawn_blocking(move || {
                    let blocks = payloads.into_iter().filter_map(verify).collect();
                    let _ = back.send(Done::Verified { peer, blocks, budget });
                });
            }
            bitswap::Event::Serve(job) => {
                let (back, store) = (self.back.clone(), self.store.clone());
                tokio::task::spawn_blocking(move || {
                    let (answer, leftover) = answer(&store, &job);
                    let _ = back.send(Done::Served { job, answer, leftover });
                });
            }
            bitswap::Event::Outcome(outcome) => {
                let (Outcome::NotFound(id, _) | Outcome::NotConnected(id) | Outcome::Presence(id, ..)) =
                    outcome;
                if let Some(session) = self.sessions.get(&id) {
                    let _ = session.send(Delivery::Outcome(outcome));
                }
            }
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Verified { peer, blocks, budget } => {
                for block in blocks {
                    self.deliver(peer, block, &budget);
                }
            }
            Done::Served { job, answer, leftover } => {
                self.swarm.behaviour_mut().bitswap.served(&job, answer, leftover);
            }
            Done::Responded { channel, response } => {
                // The requester may have gone; then nobody misses the answer.
                let _ = self.swarm.behaviour_mut().key.send_response(channel, response);
            }
        }
    }

    fn deliver(&mut self, peer: PeerId, block: Block, budget: &Budget) {
        let Some(key) = bitswap::key_of(block.cid()) else { return };
        let key: Key = key;
        for (id, cid) in self.swarm.behaviour_mut().bitswap.verified(peer, &key) {
            let named = block.clone().renamed(cid);
            if let (Some(session), Ok(block)) = (self.sessions.get(&id), named) {
                let _ = session.send(Delivery::Block(block, Arc::clone(budget)));
            }
        }
    }

    fn on_key(&mut self, event: request_response::Event<Bytes, Bytes>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                request_response::Message::Request { request, channel, .. } => {
                    self.respond(peer, request, channel);
                }
                request_response::Message::Response { request_id, response } => {
                    if let Some(asked) = self.asked.remove(&request_id) {
                        let _ = asked.reply.send(Ok(response));
                    }
                }
            },
            request_response::Event::OutboundFailure { peer, request_id, error, .. } => {
                self.not_answered(&peer, request_id, &error);
            }
            request_response::Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "a key request was not answered");
            }
            request_response::Event::ResponseSent { .. } => {}
        }
    }

    fn not_answered(&mut self, peer: &PeerId, id: OutboundRequestId, error: &OutboundFailure) {
        let Some(mut asked) = self.asked.remove(&id) else { return };
        match (error, asked.again.take()) {
            (OutboundFailure::ConnectionClosed, Some(request)) => self.ask(peer, request, asked),
            _ => drop(asked.reply.send(Err(key_failure(asked.of, error)))),
        }
    }

    /// Lets the responder answer a member; others, and requests beyond what can be handled, go without.
    fn respond(&self, peer: PeerId, request: Bytes, channel: ResponseChannel<Bytes>) {
        let Some(key) = self.members.get(&peer).copied() else { return };
        let Ok(slot) = Arc::clone(&self.key_slots).try_acquire_owned() else { return };
        let (back, responder, limit) =
            (self.back.clone(), Arc::clone(&self.responder), self.limits.key_timeout);
        tokio::spawn(async move {
            if let Ok(response) = tokio::time::timeout(limit, responder.respond(key, request)).await {
                let _ = back.send(Done::Responded { channel, response });
            }
            drop(slot);
        });
    }
}

fn key_failure(peer: NetworkKey, error: &OutboundFailure) -> SwarmError {
    match error {
        OutboundFailure::Timeout => SwarmError::Timeout(peer),
        OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => SwarmError::NotConnected(peer),
        error => SwarmError::KeyRequest { peer, reason: error.to_string() },
    }
}

/// The block that a payload is: its CID is computed, so nothing wrong can be accepted.
fn verify(payload: Payload) -> Option<Block> {
    Block::new(payload.codec, payload.data).ok()
}

/// Looks wants up. Blocks are checked when read; a damaged one is not served.
fn answer(store: &BlockStore, job: &ServeJob) -> (Message, Vec<Entry>) {
    let mut message = Message::default();
    let mut bytes = 0usize;
    for (index, want) in job.wants.iter().enumerate() {
        if bytes >= ANSWER_BYTES {
            return (message, job.wants.get(index..).unwrap_or_default().to_vec());
        }
        match look_up(store, want) {
            Some(Found::Block(block)) => {
                bytes = bytes.saturating_add(block.bytes().len());
                message.payloads.push(Payload::new(&block));
            }
            Some(Found::Present) => message.presences.push(Presence { cid: want.cid, have: true }),
            None if want.send_dont_have => message.presences.push(Presence { cid: want.cid, have: false }),
            None => {}
        }
    }
    (message, Vec::new())
}

enum Found {
    Block(Block),
    Present,
}

fn look_up(store: &BlockStore, want: &Entry) -> Option<Found> {
    let logged = |error: &hansa_content::ContentError| {
        if !matches!(error, hansa_content::ContentError::UnsupportedHash(_)) {
            tracing::warn!(cid = %want.cid, %error, "a wanted block cannot be served");
        }
    };
    let size = store.size(&want.cid).inspect_err(logged).ok()??;
    if want.kind == Kind::Have && size > HAVE_IS_BLOCK_BYTES {
        return Some(Found::Present);
    }
    let block = store.get_block(&want.cid).inspect_err(logged).ok()??;
    Some(Found::Block(block))
}
