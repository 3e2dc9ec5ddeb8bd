//! The private-network layer (libp2p specification "Private Networks: PSK v1"). Each side sends a nonce of 24 bytes, then its bytes
//! under XSalsa20 with the shared key. The layer keeps strangers from the protocols above. Secrecy and integrity are Noise's.
//!
//! libp2p has an implementation; this one is faster. It reads and writes 128 KiB at a time, where the layers above ask for 8, and the
//! cipher works on many blocks at a time. It also closes silent connections: every node pings its peers, so silence means that the
//! peer is unreachable, which TCP alone would notice after a quarter of an hour.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use hansa_types::SwarmKey;
use tokio::time::{Instant, Sleep, sleep};

use crate::salsa::XSalsa20;

const BUFFER: usize = 128 * 1024;
const NONCE: usize = 24;

/// Exchanges nonces. A peer with another key fails only in the next handshake. The connection closes if nothing arrives for
/// `silence`.
pub(crate) async fn handshake<S>(mut socket: S, key: SwarmKey, silence: Duration) -> io::Result<Private<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ours: [u8; NONCE] = rand::random();
    let mut theirs = [0; NONCE];
    socket.write_all(&ours).await?;
    socket.flush().await?;
    socket.read_exact(&mut theirs).await?;
    Ok(Private {
        socket,
        reading: XSalsa20::new(key.expose(), &theirs),
        writing: XSalsa20::new(key.expose(), &ours),
        input: Buffer::default(),
        output: Buffer::default(),
        silence: Silence { limit: silence, heard: Instant::now(), alarm: Box::pin(sleep(silence)) },
    })
}

/// Detects that nothing has arrived for too long.
struct Silence {
    limit: Duration,
    heard: Instant,
    /// Expires at the earliest possible end of the timeout.
    alarm: Pin<Box<Sleep>>,
}

impl Silence {
    /// Fails after too long a silence. Call it when a read is pending.
    fn poll(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.alarm.as_mut().poll(cx).is_ready() {
            if self.heard.elapsed() >= self.limit {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the peer has fallen silent"));
            }
            let next = self.heard.checked_add(self.limit).unwrap_or(self.heard);
            self.alarm.as_mut().reset(next);
        }
        Ok(())
    }
}

/// Encrypted bytes of the socket.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

impl Buffer {
    const fn is_empty(&self) -> bool {
        self.from >= self.to
    }

    fn content(&self) -> &[u8] {
        self.bytes.get(self.from..self.to).unwrap_or_default()
    }

    /// The whole buffer for overwriting.
    fn room(&mut self) -> &mut [u8] {
        (self.from, self.to) = (0, 0);
        self.bytes.resize(BUFFER, 0);
        &mut self.bytes
    }

    fn consume(&mut self, count: usize) {
        self.from = self.from.saturating_add(count);
    }
}

/// An encrypted connection.
pub(crate) struct Private<S> {
    socket: S,
    reading: XSalsa20,
    writing: XSalsa20,
    input: Buffer,
    output: Buffer,
    silence: Silence,
}

impl<S: AsyncWrite + Unpin> Private<S> {
    /// Writes the buffered bytes to the socket.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let Poll::Ready(written) = Pin::new(&mut self.socket).poll_write(cx, self.output.content())
            else {
                self.silence.poll(cx)?;
                return Poll::Pending;
            };
            match written? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.output.consume(count),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Private<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.input.is_empty() {
            let room = this.input.room();
            let Poll::Ready(read) = Pin::new(&mut this.socket).poll_read(cx, room) else {
                this.silence.poll(cx)?;
                return Poll::Pending;
            };
            this.input.to = read?;
            this.silence.heard = Instant::now();
        }
        let content = this.input.content();
        let count = content.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), content.get(..count)) {
            this.reading.apply(from, to);
        }
        this.input.consume(count);
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Private<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_output(cx))?;
        let count = data.len().min(BUFFER);
        if let (Some(to), Some(from)) = (this.output.room().get_mut(..count), data.get(..count)) {
            this.writing.apply(from, to);
        }
        this.output.to = count;
        // Unsent bytes go with the next write or flush.
        match this.poll_output(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_output(cx))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_output(cx))?;
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use libp2p::pnet::{PnetConfig, PreSharedKey};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::compat::TokioAsyncReadCompatExt;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.unwrap(), server.unwrap().0)
    }

    #[tokio::test]
    async fn it_is_understood_by_libp2ps_own() {
        let (ours, theirs) = pair().await;
        let key = [9; 32];
        let (ours, theirs) = tokio::join!(
            handshake(ours.compat(), SwarmKey::from_bytes(key), Duration::from_secs(60)),
            PnetConfig::new(PreSharedKey::new(key)).handshake(theirs.compat()),
        );
        let (mut ours, theirs) = (ours.unwrap(), theirs.unwrap());
        let message: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
        let echo = async {
            let (mut reader, mut writer) = theirs.split();
            let mut heard = vec![0; 1_000_000];
            reader.read_exact(&mut heard).await.unwrap();
            writer.write_all(&heard).await.unwrap();
            writer.flush().await.unwrap();
        };
        let ask = async {
            for piece in message.chunks(300_001) {
                ours.write_all(piece).await.unwrap();
            }
            ours.flush().await.unwrap();
            let mut heard = vec![0; message.len()];
            for piece in heard.chunks_mut(7_777) {
                ours.read_exact(piece).await.unwrap();
            }
            heard
        };
        let (heard, ()) = tokio::join!(ask, echo);
        assert!(heard == message);
    }

    /// The peer is silent, as after a cable was pulled.
    #[tokio::test]
    async fn silence_ends_a_connection() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 10);
        let limit = Duration::from_millis(200);
        let greeting = tokio::io::AsyncWriteExt::write_all(&mut theirs, &[1; NONCE + 5]);
        let (private, greeted) =
            tokio::join!(handshake(ours.compat(), SwarmKey::from_bytes([9; 32]), limit), greeting);
        greeted.unwrap();
        let mut private = private.unwrap();
        private.read_exact(&mut [0; 5]).await.unwrap();
        let error = private.read(&mut [0; 5]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(private.silence.heard.elapsed() >= limit);
        // A peer that does not read does not block the writer either.
        let error = private.write_all(&[0; 1 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
