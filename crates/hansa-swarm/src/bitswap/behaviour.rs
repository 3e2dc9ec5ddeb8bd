//! Connects the two state machines to libp2p. Only members' connections get a Bitswap handler.

use std::collections::{HashMap, HashSet, VecDeque};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use cid::Cid;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, FromSwarm};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, NetworkBehaviour, NotifyHandler, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use super::handler::{Budget, Handler, Report, Send};
use super::ledger::{Job, Ledgers};
use super::message::{Entry, MAX_WANTS, Message, Payload};
use super::wants::{Outcome, SessionId, Wants};
use super::{Key, message};
use crate::Limits;

pub(crate) use super::ledger::Job as ServeJob;

/// Work for the node.
#[derive(Debug)]
pub(crate) enum Event {
    /// Hash these blocks and report each with [`Behaviour::verified`].
    Verify { peer: PeerId, payloads: Vec<Payload>, budget: Budget },
    /// Read these wanted blocks and report with [`Behaviour::served`].
    Serve(Job),
    /// Pass this to the session.
    Outcome(Outcome),
    /// A peer was disconnected after a protocol violation.
    Dropped(PeerId),
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    id: ConnectionId,
    /// Whether a message was sent on it.
    is_used: bool,
}

pub(crate) struct Behaviour {
    /// See [`crate::Limits::stall`].
    stall: Duration,
    members: HashSet<PeerId>,
    connections: HashMap<PeerId, Vec<Connection>>,
    wants: Wants,
    ledgers: Ledgers,
    actions: VecDeque<ToSwarm<Event, Send>>,
    waker: Option<Waker>,
}

impl Behaviour {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            stall: limits.stall,
            members: HashSet::new(),
            connections: HashMap::new(),
            wants: Wants::default(),
            ledgers: Ledgers::new(limits),
            actions: VecDeque::new(),
            waker: None,
        }
    }

    /// Replaces the members.
    pub(crate) fn set_members(&mut self, members: HashSet<PeerId>) {
        self.members = members;
    }

    pub(crate) fn open(&mut self, id: SessionId, only: Option<PeerId>, likely: Vec<PeerId>) {
        self.wants.open(id, only, Instant::now());
        self.wants.expect_of(id, likely);
        self.wake();
    }

    pub(crate) fn want(&mut self, id: SessionId, cids: Vec<Cid>) {
        self.wants.want(id, cids, Instant::now());
        self.wake();
    }

    pub(crate) fn close(&mut self, id: SessionId) {
        self.wants.close(id);
        self.wake();
    }

    pub(crate) fn tick(&mut self, idle: Duration) {
        self.wants.tick(Instant::now(), idle);
        self.wake();
    }

    /// Reports the digest of a received block; returns the sessions and CIDs that want it.
    pub(crate) fn verified(&mut self, peer: PeerId, key: &Key) -> Vec<(SessionId, Cid)> {
        let takers = self.wants.received(peer, key, Instant::now());
        self.wake();
        takers.unwrap_or_else(|_| {
            self.drop_peer(peer, "it sends unwanted blocks");
            Vec::new()
        })
    }

    /// Disconnects a peer after a protocol violation.
    pub(crate) fn drop_peer(&mut self, peer: PeerId, reason: &str) {
        tracing::warn!(%peer, reason, "dropping a peer");
        self.actions.push_back(ToSwarm::CloseConnection { peer_id: peer, connection: CloseConnection::All });
        self.actions.push_back(ToSwarm::GenerateEvent(Event::Dropped(peer)));
        self.wake();
    }

    /// Reports the answer to a job and the wants that did not fit.
    pub(crate) fn served(&mut self, job: &Job, answer: Message, leftover: Vec<Entry>) {
        let answer = Send::answer(&answer);
        if self.ledgers.answered(job, answer.answer_bytes, leftover) {
            self.send(job.peer, answer);
        }
        self.wake();
    }

    /// Sends on the newest connection: of several, the older ones may be dead.
    fn send(&mut self, peer: PeerId, event: Send) {
        let Some(connection) = self.connections.get_mut(&peer).and_then(|list| list.last_mut()) else {
            return;
        };
        if event.pieces.is_empty() {
            return;
        }
        connection.is_used = true;
        let handler = NotifyHandler::One(connection.id);
        self.actions.push_back(ToSwarm::NotifyHandler { peer_id: peer, handler, event });
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn receive(&mut self, peer: PeerId, message: Message, budget: Budget) {
        if !message.wants.is_empty() || message.full {
            self.ledgers.receive(peer, message.wants, message.full);
        }
        if self.wants.presences(peer, &message.presences, Instant::now()).is_err() {
            self.drop_peer(peer, "it sends unwanted presences");
            return;
        }
        if message.payloads.iter().any(|payload| !payload.is_supported()) {
            self.drop_peer(peer, "it sends blocks with an unsupported hash");
        } else if !message.payloads.is_empty() {
            let event = Event::Verify { peer, payloads: message.payloads, budget };
            self.actions.push_back(ToSwarm::GenerateEvent(event));
        }
    }

    /// Collects the output of the state machines as actions.
    fn collect(&mut self) {
        for (peer, entries) in self.wants.take_messages() {
            for wants in entries.chunks(MAX_WANTS) {
                self.send(peer, Send::wants(wants.to_vec()));
            }
        }
        let outcomes = self.wants.take_outcomes().into_iter();
        self.actions.extend(outcomes.map(|outcome| ToSwarm::GenerateEvent(Event::Outcome(outcome))));
        while let Some(job) = self.ledgers.next_job() {
            self.actions.push_back(ToSwarm::GenerateEvent(Event::Serve(job)));
        }
    }

    fn established(&mut self, event: &ConnectionEstablished<'_>) {
        let connections = self.connections.entry(event.peer_id).or_default();
        connections.push(Connection { id: event.connection_id, is_used: false });
        if connections.len() == 1 {
            self.wants.connected(event.peer_id, Instant::now());
        }
    }

    fn closed(&mut self, event: &ConnectionClosed<'_>) {
        let peer = event.peer_id;
        let Some(connections) = self.connections.get_mut(&peer) else { return };
        let is_closed = |connection: &Connection| connection.id == event.connection_id;
        let was_used = connections.iter().any(|connection| is_closed(connection) && connection.is_used);
        connections.retain(|connection| !is_closed(connection));
        if connections.is_empty() {
            self.connections.remove(&peer);
            self.wants.disconnected(peer, Instant::now());
            self.ledgers.forget(&peer);
        } else if was_used {
            self.lost(peer);
        }
    }

    fn lost(&mut self, peer: PeerId) {
        self.wants.lost(peer, Instant::now());
        self.ledgers.forget(&peer);
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.stall))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.stall))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => self.established(&event),
            FromSwarm::ConnectionClosed(event) => self.closed(&event),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        if !self.members.contains(&peer) {
            return;
        }
        match event {
            Report::Received(message, budget) => self.receive(peer, message, budget),
            Report::Sent(answer_bytes) => self.ledgers.sent(&peer, answer_bytes),
            Report::Violation(reason) => self.drop_peer(peer, reason),
            Report::Lost => self.lost(peer),
            Report::Unsupported => self.wants.unsupported(peer, Instant::now()),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if self.actions.is_empty() {
            self.collect();
        }
        match self.actions.pop_front() {
            Some(action) => Poll::Ready(action),
            None => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

const _: () = assert!(hansa_content::MAX_BLOCK_BYTES * 2 <= message::MAX_MESSAGE_BYTES);
