//! Exchanges blocks and keys with the other members over private IPFS.
//!
//! One [`Swarm`] is one libp2p node: TCP behind a pre-shared key, Noise, yamux; identify, Kademlia and ping; Bitswap 1.2 for
//! blocks; and `/hansa/key/1` for key requests, whose content this crate does not look at. Only registered members are
//! let in, whoever else knows the swarm key. The crate does not decide who keeps what: callers fetch and pin.
//! It is the only user of libp2p, none of whose types appear in its interface.
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
mod swarm_key;
#[cfg(test)]
mod tests;
mod transport;

pub use config::{Config, KeyResponder, Limits, SwarmMember};
pub use error::SwarmError;
pub use fetch::{FetchBounds, FetchProgress, FetchProgressFn, Fetched};
pub use handle::{Heard, Swarm};
pub use key::MAX_KEY_MESSAGE_BYTES;
pub use swarm_key::{SwarmKey, SwarmKeyError};

/// Decoders and state machines that are not public, for the fuzz targets alone.
#[cfg(fuzzing)]
pub mod fuzzing {
    /// A Bitswap message.
    pub fn bitswap_message(bytes: bytes::Bytes) {
        let _ = crate::bitswap::Message::decode(bytes);
    }

    /// A sequence of messages and other events, into the state machines behind the messages.
    pub fn bitswap_session(script: &[u8]) {
        crate::bitswap::fuzz::run(script);
    }
}
