//! Accepts connections for both interfaces and bounds what a caller may hold with them.
//!
//! A connection that has sent no complete request head in time is closed, also between two requests. A body of which
//! nothing comes for long ends with an error, and a connection whose caller takes nothing of an answer for as long is
//! closed. At the limit of connections the oldest idle one gives way to a new one, so
//! that idle callers never shut others out; where all are busy the new one is closed. HTTP/1.1 alone is spoken, with
//! upgrades.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::HttpBody,
    http::{Request, Response},
};
use bytes::Bytes;
use hyper::{
    body::{Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::Sleep,
};
use tower::{Service, ServiceExt as _};

use crate::{
    config::ConnectionLimits,
    flow::{Flow, FlowSocket},
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long to wait before accepting again when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of a request's head, and of a body that is read or written at a time.
const BUFFER_BYTES: usize = 128 * 1024;

/// Serves connections until told to stop, then lets the running requests finish. Dropping the future ends them.
///
/// `service` makes the service of one connection, which can count there what its requests hold.
pub(crate) async fn serve<M, S, B>(
    listener: TcpListener,
    limits: ConnectionLimits,
    mut stop: watch::Receiver<bool>,
    service: M,
) where
    M: Fn(Flow) -> S,
    S: Service<Request<Paced>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Failure>,
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Failure>,
{
    let mut open = Open::default();
    loop {
        let socket = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            Some(ended) = open.tasks.join_next_with_id() => {
                open.forget(ended.map_or_else(|error| error.id(), |(id, ())| id));
                continue;
            }
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    // Without it answers in several pieces wait for the caller's acknowledgements.
                    let _ = socket.set_nodelay(true);
                    socket
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        if !open.make_room(limits.connections) {
            tracing::debug!("a connection was closed: all others are busy");
            continue;
        }
        let flow = Flow::default();
        let service = service(flow.clone());
        let socket = FlowSocket::new(socket, flow, limits.body_pause);
        open.add(|requests| connection(socket, service, limits, requests, stop.clone()));
    }
    drop(listener);
    while open.tasks.join_next().await.is_some() {}
}

/// Waits for the word to stop, which also counts as given when nobody is left to give it.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The connections that are open, by age.
#[derive(Default)]
struct Open {
    tasks: JoinSet<()>,
    last: u64,
    by_age: BTreeMap<u64, (AbortHandle, Running)>,
}

impl Open {
    fn add<F>(&mut self, task: impl FnOnce(Running) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let requests = Running::default();
        let handle = self.tasks.spawn(task(requests.clone()));
        self.last = self.last.saturating_add(1);
        self.by_age.insert(self.last, (handle, requests));
    }

    fn forget(&mut self, id: tokio::task::Id) {
        self.by_age.retain(|_, (handle, _)| handle.id() != id);
    }

    /// Makes room for another connection, by ending the oldest idle one where need be. False when all are busy.
    fn make_room(&mut self, most: usize) -> bool {
        if self.by_age.len() < most {
            return true;
        }
        let idle = self.by_age.iter().find(|(_, (_, requests))| requests.are_none()).map(|(age, _)| *age);
        let Some((handle, _)) = idle.and_then(|age| self.by_age.remove(&age)) else { return false };
        handle.abort();
        true
    }
}

/// Counts the requests of a connection that are not answered to their end.
#[derive(Clone, Default)]
struct Running(Arc<AtomicUsize>);

impl Running {
    fn begin(&self) -> Unanswered {
        self.0.fetch_add(1, Ordering::Relaxed);
        Unanswered(Arc::clone(&self.0))
    }

    fn are_none(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// One request whose answer is not complete.
struct Unanswered(Arc<AtomicUsize>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves one connection to its end.
async fn connection<S, B>(
    socket: FlowSocket,
    service: S,
    limits: ConnectionLimits,
    requests: Running,
    mut stop: watch::Receiver<bool>,
) where
    S: Service<Request<Paced>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Failure>,
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Failure>,
{
    let answer = service_fn(move |request: Request<Incoming>| {
        let unanswered = requests.begin();
        let answered = service.clone().oneshot(request.map(|body| Paced::new(body, limits.body_pause)));
        async move { Ok::<_, S::Error>(answered.await?.map(|body| Counted { body, _unanswered: unanswered })) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head_time).max_buf_size(BUFFER_BYTES);
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(socket), answer).with_upgrades());
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stopped(&mut stop) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

/// A request's body that fails when it pauses for too long.
pub(crate) struct Paced {
    body: Incoming,
    most: Duration,
    /// Set while a piece is awaited.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    fn new(body: Incoming, most: Duration) -> Self {
        Self { body, most, deadline: None }
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if let Poll::Ready(piece) = Pin::new(&mut self.body).poll_frame(context) {
            self.deadline = None;
            return Poll::Ready(piece.map(|piece| piece.map_err(Failure::from)));
        }
        let most = self.most;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(most)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Some(Err(format!("nothing came for {most:?}").into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body, which keeps its connection from being taken for idle.
struct Counted<B> {
    body: B,
    _unanswered: Unanswered,
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
