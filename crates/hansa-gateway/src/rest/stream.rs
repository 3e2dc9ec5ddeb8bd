//! Long operations: progress lines while they run, then one result or one error.

use std::{future::Future, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use hansa_types::api::{Code, Line, Problem, Progress};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use super::{Gate, problem::Refusal};
use crate::ProgressSink;

/// Progress lines that wait for a slow reader; further ones are dropped.
const LINES_WAITING: usize = 32;

/// What becomes of an operation when its caller goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnLeave {
    /// It writes, so it goes on to its end.
    Finish,
    /// It only reads, so it is dropped.
    Abandon,
}

/// A place among the long operations.
///
/// # Errors
/// When all are taken.
pub(crate) fn place(gate: &Gate) -> Result<OwnedSemaphorePermit, Refusal> {
    let busy = |_| Refusal::new(Code::Busy, "too many long operations run at once");
    gate.0.operations.clone().try_acquire_owned().map_err(busy)
}

/// Runs an operation and answers with its lines.
pub(crate) fn respond<T, F, W>(place: OwnedSemaphorePermit, on_leave: OnLeave, work: W) -> Response
where
    T: Serialize + Send + 'static,
    F: Future<Output = Result<T, Problem>> + Send + 'static,
    W: FnOnce(ProgressSink) -> F,
{
    let (lines, reports) = mpsc::channel::<Progress>(LINES_WAITING);
    let sink: ProgressSink = Arc::new(move |progress| {
        // A reader that is behind misses some reports; the result follows in any case.
        let _ = lines.try_send(progress);
    });
    let operation = work(sink);
    let (finished, outcome) = oneshot::channel();
    let task = tokio::spawn(async move {
        let _place = place;
        let outcome = operation.await;
        // Nobody is left to read it.
        let _ = finished.send(outcome);
    });
    let guard = Guard((on_leave == OnLeave::Abandon).then(|| task.abort_handle()));
    let progress = ReceiverStream::new(reports).map(|progress| line(&Line::<()>::Progress(progress)));
    let last = stream::once(async move {
        let outcome =
            outcome.await.unwrap_or_else(|_| Err(Problem::new(Code::Internal, "the operation failed")));
        match outcome {
            Ok(result) => line(&Line::Result(result)),
            Err(problem) => line(&Line::<()>::Error(problem)),
        }
    });
    // The sink lives in the operation, so the reports end when it does, and the last line follows.
    let lines = progress.chain(last).map(move |line| {
        let _ = &guard;
        Ok::<_, core::convert::Infallible>(line)
    });
    let mut response = Body::from_stream(lines).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

/// Ends a reading operation when the answer is no longer wanted.
struct Guard(Option<tokio::task::AbortHandle>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

fn line<T: Serialize>(line: &Line<T>) -> Bytes {
    let mut text = serde_json::to_vec(line).unwrap_or_else(|error| {
        let problem = Problem::new(Code::Internal, format!("the result cannot be written: {error}"));
        serde_json::to_vec(&Line::<()>::Error(problem)).unwrap_or_default()
    });
    text.push(b'\n');
    text.into()
}
