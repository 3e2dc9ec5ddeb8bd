//! The pool itself: admission, lookup, wake-ups.

use std::sync::Arc;

use alloy_consensus::Transaction;
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{Address, B256};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{broadcast, watch};

use hansa_ecdsa::Signers;
use hansa_types::{SignedTransaction, TRANSACTION_BYTES_MAX};

use crate::{
    Clock, Origin, PoolConfig, PoolError, PoolRules, PooledTransaction, SenderPolicy, SystemClock, admission,
    drain::Drain, queues::Queues, senders::Senders, usage::Usage,
};

/// Admitted transactions that a slow subscriber may fall behind.
const SUBSCRIBER_LAG_MAX: usize = 16_384;

/// Pending transactions of all members. Cloning shares the pool.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    rules: PoolRules,
    config: PoolConfig,
    clock: Arc<dyn Clock>,
    policy: Arc<dyn SenderPolicy>,
    queues: Mutex<Queues>,
    drain: Mutex<Drain>,
    usage: Mutex<Usage>,
    senders: Senders,
    admitted: watch::Sender<u64>,
    new: broadcast::Sender<Arc<PooledTransaction>>,
}

/// How full the pool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStatus {
    /// Transactions held.
    pub transactions: usize,
    /// Those of them that wait for no earlier nonce.
    pub ready: usize,
    /// Bytes of their encodings.
    pub bytes: usize,
    /// Accounts that sent them.
    pub senders: usize,
}

impl Pool {
    /// An empty pool on the machine's clock. `policy` says who may send; `signers` are shared with those who recover other signatures.
    pub fn new(
        rules: PoolRules,
        config: PoolConfig,
        policy: Arc<dyn SenderPolicy>,
        signers: Signers,
    ) -> Self {
        Self::with_clock(rules, config, policy, signers, Arc::new(SystemClock))
    }

    /// As [`Pool::new`], on another clock.
    pub fn with_clock(
        rules: PoolRules,
        config: PoolConfig,
        policy: Arc<dyn SenderPolicy>,
        signers: Signers,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self(Arc::new(Shared {
            rules,
            clock,
            policy,
            queues: Mutex::default(),
            drain: Mutex::new(Drain::new(config.wait_ms_max)),
            usage: Mutex::default(),
            senders: Senders::new(signers, config.senders_remembered),
            config,
            admitted: watch::Sender::new(0),
            new: broadcast::Sender::new(SUBSCRIBER_LAG_MAX),
        }))
    }

