//! REST for the member's own people and systems: a bearer token, JSON, problems with numbers, streams for content.
//!
//! It is plain HTTP and listens on loopback unless configured otherwise; a proxy with TLS belongs before any other
//! address. It keeps no state beyond the requests that run.

mod blocks;
mod download;
mod drain;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzzing;
mod members;
mod objects;
mod problem;
mod promise;
mod requests;
mod routes;
mod stream;
mod tar;
mod times;
mod token;
mod upload;

use hansa_api::Service;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::http::Request;
use hansa_ledger::Ledger;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
};

use tower::ServiceExt as _;

use crate::{
    RestLimits,
    serve::{self, Paced},
};

use self::requests::Requests;
pub use self::{
    routes::{AUTHORISED, Endpoint, endpoints},
    token::Token,
};

/// What every handler works on.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Inner>);

struct Inner {
    token: Token,
    ledger: Ledger,
    service: Arc<dyn Service>,
    limits: RestLimits,
    operations: Arc<Semaphore>,
    requests: Requests,
}

impl Gate {
    fn service(&self) -> &Arc<dyn Service> {
        &self.0.service
    }

    fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    fn limits(&self) -> &RestLimits {
        &self.0.limits
    }
}

/// The running server. Dropping it stops it.
#[derive(Debug)]
pub struct RestServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    grace: Duration,
}

impl RestServer {
    /// Serves REST on `listen` (port 0: any free port) until [`RestServer::stop`]. Must run in a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(
        listen: SocketAddr,
        token: Token,
        ledger: Ledger,
        service: Arc<dyn Service>,
        limits: RestLimits,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let operations = Arc::new(Semaphore::new(limits.operations));
        let gate = Gate(Arc::new(Inner {
            token,
            ledger,
            service,
            limits,
            operations,
            requests: Requests::default(),
        }));
        let (stop, stopping) = watch::channel(false);
        let router = routes::router(gate);
        let service =
            move |_| router.clone().map_request(|request: Request<Paced>| request.map(axum::body::Body::new));
        let task = tokio::spawn(serve::serve(listener, limits.sockets, stopping, service));
        Ok(Self { address, stop, task, grace: limits.grace })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, lets the running ones finish within the limits' grace, and ends the others.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let abort = self.task.abort_handle();
        if tokio::time::timeout(self.grace, self.task).await.is_err() {
            abort.abort();
        }
    }
}
