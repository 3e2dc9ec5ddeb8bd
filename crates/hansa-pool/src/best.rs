//! Executable transactions in the order in which a block should try them: the senders in turn, each by nonce.

use std::{collections::VecDeque, sync::Arc};

use alloy_primitives::Address;

use crate::{Pool, PooledTransaction};

/// Transactions fetched while the pool is locked once.
const PORTION: usize = 64;

/// Walks through what is executable on some state. Transactions admitted meanwhile may appear.
pub struct Best {
    pool: Pool,
    turns: VecDeque<(Address, u64)>,
    fetched: VecDeque<Arc<PooledTransaction>>,
}

impl Best {
    pub(crate) fn new(pool: Pool, turns: VecDeque<(Address, u64)>) -> Self {
        Self { pool, turns, fetched: VecDeque::new() }
    }

    /// Leaves out the rest of a sender's transactions, because one of them cannot be executed.
    pub fn skip_sender(&mut self, sender: Address) {
        self.turns.retain(|(address, _)| *address != sender);
        self.fetched.retain(|transaction| transaction.sender != sender);
    }

    fn fetch(&mut self) {
        let pool = self.pool.clone();
        let queues = pool.queues();
        while self.fetched.len() < PORTION
            && let Some((sender, nonce)) = self.turns.pop_front()
        {
            if let Some(transaction) = queues.at(&sender, nonce) {
                self.fetched.push_back(transaction);
                self.turns.push_back((sender, nonce.saturating_add(1)));
            }
        }
    }
}

impl Iterator for Best {
    type Item = Arc<PooledTransaction>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.fetched.is_empty() {
            self.fetch();
        }
        self.fetched.pop_front()
    }
}
