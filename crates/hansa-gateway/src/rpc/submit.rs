//! Takes signed transactions to the pool, many at a time.
//!
//! Recovering a sender costs 30 µs, so submissions that arrive while others are being admitted wait and then go to the
//! pool together, where senders are recovered in parallel. A JSON-RPC batch of transactions is handed over whole.

use std::sync::Arc;

use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{B256, Bytes, U64};
use hansa_pool::{Origin, Pool, PoolError};
use hansa_types::SignedTransaction;
use jsonrpsee::{RpcModule, types::Params};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::{Chain, args::Args, error::RpcError};

/// The method's name.
pub(crate) const METHOD: &str = "eth_sendRawTransaction";

struct Submission {
    transaction: SignedTransaction,
    answer: oneshot::Sender<Result<B256, PoolError>>,
}

/// Groups single submissions. Stops when it is dropped.
pub(crate) struct Submitter {
    queue: mpsc::Sender<Submission>,
}

impl Submitter {
    /// At most `queued` single submissions wait, beyond which a caller is told to come back, and `together` are admitted at once.
    pub(crate) fn start(pool: Pool, queued: usize, together: usize) -> Self {
        let (queue, waiting) = mpsc::channel(queued);
        tokio::spawn(run(pool, waiting, together));
        Self { queue }
    }

    async fn submit(&self, transaction: SignedTransaction) -> Result<B256, RpcError> {
        let (answer, outcome) = oneshot::channel();
        self.queue.try_send(Submission { transaction, answer }).map_err(|_| RpcError::busy())?;
        Ok(outcome.await.map_err(|_| RpcError::busy())??)
    }
}

async fn run(pool: Pool, mut waiting: mpsc::Receiver<Submission>, together: usize) {
    let mut group = Vec::new();
    while waiting.recv_many(&mut group, together).await > 0 {
        let (transactions, answers): (Vec<_>, Vec<_>) =
            group.drain(..).map(|submission| (submission.transaction, submission.answer)).unzip();
        let pool = pool.clone();
        let admitted = tokio::task::spawn_blocking(move || pool.add_many(transactions, Origin::Local)).await;
        // When the pool failed, dropping the answers tells the callers.
        for (answer, outcome) in answers.into_iter().zip(admitted.unwrap_or_default()) {
            // A caller that went away needs no answer.
            let _ = answer.send(outcome);
        }
    }
}

/// Reads the one parameter of a submission.
fn parse(params: &Params<'_>) -> Result<SignedTransaction, RpcError> {
    let bytes: Bytes = Args::new(params)?.required()?;
    SignedTransaction::decode_2718_exact(&bytes)
        .map_err(|error| RpcError::params(format!("not a signed transaction: {error}")))
}

/// Submits several at once; the answers are in the order of the parameters.
pub(crate) async fn many(chain: &Chain, params: Vec<Params<'static>>) -> Vec<Result<B256, RpcError>> {
    let pool = chain.pool.clone();
    let count = params.len();
    let admit = move || {
        let mut transactions = Vec::with_capacity(params.len());
        let parsed: Vec<Result<(), RpcError>> = params
            .iter()
            .map(|params| parse(params).map(|transaction| transactions.push(transaction)))
            .collect();
        let mut admitted = pool.add_many(transactions, Origin::Local).into_iter();
        let answer = |parsed: Result<(), RpcError>| {
            parsed.and_then(|()| Ok(admitted.next().unwrap_or(Err(PoolError::NotReady))?))
        };
        Ok(parsed.into_iter().map(answer).collect())
    };
    match chain.blocking.run(admit).await {
        Ok(answers) => answers,
        Err(error) => vec![Err(error); count],
    }
}

pub(crate) fn register(module: &mut RpcModule<Arc<Chain>>) {
    let method = |params: Params<'static>, chain: Arc<Arc<Chain>>, _| async move {
        let transaction = parse(&params)?;
        chain.submitter.submit(transaction).await
    };
    let registered = module.register_async_method(METHOD, method).is_ok();
    debug_assert!(registered, "{METHOD} is registered twice");
}

pub(crate) fn status(chain: &Chain, _: &mut Args<'_>) -> Result<serde_json::Value, RpcError> {
    let pool = chain.pool.status();
    Ok(json!({
        "pending": U64::from(pool.ready),
        "queued": U64::from(pool.transactions.saturating_sub(pool.ready)),
    }))
}
