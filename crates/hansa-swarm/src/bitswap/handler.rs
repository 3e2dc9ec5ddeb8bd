//! Bitswap messages on the streams of a connection. One outbound stream is reused for all messages. There are several inbound streams,
//! because some implementations open one for each message. Messages are framed here, not interpreted.
//!
//! A peer cannot occupy memory or a task for long. Messages in memory have a budget; a stalled message or a full queue closes the
//! connection; messages above a rate wait in the peer's send buffer.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, SelectAll};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use hansa_content::Buffer;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol};
use libp2p::{Stream, StreamProtocol};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::message::{Entry, MAX_MESSAGE_BYTES, Message};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/ipfs/bitswap/1.2.0");
/// Maximum number of inbound streams.
const INBOUND_STREAMS_MAX: usize = 64;
/// Memory budget of a connection's inbound messages in KiB, from the first byte read to the last block stored.
const BUDGET_KIB: usize = 12 * 1024;

/// Maximum length of the outbound queue in bytes: the answers that the ledger admits, which may exceed their estimates, and own wants.
const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Rate limit of inbound messages; more wait.
const MESSAGES_PER_SECOND_MAX: u32 = 2_000;
/// Bytes of a message that must be transferred within [`crate::Limits::stall`].
const STEP_BYTES: usize = 64 * 1024;

/// A share of a connection's budget, returned when the message is dropped.
pub(crate) type Budget = Arc<OwnedSemaphorePermit>;

/// A message from the behaviour to a connection.
#[derive(Debug)]
pub(crate) struct Send {
    pub(crate) pieces: Vec<Bytes>,
    /// Length of an answer, reported after it is written; 0 for wants.
    pub(crate) answer_bytes: usize,
}

impl Send {
    /// An answer to a peer's wants.
    pub(crate) fn answer(message: &Message) -> Self {
        let mut send = Self { pieces: message.encode(), answer_bytes: 0 };
        send.answer_bytes = send.length();
        send
    }

    /// Wants of this node.
    pub(crate) fn wants(wants: Vec<Entry>) -> Self {
        Self { pieces: Message { wants, ..Default::default() }.encode(), answer_bytes: 0 }
    }

    fn length(&self) -> usize {
        self.pieces.iter().fold(0, |sum, piece| sum.saturating_add(piece.len()))
    }
}

/// A message from a connection to the behaviour.
#[derive(Debug)]
pub(crate) enum Report {
    Received(Message, Budget),
    /// A message was written; see [`Send::answer_bytes`].
    Sent(usize),
    /// The peer broke the protocol.
    Violation(&'static str),
    /// Messages were lost; wants must be sent again.
    Lost,
    /// The peer does not speak Bitswap.
    Unsupported,
}

enum Outbound {
    Closed,
    Opening,
    Idle(Stream),
    Writing(BoxFuture<'static, Result<(Stream, Send), WriteError>>),
    Unsupported,
}

pub(crate) struct Handler {
    inbound: SelectAll<BoxStream<'static, Result<(Message, Budget), ReadError>>>,
    outbound: Outbound,
    queue: VecDeque<Send>,
    /// Bytes in the queue and in the message being written.
    queue_bytes: usize,
    /// Timeout of a step of a message.
    stall: Duration,
    rate_limit: RateLimit,
    reports: VecDeque<Report>,
    budget: Arc<Semaphore>,
}

#[derive(Debug)]
enum ReadError {
    /// The stream ended within a message, which is a fault of the connection.
    Io,
    Violation(&'static str),
}

/// A failed write of a message.
enum WriteError {
    Io,
    /// The peer does not read.
    Stalled,
}

/// Limits the number of messages in each second.
struct RateLimit {
    began: Instant,
    left: u32,
    pause: Option<Pin<Box<Sleep>>>,
}

impl RateLimit {
    fn new() -> Self {
        Self { began: Instant::now(), left: MESSAGES_PER_SECOND_MAX, pause: None }
    }

    /// Ready when a message may be read.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let second = Duration::from_secs(1);
        if self.left == 0 && self.began.elapsed() < second {
            let end = self.began.checked_add(second).unwrap_or(self.began);
            let pause = self.pause.get_or_insert_with(|| Box::pin(sleep_until(end)));
            if pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    fn take(&mut self) {
        if self.began.elapsed() >= Duration::from_secs(1) {
            *self = Self::new();
        }
        self.left = self.left.saturating_sub(1);
    }
}

impl Handler {
    pub(crate) fn new(stall: Duration) -> Self {
        Self::with_budget(stall, BUDGET_KIB)
    }

