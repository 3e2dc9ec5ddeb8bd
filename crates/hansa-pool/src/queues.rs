//! The transactions held, by sender and nonce, by hash, and by age. Plain data: no locks, no clock.
//!
//! Every operation costs time in the transactions it touches and the logarithm of those that are held; making room in a
//! full pool costs time in the number of senders.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::{
    Address, B256,
    map::{AddressMap, B256Map},
};

use crate::{PoolConfig, PoolError, PooledTransaction};

#[derive(Default)]
struct Queue {
    by_nonce: BTreeMap<u64, Arc<PooledTransaction>>,
    bytes: usize,
    /// The account's next nonce at the finalised head.
    next: u64,
    /// How many transactions follow from there without a gap.
    ready: usize,
}

impl Queue {
    /// The first nonce behind the run.
    fn end(&self) -> u64 {
        self.next.saturating_add(self.ready as u64)
    }

    /// Lets the run grow over what has come to follow it.
    fn extend(&mut self) {
        let end = self.end();
        let following =
            (end..).zip(self.by_nonce.range(end..)).take_while(|(nonce, (held, _))| nonce == *held);
        self.ready = self.ready.saturating_add(following.count());
    }

    /// The account's next nonce may have moved on.
    fn move_to(&mut self, next: u64) {
        if next > self.next {
            self.ready = usize::try_from(self.end().saturating_sub(next)).unwrap_or_default();
            self.next = next;
            self.extend();
        }
    }

    /// A transaction has gone.
    fn cut(&mut self, nonce: u64) {
        if (self.next..self.end()).contains(&nonce) {
            self.ready = usize::try_from(nonce.saturating_sub(self.next)).unwrap_or_default();
        }
    }
}

#[derive(Default)]
pub(crate) struct Queues {
    senders: AddressMap<Queue>,
    by_hash: B256Map<(u64, Arc<PooledTransaction>)>,
    /// In the order of admission; the key is also kept with the hash.
    by_age: BTreeMap<u64, Arc<PooledTransaction>>,
    admitted: u64,
    bytes: usize,
}

impl Queues {
    pub(crate) fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn senders(&self) -> usize {
        self.senders.len()
    }

    /// Transactions that wait for no earlier nonce.
    pub(crate) fn ready(&self) -> usize {
        self.senders.values().map(|queue| queue.ready).sum()
    }

    /// Transactions of one sender.
    pub(crate) fn len_of(&self, sender: &Address) -> usize {
        self.senders.get(sender).map_or(0, |queue| queue.by_nonce.len())
    }

    pub(crate) fn contains(&self, hash: &B256) -> bool {
        self.by_hash.contains_key(hash)
    }

    pub(crate) fn find(&self, hash: &B256) -> Option<Arc<PooledTransaction>> {
        self.by_hash.get(hash).map(|(_, transaction)| Arc::clone(transaction))
    }

