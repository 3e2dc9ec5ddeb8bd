//! Joins the two state machines to libp2p's connections. Speaks with members only, whoever else may be connected.

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

pub(crate) use super::ledger::Job as ServeJob;

/// What the node has to do for Bitswap.
#[derive(Debug)]
pub(crate) enum Event {
    /// Hash these blocks and report each with [`Behaviour::verified`].
    Verify { peer: PeerId, payloads: Vec<Payload>, budget: Budget },
    /// Look these wants up and report with [`Behaviour::served`].
    Serve(Job),
    /// Tell the session.
    Outcome(Outcome),
}

#[derive(Default)]
pub(crate) struct Behaviour {
    members: HashSet<PeerId>,
    connections: HashMap<PeerId, Vec<ConnectionId>>,
    wants: Wants,
    ledgers: Ledgers,
    actions: VecDeque<ToSwarm<Event, Send>>,
    waker: Option<Waker>,
}

impl Behaviour {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The peers that are spoken with.
    pub(crate) fn set_members(&mut self, members: HashSet<PeerId>) {
        self.members = members;
    }

    pub(crate) fn open(&mut self, id: SessionId, only: Option<PeerId>, presence: bool) {
        self.wants.open(id, only, presence, Instant::now());
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

    /// A block from a peer has this digest; returns who gets it.
    pub(crate) fn verified(&mut self, peer: PeerId, key: &Key) -> Vec<(SessionId, Cid)> {
        let takers = self.wants.received(peer, key, Instant::now());
        self.wake();
        takers.unwrap_or_else(|_| {
            self.drop_peer(peer, "it sends blocks that nobody asked for");
            Vec::new()
        })
    }

    /// A peer sent bytes under a hash that it was not asked for.
    pub(crate) fn drop_peer(&mut self, peer: PeerId, reason: &str) {
        tracing::warn!(%peer, reason, "dropping a peer");
        self.actions.push_back(ToSwarm::CloseConnection { peer_id: peer, connection: CloseConnection::All });
        self.wake();
    }

    /// The answer to wants, and those that did not fit.
    pub(crate) fn served(&mut self, job: &Job, answer: Message, leftover: Vec<Entry>) {
        if self.ledgers.answered(job, answer.block_bytes(), leftover) {
            self.send(job.peer, &answer);
        }
        self.wake();
    }

    fn send(&mut self, peer: PeerId, message: &Message) {
        let Some(connection) = self.connections.get(&peer).and_then(|list| list.first()) else { return };
        if message.is_empty() {
            return;
        }
        let event = Send { pieces: message.encode(), block_bytes: message.block_bytes() };
        let handler = NotifyHandler::One(*connection);
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
        for presence in message.presences {
            self.wants.presence(peer, presence, Instant::now());
        }
        if message.payloads.iter().any(|payload| !payload.is_supported()) {
            self.drop_peer(peer, "it sends blocks under a hash that nobody asked for");
        } else if !message.payloads.is_empty() {
            let event = Event::Verify { peer, payloads: message.payloads, budget };
            self.actions.push_back(ToSwarm::GenerateEvent(event));
        }
    }

    /// Turns what the state machines have decided into actions.
    fn collect(&mut self) {
        for (peer, entries) in self.wants.take_messages() {
            for wants in entries.chunks(MAX_WANTS) {
                self.send(peer, &Message { wants: wants.to_vec(), ..Default::default() });
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
        connections.push(event.connection_id);
        if connections.len() == 1 {
            self.wants.connected(event.peer_id, Instant::now());
        }
    }

    fn closed(&mut self, event: &ConnectionClosed<'_>) {
        let peer = event.peer_id;
        let Some(connections) = self.connections.get_mut(&peer) else { return };
        let was_first = connections.first() == Some(&event.connection_id);
        connections.retain(|connection| *connection != event.connection_id);
        if connections.is_empty() {
            self.connections.remove(&peer);
            self.wants.disconnected(peer, Instant::now());
            self.ledgers.forget(&peer);
        } else if was_first {
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
        Ok(Handler::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new())
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
            Report::Sent(block_bytes) => self.ledgers.sent(&peer, block_bytes),
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
