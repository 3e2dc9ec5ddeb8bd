//! Runs ledger calls on blocking threads, a bounded number at a time and in waiting.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::error::RpcError;

/// Admission to the blocking threads. Cloning shares the bounds.
#[derive(Clone)]
pub(crate) struct Blocking {
    queue: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Blocking {
    pub(crate) fn new(running: usize, queued: usize) -> Self {
        Self { queue: Arc::new(Semaphore::new(queued)), running: Arc::new(Semaphore::new(running)) }
    }

    /// Runs `work` on a blocking thread as soon as one is free. Work that has begun runs to its end even when the
    /// caller goes away, and counts until then.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T, RpcError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, RpcError> + Send + 'static,
    {
        let _queued = self.queue.try_acquire().map_err(|_| RpcError::busy())?;
        let permit = self.running.clone().acquire_owned().await.map_err(|_| RpcError::busy())?;
        let work = move || {
            let _permit = permit;
            work()
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%error, "a JSON-RPC method failed");
                Err(RpcError::internal("the method failed; the node's log says more"))
            }
        }
    }
}
