//! [`Responder`] behind the port through which the swarm hands over other nodes' requests.

use async_trait::async_trait;
use bytes::Bytes;
use hansa_ports::RequestHandler;
use hansa_types::NetworkKey;

use crate::Responder;

#[async_trait]
impl RequestHandler for Responder {
    async fn handle(&self, peer: NetworkKey, request: Bytes) -> Bytes {
        self.answer(peer, request).await
    }
}
