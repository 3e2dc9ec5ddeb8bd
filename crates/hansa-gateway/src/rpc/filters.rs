//! Log queries, and filters that are polled.
//!
//! A filter keeps no results: it remembers the next height to read, so an idle one costs a few hundred bytes.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use alloy_primitives::{B256, U64};
use alloy_rpc_types_eth::{Filter, FilterBlockOption, FilterChanges, Log};
use hansa_pool::PooledTransaction;
use parking_lot::Mutex;
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use super::{
    Chain,
    args::{Args, height},
    convert::{self, Transaction},
    error::RpcError,
};

/// The open filters of all callers.
pub(crate) struct Filters {
    max: usize,
    idle: Duration,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    last: u64,
    filters: HashMap<u64, Entry>,
}

struct Entry {
    polled: Instant,
    /// Taken out while a poll reads with it.
    kind: Option<Kind>,
}

enum Kind {
    Logs { filter: Box<Filter>, next: u64 },
    Blocks { next: u64 },
    Pending(Receiver<std::sync::Arc<PooledTransaction>>),
}

impl Filters {
    pub(crate) fn new(max: usize, idle: Duration) -> Self {
        Self { max, idle, open: Mutex::default() }
    }

    fn open(&self, kind: Kind) -> U64 {
        let mut open = self.open.lock();
        open.filters.retain(|_, entry| entry.polled.elapsed() < self.idle);
        if open.filters.len() >= self.max {
            let oldest = open.filters.iter().min_by_key(|(_, entry)| entry.polled).map(|(id, _)| *id);
            oldest.map(|id| open.filters.remove(&id));
        }
        open.last += 1;
        let id = open.last;
        open.filters.insert(id, Entry { polled: Instant::now(), kind: Some(kind) });
        U64::from(id)
    }

    /// Takes a filter out to read with it. Another poll of the same filter meanwhile is refused.
    fn take(&self, id: U64) -> Result<Kind, RpcError> {
        let mut open = self.open.lock();
        open.filters.retain(|_, entry| entry.polled.elapsed() < self.idle);
        let entry =
            open.filters.get_mut(&id.to::<u64>()).ok_or_else(|| RpcError::refused("filter not found"))?;
        entry.polled = Instant::now();
        entry.kind.take().ok_or_else(|| RpcError::refused("the filter is being polled by another request"))
    }

    fn put_back(&self, id: U64, kind: Kind) {
        if let Some(entry) = self.open.lock().filters.get_mut(&id.to::<u64>()) {
            entry.kind = Some(kind);
        }
    }

    fn uninstall(&self, id: U64) -> bool {
        self.open.lock().filters.remove(&id.to::<u64>()).is_some()
    }
}

/// Reads a filter and checks its size.
pub(crate) fn parse(chain: &Chain, args: &mut Args<'_>) -> Result<Filter, RpcError> {
    check(chain, args.optional::<Filter>()?.unwrap_or_default())
}

/// # Errors
/// When it names more addresses or topics than one filter may.
pub(crate) fn check(chain: &Chain, filter: Filter) -> Result<Filter, RpcError> {
    let most = chain.limits.log_values;
    if filter.address.len() > most || filter.topics.iter().any(|topic| topic.len() > most) {
        return Err(RpcError::params(format!(
            "a filter takes at most {most} addresses, and topics in a position"
        )));
    }
    Ok(filter)
}

/// The heights a filter covers, both included; `None` when it covers none.
fn range(chain: &Chain, filter: &Filter) -> Result<Option<(u64, u64)>, RpcError> {
    let ledger = &chain.ledger;
    let (from, to) = match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let number = ledger.number_of(hash)?.ok_or_else(RpcError::block_not_found)?;
            (number, number)
        }
        FilterBlockOption::Range { from_block, to_block } => {
            (height(ledger, from_block.unwrap_or_default()), height(ledger, to_block.unwrap_or_default()))
        }
    };
    if from > to {
        return Err(RpcError::params(format!("the block range begins at {from}, after its end {to}")));
    }
    let head = ledger.head().number();
    Ok((from <= head).then(|| (from, to.min(head))))
}

/// Logs from the beginning of a range, and the height to go on from where not all of it was read.
struct Found {
    logs: Vec<Log>,
    next: Option<u64>,
}

/// Reads whole blocks up to the limits of number and time, and one with any logs in any case.
fn read(chain: &Chain, filter: &Filter, from: u64, to: u64) -> Result<Found, RpcError> {
    let (started, limit) = (Instant::now(), chain.limits.logs);
    let mut logs = Vec::new();
    let mut next = from;
    while next <= to {
        let end = to.min(next.saturating_add(chain.limits.log_blocks_step - 1));
        let page = chain.ledger.log_page(&convert::log_filter(filter, next, end, limit))?;
        let is_too_much = !logs.is_empty() && logs.len().saturating_add(page.logs.len()) > limit;
        if is_too_much {
            return Ok(Found { logs, next: Some(next) });
        }
        logs.extend(page.logs.into_iter().map(convert::log));
        next = page.next.unwrap_or(end.saturating_add(1));
        let is_late = next <= to && started.elapsed() > chain.limits.logs_time;
        if page.next.is_some() || is_late {
            return Ok(Found { logs, next: Some(next) });
        }
    }
    Ok(Found { logs, next: None })
}

