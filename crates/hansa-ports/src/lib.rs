//! Defines the ports of the sharing service: chain, swarm, chain tip and key depository.
//!
//! Each port is a trait with the plain types of its methods. No trait names the library or crate behind it, so the same service
//! runs over this node's ledger and swarm (`hansa-adapters`) and, in tests, over doubles. The crate contains no implementation.

mod chain;
mod depository;
mod swarm;
mod tip;

pub use chain::{Chain, ChainError, ChainHead, ChainReceipt, Event, EventFilter, EventPage};
pub use depository::{DepositFault, Depository};
pub use swarm::{FetchSink, RequestHandler, Swarm, SwarmFault};
pub use tip::Tip;