    pub(crate) fn at(&self, sender: &Address, nonce: u64) -> Option<Arc<PooledTransaction>> {
        self.senders.get(sender)?.by_nonce.get(&nonce).cloned()
    }

    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.senders.keys().copied().collect()
    }

    /// The first nonce that is free above the contiguous run that starts at `from` or, without one, at the lowest.
    pub(crate) fn next_nonce(&self, sender: &Address, from: u64) -> Option<u64> {
        let queue = self.senders.get(sender)?;
        let mut next = from;
        for nonce in queue.by_nonce.range(from..).map(|(nonce, _)| *nonce) {
            if nonce != next {
                break;
            }
            next = nonce.saturating_add(1);
        }
        Some(next)
    }

    /// Oldest first.
    pub(crate) fn oldest(&self, limit: usize) -> Vec<Arc<PooledTransaction>> {
        self.by_age.values().take(limit).cloned().collect()
    }

    /// Adds a transaction of an account whose next nonce is `next`, in the place of another with the same nonce if it outbids
    /// that.
    pub(crate) fn insert(
        &mut self,
        transaction: Arc<PooledTransaction>,
        next: u64,
        config: &PoolConfig,
    ) -> Result<(), PoolError> {
        if self.contains(&transaction.hash) {
            return Err(PoolError::AlreadyKnown);
        }
        let replaced = self.at(&transaction.sender, transaction.nonce());
        match &replaced {
            Some(other) if !transaction.outbids(other) => return Err(PoolError::Underpriced),
            Some(_) => {}
            None => self.check_sender_room(&transaction, config)?,
        }
        if let Some(other) = replaced {
            self.remove(&other.hash);
        }
        self.make_room(&transaction, config)?;
        let queue = self.senders.entry(transaction.sender).or_default();
        queue.bytes = queue.bytes.saturating_add(transaction.bytes);
        queue.by_nonce.insert(transaction.nonce(), transaction.clone());
        queue.move_to(next);
        queue.extend();
        self.bytes = self.bytes.saturating_add(transaction.bytes);
        self.admitted = self.admitted.saturating_add(1);
        self.by_age.insert(self.admitted, transaction.clone());
        self.by_hash.insert(transaction.hash, (self.admitted, transaction));
        Ok(())
    }

    fn check_sender_room(
        &self,
        transaction: &PooledTransaction,
        config: &PoolConfig,
    ) -> Result<(), PoolError> {
        let Some(queue) = self.senders.get(&transaction.sender) else { return Ok(()) };
        let bytes = queue.bytes.saturating_add(transaction.bytes);
        if queue.by_nonce.len() >= config.sender_transactions_max || bytes > config.bytes_max().1 {
            return Err(PoolError::SenderFull);
        }
        Ok(())
    }

    /// In a full pool the sender with most pending gives way, unless that is the newcomer's.
    fn make_room(&mut self, newcomer: &PooledTransaction, config: &PoolConfig) -> Result<(), PoolError> {
        while self.len() >= config.transactions_max
            || self.bytes.saturating_add(newcomer.bytes) > config.bytes_max().0
        {
            let own = self.senders.get(&newcomer.sender).map_or(0, |queue| queue.by_nonce.len());
            let largest = self.senders.values().max_by_key(|queue| queue.by_nonce.len());
            let Some(queue) = largest.filter(|queue| queue.by_nonce.len() > own.saturating_add(1)) else {
                return Err(PoolError::PoolFull);
            };
            let Some(last) = queue.by_nonce.last_key_value().map(|(_, tx)| tx.hash) else {
                return Err(PoolError::PoolFull);
            };
            self.remove(&last);
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, hash: &B256) -> Option<Arc<PooledTransaction>> {
        let (admission, removed) = self.by_hash.remove(hash)?;
        self.by_age.remove(&admission);
        self.bytes = self.bytes.saturating_sub(removed.bytes);
        if let Some(queue) = self.senders.get_mut(&removed.sender) {
            queue.bytes = queue.bytes.saturating_sub(removed.bytes);
            queue.by_nonce.remove(&removed.nonce());
            queue.cut(removed.nonce());
            if queue.by_nonce.is_empty() {
                self.senders.remove(&removed.sender);
            }
        }
        Some(removed)
    }

    /// Drops a sender's transactions below its next nonce.
    pub(crate) fn advance(&mut self, sender: &Address, next: u64) {
        while let Some(hash) = self
            .senders
            .get(sender)
            .and_then(|queue| queue.by_nonce.first_key_value())
            .filter(|(nonce, _)| **nonce < next)
            .map(|(_, tx)| tx.hash)
        {
            self.remove(&hash);
        }
        if let Some(queue) = self.senders.get_mut(sender) {
            queue.move_to(next);
        }
    }

    /// Drops all of a sender's transactions.
    pub(crate) fn remove_sender(&mut self, sender: &Address) {
        self.advance(sender, u64::MAX);
    }

    /// Drops everything admitted before `moment`.
    pub(crate) fn expire(&mut self, moment: u64) {
        while let Some(hash) =
            self.by_age.first_key_value().filter(|(_, tx)| tx.admitted_at < moment).map(|(_, tx)| tx.hash)
        {
            self.remove(&hash);
        }
    }
}
