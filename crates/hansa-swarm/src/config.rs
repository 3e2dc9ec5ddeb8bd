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
    /// Multiaddr of its node, without the `/p2p/…` part.
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
    /// How long a key request may take, both in asking and in answering.
    pub key_timeout: Duration,
    /// Connections at the same time, in both directions together.
    pub connections_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fetch_idle: Duration::from_secs(30),
            key_timeout: Duration::from_secs(20),
            connections_max: 512,
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
