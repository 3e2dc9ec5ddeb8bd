//! yamux with a receive window that fits the peer. libp2p's own wrapper does not expose the window.
//!
//! js-yamux sends frames as long as its window, and the Rust implementation refuses frames over 1 MiB. With 256 streams and a
//! connection window of 256 × 256 KiB + 512 KiB, no stream's window exceeds 768 KiB. That is less than a block, so sender and receiver
//! wait for each other. A second protocol name therefore promises frames of at most 1 MiB. Between peers that support it, windows
//! grow with round trip and throughput.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::io;
use std::iter::Copied;
use std::pin::Pin;
use std::slice;
use std::task::{Context, Poll, Waker};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};

const STREAMS_MAX: usize = 256;
/// Window of a connection in bytes: 256 KiB for each stream, and a shared rest for busy streams.
const WINDOW_BYTES_MAX: usize = STREAMS_MAX * 256 * 1024 + 8 * 1024 * 1024;
/// Window of a connection in bytes if the peer's frames can be as long as its window.
const PLAIN_WINDOW_BYTES_MAX: usize = STREAMS_MAX * 256 * 1024 + 512 * 1024;
/// Inbound streams that wait to be accepted; more are refused.
const WAITING_MAX: usize = 128;
/// Length of sent frames: long enough for a low overhead, short enough to interleave streams.
const FRAME_BYTES: usize = 64 * 1024;

/// The promise of a protocol name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Frames of at most 1 MiB.
    ShortFrames,
    /// No promise.
    Plain,
}

impl AsRef<str> for Variant {
    fn as_ref(&self) -> &str {
        match self {
            Self::ShortFrames => "/hansa/yamux/1.0.0",
            Self::Plain => "/yamux/1.0.0",
        }
    }
}

/// Upgrades an authenticated connection to yamux.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upgrade {
    /// Variants in order of preference.
    pub(crate) variants: &'static [Variant],
    pub(crate) frame_bytes: usize,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self { variants: &[Variant::ShortFrames, Variant::Plain], frame_bytes: FRAME_BYTES }
    }
}

impl Upgrade {
    fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        socket: S,
        mode: yamux::Mode,
        variant: Variant,
    ) -> Muxer<S> {
        let window = match variant {
            Variant::ShortFrames => WINDOW_BYTES_MAX,
            Variant::Plain => PLAIN_WINDOW_BYTES_MAX,
        };
        let mut config = yamux::Config::default();
        config.set_max_num_streams(STREAMS_MAX);
        config.set_max_connection_receive_window(Some(window));
        config.set_split_send_size(self.frame_bytes);
        config.set_read_after_close(false);
        Muxer {
            connection: yamux::Connection::new(socket, config, mode),
            waiting: VecDeque::new(),
            waker: None,
        }
    }
}

