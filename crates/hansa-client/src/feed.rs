//! Carries a stream to a blocking thread, where it is written to a disk.
//!
//! The thread alone makes and removes what it writes. When the reader of the stream is dropped, as by Ctrl-C, the thread
//! sees an error, not an end, and removes what it has begun.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;

use crate::ClientError;

/// Pieces that may wait for the disk.
const WAITING: usize = 8;

/// Runs `work` on a blocking thread over what `pieces` holds.
pub(crate) async fn feed<T: Send + 'static>(
    pieces: impl Stream<Item = io::Result<Bytes>>,
    work: impl FnOnce(&mut Pieces) -> Result<T, ClientError> + Send + 'static,
) -> Result<T, ClientError> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let work = tokio::task::spawn_blocking(move || work(&mut Pieces::new(receiver)));
    let mut pieces = std::pin::pin!(pieces);
    loop {
        let piece = pieces.next().await.transpose();
        let last = !matches!(piece, Ok(Some(_)));
        // A thread that takes no more pieces has ended, and says why.
        if sender.send(piece).await.is_err() || last {
            break;
        }
    }
    drop(sender);
    work.await.map_err(|error| ClientError::Broken(io::Error::other(error)))?
}

/// The blocking end of the stream.
pub(crate) struct Pieces {
    receiver: mpsc::Receiver<io::Result<Option<Bytes>>>,
    waiting: Bytes,
    ended: bool,
}

impl Pieces {
    fn new(receiver: mpsc::Receiver<io::Result<Option<Bytes>>>) -> Self {
        Self { receiver, waiting: Bytes::new(), ended: false }
    }

    /// The next piece; `None` at the end that the sender announced.
    pub(crate) fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.ended {
            if !self.waiting.is_empty() {
                return Ok(Some(std::mem::take(&mut self.waiting)));
            }
            match self.receiver.blocking_recv() {
                Some(Ok(Some(piece))) => self.waiting = piece,
                Some(Ok(None)) => self.ended = true,
                Some(Err(error)) => return Err(error),
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        Ok(None)
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(mut piece) = self.next()? else { return Ok(0) };
        let count = piece.len().min(buffer.len());
        piece.copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
        self.waiting = piece;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sender that goes away without a word, as when the command is interrupted, is no end of the content.
    #[test]
    fn only_an_announced_end_is_an_end() {
        for announced in [true, false] {
            let (sender, receiver) = mpsc::channel(WAITING);
            sender.try_send(Ok(Some(Bytes::from_static(b"half")))).unwrap();
            if announced {
                sender.try_send(Ok(None)).unwrap();
            }
            drop(sender);
            let mut read = Vec::new();
            let outcome = Pieces::new(receiver).read_to_end(&mut read);
            assert_eq!((outcome.is_ok(), read.as_slice()), (announced, b"half".as_slice()));
        }
    }
}
