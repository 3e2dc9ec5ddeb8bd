//! The actor: the task that owns the libp2p node. It turns commands into protocol actions and protocol events into replies. Slow work
//! (hashing, disk, name resolution, key responses) runs elsewhere and returns as a [`Done`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cid::Cid;
use futures::StreamExt;
use hansa_content::{Block, BlockStore};
use hansa_types::NetworkKey;
use libp2p::kad::{self, InboundRequest, ProviderRecord, RecordKey};
use libp2p::request_response::{self, OutboundFailure, OutboundRequestId, ResponseChannel};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ListenError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, ping};
use tokio::sync::{mpsc, oneshot, watch};

use crate::address::Endpoint;
use crate::behaviour::{Node, NodeEvent, record_key};
use crate::bitswap::{self, Budget, Entry, Key, Message, Outcome, ServeJob, SessionId};
use crate::dial::Dialer;
use crate::peer::peer_id;
use crate::providers::{Announcements, Providers};
use crate::serve::{answer, verify};
use crate::slots::Slots;
use crate::{Heard, KeyResponder, Limits, SwarmError, SwarmMember};

/// Maximum number of stored addresses of an announcement.
const ADDRESSES_MAX: usize = 8;
/// Bytes of blocks that are hashed in place, because a hand-over to another thread would take longer.
const VERIFIED_HERE_MAX: usize = 16 * 1024;
const TICK: Duration = Duration::from_millis(250);

/// An event for a session.
pub(crate) enum Delivery {
    /// A wanted block. The budget is released when the message's memory is no longer needed.
    Block(Block, Budget),
    Outcome(Outcome),
}

/// A command of the handle.
pub(crate) enum Command {
    Open {
        id: SessionId,
        only: Option<PeerId>,
        likely: Vec<PeerId>,
        deliveries: mpsc::UnboundedSender<Delivery>,
    },
    Want {
        id: SessionId,
        cids: Vec<Cid>,
    },
    Close {
        id: SessionId,
    },
    SetMembers {
        members: Vec<SwarmMember>,
        done: oneshot::Sender<()>,
    },
    ListenAddrs {
        reply: oneshot::Sender<Vec<String>>,
    },
    RequestKey {
        peer: NetworkKey,
        request: Bytes,
        reply: oneshot::Sender<Result<Bytes, SwarmError>>,
    },
    Announce {
        cid: Cid,
    },
    Shutdown {
        done: oneshot::Sender<()>,
    },
}

/// The result of work in other tasks and threads.
enum Done {
    Verified { peer: PeerId, blocks: Vec<Block>, budget: Budget },
    Served { job: ServeJob, answer: Message, leftover: Vec<Entry> },
    Responded { channel: ResponseChannel<Bytes>, response: Bytes },
    Resolved { peer: PeerId, addresses: Vec<Multiaddr> },
}

/// A pending key request.
struct KeyRequest {
    of: NetworkKey,
    /// Sent once more if the connection closes: the peer may have restarted.
    retry: Option<Bytes>,
    reply: oneshot::Sender<Result<Bytes, SwarmError>>,
}

/// State that the handle reads without a command.
pub(crate) struct Published {
    pub(crate) peers: watch::Sender<Vec<NetworkKey>>,
    pub(crate) heard: watch::Sender<HashMap<NetworkKey, Heard>>,
    /// Number of refused connections since the start.
    pub(crate) refused: Arc<AtomicU64>,
}

pub(crate) struct Actor {
    swarm: libp2p::Swarm<Node>,
    commands: mpsc::UnboundedReceiver<Command>,
    done: mpsc::UnboundedReceiver<Done>,
    back: mpsc::UnboundedSender<Done>,
    sessions: HashMap<SessionId, mpsc::UnboundedSender<Delivery>>,
    members: HashMap<PeerId, NetworkKey>,
    /// Invalid endpoints, each logged once.
    bad_endpoints: HashMap<PeerId, String>,
    /// Each member's addresses in the hash table.
    addresses: HashMap<PeerId, Vec<Multiaddr>>,
    /// Members whose host name is being resolved.
    resolving: HashSet<PeerId>,
    providers: Providers,
    announcements: Announcements,
    published: Published,
    dialer: Dialer,
    asked: HashMap<OutboundRequestId, KeyRequest>,
    key_slots: Slots,
    responder: Arc<dyn KeyResponder>,
    store: BlockStore,
    limits: Limits,
}

