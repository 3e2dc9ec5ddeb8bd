//! Bitswap 1.2: wire format, the wants of this node and of others, and their connection to libp2p.
//!
//! [`wants`] and [`ledger`] are state machines without clock and I/O; [`handler`] transfers messages on streams; [`behaviour`] joins
//! them. Blocks are read and verified by the node, on other threads.

mod behaviour;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod handler;
mod ledger;
mod message;
mod wants;

pub(crate) use behaviour::{Behaviour, Event, ServeJob};
pub(crate) use handler::Budget;
#[cfg(test)]
pub(crate) use handler::{Handler, Send};
pub(crate) use message::{Entry, Kind, Message, Payload, Presence};
pub(crate) use wants::{Outcome, SessionId};

/// A sha2-256 digest. Wants are matched by it, because an answer can have another CID version or codec.
pub(crate) type Key = [u8; 32];

/// The digest of a CID with a sha2-256 multihash.
pub(crate) fn key_of(cid: &cid::Cid) -> Option<Key> {
    (cid.hash().code() == 0x12).then(|| cid.hash().digest().try_into().ok()).flatten()
}