    pub(crate) fn with_budget(stall: Duration, budget_kib: usize) -> Self {
        Self {
            inbound: SelectAll::new(),
            outbound: Outbound::Closed,
            queue: VecDeque::new(),
            queue_bytes: 0,
            stall,
            rate_limit: RateLimit::new(),
            reports: VecDeque::new(),
            budget: Arc::new(Semaphore::new(budget_kib)),
        }
    }

    fn accept(&mut self, stream: Stream) {
        if self.inbound.len() >= INBOUND_STREAMS_MAX {
            self.reports.push_back(Report::Violation("too many streams"));
            return;
        }
        let budget = Arc::clone(&self.budget);
        let stall = self.stall;
        let messages =
            futures::stream::try_unfold((stream, budget), move |(mut stream, budget)| async move {
                let message = read_message(&mut stream, &budget, stall).await?;
                Ok(message.map(|message| (message, (stream, budget))))
            });
        self.inbound.push(messages.boxed());
    }

    fn fail_outbound(&mut self, state: Outbound, report: Report) {
        self.outbound = state;
        self.queue.clear();
        self.queue_bytes = 0;
        self.reports.push_back(report);
    }

    /// Drives the outbound stream; opens one if necessary.
    fn poll_outbound(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            match std::mem::replace(&mut self.outbound, Outbound::Closed) {
                Outbound::Closed if self.queue.is_empty() => return false,
                Outbound::Closed => {
                    self.outbound = Outbound::Opening;
                    return true;
                }
                Outbound::Idle(stream) => match self.queue.pop_front() {
                    Some(message) => {
                        self.outbound = Outbound::Writing(write(stream, message, self.stall).boxed());
                    }
                    None => {
                        self.outbound = Outbound::Idle(stream);
                        return false;
                    }
                },
                Outbound::Writing(mut writing) => match writing.poll_unpin(cx) {
                    Poll::Ready(Ok((stream, written))) => {
                        self.outbound = Outbound::Idle(stream);
                        self.queue_bytes = self.queue_bytes.saturating_sub(written.length());
                        self.reports.push_back(Report::Sent(written.answer_bytes));
                    }
                    Poll::Ready(Err(WriteError::Stalled)) => {
                        let report = Report::Violation("it does not read what it is sent");
                        self.fail_outbound(Outbound::Closed, report);
                        return false;
                    }
                    Poll::Ready(Err(WriteError::Io)) => {
                        self.fail_outbound(Outbound::Closed, Report::Lost);
                        return false;
                    }
                    Poll::Pending => {
                        self.outbound = Outbound::Writing(writing);
                        return false;
                    }
                },
                state @ (Outbound::Opening | Outbound::Unsupported) => {
                    self.outbound = state;
                    return false;
                }
            }
        }
    }

    fn poll_inbound(&mut self, cx: &mut Context<'_>) -> Option<Report> {
        loop {
            if self.rate_limit.poll(cx).is_pending() {
                return None;
            }
            match self.inbound.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok((message, budget)))) => {
                    self.rate_limit.take();
                    return Some(Report::Received(message, budget));
                }
                Poll::Ready(Some(Err(ReadError::Violation(what)))) => return Some(Report::Violation(what)),
                Poll::Ready(Some(Err(ReadError::Io))) => {}
                Poll::Ready(None) | Poll::Pending => return None,
            }
        }
    }
}

/// Reads one message; `None` at the end of the stream. It waits for budget before it allocates. A stream may be idle between messages,
/// not within one.
async fn read_message(
    stream: &mut Stream,
    budget: &Arc<Semaphore>,
    stall: Duration,
) -> Result<Option<(Message, Budget)>, ReadError> {
    let Some(first) = read_byte(stream).await? else { return Ok(None) };
    let length = timeout(stall, read_length(stream, first)).await.map_err(|_| STANDS)??;
    let kib = u32::try_from(length.div_ceil(1024).max(1)).map_err(|_| ReadError::Violation("length"))?;
    let permit = Arc::clone(budget).acquire_many_owned(kib).await.map_err(|_| ReadError::Io)?;
    let mut bytes = Buffer::new(length);
    for step in bytes.chunks_mut(STEP_BYTES) {
        let read = timeout(stall, stream.read_exact(step)).await.map_err(|_| STANDS)?;
        read.map_err(|_| ReadError::Io)?;
    }
    let message =
        Message::decode(bytes.freeze()).map_err(|_| ReadError::Violation("a malformed Bitswap message"))?;
    Ok(Some((message, Arc::new(permit))))
}