    pub(crate) fn usage(&self) -> MutexGuard<'_, Usage> {
        self.0.usage.lock()
    }

    pub(crate) fn queues(&self) -> MutexGuard<'_, Queues> {
        self.0.queues.lock()
    }

    /// Admits a transaction of this node's own users and returns its hash.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn add(&self, transaction: SignedTransaction) -> Result<B256, PoolError> {
        self.admit(transaction, Origin::Local)
    }

    /// Admits an EIP-2718 encoded transaction.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn add_encoded(&self, bytes: &[u8], origin: Origin) -> Result<B256, PoolError> {
        let limit = TRANSACTION_BYTES_MAX;
        if bytes.len() > limit {
            return Err(PoolError::TooLarge { bytes: bytes.len(), limit });
        }
        let transaction = SignedTransaction::decode_2718_exact(bytes).map_err(|_| PoolError::Malformed)?;
        self.admit(transaction, origin)
    }

    /// Admits several transactions in their order, after recovering the senders in parallel.
    pub fn add_many(
        &self,
        transactions: Vec<SignedTransaction>,
        origin: Origin,
    ) -> Vec<Result<B256, PoolError>> {
        let prepared = self.prepare(transactions, origin);
        let mut admitted = Vec::with_capacity(prepared.len());
        let mut insert = |transaction| {
            let pooled = self.insert(transaction)?;
            let hash = pooled.hash;
            admitted.push(pooled);
            Ok(hash)
        };
        let results: Vec<_> = prepared.into_iter().map(|prepared| prepared.and_then(&mut insert)).collect();
        self.announce(&admitted);
        results
    }

    fn admit(&self, transaction: SignedTransaction, origin: Origin) -> Result<B256, PoolError> {
        self.add_many(vec![transaction], origin).pop().unwrap_or(Err(PoolError::NotReady))
    }

    /// Everything that does not depend on what else is pending.
    fn prepare(
        &self,
        transactions: Vec<SignedTransaction>,
        origin: Origin,
    ) -> Vec<Result<PooledTransaction, PoolError>> {
        let checked = transactions.iter().map(|tx| self.check(tx, origin));
        let checked: Vec<Result<usize, PoolError>> = checked.collect();
        let sound =
            transactions.iter().zip(&checked).filter_map(|(tx, checked)| checked.is_ok().then_some(tx));
        let mut senders = self.0.senders.find(&sound.collect::<Vec<_>>()).into_iter();
        let admitted_at = self.0.clock.millis() / 1_000;
        let prepared = |(transaction, checked): (SignedTransaction, Result<usize, PoolError>)| {
            let bytes = checked?;
            let sender = senders.next().flatten().ok_or(PoolError::Signature)?;
            let hash = *transaction.tx_hash();
            Ok(PooledTransaction { hash, sender, transaction, bytes, origin, admitted_at })
        };
        transactions.into_iter().zip(checked).map(prepared).collect()
    }

    /// The checks that come before the costly one; returns the encoded length.
    fn check(&self, transaction: &SignedTransaction, origin: Origin) -> Result<usize, PoolError> {
        let bytes = admission::check(transaction, &self.0.rules)?;
        let ready = {
            let queues = self.queues();
            if queues.contains(transaction.tx_hash()) {
                return Err(PoolError::AlreadyKnown);
            }
            queues.ready()
        };
        let mut drain = self.0.drain.lock();
        let crowded = origin == Origin::Local && ready >= drain.waiting_max();
        if crowded && !drain.may_check(self.0.clock.millis()) {
            return Err(busy(&drain, ready));
        }
        Ok(bytes)
    }

    /// Turns away what would wait too long. A sender that has less than its share of what may wait is always let in, so that
    /// nobody is kept out by what others have pending. What another node has let in is not turned away.
    fn check_room(&self, queues: &Queues, newcomer: &PooledTransaction, next: u64) -> Result<(), PoolError> {
        let is_new = |queues: &Queues| queues.at(&newcomer.sender, newcomer.nonce()).is_none();
        if newcomer.origin == Origin::Peer || !is_new(queues) {
            return Ok(());
        }
        let mut drain = self.0.drain.lock();
        let (most, ready) = (drain.waiting_max(), queues.ready());
        // Its own place in the sender's line: one that closes a gap is not held up by those behind it.
        let own = usize::try_from(newcomer.nonce().saturating_sub(next)).unwrap_or(usize::MAX);
        let is_first = queues.len_of(&newcomer.sender) == 0;
        let senders = queues.senders().saturating_add(usize::from(is_first));
        let share = most.checked_div(senders).unwrap_or(most);
        if own >= share && (own >= most || ready >= most) {
            return Err(busy(&drain, ready.max(own)));
        }
        if ready >= most {
            drain.was_worth_it();
        }
        Ok(())
    }

    fn insert(&self, prepared: PooledTransaction) -> Result<Arc<PooledTransaction>, PoolError> {
        let next = self.check_state(&prepared)?;
        let pooled = Arc::new(prepared);
        {
            let mut queues = self.queues();
            queues.expire(self.oldest_allowed());
            self.check_room(&queues, &pooled, next)?;
            queues.insert(pooled.clone(), next, &self.0.config)?;
        }
        self.0.senders.learn(&pooled);
        // Nobody listening is no error.
        let _ = self.0.new.send(Arc::clone(&pooled));
        Ok(pooled)
    }

    /// Compares with the finalised state; returns the account's next nonce.
    fn check_state(&self, prepared: &PooledTransaction) -> Result<u64, PoolError> {
        let state = self
            .0
            .policy
            .sender(prepared.sender)
            .map_err(|()| PoolError::NotReady)?
            .ok_or(PoolError::UnregisteredSender(prepared.sender))?;
        if state.wait_seconds > 0 {
            return Err(PoolError::QuotaUsedUp { wait_seconds: state.wait_seconds });
        }
        let (transaction, next) = (prepared.nonce(), state.nonce);
        if transaction < next {
            return Err(PoolError::NonceTooLow { transaction, next });
        }
        if transaction >= next.saturating_add(self.0.config.nonce_window) {
            return Err(PoolError::NonceTooHigh { transaction, next });
        }
        let value = prepared.transaction.value();
        if value > state.balance {
            return Err(PoolError::InsufficientBalance { balance: state.balance, value });
        }
        Ok(next)
    }

    fn oldest_allowed(&self) -> u64 {
        (self.0.clock.millis() / 1_000).saturating_sub(self.0.config.lifetime.as_secs())
    }

    /// Prepares admitted transactions for their execution and wakes the proposer.
    fn announce(&self, admitted: &[Arc<PooledTransaction>]) {
        if admitted.is_empty() {
            return;
        }
        let signed: Vec<_> = admitted.iter().map(|pooled| (&pooled.transaction, pooled.sender)).collect();
        self.0.policy.prepare(&signed);
        self.0.admitted.send_modify(|generation| *generation = generation.wrapping_add(1));
    }

    /// The signers of a block's transactions, in parallel and in their order; those of pending ones are known. What is not
    /// pending is prepared like what is admitted. Refuses malleable signatures.
    ///
    /// # Errors
    /// The index of a transaction whose signature is invalid.
    pub fn signers(&self, transactions: &[SignedTransaction]) -> Result<Vec<Address>, usize> {
        let mut signers: Vec<Option<Address>> = {
            let queues = self.queues();
            transactions.iter().map(|tx| queues.find(tx.tx_hash()).map(|known| known.sender)).collect()
        };
        let is_unknown = |(tx, signer): (_, &Option<Address>)| signer.is_none().then_some(tx);
        let unknown: Vec<_> = transactions.iter().zip(&signers).filter_map(is_unknown).collect();
        let found = self.0.senders.find(&unknown);
        let signed: Vec<_> =
            unknown.into_iter().zip(&found).filter_map(|(tx, &found)| Some((tx, found?))).collect();
        self.0.senders.remember(signed.iter().copied());
        self.0.policy.prepare(&signed);
        for (signer, found) in signers.iter_mut().filter(|signer| signer.is_none()).zip(found) {
            *signer = found;
        }
        signers.into_iter().enumerate().map(|(index, signer)| signer.ok_or(index)).collect()
    }

    /// A pending transaction.
    pub fn get(&self, hash: &B256) -> Option<Arc<PooledTransaction>> {
        self.queues().find(hash)
    }

    /// Whether a transaction is pending.
    pub fn contains(&self, hash: &B256) -> bool {
        self.queues().contains(hash)
    }

    /// The nonce that the sender's next transaction should have: after those pending without a gap. `None` when
    /// nothing of it is pending.
    pub fn next_nonce(&self, sender: Address) -> Option<u64> {
        let executed = || Some(self.0.policy.sender(sender).ok()??.nonce);
        let mut next = executed()?;
        loop {
            let free = self.queues().next_nonce(&sender, next);
            // A block that became final between the two questions has taken the run's beginning out of the pool.
            let now = executed()?;
            if now == next {
                return free;
            }
            next = now;
        }
    }

    /// Pending transactions, oldest first.
    pub fn pending(&self, limit: usize) -> Vec<Arc<PooledTransaction>> {
        self.queues().oldest(limit)
    }

    /// How full the pool is.
    pub fn status(&self) -> PoolStatus {
        let queues = self.queues();
        PoolStatus {
            transactions: queues.len(),
            ready: queues.ready(),
            bytes: queues.bytes(),
            senders: queues.senders(),
        }
    }

    /// Notes what accounts' transactions have cost the chain, in microseconds of execution.
    pub fn charge(&self, costs: impl IntoIterator<Item = (Address, u64)>) {
        let mut usage = self.usage();
        costs.into_iter().for_each(|(sender, cost)| usage.charge(sender, cost));
    }

    /// Drops a transaction that turned out never to be executable.
    pub fn remove(&self, hash: &B256) {
        self.queues().remove(hash);
    }

    /// To be called for each final block. Drops what it made obsolete: everything below these accounts' next nonces (`None`: the account
    /// is no longer registered), and what expired meanwhile.
    pub fn on_finalised(&self, accounts: impl IntoIterator<Item = (Address, Option<u64>)>) {
        let (executed, ready) = {
            let mut queues = self.queues();
            let before = queues.len();
            for (sender, next) in accounts {
                match next {
                    Some(next) => queues.advance(&sender, next),
                    None => queues.remove_sender(&sender),
                }
            }
            let executed = before.saturating_sub(queues.len());
            queues.expire(self.oldest_allowed());
            (executed, queues.ready())
        };
        self.0.drain.lock().finalised(self.0.clock.millis(), executed, ready);
        self.0.usage.lock().fade();
    }

    /// Changes whenever something was admitted: the proposer waits on it.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.admitted.subscribe()
    }

    /// Every newly admitted transaction, for gossip and `newPendingTransactions`. A subscriber that falls 16,384
    /// behind loses the oldest.
    pub fn subscribe_new(&self) -> broadcast::Receiver<Arc<PooledTransaction>> {
        self.0.new.subscribe()
    }
}

fn busy(drain: &Drain, waiting: usize) -> PoolError {
    PoolError::Busy { waiting, retry_ms: drain.retry_ms(waiting) }
}
