//! What a swarm node is started with.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hansa_content::BlockStore;
use hansa_types::NetworkKey;

use crate::SwarmKey;

/// A member as the swarm knows it: who, and where its node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmMember {
    /// Its registered network key.
    pub key: NetworkKey,
    /// Multiaddr of its node, without the `/p2p/…` part: `/ip4/ADDRESS/tcp/PORT`, `/ip6/ADDRESS/tcp/PORT` or
    /// `/dns/NAME/tcp/PORT` (also `dns4`, `dns6`). Names are looked up by the system before each dial.
    pub endpoint: String,
}

/// Answers the key requests of other members.
#[async_trait]
pub trait KeyResponder: Send + Sync + 'static {
    /// The answer to a request of at most 64 KiB from a connected member; at most 64 KiB as well. What it means is the
    /// callers' business. The requester waits at most [`Limits::key_timeout`].
    async fn respond(&self, peer: NetworkKey, request: Bytes) -> Bytes;
}

/// Times and sizes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A fetch fails when no wanted block has arrived for this long.
    pub fetch_idle: Duration,
    /// A fetch of more than one block fails when it has brought fewer bytes a second than this, on average over all its time but
    /// the first two `fetch_idle`: no peer can hold it by answering slowly.
    pub fetch_bytes_per_second_min: u64,
    /// How long a key request may take, both in asking and in answering.
    pub key_timeout: Duration,
    /// Connections at the same time, in both directions together.
    pub connections_max: u32,
    /// A connection on which nothing arrives for this long is closed. Members ping one another several times as often.
    pub silence: Duration,
    /// A peer that has begun a message and does not go on for this long, or takes nothing of what it asked for, is cut off.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fetch_idle: Duration::from_secs(30),
            fetch_bytes_per_second_min: 16 * 1024,
            key_timeout: Duration::from_secs(20),
            connections_max: 512,
            silence: Duration::from_secs(15),
            stall: Duration::from_secs(30),
        }
    }
}

/// Everything a node needs.
pub struct Config {
    /// The ed25519 secret key (32-byte seed) whose public key is this node's registered network key.
    pub secret: [u8; 32],
    /// The key that all nodes of the swarm share.
    pub swarm_key: SwarmKey,
    /// Multiaddrs to listen on, for example `/ip4/0.0.0.0/tcp/4001`.
    pub listen: Vec<String>,
    /// The members at the start; this node may be among them.
    pub members: Vec<SwarmMember>,
    /// Where blocks are kept.
    pub store: BlockStore,
    /// Who answers key requests.
    pub responder: Arc<dyn KeyResponder>,
    /// Times and sizes.
    pub limits: Limits,
}