const STANDS: ReadError = ReadError::Violation("a Bitswap message that does not go on");
const TOO_LONG: ReadError = ReadError::Violation("a Bitswap message over 4 MiB");

async fn read_byte(stream: &mut Stream) -> Result<Option<u8>, ReadError> {
    let mut byte = [0];
    match stream.read(&mut byte).await {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(byte[0])),
        Err(_) => Err(ReadError::Io),
    }
}

/// Reads the length of a message after its first byte.
async fn read_length(stream: &mut Stream, first: u8) -> Result<usize, ReadError> {
    let mut byte = first;
    let mut length = 0usize;
    for index in 0..4u32 {
        length |= usize::from(byte & 0x7f) << index.saturating_mul(7);
        if byte & 0x80 == 0 {
            return if length <= MAX_MESSAGE_BYTES { Ok(length) } else { Err(TOO_LONG) };
        }
        if index < 3 {
            byte = read_byte(stream).await?.ok_or(ReadError::Io)?;
        }
    }
    Err(TOO_LONG)
}

async fn write(mut stream: Stream, message: Send, stall: Duration) -> Result<(Stream, Send), WriteError> {
    for step in message.pieces.iter().flat_map(|piece| piece.chunks(STEP_BYTES)) {
        let written = timeout(stall, stream.write_all(step)).await.map_err(|_| WriteError::Stalled)?;
        written.map_err(|_| WriteError::Io)?;
    }
    let flushed = timeout(stall, stream.flush()).await.map_err(|_| WriteError::Stalled)?;
    flushed.map_err(|_| WriteError::Io)?;
    Ok((stream, message))
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Send;
    type ToBehaviour = Report;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ())
    }

    /// Connections to members stay open.
    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn on_behaviour_event(&mut self, message: Send) {
        match self.outbound {
            Outbound::Unsupported => self.reports.push_back(Report::Unsupported),
            _ => {
                self.queue_bytes = self.queue_bytes.saturating_add(message.length());
                self.queue.push_back(message);
            }
        }
        if self.queue_bytes > QUEUE_BYTES_MAX {
            let report = Report::Violation("it asks for more than it reads");
            self.fail_outbound(Outbound::Closed, report);
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Report>> {
        if self.poll_outbound(cx) {
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        if let Some(report) = self.reports.pop_front().or_else(|| self.poll_inbound(cx)) {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(report));
        }
        Poll::Pending
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<Self::InboundProtocol, Self::OutboundProtocol>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                self.accept(protocol);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, .. }) => {
                self.outbound = Outbound::Idle(protocol);
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => match error {
                StreamUpgradeError::NegotiationFailed => {
                    self.fail_outbound(Outbound::Unsupported, Report::Unsupported);
                }
                _ => self.fail_outbound(Outbound::Closed, Report::Lost),
            },
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker_ref;

    use super::*;

    #[tokio::test]
    async fn a_queue_that_a_peer_does_not_take_has_an_end() {
        let mut handler = Handler::new(Duration::from_secs(60));
        let mut cx = Context::from_waker(noop_waker_ref());
        let half = || Send { pieces: vec![vec![0; QUEUE_BYTES_MAX / 2].into()], answer_bytes: 0 };
        handler.on_behaviour_event(half());
        handler.on_behaviour_event(half());
        let asks = ConnectionHandler::poll(&mut handler, &mut cx);
        assert!(matches!(asks, Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { .. })));
        handler.on_behaviour_event(Send::wants(vec![Entry::cancel(Default::default())]));
        let cuts = ConnectionHandler::poll(&mut handler, &mut cx);
        let Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(Report::Violation(_))) = cuts else {
            panic!("{cuts:?}")
        };
        assert!(handler.queue.is_empty());
    }

    #[tokio::test]
    async fn messages_beyond_the_rate_wait() {
        let mut rate_limit = RateLimit::new();
        let mut cx = Context::from_waker(noop_waker_ref());
        // A second that does not end during the test.
        rate_limit.began = Instant::now() + Duration::from_secs(3600);
        let mut taken = 0;
        while taken <= MESSAGES_PER_SECOND_MAX && rate_limit.poll(&mut cx).is_ready() {
            rate_limit.take();
            taken += 1;
        }
        assert_eq!(taken, MESSAGES_PER_SECOND_MAX);
        rate_limit.began = Instant::now() - Duration::from_secs(1);
        assert!(rate_limit.poll(&mut cx).is_ready());
        rate_limit.take();
        assert_eq!(rate_limit.left, MESSAGES_PER_SECOND_MAX - 1);
    }
}
