//! Binds the ledger to the Byzantine agreement engine.
//!
//! Founders run a [`Ceremony`] once, in which they generate the group key with one another; afterwards every node,
//! with a seat or without, runs an [`Engine`] that agrees on blocks, executes them through the ledger, backfills what
//! it missed and carries its users' transactions to the validators.
//!
//! The engine behind it is commonware's threshold simplex; none of its types appear in this crate's public interface.
//! Nothing here knows of JSON-RPC, contracts or storage formats of the state.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod application;
mod block;
mod budget;
mod ceremony;
mod certificate_store;
mod committee;
mod config;
mod digest;
mod elector;
mod engine;
mod error;
mod finaliser;
mod genesis;
mod gossip;
mod handle;
mod handshake;
mod journals;
mod network;
mod peers;
mod registrar;
mod roll_call;
mod secrets;
mod seeds;
mod shelf;
mod status;
mod types;
mod witness;

#[cfg(test)]
mod tests;

pub use ceremony::{Ceremony, CeremonyConfig, CeremonyProgress};
pub use config::{Config, Timing};
pub use error::ConsensusError;
pub use handle::Engine;
pub use handshake::{Handshakes, Trouble};
pub use status::{Rejoin, Seat, Status};

/// Decoders that are not public, for the fuzz targets alone.
#[cfg(fuzzing)]
pub mod fuzzing {
    /// What consensus adds to a block above genesis: the context of its proposal, and what the dealers of a committee say.
    pub fn consensus_data(block: hansa_types::Block) {
        let _ = crate::block::ChainBlock::new(block);
    }

    /// A message of transactions.
    pub fn gossip(message: &[u8]) {
        let _ = crate::gossip::decode(message);
    }
}
