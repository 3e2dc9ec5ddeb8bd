//! Configuration of a swarm node.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hansa_content::BlockStore;
use hansa_types::{
    NetworkKey, SwarmKey,
    units::{milliseconds, seconds},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Time without a wanted block after which a fetch fails.
    #[serde(rename = "fetch_idle_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 3_600))]
    pub fetch_idle: Duration,
    /// Minimum average rate of a fetch of more than one block, after the first two `fetch_idle_seconds`. A slow peer cannot delay a fetch
    /// for ever.
    #[schemars(range(min = 1, max = 10_737_418_240_u64))]
    pub fetch_bytes_per_second_min: u64,
    /// Blocks that one fetch asks for at the same time.
    #[schemars(range(min = 4, max = 1_024))]
    pub fetch_blocks: usize,
    /// Timeout of a key request, for both sides.
    #[serde(rename = "key_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 600))]
    pub key_timeout: Duration,
    /// Maximum number of connections, both directions together.
    #[schemars(range(min = 8, max = 65_536))]
    pub connections_max: u32,
    /// Maximum number of connections to one member.
    #[schemars(range(min = 2, max = 64))]
    pub connections_per_peer: u32,
    /// Time in which a new connection has to be ready. A node with another swarm key never gets there.
    #[serde(rename = "connect_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 600))]
    pub connect_timeout: Duration,
    /// First pause before a member is dialled again; it doubles with each failure.
    #[serde(rename = "redial_ms_min", with = "milliseconds")]
    #[schemars(with = "u64", range(min = 10, max = 600_000))]
    pub redial_min: Duration,
    /// Longest pause before a member is dialled again.
    #[serde(rename = "redial_seconds_max", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 3_600))]
    pub redial_max: Duration,
    /// Time without dialling a member after a violation of the protocol.
    #[serde(rename = "penalty_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 0, max = 86_400))]
    pub penalty: Duration,
    /// Time without received bytes after which a connection is closed. Members ping each other several times as often.
    #[serde(rename = "silence_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 3, max = 600))]
    pub silence: Duration,
    /// Time without progress of a message, in either direction, after which a peer is disconnected.
    #[serde(rename = "stall_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 600))]
    pub stall: Duration,
    /// Bytes, in MiB, of one peer's answers that are being read from disk or written to its connection.
    #[schemars(range(min = 1, max = 1_024))]
    pub unsent_mib_per_peer: usize,
    /// Bytes, in MiB, of all peers' answers. Above it, only peers without unsent bytes are served.
    #[schemars(range(min = 1, max = 65_536))]
    pub unsent_mib: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fetch_idle: Duration::from_secs(30),
            fetch_bytes_per_second_min: 16 * 1024,
            fetch_blocks: 96,
            key_timeout: Duration::from_secs(20),
            connections_max: 512,
            connections_per_peer: 4,
            connect_timeout: Duration::from_secs(10),
            redial_min: Duration::from_millis(250),
            redial_max: Duration::from_secs(15),
            penalty: Duration::from_secs(60),
            silence: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            unsent_mib_per_peer: 4,
            unsent_mib: 64,
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
