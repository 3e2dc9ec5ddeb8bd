//! The handle: the public interface of a node.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cid::Cid;
use futures::StreamExt;
use hansa_content::BlockStore;
use hansa_types::NetworkKey;
use libp2p::identity::Keypair;
use libp2p::swarm::{self, SwarmEvent};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot, watch};
use zeroize::Zeroize;

use crate::actor::{Actor, Command, Delivery, Published};
use crate::behaviour::Node;
use crate::bitswap::SessionId;
use crate::key::MAX_KEY_MESSAGE_BYTES;
use crate::peer::peer_id;
use crate::{Config, Limits, SwarmError, SwarmMember, transport};

/// A running node. A clone is another handle. The node stops with [`Swarm::shutdown`] or with the last handle.
#[derive(Clone, Debug)]
pub struct Swarm(Arc<Shared>);

/// A member's last sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Time of the last answered ping. Connected members are pinged every few seconds.
    pub at: Instant,
    /// Round-trip time of that ping.
    pub round_trip: Duration,
}

#[derive(Debug)]
struct Shared {
    commands: mpsc::UnboundedSender<Command>,
    next_session: AtomicU64,
    peers: watch::Receiver<Vec<NetworkKey>>,
    heard: watch::Receiver<HashMap<NetworkKey, Heard>>,
    refused: Arc<AtomicU64>,
    store: BlockStore,
    limits: Limits,
    key: NetworkKey,
    peer: PeerId,
}

impl Swarm {
    /// Starts a node on the current tokio runtime. It listens when this returns. It dials members and redials them after failures.
    ///
    /// # Errors
    /// [`SwarmError::Config`], [`SwarmError::Listen`].
    pub async fn start(mut config: Config) -> Result<Self, SwarmError> {
        let keys = Keypair::ed25519_from_bytes(&mut config.secret)
            .map_err(|error| SwarmError::Config(error.to_string()))?;
        config.secret.zeroize();
        let key = network_key(&keys)?;
        let peer = keys.public().to_peer_id();
        let transport = transport::build(&keys, &config.swarm_key, Default::default(), &config.limits)?;
        let settings = swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(Duration::from_secs(60))
            .with_per_connection_event_buffer_size(32);
        let node = Node::new(&keys, &config.limits);
        let mut libp2p = libp2p::Swarm::new(transport, node, peer, settings);
        listen(&mut libp2p, &config.listen).await?;

        let (commands, receiver) = mpsc::unbounded_channel();
        let (publish_peers, peers) = watch::channel(Vec::new());
        let (publish_heard, heard) = watch::channel(HashMap::new());
        let store = config.store.clone();
        let limits = config.limits.clone();
        let refused = Arc::new(AtomicU64::new(0));
        let published =
            Published { peers: publish_peers, heard: publish_heard, refused: Arc::clone(&refused) };
        let actor = Actor::new(libp2p, receiver, published, config.store, config.responder, config.limits);
        tokio::spawn(actor.run());
        let next_session = AtomicU64::new(0);
        let swarm = Self(Arc::new(Shared {
            commands,
            next_session,
            peers,
            heard,
            refused,
            store,
            limits,
            key,
            peer,
        }));
        swarm.set_members(config.members).await?;
        Ok(swarm)
    }

    /// This node's public network key.
    pub fn network_key(&self) -> NetworkKey {
        self.0.key
    }

    /// This node's PeerId as text.
    pub fn peer_id(&self) -> String {
        self.0.peer.to_string()
    }

    /// The multiaddrs on which the node listens.
    ///
    /// # Errors
    /// [`SwarmError::Stopped`].
    pub async fn listen_addrs(&self) -> Result<Vec<String>, SwarmError> {
        self.ask(|reply| Command::ListenAddrs { reply }).await
    }

    /// Replaces the registered members. New members are admitted and dialled, removed ones are disconnected at once. Invalid keys and
    /// endpoints are logged and skipped.
    ///
    /// # Errors
    /// [`SwarmError::Stopped`].
    pub async fn set_members(&self, members: Vec<SwarmMember>) -> Result<(), SwarmError> {
        self.ask(|done| Command::SetMembers { members, done }).await
    }

    /// The connected members, ordered by key.
    pub fn peers(&self) -> Vec<NetworkKey> {
        self.0.peers.borrow().clone()
    }

    /// Each member's last sign of life since the start, connected or not.
    pub fn watch_heard(&self) -> watch::Receiver<HashMap<NetworkKey, Heard>> {
        self.0.heard.clone()
    }

    /// Number of connections refused since the start because their key is not registered.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// The connected members, ordered by key, with all changes. Closed when the node stops.
    pub fn watch_peers(&self) -> watch::Receiver<Vec<NetworkKey>> {
        self.0.peers.clone()
    }

