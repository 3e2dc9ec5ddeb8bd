//! Ethereum JSON-RPC over HTTP and WebSocket on one port, as geth answers it.
//!
//! Everything served is final: the tags `latest`, `safe`, `finalized` and `pending` all name the last finalised block.
//! Nothing here signs, and no method changes the node; the only thing a caller can hand in is a signed transaction.

mod args;
mod batch;
mod blocking;
mod blocks;
mod calls;
mod convert;
mod error;
mod fees;
mod filters;
mod methods;
mod origin;
mod simulate;
mod state;
mod submit;
mod subscribe;
mod usage;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::http::{Request, Response, StatusCode};
use hansa_ledger::Ledger;
use hansa_pool::Pool;
use jsonrpsee::{
    Methods,
    core::middleware::RpcServiceBuilder,
    server::{BatchRequestConfig, HttpBody, PingConfig, Server, ServerConfig, ServerHandle, stop_channel},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tower::ServiceExt as _;

pub use self::usage::{Called, Calls};
use self::{blocking::Blocking, filters::Filters, submit::Submitter};
use crate::{
    ConnectionLimits,
    flow::Flow,
    serve::{self, Paced},
};

/// Sizes beyond which a caller gets an error instead of more memory.
#[derive(Clone, Debug)]
pub struct RpcLimits {
    /// Bytes of one request body or WebSocket message.
    pub request_bytes: u32,
    /// Bytes of one response.
    pub response_bytes: u32,
    /// Requests in a batch.
    pub batch: u32,
    /// How long one batch may take; its remaining requests are answered with an error.
    pub batch_time: Duration,
    /// HTTP requests in progress plus WebSocket sessions.
    pub connections: u32,
    /// What callers may hold with their connections.
    pub sockets: ConnectionLimits,
    /// Subscriptions of one WebSocket session.
    pub subscriptions: u32,
    /// Messages that wait for one WebSocket session before the slow subscriber loses its subscription.
    pub session_messages: u32,
    /// Logs in one answer, unless a single block has more.
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
            batch_time: Duration::from_secs(20),
            connections: 256,
            sockets: ConnectionLimits::default(),
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

/// How long the server waits for running requests when it stops.
const GRACE: Duration = Duration::from_secs(10);

/// The running server. Dropping it stops it.
#[derive(Debug)]
pub struct RpcServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    sessions: ServerHandle,
    calls: Arc<Calls>,
}

impl RpcServer {
    /// Serves JSON-RPC on `listen` (port 0: any free port) until [`RpcServer::stop`]. Must run in a tokio runtime.
    /// Web pages of `origins`, such as `https://app.example`, may use it beside programs and wallets; `*` admits all.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(
        listen: SocketAddr,
        ledger: Ledger,
        network: Arc<dyn Network>,
        origins: Vec<String>,
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
        let sockets = limits.sockets;
        let chain = Arc::new(Chain::new(ledger, network, limits));
        let batches = chain.clone();
        let methods = methods::module(chain);
        let calls = Arc::new(Calls::new(methods.method_names()));
        let counted = Arc::clone(&calls);
        let builder = Server::builder()
            .set_config(config)
            .set_http_middleware(tower::ServiceBuilder::new().layer(origin::Gatekeeper::new(origins)))
            .to_service_builder();
        let methods = Methods::from(methods);
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (sessions_stop, sessions) = stop_channel();
        let service = move |flow: Flow| {
            let (chain, calls) = (Arc::clone(&batches), Arc::clone(&counted));
            let layer = RpcServiceBuilder::new().layer_fn(move |inner| {
                batch::Batches::new(inner, Arc::clone(&chain), Arc::clone(&calls), flow.clone())
            });
            let builder = builder.clone().set_rpc_middleware(layer);
            let service = builder.build(methods.clone(), sessions_stop.clone());
            let service = service.map_request(|request: Request<Paced>| request.map(HttpBody::new));
            service.map_response(blamed)
        };
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(serve::serve(listener, sockets, stopping, service));
        Ok(Self { address, stop, task, sessions, calls })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests that it has answered.
    pub fn calls(&self) -> Arc<Calls> {
        Arc::clone(&self.calls)
    }

    /// Takes no more requests, ends the sessions, and waits until that is done.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // An error says that they have stopped already.
        let _ = self.sessions.stop();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(GRACE, self.task).await.is_err() {
            abort.abort();
        }
        self.sessions.stopped().await;
    }
}

/// A body that broke off is the caller's affair, which jsonrpsee answers as an error of its own.
fn blamed(mut response: Response<HttpBody>) -> Response<HttpBody> {
    const BROKE_OFF: &str =
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"the request's body broke off"}}"#;
    if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        *response.body_mut() = HttpBody::from(BROKE_OFF);
    }
    response
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
