//! Ethereum JSON-RPC over HTTP and WebSocket on one port, as geth answers it.
//!
//! Everything served is final: the tags `latest`, `safe`, `finalized` and `pending` all name the last finalised block.
//! Nothing here signs, and no method changes the node; the only thing a caller can hand in is a signed transaction.

mod args;
mod batch;
mod blocking;
mod blocks;
mod convert;
mod error;
mod fees;
mod filters;
mod methods;
mod origin;
mod state;
mod submit;
mod subscribe;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hansa_ledger::Ledger;
use hansa_pool::Pool;
use jsonrpsee::{
    core::middleware::RpcServiceBuilder,
    server::{BatchRequestConfig, PingConfig, Server, ServerConfig, ServerHandle},
};

use self::{blocking::Blocking, filters::Filters, submit::Submitter};

/// Sizes beyond which a caller gets an error instead of more memory.
#[derive(Clone, Debug)]
pub struct RpcLimits {
    /// Bytes of one request body or WebSocket message.
    pub request_bytes: u32,
    /// Bytes of one response.
    pub response_bytes: u32,
    /// Requests in a batch.
    pub batch: u32,
    /// HTTP requests in progress plus WebSocket sessions.
    pub connections: u32,
    /// Subscriptions of one WebSocket session.
    pub subscriptions: u32,
    /// Messages that wait for one WebSocket session before the slow subscriber loses its subscription.
    pub session_messages: u32,
    /// Logs in one answer.
    pub logs: usize,
    /// How long one log query may search.
    pub logs_time: Duration,
    /// Filters that are open at once; the one polled longest ago gives way.
    pub filters: usize,
    /// After how long without a poll a filter is forgotten.
    pub filter_idle: Duration,
    /// Ledger calls that run at once.
    pub executions: usize,
    /// Ledger calls that wait or run; beyond them callers are told to come back.
    pub executions_queued: usize,
}

impl Default for RpcLimits {
    fn default() -> Self {
        Self {
            request_bytes: 10 * 1024 * 1024,
            response_bytes: 32 * 1024 * 1024,
            batch: 5_000,
            connections: 256,
            subscriptions: 64,
            session_messages: 1_024,
            logs: 10_000,
            logs_time: Duration::from_secs(10),
            filters: 1_024,
            filter_idle: Duration::from_secs(300),
            executions: 8,
            executions_queued: 4_096,
        }
    }
}

/// What the peer network tells JSON-RPC callers.
pub trait Network: Send + Sync + 'static {
    /// Nodes connected.
    fn peers(&self) -> u32;
    /// The height the network has reached, while this node is behind it.
    fn catching_up_to(&self) -> Option<u64>;
}

/// A node without a network.
impl Network for () {
    fn peers(&self) -> u32 {
        0
    }

    fn catching_up_to(&self) -> Option<u64> {
        None
    }
}

/// What every method works on.
pub(crate) struct Chain {
    ledger: Ledger,
    pool: Pool,
    network: Arc<dyn Network>,
    blocking: Blocking,
    submitter: Submitter,
    filters: Filters,
    limits: RpcLimits,
}

/// The running server. Dropping it does not stop it.
#[derive(Debug)]
pub struct RpcServer {
    address: SocketAddr,
    handle: ServerHandle,
}

impl RpcServer {
    /// Serves JSON-RPC on `listen` (port 0: any free port) until [`RpcServer::stop`]. Must run in a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(
        listen: SocketAddr,
        ledger: Ledger,
        network: Arc<dyn Network>,
        limits: RpcLimits,
    ) -> io::Result<Self> {
        let config = ServerConfig::builder()
            .max_request_body_size(limits.request_bytes)
            .max_response_body_size(limits.response_bytes)
            .max_connections(limits.connections)
            .max_subscriptions_per_connection(limits.subscriptions)
            .set_message_buffer_capacity(limits.session_messages)
            .set_batch_request_config(BatchRequestConfig::Limit(limits.batch))
            .set_id_provider(subscribe::Ids::default())
            .enable_ws_ping(PingConfig::new())
            .build();
        let response_bytes = limits.response_bytes as usize;
        let chain = Arc::new(Chain::new(ledger, network, limits));
        let batches = chain.clone();
        let middleware = RpcServiceBuilder::new()
            .layer_fn(move |inner| batch::Batches::new(inner, batches.clone(), response_bytes));
        let server = Server::builder()
            .set_config(config)
            .set_http_middleware(tower::ServiceBuilder::new().layer(origin::KeepPagesOut))
            .set_rpc_middleware(middleware)
            .build(listen)
            .await?;
        let address = server.local_addr()?;
        let handle = server.start(methods::module(chain));
        Ok(Self { address, handle })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, ends the sessions, and waits until that is done.
    pub async fn stop(self) {
        // An error says that it has stopped already.
        let _ = self.handle.stop();
        self.handle.stopped().await;
    }
}

impl Chain {
    fn new(ledger: Ledger, network: Arc<dyn Network>, limits: RpcLimits) -> Self {
        let pool = ledger.pool().clone();
        let blocking = Blocking::new(limits.executions, limits.executions_queued);
        Self {
            submitter: Submitter::start(pool.clone()),
            filters: Filters::new(limits.filters, limits.filter_idle),
            blocking,
            ledger,
            pool,
            network,
            limits,
        }
    }
}
