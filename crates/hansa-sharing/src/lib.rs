//! Does what members do with data: protect, share, open, verify, recover.
//!
//! A member's node runs four things from here: [`Sharing`], the operations that its own people call; [`Responder`], which
//! answers other members' nodes; the replication task ([`Sharing::start_replication`]), which keeps the replicas that
//! the chain allocates to it; and the scrubber ([`Sharing::start_scrubbing`]), which finds and mends rotten blocks. Chain and
//! swarm are reached through [`Chain`] and [`Swarm`]; every decision about who may read is read from the finalised chain, never
//! from local state. Nothing here speaks HTTP.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod allocation;
mod awaiting;
mod chain;
mod collect;
mod content;
mod contracts;
mod effect;
mod error;
mod fetches;
mod flights;
mod grants;
mod history;
mod holdings;
mod ingest;
mod key_check;
mod keyring;
mod ledger_chain;
mod message;
mod notices;
mod numbers;
mod open;
mod openings;
mod protect;
mod refusals;
mod releases;
mod repair;
mod replicate;
mod responder;
mod rewrap;
mod scrub;
mod sharing;
mod swarm;
mod swarm_node;
#[cfg(test)]
mod tests;
mod tip;
mod turns;
mod verify;

pub use allocation::{REPLICAS_OTHER, allocate};
pub use chain::{Chain, ChainError, ChainHead, ChainReceipt, Event, EventFilter};
pub use error::SharingError;
pub use ingest::{Source, SourceEntry};
pub use keyring::spaces;
pub use ledger_chain::LedgerChain;
pub use open::{OpenMode, OpenedObject};
pub use replicate::{DiskSpace, ReplicaLimits, SpaceFn, disk_space};
pub use responder::Responder;
pub use sharing::{Parts, ProgressSink, Sharing, StoreFigures};
pub use swarm::{FetchSink, Swarm, SwarmFault};
pub use tip::Tip;

/// Entry points of the fuzz targets: messages between nodes.
#[cfg(fuzzing)]
pub mod fuzzing {
    use crate::message::{Answer, Request, decode};

    /// What one node asks another, and what it is answered.
    pub fn message(bytes: &[u8]) {
        let _ = decode::<Request>(bytes);
        let _ = decode::<Answer>(bytes);
    }
}