impl Actor {
    pub(crate) fn new(
        swarm: libp2p::Swarm<Node>,
        commands: mpsc::UnboundedReceiver<Command>,
        published: Published,
        store: BlockStore,
        responder: Arc<dyn KeyResponder>,
        limits: Limits,
    ) -> Self {
        let (back, done) = mpsc::unbounded_channel();
        let dialer = Dialer::new(*swarm.local_peer_id(), limits.clone());
        Self {
            swarm,
            commands,
            done,
            back,
            sessions: HashMap::new(),
            members: HashMap::new(),
            bad_endpoints: HashMap::new(),
            addresses: HashMap::new(),
            resolving: HashSet::new(),
            providers: Providers::default(),
            announcements: Announcements::default(),
            published,
            dialer,
            asked: HashMap::new(),
            key_slots: Slots::default(),
            responder,
            store,
            limits,
        }
    }

    /// Runs until a shutdown command, or until all handles are dropped.
    pub(crate) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(done) = self.done.recv() => self.on_done(done),
                command = self.commands.recv() => match command {
                    Some(Command::Shutdown { done }) => {
                        // Dropping the node closes its connections.
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
                    self.announcements.tick().for_each(|key| self.announce(key));
                }
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Open { id, only, likely, deliveries } => {
                self.sessions.insert(id, deliveries);
                self.swarm.behaviour_mut().bitswap.open(id, only, likely);
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
            Command::Announce { cid } => {
                if let Some(key) = self.announcements.add(record_key(&cid)) {
                    self.announce(key);
                }
            }
            Command::Shutdown { .. } => {}
        }
    }

    /// Publishes the connected members.
    fn publish_peers(&self) {
        let mut peers: Vec<NetworkKey> =
            self.swarm.connected_peers().filter_map(|peer| self.members.get(peer).copied()).collect();
        peers.sort_unstable();
        self.published.peers.send_if_modified(|old| {
            let changed = *old != peers;
            *old = peers;
            changed
        });
    }

    fn set_members(&mut self, members: Vec<SwarmMember>) {
        let mut endpoints = BTreeMap::new();
        let mut keys = HashMap::new();
        for member in members {
            let Ok(peer) = peer_id(&member.key) else {
                tracing::warn!(key = %member.key, "a member's network key is not an ed25519 key");
                continue;
            };
            keys.insert(peer, member.key);
            match Endpoint::parse(&member.endpoint) {
                Ok(endpoint) => drop(endpoints.insert(peer, endpoint)),
                Err(reason) => self.log_endpoint(peer, member, reason),
            }
        }
        let node = self.swarm.behaviour_mut();
        for peer in self.members.keys().filter(|peer| !keys.contains_key(peer)) {
            node.members.disallow_peer(*peer);
            node.forget(peer);
            self.addresses.remove(peer);
            self.bad_endpoints.remove(peer);
            self.providers.forget(peer).for_each(|key| node.remove_provider(&key, peer));
        }
        for peer in keys.keys() {
            node.members.allow_peer(*peer);
        }
        node.bitswap.set_members(keys.keys().copied().collect::<HashSet<_>>());
        self.published
            .heard
            .send_modify(|heard| heard.retain(|key, _| keys.values().any(|kept| kept == key)));
        self.members = keys;
        for (peer, endpoint) in &endpoints {
            if let Some(address) = endpoint.address() {
                self.set_addresses(*peer, vec![address.clone()]);
            }
        }
        self.publish_peers();
        self.dialer.set(&endpoints, Instant::now());
        self.dial();
    }

    /// Logs an invalid endpoint once.
    fn log_endpoint(&mut self, peer: PeerId, member: SwarmMember, reason: &str) {
        let SwarmMember { key, endpoint } = member;
        if self.bad_endpoints.get(&peer) != Some(&endpoint) {
            tracing::warn!(%key, endpoint, reason, "a member's endpoint is invalid; the member must dial this node");
            self.bad_endpoints.insert(peer, endpoint);
        }
    }

    /// Replaces a member's addresses in the hash table.
    fn set_addresses(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let node = self.swarm.behaviour_mut();
        for address in &addresses {
            node.add_address(&peer, address.clone());
        }
        let old = self.addresses.insert(peer, addresses.clone()).unwrap_or_default();
        for address in old.iter().filter(|address| !addresses.contains(address)) {
            node.remove_address(&peer, address);
        }
    }

    fn dial(&mut self) {
        for (peer, endpoint) in self.dialer.due(Instant::now()) {
            match endpoint.address() {
                Some(address) => self.dial_at(peer, vec![address.clone()]),
                None if self.resolving.insert(peer) => {
                    let back = self.back.clone();
                    tokio::spawn(async move {
                        let addresses = endpoint.resolve().await;
                        let _ = back.send(Done::Resolved { peer, addresses });
                    });
                }
                None => {}
            }
        }
    }

    fn dial_at(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let options = DialOpts::peer_id(peer)
            .addresses(addresses)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .build();
        if let Err(error) = self.swarm.dial(options) {
            tracing::debug!(%peer, %error, "not dialled");
        }
    }

