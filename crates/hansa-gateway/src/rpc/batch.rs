//! Answers a batch of requests: in order, except that transactions that follow one another go to the pool as one.
//!
//! A batch has a budget of time. Requests that come after its end are answered with an error of their own, so that a
//! long batch of costly calls holds one of the threads for a bounded time and its caller learns which are missing. A
//! connection's requests wait while its caller has not taken the answers to earlier ones.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use jsonrpsee::{
    core::middleware::{Batch, BatchEntry, Notification, RpcServiceT},
    server::{BatchResponseBuilder, MethodResponse, ResponsePayload},
    types::{ErrorObjectOwned, Id, Params, Request},
};

use super::{Chain, error::RpcError, submit, usage::Calls};
use crate::flow::Flow;

/// The batching layer around jsonrpsee's own service, which also counts.
#[derive(Clone)]
pub(crate) struct Batches<S> {
    inner: S,
    chain: Arc<Chain>,
    calls: Arc<Calls>,
    flow: Flow,
}

impl<S> Batches<S> {
    pub(crate) fn new(inner: S, chain: Arc<Chain>, calls: Arc<Calls>, flow: Flow) -> Self {
        Self { inner, chain, calls, flow }
    }
}

impl<S: RpcServiceT<MethodResponse = MethodResponse>> Batches<S> {
    /// Calls a method and counts it.
    async fn counted(&self, request: Request<'_>) -> MethodResponse {
        let (method, begun) = (self.calls.of(request.method_name()), Instant::now());
        let answer = self.inner.call(request).await;
        method.count(answer.is_error(), begun.elapsed());
        answer
    }

    /// Answers a batch.
    async fn batched(&self, batch: Batch<'_>) -> MethodResponse {
        let (chain, calls) = (&self.chain, &self.calls);
        let (begun, response_bytes) = (Instant::now(), chain.limits.response_bytes as usize);
        let mut answers = BatchResponseBuilder::new_with_limit(response_bytes);
        let mut run = Run::default();
        let mut notified = false;
        for entry in batch {
            match entry {
                Ok(BatchEntry::Call(request)) if begun.elapsed() > chain.limits.batch_time => {
                    calls.count(request.method_name(), true, Duration::ZERO);
                    let error = ErrorObjectOwned::from(RpcError::batch_time());
                    if let Err(too_long) =
                        answers.append(MethodResponse::error(request.id.into_owned(), error))
                    {
                        return too_long;
                    }
                }
                Ok(BatchEntry::Call(request)) if request.method_name() == submit::METHOD => {
                    run.push(request);
                    continue;
                }
                Ok(BatchEntry::Call(request)) => {
                    if let Err(too_long) = run.submit(chain, calls, response_bytes, &mut answers).await {
                        return too_long;
                    }
                    if let Err(too_long) = answers.append(self.counted(request).await) {
                        return too_long;
                    }
                }
                Ok(BatchEntry::Notification(_)) => notified = true,
                Err(malformed) => {
                    let (error, id) = malformed.into_parts();
                    if let Err(too_long) = answers.append(MethodResponse::error(id, error)) {
                        return too_long;
                    }
                }
            }
        }
        if let Err(too_long) = run.submit(chain, calls, response_bytes, &mut answers).await {
            return too_long;
        }
        if answers.is_empty() && notified {
            return MethodResponse::notification();
        }
        MethodResponse::from_batch(answers.finish())
    }
}

/// Transactions that have been read and not yet submitted.
#[derive(Default)]
struct Run {
    ids: Vec<Id<'static>>,
    params: Vec<Params<'static>>,
}

impl Run {
    fn push(&mut self, request: Request<'_>) {
        self.params.push(Params::new(request.params.as_ref().map(|params| params.get())).into_owned());
        self.ids.push(request.id.into_owned());
    }

    /// Submits them, and appends the answers.
    ///
    /// # Errors
    /// The answer to the whole batch, when it has become too long.
    async fn submit(
        &mut self,
        chain: &Chain,
        calls: &Calls,
        response_bytes: usize,
        answers: &mut BatchResponseBuilder,
    ) -> Result<(), MethodResponse> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let outcomes = submit::many(chain, core::mem::take(&mut self.params)).await;
        let (method, time) = (calls.of(submit::METHOD), begun.elapsed());
        outcomes.iter().for_each(|outcome| method.count(outcome.is_err(), time));
        for (id, outcome) in core::mem::take(&mut self.ids).into_iter().zip(outcomes) {
            answers.append(response(id, outcome, response_bytes))?;
        }
        Ok(())
    }
}

fn response(id: Id<'static>, outcome: Result<B256, RpcError>, response_bytes: usize) -> MethodResponse {
    match outcome {
        Ok(hash) => MethodResponse::response(id, ResponsePayload::success(hash), response_bytes),
        Err(error) => MethodResponse::error(id, ErrorObjectOwned::from(error)),
    }
}

impl<S> RpcServiceT for Batches<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move {
            let unanswered = this.flow.begin().await;
            let answer = this.counted(request).await;
            unanswered.answered(answer.as_json().get().len());
            answer
        }
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        self.inner.notification(notification)
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move {
            let unanswered = this.flow.begin().await;
            let answer = this.batched(batch).await;
            unanswered.answered(answer.as_json().get().len());
            answer
        }
    }
}
