//! The port [`Chain`] over this node's own ledger.
//!
//! Transactions go to the node's pool and count when the ledger finalises them. Nothing is resent: the pool gossips.

use std::{sync::Arc, time::Duration};

use alloy_consensus::TxEip1559;
use alloy_primitives::{Address, B256, Bytes, TxKind};
use async_trait::async_trait;
use hansa_contracts::explain_revert;
use hansa_envelope::MemberKeys;
use hansa_ledger::{
    BlockRef, CallOutcome, CallRequest, FinalisedBlock, Ledger, LedgerError, LocatedLog, LogFilter,
    TransactionReceipt,
};
use hansa_ports::{Chain, ChainError, ChainHead, ChainReceipt, Event, EventFilter, EventPage};
use hansa_types::Member;
use parking_lot::Mutex;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::timeout,
};

/// How long a transaction may take to become final.
const FINAL_SECONDS_MAX: u64 = 60;
/// Gas that a transaction may use, EIP-7825.
const GAS_MAX: u64 = 16_777_216;
/// Logs read from the ledger at once.
const LOGS_MAX: usize = 1_000_000;

/// A ledger with the account that acts on it. Cloning is cheap.
#[derive(Clone)]
pub struct LedgerChain {
    ledger: Ledger,
    keys: Arc<MemberKeys>,
    account: Address,
    /// Held from choosing a nonce to the pool's acceptance, so that concurrent transactions get different ones.
    sending: Arc<Mutex<()>>,
}

fn unavailable(error: impl std::fmt::Display) -> ChainError {
    ChainError::Unavailable(error.to_string())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ChainError> + Send + 'static,
) -> Result<T, ChainError> {
    tokio::task::spawn_blocking(work).await.map_err(unavailable)?
}

fn log_filter(filter: EventFilter) -> LogFilter {
    let EventFilter { from, to, addresses, topics } = filter;
    LogFilter { from, to, addresses, topics, limit: LOGS_MAX }
}

fn event(located: LocatedLog) -> Event {
    Event {
        log: located.log,
        block: located.block_number,
        block_hash: located.block_hash,
        timestamp: located.timestamp,
        transaction: located.transaction_hash,
        transaction_index: located.transaction_index,
        log_index: located.log_index,
    }
}

fn output(outcome: CallOutcome) -> Result<Bytes, ChainError> {
    match outcome {
        CallOutcome::Success { output, .. } => Ok(output),
        CallOutcome::Revert { output, .. } => {
            Err(ChainError::Reverted { explanation: explain_revert(&output), data: output })
        }
        CallOutcome::Halt { reason, .. } => Err(ChainError::Reverted {
            explanation: format!("the call failed: {reason}"),
            data: Bytes::new(),
        }),
    }
}

impl LedgerChain {
    /// The chain of `ledger`, with transactions from the account in `keys`.
    pub fn new(ledger: Ledger, keys: MemberKeys) -> Self {
        let account = keys.account();
        Self { ledger, keys: Arc::new(keys), account, sending: Arc::default() }
    }

    /// The account that acts.
    pub fn account(&self) -> Address {
        self.account
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn request(&self, to: Address, input: Bytes) -> CallRequest {
        CallRequest { from: self.account, to: Some(to), data: input, ..CallRequest::default() }
    }

    /// A gas limit with room for state that changes until the transaction's turn, from one trial run. What a run uses is
    /// stated after refunds, which are at most a fifth, and each call inside it can hand on 63/64 of what is left (EIP-150,
    /// EIP-3529): half as much again covers both.
    fn gas(&self, to: Address, input: &Bytes) -> Result<u64, ChainError> {
        let request = CallRequest { gas: Some(GAS_MAX), ..self.request(to, input.clone()) };
        let outcome = self.ledger.call(BlockRef::Head, request).map_err(unavailable)?;
        let used = outcome.gas_used();
        output(outcome)?;
        Ok(used.saturating_mul(3).saturating_div(2).saturating_add(60_000).min(GAS_MAX))
    }

    /// Tries a call and hands it to the pool; a call that would be refused is not sent. Blocking.
    fn send(&self, to: Address, input: Bytes) -> Result<B256, ChainError> {
        let gas_limit = self.gas(to, &input)?;
        let _turn = self.sending.lock();
        let (account, pool) = (self.account, self.ledger.pool());
        // In this order: the ledger moves its head before the pool lets go of what the block included, so a transaction that
        // the pool no longer counts is counted by the head that is read afterwards.
        let pending_nonce = pool.next_nonce(account).unwrap_or(0);
        let final_nonce = self.ledger.account(BlockRef::Head, account).map_err(unavailable)?.nonce;
        let transaction = TxEip1559 {
            chain_id: self.ledger.chain_id(),
            nonce: pending_nonce.max(final_nonce),
            gas_limit,
            to: TxKind::Call(to),
            input,
            ..TxEip1559::default()
        };
        let signed = self.keys.sign_transaction(transaction).map_err(unavailable)?;
        pool.add(signed).map_err(|error| match error.retry_ms() {
            Some(_) => ChainError::Busy(error.to_string()),
            None => ChainError::Refused(error.to_string()),
        })
    }

    async fn finality(
        &self,
        transaction: B256,
        mut blocks: Receiver<Arc<FinalisedBlock>>,
    ) -> Result<TransactionReceipt, ChainError> {
        loop {
            match blocks.recv().await {
                Ok(block) => {
                    if let Some(receipt) = block.receipts.iter().find(|r| r.transaction_hash == transaction) {
                        return Ok(receipt.clone());
                    }
                }
                Err(RecvError::Lagged(_)) => {
                    if let Some(receipt) = self.ledger.receipt(transaction).map_err(unavailable)? {
                        return Ok(receipt);
                    }
                }
                Err(RecvError::Closed) => return Err(unavailable("the ledger has stopped")),
            }
        }
    }

    /// Why a transaction failed although its estimate did not: the same call on the state before its block, or after it
    /// when another transaction of the same block was faster.
    fn explain(&self, receipt: &TransactionReceipt, to: Address, input: Bytes) -> ChainError {
        let refused_at = |height| {
            let request = self.request(to, input.clone());
            self.ledger.call(BlockRef::Number(height), request).map(output).ok()?.err()
        };
        refused_at(receipt.block_number.saturating_sub(1))
            .or_else(|| refused_at(receipt.block_number))
            .unwrap_or_else(|| ChainError::Reverted {
                data: Bytes::new(),
                explanation:
                    "the transaction failed, and the same call would succeed after its block; try again"
                        .to_owned(),
            })
    }

    fn next_logs(&self, filter: &LogFilter) -> Result<Vec<Event>, ChainError> {
        let logs = match self.ledger.logs(filter) {
            Err(LedgerError::TooManyLogs { .. }) if filter.from < filter.to => return self.halves(filter),
            other => other.map_err(unavailable)?,
        };
        Ok(logs.into_iter().map(event).collect())
    }

    fn halves(&self, filter: &LogFilter) -> Result<Vec<Event>, ChainError> {
        let to = filter.to.min(self.ledger.head().number());
        let middle = filter.from.midpoint(to);
        let mut events = self.next_logs(&LogFilter { to: middle, ..filter.clone() })?;
        events.extend(self.next_logs(&LogFilter { from: middle.saturating_add(1), to, ..filter.clone() })?);
        Ok(events)
    }
}

#[async_trait]
impl Chain for LedgerChain {
    fn chain_id(&self) -> u64 {
        self.ledger.chain_id()
    }

