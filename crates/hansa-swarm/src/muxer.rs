//! yamux with a capped receive window.
//!
//! libp2p's own wrapper does not let the window be set, and js-yamux sends frames as long as the window that it is
//! granted, while the Rust implementation refuses frames over 1 MiB: with 256 streams and 256 × 256 KiB + 512 KiB for the
//! connection, no stream's window grows beyond 768 KiB.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::io;
use std::iter;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};

const STREAMS_MAX: usize = 256;
const WINDOW_BYTES_MAX: usize = STREAMS_MAX * 256 * 1024 + 512 * 1024;
/// Streams that the peer opened and nobody has taken yet; more are refused.
const WAITING_MAX: usize = 128;
/// Length of the frames we send: long enough to cost little, short enough to let other streams between.
const FRAME_BYTES: usize = 64 * 1024;

/// Makes a yamux connection of an authenticated one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upgrade;

impl Upgrade {
    fn connect<S: AsyncRead + AsyncWrite + Unpin>(socket: S, mode: yamux::Mode) -> Muxer<S> {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(STREAMS_MAX);
        config.set_max_connection_receive_window(Some(WINDOW_BYTES_MAX));
        config.set_split_send_size(FRAME_BYTES);
        config.set_read_after_close(false);
        Muxer {
            connection: yamux::Connection::new(socket, config, mode),
            waiting: VecDeque::new(),
            waker: None,
        }
    }
}

impl UpgradeInfo for Upgrade {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<S> for Upgrade {
    type Output = Muxer<S>;
    type Error = io::Error;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, socket: S, _: Self::Info) -> Self::Future {
        ready(Ok(Self::connect(socket, yamux::Mode::Server)))
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<S> for Upgrade {
    type Output = Muxer<S>;
    type Error = io::Error;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, socket: S, _: Self::Info) -> Self::Future {
        ready(Ok(Self::connect(socket, yamux::Mode::Client)))
    }
}

/// A connection with many streams.
pub(crate) struct Muxer<S> {
    connection: yamux::Connection<S>,
    /// Inbound streams met while the connection was driven for another reason.
    waiting: VecDeque<yamux::Stream>,
    /// Woken when one is put there.
    waker: Option<Waker>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Muxer<S> {
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<Result<yamux::Stream, Error>> {
        match self.connection.poll_next_inbound(cx) {
            Poll::Ready(Some(Ok(stream))) => Poll::Ready(Ok(stream)),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Err(Error(error))),
            Poll::Ready(None) => Poll::Ready(Err(Error(yamux::ConnectionError::Closed))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<S> {
    type Substream = yamux::Stream;
    type Error = Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        if let Some(stream) = self.waiting.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        if let Poll::Ready(result) = self.poll_connection(cx) {
            return Poll::Ready(result);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        self.connection.poll_new_outbound(cx).map_err(Error)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connection.poll_close(cx).map_err(Error)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        let stream = match self.poll_connection(cx) {
            Poll::Ready(Ok(stream)) => stream,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        };
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(stream);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        } else {
            tracing::debug!("a peer opens streams faster than they are taken; one refused");
        }
        // There may be more to do at once.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The connection is over.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Error(yamux::ConnectionError);
