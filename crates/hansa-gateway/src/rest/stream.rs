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
    let lines = stream::unfold(Some((reports, outcome, guard)), |state| async move {
        let (mut reports, mut outcome, guard) = state?;
        let last = tokio::select! {
            biased;
            // Reports first, so that none comes after the result; once their channel is closed only the result is awaited.
            Some(progress) = reports.recv() => {
                return Some((line(&Line::<()>::Progress(progress)), Some((reports, outcome, guard))));
            }
            outcome = &mut outcome => outcome,
        };
        let last = match last.unwrap_or_else(|_| Err(Problem::new(Code::Internal, "the operation failed"))) {
            Ok(result) => line(&Line::Result(result)),
            Err(problem) => line(&Line::<()>::Error(problem)),
        };
        Some((last, None))
    })
    .map(Ok::<_, core::convert::Infallible>);
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