    fn resolved(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        self.resolving.remove(&peer);
        if self.members.contains_key(&peer) && !addresses.is_empty() {
            self.set_addresses(peer, addresses.clone());
            self.dial_at(peer, addresses);
        }
    }

    fn announce(&mut self, key: RecordKey) {
        let this = *self.swarm.local_peer_id();
        let node = self.swarm.behaviour_mut();
        if let Some(oldest) = self.providers.enter(this, &key) {
            node.remove_provider(&oldest, &this);
        }
        node.provide(key);
    }

    /// Stores a member's provider record.
    fn provided(&mut self, mut record: ProviderRecord) {
        if !self.members.contains_key(&record.provider) {
            return;
        }
        let node = self.swarm.behaviour_mut();
        if let Some(oldest) = self.providers.enter(record.provider, &record.key) {
            node.remove_provider(&oldest, &record.provider);
        }
        record.addresses.truncate(ADDRESSES_MAX);
        node.store_provider(record);
    }

    fn request_key(
        &mut self,
        of: NetworkKey,
        request: Bytes,
        reply: oneshot::Sender<Result<Bytes, SwarmError>>,
    ) {
        match peer_id(&of) {
            Ok(peer) => self.ask(&peer, request.clone(), KeyRequest { of, retry: Some(request), reply }),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Sends a request; libp2p dials a member that is not connected.
    fn ask(&mut self, peer: &PeerId, request: Bytes, asked: KeyRequest) {
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
            SwarmEvent::Behaviour(NodeEvent::Kad(kad::Event::InboundRequest {
                request: InboundRequest::AddProvider { record: Some(record) },
            })) => self.provided(record),
            SwarmEvent::Behaviour(NodeEvent::Ping(ping::Event { peer, result: Ok(round_trip), .. })) => {
                if let Some(key) = self.members.get(&peer) {
                    let heard = Heard { at: Instant::now(), round_trip };
                    self.published.heard.send_modify(|all| {
                        all.insert(*key, heard);
                    });
                }
            }
            SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                self.dialer.connected(&peer_id);
                self.publish_peers();
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                tracing::info!(peer = %peer_id, cause = cause.map(|cause| cause.to_string()), "disconnected");
                self.dialer.disconnected(&peer_id, Instant::now());
                self.publish_peers();
            }
            SwarmEvent::NewListenAddr { address, .. } => self.swarm.add_external_address(address),
            SwarmEvent::IncomingConnectionError { error: ListenError::Denied { cause }, peer_id, .. } => {
                let before = self.published.refused.fetch_add(1, Ordering::Relaxed);
                // Strangers retry for ever: log at powers of two.
                if before.saturating_add(1).is_power_of_two() {
                    tracing::info!(peer = ?peer_id, %cause, so_far = before, "a connection was refused");
                }
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
                let bytes: usize = payloads.iter().map(|payload| payload.data.len()).sum();
                let verified = move || {
                    let blocks = payloads.into_iter().filter_map(verify).collect();
                    Done::Verified { peer, blocks, budget }
                };
                if bytes <= VERIFIED_HERE_MAX {
                    self.on_done(verified());
                } else {
                    let back = self.back.clone();
                    tokio::task::spawn_blocking(move || back.send(verified()));
                }
            }
            bitswap::Event::Serve(job) => {
                let (back, store) = (self.back.clone(), self.store.clone());
                tokio::task::spawn_blocking(move || {
                    let (answer, leftover) = answer(&store, &job);
                    let _ = back.send(Done::Served { job, answer, leftover });
                });
            }
            bitswap::Event::Outcome(outcome) => {
                let (Outcome::NotFound(id, _) | Outcome::NotConnected(id)) = outcome;
                if let Some(session) = self.sessions.get(&id) {
                    let _ = session.send(Delivery::Outcome(outcome));
                }
            }
            bitswap::Event::Dropped(peer) => self.dialer.penalise(&peer, Instant::now()),
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
                // The requester may have disconnected.
                let _ = self.swarm.behaviour_mut().key.send_response(channel, response);
            }
            Done::Resolved { peer, addresses } => self.resolved(peer, addresses),
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
        match (error, asked.retry.take()) {
            (OutboundFailure::ConnectionClosed, Some(request)) => self.ask(peer, request, asked),
            _ => drop(asked.reply.send(Err(key_failure(asked.of, error)))),
        }
    }

    /// Starts the response to a member's request. Requests of strangers and beyond a member's slots get none.
    fn respond(&mut self, peer: PeerId, request: Bytes, channel: ResponseChannel<Bytes>) {
        let Some(key) = self.members.get(&peer).copied() else { return };
        let Some(slot) = self.key_slots.take(peer) else { return };
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
