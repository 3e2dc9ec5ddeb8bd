//! Executable transactions in the order in which a block should try them: the senders in turn, each by nonce.
//!
//! The next turn is that of the sender whose transactions have cost least in recent blocks, this one included.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
};

use alloy_primitives::Address;

use crate::{Pool, PooledTransaction};

/// Transactions of one sender fetched while the pool is locked once.
const PORTION: u64 = 16;

/// Where a sender stands.
struct Turn {
    sender: Address,
    nonce: u64,
    used: u64,
    fetched: VecDeque<Arc<PooledTransaction>>,
    skipped: bool,
}

impl Turn {
    fn take(&mut self, pool: &Pool) -> Option<Arc<PooledTransaction>> {
        if self.skipped {
            return None;
        }
        if self.fetched.is_empty() {
            let queues = pool.queues();
            let nonces = self.nonce..self.nonce.saturating_add(PORTION);
            self.fetched.extend(nonces.map_while(|nonce| queues.at(&self.sender, nonce)));
        }
        let transaction = self.fetched.pop_front()?;
        self.nonce = self.nonce.saturating_add(1);
        Some(transaction)
    }
}

/// Walks through what is executable on some state. Transactions admitted meanwhile may appear.
pub struct Best {
    pool: Pool,
    turns: Vec<Turn>,
    /// What each waiting sender has used, and its place.
    order: BinaryHeap<Reverse<(u64, usize)>>,
    /// The place of the sender of the last transaction, and what that cost.
    last: Option<(usize, u64)>,
}

impl Pool {
    /// Executable transactions on a state in which `nonce_of` tells each account's next nonce (`None`: may not send).
    /// The senders take turns by what their transactions have cost in recent blocks; `turn`, such as the block's number,
    /// decides who begins among equals.
    pub fn best(&self, turn: u64, mut nonce_of: impl FnMut(Address) -> Option<u64>) -> Best {
        let mut addresses = self.queues().addresses();
        addresses.sort_unstable();
        let begin = turn.checked_rem(addresses.len() as u64).unwrap_or(0);
        addresses.rotate_left(usize::try_from(begin).unwrap_or(0));
        let usage = self.usage();
        let senders =
            addresses.into_iter().filter_map(|sender| Some((sender, nonce_of(sender)?, usage.of(&sender))));
        Best::new(self.clone(), senders)
    }
}

impl Best {
    /// The senders with their next nonces and costs so far; among equals the first goes first.
    pub(crate) fn new(pool: Pool, senders: impl Iterator<Item = (Address, u64, u64)>) -> Self {
        let turn =
            |(sender, nonce, used)| Turn { sender, nonce, used, fetched: VecDeque::new(), skipped: false };
        let turns: Vec<_> = senders.map(turn).collect();
        let order = turns.iter().enumerate().map(|(place, turn)| Reverse((turn.used, place))).collect();
        Self { pool, turns, order, last: None }
    }

    /// Says what the last transaction cost, in microseconds; 1 if nothing is said.
    pub fn charge(&mut self, cost: u64) {
        if let Some((_, charged)) = &mut self.last {
            *charged = cost;
        }
    }

    /// Leaves out the rest of a sender's transactions, because one of them cannot be executed.
    pub fn skip_sender(&mut self, sender: Address) {
        for turn in self.turns.iter_mut().filter(|turn| turn.sender == sender) {
            turn.skipped = true;
        }
    }

    /// Puts the last sender back in the order.
    fn settle(&mut self) {
        let Some((place, cost)) = self.last.take() else { return };
        if let Some(turn) = self.turns.get_mut(place).filter(|turn| !turn.skipped) {
            turn.used = turn.used.saturating_add(cost);
            self.order.push(Reverse((turn.used, place)));
        }
    }
}

impl Iterator for Best {
    type Item = Arc<PooledTransaction>;

    fn next(&mut self) -> Option<Self::Item> {
        self.settle();
        while let Some(Reverse((_, place))) = self.order.pop() {
            let turn = self.turns.get_mut(place)?;
            if let Some(transaction) = turn.take(&self.pool) {
                self.last = Some((place, 1));
                return Some(transaction);
            }
        }
        None
    }
}
