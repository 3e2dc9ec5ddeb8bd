//! The transactions held, by sender and nonce, by hash, and by age. Plain data: no locks, no clock.
//!
//! Every operation costs time in the transactions it touches, never in those that are held; making room in a full
//! pool costs time in the number of senders.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use alloy_primitives::{
    Address, B256,
    map::{AddressMap, B256Map},
};

use crate::{PoolConfig, PoolError, PooledTransaction};

/// Stale entries of the age list that are tolerated before it is rewritten.
const STALE_MAX: usize = 1_024;

#[derive(Default)]
struct Queue {
    by_nonce: BTreeMap<u64, Arc<PooledTransaction>>,
    bytes: usize,
}

#[derive(Default)]
pub(crate) struct Queues {
    senders: AddressMap<Queue>,
    by_hash: B256Map<Arc<PooledTransaction>>,
    by_age: VecDeque<(u64, B256)>,
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

    pub(crate) fn contains(&self, hash: &B256) -> bool {
        self.by_hash.contains_key(hash)
    }

    pub(crate) fn find(&self, hash: &B256) -> Option<Arc<PooledTransaction>> {
        self.by_hash.get(hash).cloned()
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
        self.by_age.iter().filter_map(|(_, hash)| self.find(hash)).take(limit).collect()
    }

    /// Adds a transaction, in the place of another with the same nonce if it outbids that.
    pub(crate) fn insert(
        &mut self,
        transaction: Arc<PooledTransaction>,
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
        self.bytes = self.bytes.saturating_add(transaction.bytes);
        self.by_age.push_back((transaction.admitted_at, transaction.hash));
        self.by_hash.insert(transaction.hash, transaction);
        Ok(())
    }

    fn check_sender_room(
        &self,
        transaction: &PooledTransaction,
        config: &PoolConfig,
    ) -> Result<(), PoolError> {
        let Some(queue) = self.senders.get(&transaction.sender) else { return Ok(()) };
        let bytes = queue.bytes.saturating_add(transaction.bytes);
        if queue.by_nonce.len() >= config.sender_transactions_max || bytes > config.sender_bytes_max {
            return Err(PoolError::SenderFull);
        }
        Ok(())
    }

    /// In a full pool the sender with most pending gives way, unless that is the newcomer's.
    fn make_room(&mut self, newcomer: &PooledTransaction, config: &PoolConfig) -> Result<(), PoolError> {
        while self.len() >= config.transactions_max
            || self.bytes.saturating_add(newcomer.bytes) > config.bytes_max
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
        let removed = self.by_hash.remove(hash)?;
        self.bytes = self.bytes.saturating_sub(removed.bytes);
        if let Some(queue) = self.senders.get_mut(&removed.sender) {
            queue.bytes = queue.bytes.saturating_sub(removed.bytes);
            queue.by_nonce.remove(&removed.nonce());
            if queue.by_nonce.is_empty() {
                self.senders.remove(&removed.sender);
            }
        }
        self.forget_stale();
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
    }

    /// Drops all of a sender's transactions.
    pub(crate) fn remove_sender(&mut self, sender: &Address) {
        self.advance(sender, u64::MAX);
    }

    /// Drops everything admitted before `moment`.
    pub(crate) fn expire(&mut self, moment: u64) {
        while let Some((admitted_at, hash)) = self.by_age.front().copied().filter(|(at, _)| *at < moment) {
            self.by_age.pop_front();
            if self.by_hash.get(&hash).is_some_and(|tx| tx.admitted_at == admitted_at) {
                self.remove(&hash);
            }
        }
    }

    /// The age list keeps entries of removed transactions until they outnumber the others.
    fn forget_stale(&mut self) {
        let live = self.by_hash.len();
        if self.by_age.len() > live.saturating_mul(2).saturating_add(STALE_MAX) {
            let by_hash = &self.by_hash;
            self.by_age.retain(|(at, hash)| by_hash.get(hash).is_some_and(|tx| tx.admitted_at == *at));
        }
    }
}
