//! Exchanges blocks and keys with the other members over private IPFS.
//!
//! A [`Swarm`] is a libp2p node: TCP with a pre-shared key, Noise, yamux; identify, Kademlia and ping; Bitswap 1.2 for blocks; and
//! `/hansa/key/1` for key requests. The crate does not interpret key requests, and does not decide which blocks a node keeps: callers
//! fetch and pin. It is the only user of libp2p, and no libp2p type is in its interface.
//!
//! # Actors
//!
//! - [`Swarm`]: a cloneable handle on the node. It sends commands to the actor.
//! - The actor: owns the libp2p node and all protocol state. Bitswap consists of two state machines without clock and I/O: the wants
//!   of this node (sessions), and the wants of others (a ledger for each peer).
//! - A fetch: walks a DAG from its root, requests absent blocks from a session, and writes them to the block store.
//! - [`KeyResponder`]: the caller's answer to key requests.
//!
//! # Tasks
//!
//! One task runs the actor. Hashing, disk reads, host name look-ups and key responses run elsewhere and report to it. Each fetch runs
//! in its caller's task, with one blocking thread that writes blocks. Memory and tasks that a peer can occupy are bounded
//! ([`Limits`]).
//!
//! # States
//!
//! A peer is *registered* ([`Swarm::set_members`]), *dialled*, *connected*, and possibly *penalised* after a protocol violation. Others
//! are refused, even with the swarm key. A want is *waiting*, *assigned* to a peer, and *received*, *reassigned* or *not found*.
//!
//! # What a crash loses
//!
//! Connections, sessions and announcements, which start anew. Fetched blocks are durable when a fetch returns; an interrupted fetch
//! resumes with the blocks in the store. Announcements must be repeated by the caller.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use hansa_content::{Block, BlockStore, RAW};
//! use hansa_kv::MemoryStore;
//! use hansa_swarm::{Config, KeyResponder, Limits, Swarm};
//! use hansa_types::{NetworkKey, SwarmKey};
//!
//! struct Silent;
//!
//! #[async_trait::async_trait]
//! impl KeyResponder for Silent {
//!     async fn respond(&self, _: NetworkKey, _: Bytes) -> Bytes {
//!         Bytes::new()
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = std::env::temp_dir().join(format!("hansa-swarm-example-{}", std::process::id()));
//! let store = BlockStore::open(Arc::new(MemoryStore::new()), &folder)?;
//! let block = Block::new(RAW, Bytes::from_static(b"ciphertext"))?;
//! store.put(&block)?;
//! let swarm = Swarm::start(Config {
//!     secret: [7; 32],
//!     swarm_key: SwarmKey::from_bytes([1; 32]),
//!     listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
//!     members: Vec::new(),
//!     store,
//!     responder: Arc::new(Silent),
//!     limits: Limits::default(),
//! })
//! .await?;
//! // A block of the own store needs no peer.
//! assert_eq!(swarm.fetch(*block.cid()).await?, b"ciphertext".as_slice());
//! swarm.shutdown().await;
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok(())
//! # }
//! ```
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod actor;
mod address;
mod behaviour;
mod bitswap;
mod config;
mod dial;
mod error;
mod fetch;
mod handle;
mod incoming;
mod key;
mod muxer;
mod peer;
mod providers;
mod psk;
mod salsa;
mod serve;
mod slots;
#[cfg(test)]
mod tests;
mod transport;

pub use config::{Config, KeyResponder, Limits, SwarmMember};
pub use error::SwarmError;
pub use fetch::{FetchBounds, FetchProgress, FetchProgressFn, Fetched};
pub use handle::{Heard, Swarm};
pub use key::MAX_KEY_MESSAGE_BYTES;

/// Entry points of the fuzz targets: Bitswap messages and sessions.
#[cfg(fuzzing)]
pub mod fuzzing {
    /// A Bitswap message.
    pub fn bitswap_message(bytes: bytes::Bytes) {
        let _ = crate::bitswap::Message::decode(bytes);
    }

    /// A sequence of messages and other events for Bitswap's state machines.
    pub fn bitswap_session(script: &[u8]) {
        crate::bitswap::fuzz::run(script);
    }
}
