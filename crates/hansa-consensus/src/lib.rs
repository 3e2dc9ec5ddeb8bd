//! Binds the ledger to the Byzantine agreement engine.
//!
//! The engine is commonware's threshold simplex, and no type of it is in the public interface. The crate does not execute
//! transactions, choose the members, or serve RPC.
//!
//! # Actors
//!
//! - [`Ceremony`]: run once by the founders. It generates the group key by distributed key generation.
//! - [`Engine`]: run by every node, with a seat or without. It agrees on blocks, executes them through the ledger, backfills missed
//!   blocks, reshares the group key, and gossips transactions to the validators.
//! - Inside the engine: one simplex instance an epoch, *marshal* (ordered delivery and backfill), the resharing ceremony, and adapters
//!   that connect them to the ledger: application (propose and verify), finaliser, certificate store, peers, gossip.
//! - [`KeyReleases`]: the release of deposited keys by a quorum of validators, for openings that the node's judge accepts.
//!
//! # Tasks
//!
//! The engine runs in a thread and a runtime of its own, so that a panic ends the thread and not the process. Blocks are executed on
//! separate threads. All network messages have budgets in bytes for each peer.
//!
//! # States
//!
//! A node is a *validator* (in the committee, with a share of the group key), a validator without a share (it waits for a resharing;
//! [`Rejoin`]), or a *follower*. A block is proposed, notarised, finalised by a certificate, executed, and acknowledged once it is
//! durable in the ledger.
//!
//! # What a crash loses
//!
//! Nothing that the node has voted for: votes, shares and dealings are durable before they are sent. Certificates are durable before
//! their block is executed; blocks that were not acknowledged are delivered again. A node that loses its data folder has no share
//! until a later resharing.
//!
//! # Example
//!
//! ```
//! use hansa_consensus::{Config, ConsensusError, Engine, Seat};
//!
//! /// Runs a node until it holds a seat, then stops it.
//! async fn until_seated(config: Config) -> Result<(), ConsensusError> {
//!     let engine = Engine::start(config)?;
//!     let mut status = engine.status();
//!     while status.borrow_and_update().seat != Seat::Validator && status.changed().await.is_ok() {}
//!     engine.shutdown();
//!     engine.join()
//! }
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

mod application;
mod block;
mod block_archive;
mod budget;
mod ceremony;
mod certificate_store;
mod committee;
mod config;
mod digest;
mod elector;
mod engine;
mod epoch_barrier;
mod error;
mod finaliser;
mod genesis;
mod gossip;
mod handle;
mod handshake;
mod journals;
mod network;
mod observer;
mod pacing;
mod peers;
mod presence;
mod registrar;
mod release;
mod secrets;
mod seeds;
mod status;
mod types;

#[cfg(test)]
mod tests;

pub use ceremony::{Ceremony, CeremonyConfig, CeremonyProgress};
pub use config::{Config, ConsensusSettings, Timing};
pub use error::ConsensusError;
pub use handle::Engine;
pub use handshake::{Handshakes, Trouble};
pub use release::{GroupKey, KeyReleases, ReleaseError, ReleaseSignature};
pub use status::{Rejoin, Seat, Status};

/// Entry points of the fuzz targets: blocks and gossip.
#[cfg(fuzzing)]
pub mod fuzzing {
    /// What consensus adds to a block above genesis: the context of its proposal, and what the dealers of a committee say.
    pub fn consensus_data(block: hansa_types::Block) {
        let _ = crate::block::ChainBlock::new(block);
    }

    /// A question about a release, or an answer.
    pub fn release(message: &[u8]) {
        let _ = crate::release::message::Message::decode(message);
    }

    /// A message of transactions.
    pub fn gossip(message: &[u8]) {
        let _ = crate::gossip::decode(message);
    }
}
