//! The port [`Swarm`] over this node's own swarm node.
//!
//! Translates calls and errors only; the swarm node waits, retries and verifies.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cid::Cid;
use hansa_content::{ContentError, Hold};
use hansa_ports::{FetchSink, RequestHandler, Swarm, SwarmFault};
use hansa_swarm::{FetchBounds, FetchProgress, KeyResponder, SwarmError};
use hansa_types::NetworkKey;

/// This node's swarm node.
pub struct SwarmNode(pub hansa_swarm::Swarm);

/// Hands the swarm's incoming requests to the port's handler.
pub struct PeerRequests(pub Arc<dyn RequestHandler>);

fn fault(error: SwarmError) -> SwarmFault {
    match error {
        SwarmError::NotFound(cid) => SwarmFault::NotFound(cid),
        SwarmError::Content(ContentError::Malformed { cid, .. } | ContentError::UnsupportedHash(cid)) => {
            SwarmFault::Malformed(cid)
        }
        SwarmError::NotConnected(_) | SwarmError::Timeout(_) | SwarmError::KeyRequest { .. } => {
            SwarmFault::Unreachable
        }
        other => SwarmFault::Failed(other.to_string()),
    }
}

#[async_trait]
impl Swarm for SwarmNode {
    async fn fetch_dag(
        &self,
        root: Cid,
        likely: &[NetworkKey],
        progress: FetchSink,
    ) -> Result<Arc<Hold>, SwarmFault> {
        let sink = Arc::new(move |so_far: FetchProgress| progress(so_far.bytes, so_far.bytes_known));
        Ok(self.0.fetch_dag_within(root, FetchBounds::NONE, likely, sink).await.map_err(fault)?.hold)
    }

    async fn fetch(&self, cid: Cid, likely: &[NetworkKey]) -> Result<Bytes, SwarmFault> {
        self.0.fetch_likely(cid, likely).await.map_err(fault)
    }

    async fn fetch_from(&self, peer: NetworkKey, cid: Cid) -> Result<Bytes, SwarmFault> {
        self.0.fetch_from(peer, cid).await.map_err(fault)
    }

    async fn ask(&self, peer: NetworkKey, request: Bytes) -> Result<Bytes, SwarmFault> {
        self.0.request_key(peer, request).await.map_err(fault)
    }

    fn announce(&self, root: Cid) {
        if let Err(error) = self.0.announce(root) {
            tracing::debug!(%root, %error, "a root could not be announced outside the consortium's own protocol");
        }
    }
}

#[async_trait]
impl KeyResponder for PeerRequests {
    async fn respond(&self, peer: NetworkKey, request: Bytes) -> Bytes {
        self.0.handle(peer, request).await
    }
}
