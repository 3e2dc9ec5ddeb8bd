//! Moves Bitswap messages over the streams of one connection. One stream out, reused for every message; any number of
//! streams in, since some implementations open one a message. Understands message boundaries, not messages' meaning.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

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

use super::message::{MAX_MESSAGE_BYTES, Message};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/ipfs/bitswap/1.2.0");
/// Streams that the peer may have open at the same time.
const INBOUND_STREAMS_MAX: usize = 64;
/// KiB of messages of one connection that may be in memory, from the first byte read to the last block stored.
const BUDGET_KIB: usize = 12 * 1024;

/// A share of a connection's budget; the memory of a message counts until it is dropped.
pub(crate) type Budget = Arc<OwnedSemaphorePermit>;

/// What the behaviour tells a connection.
#[derive(Debug)]
pub(crate) struct Send {
    pub(crate) pieces: Vec<Bytes>,
    /// Bytes of blocks, reported back when the message has been written.
    pub(crate) block_bytes: usize,
}

/// What a connection tells the behaviour.
#[derive(Debug)]
pub(crate) enum Report {
    Received(Message, Budget),
    /// A message is on its way; so many bytes of blocks were in it.
    Sent(usize),
    /// The peer broke the protocol.
    Violation(&'static str),
    /// Messages were lost; whatever was asked has to be asked again.
    Lost,
    /// The peer does not speak Bitswap.
    Unsupported,
}

enum Outbound {
    Closed,
    Opening,
    Idle(Stream),
    Writing(BoxFuture<'static, io::Result<(Stream, usize)>>),
    Unsupported,
}

pub(crate) struct Handler {
    inbound: SelectAll<BoxStream<'static, Result<(Message, Budget), ReadError>>>,
    outbound: Outbound,
    queue: VecDeque<Send>,
    reports: VecDeque<Report>,
    budget: Arc<Semaphore>,
}

#[derive(Debug)]
enum ReadError {
    /// The stream ended or broke amid a message, which is the connection's trouble.
    Io,
    Violation(&'static str),
}

impl Handler {
    pub(crate) fn new() -> Self {
        Self {
            inbound: SelectAll::new(),
            outbound: Outbound::Closed,
            queue: VecDeque::new(),
            reports: VecDeque::new(),
            budget: Arc::new(Semaphore::new(BUDGET_KIB)),
        }
    }

    fn accept(&mut self, stream: Stream) {
        if self.inbound.len() >= INBOUND_STREAMS_MAX {
            self.reports.push_back(Report::Violation("too many streams"));
            return;
        }
        let budget = Arc::clone(&self.budget);
        let messages = futures::stream::try_unfold((stream, budget), |(mut stream, budget)| async move {
            let message = read_message(&mut stream, &budget).await?;
            Ok(message.map(|message| (message, (stream, budget))))
        });
        self.inbound.push(messages.boxed());
    }

    fn fail_outbound(&mut self, state: Outbound, report: Report) {
        self.outbound = state;
        self.queue.clear();
        self.reports.push_back(report);
    }

    /// Drives the outbound stream; asks for one where it is needed.
    fn poll_outbound(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            match std::mem::replace(&mut self.outbound, Outbound::Closed) {
                Outbound::Closed if self.queue.is_empty() => return false,
                Outbound::Closed => {
                    self.outbound = Outbound::Opening;
                    return true;
                }
                Outbound::Idle(stream) => match self.queue.pop_front() {
                    Some(message) => self.outbound = Outbound::Writing(write(stream, message).boxed()),
                    None => {
                        self.outbound = Outbound::Idle(stream);
                        return false;
                    }
                },
                Outbound::Writing(mut writing) => match writing.poll_unpin(cx) {
                    Poll::Ready(Ok((stream, block_bytes))) => {
                        self.outbound = Outbound::Idle(stream);
                        self.reports.push_back(Report::Sent(block_bytes));
                    }
                    Poll::Ready(Err(_)) => {
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
            match self.inbound.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok((message, budget)))) => return Some(Report::Received(message, budget)),
                Poll::Ready(Some(Err(ReadError::Violation(what)))) => return Some(Report::Violation(what)),
                Poll::Ready(Some(Err(ReadError::Io))) => {}
                Poll::Ready(None) | Poll::Pending => return None,
            }
        }
    }
}

/// Reads one message; none at the end of the stream. Waits for room in the budget before it takes memory.
async fn read_message(
    stream: &mut Stream,
    budget: &Arc<Semaphore>,
) -> Result<Option<(Message, Budget)>, ReadError> {
    let Some(length) = read_length(stream).await? else { return Ok(None) };
    let kib = u32::try_from(length.div_ceil(1024).max(1)).map_err(|_| ReadError::Violation("length"))?;
    let permit = Arc::clone(budget).acquire_many_owned(kib).await.map_err(|_| ReadError::Io)?;
    let mut bytes = Buffer::new(length);
    stream.read_exact(&mut bytes).await.map_err(|_| ReadError::Io)?;
    let message =
        Message::decode(bytes.freeze()).map_err(|_| ReadError::Violation("a malformed Bitswap message"))?;
    Ok(Some((message, Arc::new(permit))))
}

async fn read_length(stream: &mut Stream) -> Result<Option<usize>, ReadError> {
    let mut length = 0usize;
    for index in 0..4u32 {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(0) if index == 0 => return Ok(None),
            Ok(1) => {}
            _ => return Err(ReadError::Io),
        }
        let [byte] = byte;
        length |= usize::from(byte & 0x7f) << index.saturating_mul(7);
        if byte & 0x80 == 0 {
            return match length {
                0..=MAX_MESSAGE_BYTES => Ok(Some(length)),
                _ => Err(ReadError::Violation("a Bitswap message over 4 MiB")),
            };
        }
    }
    Err(ReadError::Violation("a Bitswap message over 4 MiB"))
}

async fn write(mut stream: Stream, message: Send) -> io::Result<(Stream, usize)> {
    for piece in &message.pieces {
        stream.write_all(piece).await?;
    }
    stream.flush().await?;
    Ok((stream, message.block_bytes))
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

    /// Members stay connected.
    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn on_behaviour_event(&mut self, message: Send) {
        match self.outbound {
            Outbound::Unsupported => self.reports.push_back(Report::Unsupported),
            _ => self.queue.push_back(message),
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
