//! The ports over the consensus engine. Those over ledger and swarm are in `hansa-adapters`.

mod consensus_tip;
mod engine_depository;

pub(crate) use self::{consensus_tip::ConsensusTip, engine_depository::EngineDepository};
