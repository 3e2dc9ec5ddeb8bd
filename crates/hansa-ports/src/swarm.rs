//! The private swarm as the sharing service needs it.
//!
//! Peers are named by their registered network key. An implementation verifies the blocks that it fetches.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cid::Cid;
use hansa_content::Hold;
use hansa_types::NetworkKey;

/// Told the bytes that are here so far, and those known to be needed in all; both grow.
pub type FetchSink = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Why the swarm did not deliver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SwarmFault {
    /// No connection to that member, or it went away.
    #[error("the member's node cannot be reached")]
    Unreachable,
    /// Nobody asked has the block.
    #[error("no connected member has block {0}")]
    NotFound(Cid),
    /// A block that hashes to its CID is not what its codec says, or links to what cannot be stored; that never changes.
    #[error("block {0} is malformed")]
    Malformed(Cid),
    /// What is wanted arrives too slowly.
    #[error("the blocks arrive too slowly")]
    Slow,
    /// The own node failed.
    #[error("the swarm node failed: {0}")]
    Failed(String),
}

/// The swarm.
#[async_trait]
pub trait Swarm: Send + Sync + 'static {
    /// Fetches what is not here of everything below `root`; durable when it returns. The hold keeps it from garbage
    /// collection until it is pinned or no longer needed.
    /// Those who probably have it are asked for it first.
    async fn fetch_dag(
        &self,
        root: Cid,
        likely: &[NetworkKey],
        progress: FetchSink,
    ) -> Result<Arc<Hold>, SwarmFault>;

    /// Fetches one block, from here, from those who probably have it, or from anybody.
    async fn fetch(&self, cid: Cid, likely: &[NetworkKey]) -> Result<Bytes, SwarmFault>;

    /// Fetches one block from one peer, verified, without storing it.
    async fn fetch_from(&self, peer: NetworkKey, cid: Cid) -> Result<Bytes, SwarmFault>;

    /// Asks a peer's [`RequestHandler`].
    async fn ask(&self, peer: NetworkKey, request: Bytes) -> Result<Bytes, SwarmFault>;

    /// Announces a root to nodes that look for it outside this protocol.
    fn announce(&self, root: Cid);
}

/// Answers the requests of other members' nodes.
#[async_trait]
pub trait RequestHandler: Send + Sync + 'static {
    /// Answers one request of the node with this network key, which the swarm has authenticated.
    async fn handle(&self, peer: NetworkKey, request: Bytes) -> Bytes;
}
