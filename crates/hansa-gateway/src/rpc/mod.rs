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
    RpcLimits,
    flow::Flow,
    serve::{self, Paced},
};

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

/// The running server. Dropping it stops it.
#[derive(Debug)]
pub struct RpcServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    sessions: ServerHandle,
    calls: Arc<Calls>,
    grace: Duration,
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
        let (sockets, grace, origins) = (limits.sockets, limits.grace, limits.origins.clone());
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
        Ok(Self { address, stop, task, sessions, calls, grace })
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
        if tokio::time::timeout(self.grace, self.task).await.is_err() {
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
            submitter: Submitter::start(pool.clone(), limits.submissions_queued, limits.submissions_together),
            filters: Filters::new(limits.filters, limits.filter_idle),
            blocking,
            ledger,
            pool,
            network,
            limits,
        }
    }
}
