//! Long operations: progress lines while they run, then one result or one error. An error that comes first of all is an
//! answer of its own, with its status.

use std::{future::Future, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use hansa_api::{Code, Line, Problem, Progress, ProgressSink, Stage};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{
    Gate,
    problem::{Refusal, status},
};
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

/// When the answer begins. What fails before has a status of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With the first report.
    WithReports,
    /// With the first report after the content was read, for callers that want it compared with a digest.
    AfterContent,
}

/// A place among the long operations.
///
/// # Errors
/// When all are taken.
pub(crate) fn place(gate: &Gate) -> Result<OwnedSemaphorePermit, Refusal> {
    let busy = |_| Refusal::new(Code::Busy, "too many long operations run at once");
    gate.0.operations.clone().try_acquire_owned().map_err(busy)
}

/// An operation as its answer sees it.
struct Operation<T> {
    reports: mpsc::Receiver<Progress>,
    outcome: oneshot::Receiver<Result<T, Problem>>,
    _guard: Guard,
}

/// What happens next in an operation.
enum Event<T> {
    Report(Progress),
    End(Result<T, Problem>),
}

impl<T> Operation<T> {
    async fn next(&mut self) -> Event<T> {
        tokio::select! {
            biased;
            // Reports first, so that none comes after the result; once their channel is closed only the result is
            // awaited.
            Some(progress) = self.reports.recv() => Event::Report(progress),
            outcome = &mut self.outcome => Event::End(
                outcome.unwrap_or_else(|_| Err(Problem::new(Code::Internal, "the operation failed"))),
            ),
        }
    }
}

/// Runs an operation and answers with its lines.
///
/// # Errors
/// When the operation fails before the answer begins: it then has the error's own status.
pub(crate) async fn respond<T, F, W>(
    place: OwnedSemaphorePermit,
    on_leave: OnLeave,
    begin: Begin,
    work: W,
) -> Result<Response, Refusal>
where
    T: Serialize + Send + 'static,
    F: Future<Output = Result<T, Problem>> + Send + 'static,
    W: FnOnce(ProgressSink) -> F,
{
    let mut operation = start(place, on_leave, work);
    let first = loop {
        match operation.next().await {
            Event::End(Err(problem)) => return Err(problem.into()),
            Event::Report(report) if begin == Begin::AfterContent && report.stage == Stage::Encrypt => {}
            first => break first,
        }
    };
    let lines = stream::unfold(Some((Some(first), operation)), |state| async move {
        let (first, mut operation) = state?;
        let event = match first {
            Some(event) => event,
            None => operation.next().await,
        };
        Some(match event {
            Event::Report(progress) => (line(&Line::<()>::Progress(progress)), Some((None, operation))),
            Event::End(Ok(result)) => (line(&Line::Result(result)), None),
            Event::End(Err(problem)) => (line(&Line::<()>::Error(stated(problem))), None),
        })
    })
    .map(Ok::<_, core::convert::Infallible>);
    let mut response = Body::from_stream(lines).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

fn start<T, F, W>(place: OwnedSemaphorePermit, on_leave: OnLeave, work: W) -> Operation<T>
where
    T: Send + 'static,
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
    Operation { reports, outcome, _guard: guard }
}

/// The error with the status that it would have had as an answer of its own.
fn stated(problem: Problem) -> Problem {
    Problem { status: status(problem.code).as_u16(), ..problem }
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
        serde_json::to_vec(&Line::<()>::Error(stated(problem))).unwrap_or_default()
    });
    text.push(b'\n');
    text.into()
}
