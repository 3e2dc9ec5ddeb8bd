//! Errors of the swarm.

use cid::Cid;
use hansa_content::ContentError;
use hansa_types::NetworkKey;

/// A failed operation of the swarm.
#[derive(Debug, thiserror::Error)]
pub enum SwarmError {
    /// The secret key, an address or another setting is invalid.
    #[error("the swarm cannot start: {0}")]
    Config(String),
    /// The node cannot listen on an address.
    #[error("the swarm cannot listen on {address}: {reason}")]
    Listen {
        /// The configured address.
        address: String,
        /// The transport's error.
        reason: String,
    },
    /// The member is not connected.
    #[error("member {0} is not connected; its node may be stopped or unreachable")]
    NotConnected(NetworkKey),
    /// No asked peer has the block.
    #[error("no connected member has the block {0}")]
    NotFound(Cid),
    /// A fetch is slower than [`crate::Limits::fetch_bytes_per_second_min`].
    #[error("the blocks below {0} arrive too slowly; the fetch was given up and can be resumed")]
    TooSlow(Cid),
    /// A DAG exceeds the caller's [`crate::FetchBounds`].
    #[error("more blocks or bytes are below {0} than its record allows")]
    TooLarge(Cid),
    /// The member did not answer a key request in time.
    #[error("member {0} did not answer in time")]
    Timeout(NetworkKey),
    /// A key request failed.
    #[error("the key request to {peer} failed: {reason}")]
    KeyRequest {
        /// The asked member.
        peer: NetworkKey,
        /// The cause.
        reason: String,
    },
    /// A key request or response above the limit.
    #[error("a key message of {0} bytes is longer than the limit of {limit}", limit = crate::MAX_KEY_MESSAGE_BYTES)]
    TooLong(usize),
    /// A block could not be read or stored.
    #[error("the block store failed")]
    Content(#[from] ContentError),
    /// The node has been shut down.
    #[error("the swarm node is stopped")]
    Stopped,
}