impl UpgradeInfo for Upgrade {
    type Info = Variant;
    type InfoIter = Copied<slice::Iter<'static, Variant>>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.variants.iter().copied()
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<S> for Upgrade {
    type Output = Muxer<S>;
    type Error = io::Error;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, socket: S, variant: Variant) -> Self::Future {
        ready(Ok(self.connect(socket, yamux::Mode::Server, variant)))
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<S> for Upgrade {
    type Output = Muxer<S>;
    type Error = io::Error;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, socket: S, variant: Variant) -> Self::Future {
        ready(Ok(self.connect(socket, yamux::Mode::Client, variant)))
    }
}

/// A connection with many streams.
pub(crate) struct Muxer<S> {
    connection: yamux::Connection<S>,
    /// Inbound streams that wait to be accepted.
    waiting: VecDeque<yamux::Stream>,
    /// Woken by a new inbound stream.
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
            tracing::debug!("a peer opens streams faster than they are accepted; one refused");
        }
        // More events may be ready.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A failed connection.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Error(yamux::ConnectionError);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
    use hansa_types::SwarmKey;
    use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt};
    use libp2p::core::transport::{Boxed, DialOpts, ListenerId, PortUse, TransportEvent};
    use libp2p::core::{Endpoint, Transport};
    use libp2p::identity::Keypair;
    use libp2p::{Multiaddr, PeerId};

    use super::*;
    use crate::transport;

    const SENT_BYTES: usize = 16 * 1024 * 1024;

    fn transport(muxer: Upgrade) -> Boxed<(PeerId, StreamMuxerBox)> {
        let limits = crate::Limits { silence: std::time::Duration::from_secs(60), ..Default::default() };
        transport::build(&Keypair::generate_ed25519(), &SwarmKey::from_bytes([1; 32]), muxer, &limits)
            .unwrap()
    }

    /// Connects over loopback.
    async fn connect(ours: Upgrade, theirs: Upgrade) -> [StreamMuxerBox; 2] {
        let (mut ours, mut theirs) = (transport(ours), transport(theirs));
        ours.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let address: Multiaddr = loop {
            if let TransportEvent::NewAddress { listen_addr, .. } = ours.select_next_some().await {
                break listen_addr;
            }
        };
        let how = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dialled = theirs.dial(address, how).unwrap();
        let accepted = async {
            loop {
                if let TransportEvent::Incoming { upgrade, .. } = ours.select_next_some().await {
                    return upgrade.await;
                }
            }
        };
        let (accepted, dialled) = tokio::join!(accepted, dialled);
        [accepted.unwrap().1, dialled.unwrap().1]
    }

    /// Drives a connection until `work` completes.
    async fn driven<T>(mut muxer: StreamMuxerBox, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        poll_fn(|cx| {
            let done = work.poll_unpin(cx);
            while let (Poll::Pending, Poll::Ready(event)) = (&done, muxer.poll_unpin(cx)) {
                event.expect("the connection lives");
            }
            done
        })
        .await
    }

    /// Sends from the second peer to the first.
    async fn sends(ours: Upgrade, theirs: Upgrade) {
        let [mut receiver, mut sender] = connect(ours, theirs).await;
        let mut output = poll_fn(|cx| sender.poll_outbound_unpin(cx)).await.unwrap();
        let (done, ended) = futures::channel::oneshot::channel();
        let data: Vec<u8> = (0..SENT_BYTES).map(|index| (index / 997) as u8).collect();
        let sent = async {
            output.write_all(&data).await.unwrap();
            output.flush().await.unwrap();
            ended.await.unwrap();
        };
        let received = async {
            let mut input = poll_fn(|cx| match receiver.poll_unpin(cx) {
                Poll::Ready(event) => panic!("{event:?}"),
                Poll::Pending => receiver.poll_inbound_unpin(cx),
            })
            .await
            .unwrap();
            let mut bytes = vec![0; SENT_BYTES];
            driven(receiver, async {
                input.read_exact(&mut bytes).await.unwrap();
                done.send(()).unwrap();
            })
            .await;
            bytes
        };
        let (bytes, ()) = tokio::join!(received, driven(sender, sent));
        assert!(bytes == data);
    }

    #[tokio::test]
    async fn peers_agree_on_either_variant() {
        let only = |variants| Upgrade { variants, ..Upgrade::default() };
        assert_eq!(Upgrade::default().protocol_info().next(), Some(Variant::ShortFrames));
        sends(Upgrade::default(), Upgrade::default()).await;
        sends(Upgrade::default(), only(&[Variant::ShortFrames])).await;
        sends(Upgrade::default(), only(&[Variant::Plain])).await;
        sends(only(&[Variant::Plain]), Upgrade::default()).await;
    }

    /// As js-yamux does.
    #[tokio::test]
    async fn a_peer_may_send_frames_as_long_as_its_window() {
        let long = Upgrade { variants: &[Variant::Plain], frame_bytes: usize::MAX };
        sends(Upgrade::default(), long).await;
    }
}
