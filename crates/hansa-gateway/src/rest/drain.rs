//! Request bodies that nobody reads to their end.
//!
//! A server that answers and closes while the caller still sends cuts the caller off before it has read the answer. So
//! what is left of a refused upload is read and dropped for a while, until the caller has seen why.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::runtime::Handle;

/// How long a refused caller is listened to.
const PATIENCE: Duration = Duration::from_secs(5);

/// A body that is read out when it is dropped before its end. To be made in a tokio runtime.
pub(crate) struct Drained {
    body: Option<BodyDataStream>,
    runtime: Handle,
}

impl Drained {
    pub(crate) fn new(body: Body) -> Self {
        Self { body: Some(body.into_data_stream()), runtime: Handle::current() }
    }
}

impl Stream for Drained {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        let piece = body.poll_next_unpin(context);
        if matches!(piece, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        piece
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let Some(mut rest) = self.body.take() else { return };
        self.runtime.spawn(tokio::time::timeout(PATIENCE, async move {
            while let Some(Ok(_)) = rest.next().await {}
        }));
    }
}