/// All logs of a range, or an error that says which part of it can be asked for.
fn search(chain: &Chain, filter: &Filter, from: u64, to: u64) -> Result<Vec<Log>, RpcError> {
    let found = read(chain, filter, from, to)?;
    let Some(next) = found.next else { return Ok(found.logs) };
    let problem = match found.logs.is_empty() {
        true => "query took too long".to_owned(),
        false => format!("query returned more than {} results", chain.limits.logs),
    };
    Err(RpcError::limit(format!(
        "{problem}; narrow the addresses, the topics or the block range, for example to {from} to {}",
        next.saturating_sub(1)
    )))
}

pub(crate) fn logs(chain: &Chain, args: &mut Args<'_>) -> Result<Vec<Log>, RpcError> {
    let filter = parse(chain, args)?;
    match range(chain, &filter)? {
        Some((from, to)) => search(chain, &filter, from, to),
        None => Ok(Vec::new()),
    }
}

pub(crate) fn new_log_filter(chain: &Chain, args: &mut Args<'_>) -> Result<U64, RpcError> {
    let filter = parse(chain, args)?;
    if matches!(filter.block_option, FilterBlockOption::AtBlockHash(_)) {
        return Err(RpcError::params("a filter to be polled takes a block range, no block hash"));
    }
    let next = chain.ledger.head().number().saturating_add(1);
    Ok(chain.filters.open(Kind::Logs { filter: Box::new(filter), next }))
}

pub(crate) fn new_block_filter(chain: &Chain, _: &mut Args<'_>) -> Result<U64, RpcError> {
    Ok(chain.filters.open(Kind::Blocks { next: chain.ledger.head().number().saturating_add(1) }))
}

pub(crate) fn new_pending_filter(chain: &Chain, _: &mut Args<'_>) -> Result<U64, RpcError> {
    Ok(chain.filters.open(Kind::Pending(chain.pool.subscribe_new())))
}

pub(crate) fn uninstall(chain: &Chain, args: &mut Args<'_>) -> Result<bool, RpcError> {
    Ok(chain.filters.uninstall(args.required()?))
}

/// Everything a log filter matches, whether polled before or not.
pub(crate) fn logs_of(chain: &Chain, args: &mut Args<'_>) -> Result<Vec<Log>, RpcError> {
    let id = args.required()?;
    let kind = chain.filters.take(id)?;
    let answer = match &kind {
        Kind::Logs { filter, .. } => match range(chain, filter) {
            Ok(Some((from, to))) => search(chain, filter, from, to),
            Ok(None) => Ok(Vec::new()),
            Err(error) => Err(error),
        },
        _ => Err(RpcError::refused("not a log filter")),
    };
    chain.filters.put_back(id, kind);
    answer
}

/// What has become final since the last poll.
pub(crate) fn changes(chain: &Chain, args: &mut Args<'_>) -> Result<FilterChanges<Transaction>, RpcError> {
    let id = args.required()?;
    let mut kind = chain.filters.take(id)?;
    let answer = match &mut kind {
        Kind::Logs { filter, next } => new_logs(chain, filter, next).map(FilterChanges::Logs),
        Kind::Blocks { next } => new_blocks(chain, next).map(FilterChanges::Hashes),
        Kind::Pending(receiver) => Ok(FilterChanges::Hashes(new_pending(chain, receiver))),
    };
    chain.filters.put_back(id, kind);
    answer
}

fn new_logs(chain: &Chain, filter: &Filter, next: &mut u64) -> Result<Vec<Log>, RpcError> {
    let head = chain.ledger.head().number();
    let (mut from, mut to) = (*next, head);
    if let FilterBlockOption::Range { from_block, to_block } = filter.block_option {
        from = from.max(from_block.and_then(|tag| tag.as_number()).unwrap_or_default());
        to = to.min(to_block.and_then(|tag| tag.as_number()).unwrap_or(u64::MAX));
    }
    if from > to {
        *next = head.saturating_add(1);
        return Ok(Vec::new());
    }
    // What is too much for one answer is left to the next poll.
    let found = read(chain, filter, from, to)?;
    *next = found.next.unwrap_or(head.saturating_add(1));
    Ok(found.logs)
}

fn new_blocks(chain: &Chain, next: &mut u64) -> Result<Vec<B256>, RpcError> {
    let head = chain.ledger.head().number();
    let mut hashes = Vec::new();
    while *next <= head && hashes.len() < chain.limits.filter_hashes {
        hashes.extend(chain.ledger.block(*next)?.map(|block| block.hash()));
        *next = next.saturating_add(1);
    }
    Ok(hashes)
}

fn new_pending(chain: &Chain, receiver: &mut Receiver<std::sync::Arc<PooledTransaction>>) -> Vec<B256> {
    let mut hashes = Vec::new();
    while hashes.len() < chain.limits.filter_hashes {
        match receiver.try_recv() {
            Ok(transaction) => hashes.push(transaction.hash),
            // What the channel no longer holds was pending too long ago to matter.
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    hashes
}
