//! What can go wrong in the swarm.

use cid::Cid;
use hansa_content::ContentError;
use hansa_types::NetworkKey;

/// Why the swarm did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum SwarmError {
    /// The secret key, an address or another setting cannot be used.
    #[error("the swarm cannot start: {0}")]
    Config(String),
    /// The node cannot listen on an address.
    #[error("the swarm cannot listen on {address}: {reason}")]
    Listen {
        /// The address as given.
        address: String,
        /// What the transport says.
        reason: String,
    },
    /// The member is not connected at the moment.
    #[error("member {0} is not connected; its node may be stopped or unreachable")]
    NotConnected(NetworkKey),
    /// None of those asked has the block.
    #[error("no connected member has the block {0}")]
    NotFound(Cid),
    /// What is fetched arrives, but too slowly ([`crate::Limits::fetch_bytes_per_second_min`]).
    #[error("the blocks below {0} arrive too slowly; the fetch was given up and can be resumed")]
    TooSlow(Cid),
    /// More is below a root than the caller allows.
    #[error("more blocks or bytes are below {0} than its record allows")]
    TooLarge(Cid),
    /// No answer in time.
    #[error("member {0} did not answer in time")]
    Timeout(NetworkKey),
    /// The member gave no answer to a key request.
    #[error("the key request to {peer} failed: {reason}")]
    KeyRequest {
        /// Who was asked.
        peer: NetworkKey,
        /// Why there is no answer.
        reason: String,
    },
    /// A key request or answer above the limit.
    #[error("a key message of {0} bytes is longer than the limit of {limit}", limit = crate::MAX_KEY_MESSAGE_BYTES)]
    TooLong(usize),
    /// A block could not be read or stored.
    #[error("the block store failed")]
    Content(#[from] ContentError),
    /// The node has been shut down.
    #[error("the swarm node is stopped")]
    Stopped,
}