    /// Sends a request of at most 64 KiB to a member's responder and waits for the response. A disconnected member is dialled.
    ///
    /// # Errors
    /// [`SwarmError::NotConnected`], [`SwarmError::Timeout`], [`SwarmError::KeyRequest`], [`SwarmError::TooLong`],
    /// [`SwarmError::Stopped`].
    pub async fn request_key(&self, peer: NetworkKey, request: Bytes) -> Result<Bytes, SwarmError> {
        if request.len() > MAX_KEY_MESSAGE_BYTES {
            return Err(SwarmError::TooLong(request.len()));
        }
        self.ask(|reply| Command::RequestKey { peer, request, reply }).await?
    }

    /// Announces a root in the hash table, so that nodes with its CID find this one. Each announcement contacts all members near the
    /// CID, so the rate is limited; of too many, the newest are sent.
    ///
    /// # Errors
    /// [`SwarmError::Stopped`].
    pub fn announce(&self, cid: Cid) -> Result<(), SwarmError> {
        self.command(Command::Announce { cid })
    }

    /// Stops the node. Its connections are closed when this returns.
    pub async fn shutdown(&self) {
        // Fails only if the node has stopped already.
        let _ = self.ask(|done| Command::Shutdown { done }).await;
    }

    pub(crate) fn store(&self) -> &BlockStore {
        &self.0.store
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn command(&self, command: Command) -> Result<(), SwarmError> {
        self.0.commands.send(command).map_err(|_| SwarmError::Stopped)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, SwarmError> {
        let (reply, answer) = oneshot::channel();
        self.command(command(reply))?;
        answer.await.map_err(|_| SwarmError::Stopped)
    }

    /// Opens a session with one peer.
    pub(crate) fn session_with(&self, peer: NetworkKey) -> Result<Session, SwarmError> {
        self.open(Some(peer_id(&peer)?), Vec::new())
    }

    /// Opens a session with all peers; `likely` are asked first.
    pub(crate) fn session(&self, likely: &[NetworkKey]) -> Result<Session, SwarmError> {
        self.open(None, likely.iter().filter_map(|key| peer_id(key).ok()).collect())
    }

    fn open(&self, only: Option<PeerId>, likely: Vec<PeerId>) -> Result<Session, SwarmError> {
        let id = SessionId(self.0.next_session.fetch_add(1, Ordering::Relaxed));
        let (sender, deliveries) = mpsc::unbounded_channel();
        self.command(Command::Open { id, only, likely, deliveries: sender })?;
        Ok(Session { swarm: self.clone(), id, deliveries })
    }
}

/// A group of wants. Dropping it cancels the outstanding ones.
pub(crate) struct Session {
    swarm: Swarm,
    id: SessionId,
    deliveries: mpsc::UnboundedReceiver<Delivery>,
}

impl Session {
    pub(crate) fn want(&self, cids: Vec<Cid>) -> Result<(), SwarmError> {
        self.swarm.command(Command::Want { id: self.id, cids })
    }

    pub(crate) async fn next(&mut self) -> Result<Delivery, SwarmError> {
        self.deliveries.recv().await.ok_or(SwarmError::Stopped)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Fails only if the node has stopped, which ends all sessions.
        let _ = self.swarm.command(Command::Close { id: self.id });
    }
}

fn network_key(keys: &Keypair) -> Result<NetworkKey, SwarmError> {
    let public = keys.public().try_into_ed25519().map_err(|error| SwarmError::Config(error.to_string()))?;
    Ok(NetworkKey(public.to_bytes().into()))
}

/// An error with its causes. The transport's outermost error carries no detail.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    let mut words: Vec<String> = causes.filter(|text| !text.is_empty()).collect();
    words.dedup();
    words.join(": ")
}

/// Listens on all addresses; returns once all listeners are ready.
async fn listen(libp2p: &mut libp2p::Swarm<Node>, addresses: &[String]) -> Result<(), SwarmError> {
    for text in addresses {
        let failed = |reason: String| SwarmError::Listen { address: text.clone(), reason };
        let address: Multiaddr = text.parse().map_err(|_| failed("not a multiaddr".into()))?;
        let id = libp2p.listen_on(address).map_err(|error| failed(with_causes(&error)))?;
        loop {
            match libp2p.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, address } if listener_id == id => {
                    libp2p.add_external_address(address);
                    break;
                }
                SwarmEvent::ListenerClosed { listener_id, reason, .. } if listener_id == id => {
                    return Err(failed(reason.err().map_or("closed".into(), |error| with_causes(&error))));
                }
                SwarmEvent::ListenerError { listener_id, error } if listener_id == id => {
                    return Err(failed(with_causes(&error)));
                }
                _ => {}
            }
        }
    }
    Ok(())
}