    async fn block_hash(&self, number: u64) -> Result<Option<B256>, ChainError> {
        let ledger = self.ledger.clone();
        blocking(move || Ok(ledger.block(number).map_err(unavailable)?.map(|block| block.hash()))).await
    }

    async fn head(&self) -> Result<ChainHead, ChainError> {
        let head = self.ledger.head();
        Ok(ChainHead { number: head.number(), timestamp: head.header().timestamp })
    }

    async fn reached(&self, height: u64) -> Result<ChainHead, ChainError> {
        let mut blocks = self.ledger.subscribe();
        loop {
            let head = self.head().await?;
            if head.number >= height {
                return Ok(head);
            }
            if matches!(blocks.recv().await, Err(RecvError::Closed)) {
                return Err(unavailable("the ledger has stopped"));
            }
        }
    }

    async fn members(&self) -> Result<Arc<Vec<Member>>, ChainError> {
        Ok(self.ledger.members())
    }

    async fn call(&self, to: Address, input: Bytes) -> Result<Bytes, ChainError> {
        let (ledger, request) = (self.ledger.clone(), self.request(to, input));
        blocking(move || output(ledger.call(BlockRef::Head, request).map_err(unavailable)?)).await
    }

    async fn submit(&self, to: Address, input: Bytes) -> Result<ChainReceipt, ChainError> {
        let blocks = self.ledger.subscribe();
        let (this, data) = (self.clone(), input.clone());
        let transaction = blocking(move || this.send(to, data)).await?;
        let waited =
            timeout(Duration::from_secs(FINAL_SECONDS_MAX), self.finality(transaction, blocks)).await;
        let receipt =
            waited.map_err(|_| ChainError::NotFinal { transaction, seconds: FINAL_SECONDS_MAX })??;
        if !receipt.receipt.status() {
            let this = self.clone();
            return Err(blocking(move || Ok(this.explain(&receipt, to, input))).await?);
        }
        Ok(ChainReceipt {
            transaction,
            block: receipt.block_number,
            timestamp: receipt.timestamp,
            logs: receipt.receipt.logs().to_vec(),
        })
    }

    async fn events(&self, filter: EventFilter) -> Result<Vec<Event>, ChainError> {
        let (this, filter) = (self.clone(), log_filter(filter));
        blocking(move || this.next_logs(&filter)).await
    }

    async fn event_page(&self, filter: EventFilter, limit: usize) -> Result<EventPage, ChainError> {
        let (ledger, filter) = (self.ledger.clone(), LogFilter { limit, ..log_filter(filter) });
        blocking(move || {
            let page = ledger.log_page(&filter).map_err(unavailable)?;
            Ok(EventPage { events: page.logs.into_iter().map(event).collect(), next: page.next })
        })
        .await
    }

    async fn last_events(&self, filter: EventFilter) -> Result<Vec<Event>, ChainError> {
        let (ledger, filter) = (self.ledger.clone(), log_filter(filter));
        blocking(move || {
            let logs = ledger.last_logs(&filter).map_err(unavailable)?;
            Ok(logs.into_iter().map(event).collect())
        })
        .await
    }
}
