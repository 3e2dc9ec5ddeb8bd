//! Bitswap 1.2: the wire format, the state of what we want and what others want from us, and their connection to libp2p.
//!
//! [`wants`] and [`ledger`] are state machines without clock and I/O; [`handler`] moves messages over streams;
//! [`behaviour`] joins them. Blocks are neither read nor verified here: the node does that off the network's threads.

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

/// A sha2-256 digest: wants are matched by it, because an answer may differ from the want in CID version or codec.
pub(crate) type Key = [u8; 32];

/// The digest of a CID, if its hash is the one this network uses.
pub(crate) fn key_of(cid: &cid::Cid) -> Option<Key> {
    (cid.hash().code() == 0x12).then(|| cid.hash().digest().try_into().ok()).flatten()
}
