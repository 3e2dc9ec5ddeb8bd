//! Configuration of a swarm node.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hansa_content::BlockStore;
use hansa_types::{NetworkKey, SwarmKey};

/// A member's network key and endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmMember {
    /// The registered network key.
    pub key: NetworkKey,
    /// Multiaddr of the node without `/p2p/…`: `/ip4/ADDRESS/tcp/PORT`, `/ip6/ADDRESS/tcp/PORT` or `/dns/NAME/tcp/PORT` (also `dns4`,
    /// `dns6`). Host names are resolved before each dial.
    pub endpoint: String,
}

/// Answers the key requests of other members.
#[async_trait]
pub trait KeyResponder: Send + Sync + 'static {
    /// The response to a connected member's request, each of at most 64 KiB of opaque bytes. The requester waits at most
    /// [`Limits::key_timeout`].
    async fn respond(&self, peer: NetworkKey, request: Bytes) -> Bytes;
}

/// Timeouts and limits.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Time without a wanted block after which a fetch fails.
    pub fetch_idle: Duration,
    /// Minimum average rate of a fetch of more than one block, after the first two `fetch_idle`. A slow peer cannot delay a fetch for
    /// ever.
    pub fetch_bytes_per_second_min: u64,
    /// Timeout of a key request, for both sides.
    pub key_timeout: Duration,
    /// Maximum number of connections, both directions together.
    pub connections_max: u32,
    /// Time without received bytes after which a connection is closed. Members ping each other several times as often.
    pub silence: Duration,
    /// Time without progress of a message, in either direction, after which a peer is disconnected.
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

/// Configuration of a node.
pub struct Config {
    /// The ed25519 secret key (32-byte seed) whose public key is this node's registered network key.
    pub secret: [u8; 32],
    /// The pre-shared key of the swarm.
    pub swarm_key: SwarmKey,
    /// Multiaddrs to listen on, for example `/ip4/0.0.0.0/tcp/4001`.
    pub listen: Vec<String>,
    /// The initial members; this node may be among them.
    pub members: Vec<SwarmMember>,
    /// The block store.
    pub store: BlockStore,
    /// The handler of key requests.
    pub responder: Arc<dyn KeyResponder>,
    /// Timeouts and limits.
    pub limits: Limits,
}
