//! The swarm as this node's own swarm node has it: the production [`Swarm`].
//!
//! Only words are translated here; waiting, retrying and verifying are the swarm node's business.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cid::Cid;
use hansa_content::{ContentError, Hold};
use hansa_swarm::{FetchBounds, FetchProgress, KeyResponder, SwarmError};
use hansa_types::NetworkKey;

use crate::{FetchSink, Responder, Swarm, SwarmFault};

impl From<SwarmError> for SwarmFault {
    fn from(error: SwarmError) -> Self {
        match error {
            SwarmError::NotFound(cid) => Self::NotFound(cid),
            SwarmError::Content(ContentError::Malformed { cid, .. } | ContentError::UnsupportedHash(cid)) => {
                Self::Malformed(cid)
            }
            SwarmError::NotConnected(_) | SwarmError::Timeout(_) | SwarmError::KeyRequest { .. } => {
                Self::Unreachable
            }
            other => Self::Failed(other.to_string()),
        }
    }
}

#[async_trait]
impl Swarm for hansa_swarm::Swarm {
    async fn fetch_dag(
        &self,
        root: Cid,
        likely: &[NetworkKey],
        progress: FetchSink,
    ) -> Result<Arc<Hold>, SwarmFault> {
        let sink = Arc::new(move |so_far: FetchProgress| progress(so_far.bytes, so_far.bytes_known));
        Ok(self.fetch_dag_within(root, FetchBounds::NONE, likely, sink).await?.hold)
    }

    async fn fetch(&self, cid: Cid, likely: &[NetworkKey]) -> Result<Bytes, SwarmFault> {
        Ok(self.fetch_likely(cid, likely).await?)
    }

    async fn fetch_from(&self, peer: NetworkKey, cid: Cid) -> Result<Bytes, SwarmFault> {
        Ok(hansa_swarm::Swarm::fetch_from(self, peer, cid).await?)
    }

    async fn ask(&self, peer: NetworkKey, request: Bytes) -> Result<Bytes, SwarmFault> {
        Ok(self.request_key(peer, request).await?)
    }

    fn announce(&self, root: Cid) {
        if let Err(error) = Self::announce(self, root) {
            tracing::debug!(%root, %error, "a root could not be announced outside the consortium's own protocol");
        }
    }
}

#[async_trait]
impl KeyResponder for Responder {
    async fn respond(&self, peer: NetworkKey, request: Bytes) -> Bytes {
        self.answer(peer, request).await
    }
}
