//! Implements the ports over this node's ledger and swarm.
//!
//! Adapters translate calls and errors. They make no decision about data or access, with one exception: [`LedgerJudge`] decides, for
//! a validator, whether the final state covers the release of a deposited key. The crate does not use `hansa-sharing`, so that its
//! tests can run over these adapters. Adapters of the consensus engine belong to `hansa-node`.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod ledger_chain;
mod ledger_judge;
mod swarm_node;

pub use ledger_chain::LedgerChain;
pub use ledger_judge::LedgerJudge;
pub use swarm_node::{PeerRequests, SwarmNode};
