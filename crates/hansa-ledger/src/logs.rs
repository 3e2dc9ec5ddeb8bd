//! Log search by an index from addresses and topics to block numbers.
//!
//! Key: the first 8 bytes of keccak-256(position ‖ value), then the block number; empty value. Position 0 is the
//! address, 1 to 4 are the topics. Equal prefixes of different values cost time, not correctness: every log is compared
//! in full. Bloom filters are of no use here, full blocks saturate them.

use std::{collections::BTreeSet, sync::Arc};

use alloy_primitives::{Address, B256, Log, keccak256};

use hansa_kv::{Batch, Order};

use crate::log_search::{LogSearch, Prefix, key};
use crate::{LOGS, Ledger, LedgerError, TransactionReceipt};

/// A log with its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedLog {
    /// Address, topics and data.
    pub log: Log,
    /// The block.
    pub block_hash: B256,
    /// Its height.
    pub block_number: u64,
    /// Its time, in Unix seconds.
    pub timestamp: u64,
    /// The transaction that emitted it.
    pub transaction_hash: B256,
    /// That transaction's place in the block.
    pub transaction_index: u64,
    /// The log's place in the block, from 0.
    pub log_index: u64,
}

/// A log query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// First block.
    pub from: u64,
    /// Last block, included; the head when beyond it.
    pub to: u64,
    /// Contracts, any of which matches; empty matches all.
    pub addresses: Vec<Address>,
    /// At each position topics, any of which matches; empty matches anything, also an absent topic.
    pub topics: [Vec<B256>; 4],
    /// The most logs to return, unless a single block has more.
    pub limit: usize,
}

/// Logs of whole blocks, from the beginning of a filter's range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// In order.
    pub logs: Vec<LocatedLog>,
    /// The block to continue from; `None` when the range is complete.
    pub next: Option<u64>,
}

impl LogFilter {
    /// Whether a log matches, its block aside.
    pub fn matches(&self, log: &Log) -> bool {
        let is_wanted = |position: usize, wanted: &Vec<B256>| {
            wanted.is_empty() || log.topics().get(position).is_some_and(|topic| wanted.contains(topic))
        };
        (self.addresses.is_empty() || self.addresses.contains(&log.address))
            && self.topics.iter().enumerate().all(|(position, wanted)| is_wanted(position, wanted))
    }

    /// Index prefixes of each criterion, the most selective first: later topics are more selective than the
    /// event's signature. Empty for a query without criteria.
    fn criteria(&self) -> Vec<Vec<Prefix>> {
        let topics = |(position, wanted): (u8, &Vec<B256>)| {
            wanted.iter().map(|topic| prefix(position, topic.as_slice())).collect::<Vec<_>>()
        };
        let [signature, first, second, third] = &self.topics;
        let addresses = self.addresses.iter().map(|address| prefix(0, address.as_slice())).collect();
        let mut criteria: Vec<_> = [(4, third), (3, second), (2, first)].into_iter().map(topics).collect();
        criteria.extend([addresses, topics((1, signature))]);
        criteria.retain(|prefixes| !prefixes.is_empty());
        criteria
    }
}

fn prefix(position: u8, value: &[u8]) -> Prefix {
    let mut bytes = Vec::with_capacity(33);
    bytes.push(position);
    bytes.extend_from_slice(value);
    let [a, b, c, d, e, f, g, h, ..] = keccak256(&bytes).0;
    [a, b, c, d, e, f, g, h]
}

/// Adds a block's entries.
pub(crate) fn index(batch: &mut Batch, number: u64, receipts: &[TransactionReceipt]) {
    let mut values: BTreeSet<(u8, &[u8])> = BTreeSet::new();
    for log in receipts.iter().flat_map(|receipt| receipt.receipt.logs()) {
        values.insert((0, log.address.as_slice()));
        values.extend((1_u8..).zip(log.topics()).map(|(position, topic)| (position, topic.as_slice())));
    }
    for (position, value) in values {
        batch.put(LOGS, key(prefix(position, value), number), []);
    }
}

impl Ledger {
    /// The logs of finalised blocks that a filter wants, in order.
    ///
    /// # Errors
    /// [`LedgerError::TooManyLogs`] when there are more than its limit in several blocks: those of a single block are
    /// answered in any case, because no narrower range could be asked for. Otherwise the store is at fault.
    pub fn logs(&self, filter: &LogFilter) -> Result<Vec<LocatedLog>, LedgerError> {
        match self.log_page(filter)? {
            LogPage { logs, next: None } => Ok(logs),
            LogPage { next: Some(_), .. } => Err(LedgerError::TooManyLogs(filter.limit)),
        }
    }

    /// The logs that a filter wants, in order, of as many whole blocks as stay within its limit; of one block with any
    /// in any case.
    ///
    /// # Errors
    /// When the store is at fault.
    pub fn log_page(&self, filter: &LogFilter) -> Result<LogPage, LedgerError> {
        let mut search = self.search(filter, Order::Ascending);
        let mut logs = Vec::new();
        while let Some(number) = search.next()? {
            let before = logs.len();
            self.collect_logs(filter, number, &mut logs)?;
            if before > 0 && logs.len() > filter.limit {
                logs.truncate(before);
                return Ok(LogPage { logs, next: Some(number) });
            }
        }
        Ok(LogPage { logs, next: None })
    }

    /// The logs that a filter wants of the last finalised block that has any, in order.
    ///
    /// # Errors
    /// See [`Ledger::logs`].
    pub fn last_logs(&self, filter: &LogFilter) -> Result<Vec<LocatedLog>, LedgerError> {
        let mut search = self.search(filter, Order::Descending);
        let mut found = Vec::new();
        while found.is_empty()
            && let Some(number) = search.next()?
        {
            self.collect_logs(filter, number, &mut found)?;
        }
        Ok(found)
    }

    fn search(&self, filter: &LogFilter, order: Order) -> LogSearch<'_> {
        let range = (filter.from, filter.to.min(self.head().number()));
        LogSearch::new(self.shared().store.as_ref(), &filter.criteria(), range, order)
    }

    fn collect_logs(
        &self,
        filter: &LogFilter,
        number: u64,
        found: &mut Vec<LocatedLog>,
    ) -> Result<(), LedgerError> {
        let receipts: Arc<Vec<TransactionReceipt>> = self.receipts(number)?.unwrap_or_default();
        for receipt in receipts.iter() {
            if !receipt.receipt.logs().iter().any(|log| filter.matches(log)) {
                continue;
            }
            found.extend(receipt.located_logs().filter(|located| filter.matches(&located.log)));
        }
        Ok(())
    }
}
