//! How much the requests of one connection may hold: requests that were read and are not answered, and answers that the
//! caller has not taken.
//!
//! HTTP/1.1 has one request at a time. A WebSocket session sends as many as it likes, and each becomes a task: so its socket
//! is not read while enough of them wait. A caller that takes nothing of an answer for too long is cut.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};

/// Requests that were read and are not answered.
const UNANSWERED_MAX: usize = 256;
/// Bytes that are read before all of the requests in them are answered.
const HELD_MAX: u64 = 16 * 1024 * 1024;
/// Requests that are worked on at the same time.
const AT_ONCE: usize = 32;
/// Bytes of answers that the socket has not taken. Beyond them no request is begun.
const UNSENT_MAX: u64 = 4 * 1024 * 1024;

/// The memory that one connection's requests hold. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Flow(Arc<Inner>);

struct Inner {
    places: Arc<Semaphore>,
    /// Told when answers have been taken.
    taken: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    unanswered: usize,
    /// Bytes read since all requests were answered.
    held: u64,
    unsent: u64,
    cut: bool,
    /// Waits until the socket may be read again.
    reader: Option<Waker>,
}

impl State {
    const fn is_full(&self) -> bool {
        let holds_much = self.unanswered >= UNANSWERED_MAX || self.unanswered > 0 && self.held > HELD_MAX;
        !self.cut && (holds_much || self.unsent > UNSENT_MAX)
    }

    /// The reader, where it need not wait any longer.
    fn unblocked(&mut self) -> Option<Waker> {
        if self.is_full() { None } else { self.reader.take() }
    }
}

impl Default for Flow {
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Self(Arc::new(Inner { places, taken: Notify::default(), state: Mutex::default() }))
    }
}

impl Flow {
    /// Takes a request in, and waits until it may be worked on.
    pub(crate) async fn begin(&self) -> Unanswered {
        self.change(|state| state.unanswered = state.unanswered.saturating_add(1));
        let mut unanswered = Unanswered { flow: self.clone(), _place: None };
        // An error would say that the places are closed, which they never are.
        unanswered._place = Arc::clone(&self.0.places).acquire_owned().await.ok();
        loop {
            let taken = self.0.taken.notified();
            if self.0.state.lock().unsent <= UNSENT_MAX {
                return unanswered;
            }
            taken.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let reader = {
            let mut state = self.0.state.lock();
            change(&mut state);
            state.unblocked()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Counts bytes that the socket has taken; more than those of answers, since they have heads and frames.
    fn sent(&self, bytes: usize) {
        self.change(|state| state.unsent = state.unsent.saturating_sub(bytes as u64));
        self.0.taken.notify_waiters();
    }

    fn cut(&self) {
        self.change(|state| state.cut = true);
    }

    /// Whether the socket may be read.
    fn poll_open(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state.lock();
        if state.cut {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if state.is_full() {
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

/// A request that is not answered, until this is dropped.
pub(crate) struct Unanswered {
    flow: Flow,
    _place: Option<OwnedSemaphorePermit>,
}

impl Unanswered {
    /// Counts the answer's bytes as long as the socket has not taken them.
    pub(crate) fn answered(self, bytes: usize) {
        self.flow.change(|state| state.unsent = state.unsent.saturating_add(bytes as u64));
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.flow.change(|state| {
            state.unanswered = state.unanswered.saturating_sub(1);
            if state.unanswered == 0 {
                state.held = 0;
            }
        });
    }
}

/// A socket that is read while there is room for requests, and whose writing fails when the caller takes nothing for too
/// long. A timer in the answer's body would not do: the body is not asked for more while the socket is full.
pub(crate) struct FlowSocket {
    socket: TcpStream,
    flow: Flow,
    most: Duration,
    /// Set while the socket takes nothing.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl FlowSocket {
    pub(crate) fn new(socket: TcpStream, flow: Flow, most: Duration) -> Self {
        Self { socket, flow, most, deadline: None }
    }

    /// The outcome of a write. A wait that is too long becomes an error.
    fn limited(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(outcome) = &written {
            self.deadline = None;
            self.flow.sent(*outcome.as_ref().unwrap_or(&0));
            return written;
        }
        let most = self.most;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(most)));
        ready!(deadline.as_mut().poll(context));
        self.flow.cut();
        let problem = format!("the caller took nothing of the answer for {most:?}");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, problem)))
    }
}

impl AsyncRead for FlowSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.flow.poll_open(context))?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(context, buffer))?;
        let read = buffer.filled().len().saturating_sub(before);
        self.flow.change(|state| state.held = state.held.saturating_add(read as u64));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for FlowSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.limited(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.limited(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
