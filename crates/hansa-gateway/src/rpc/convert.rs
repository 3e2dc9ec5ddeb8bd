//! The ledger's words in Ethereum's JSON shapes.

use alloy_consensus::{Sealed, transaction::Recovered};
use alloy_eips::eip4895::Withdrawals;
use alloy_primitives::{Address, U256};
use alloy_rpc_types_eth::{
    Block as RpcBlock, BlockTransactions, Filter, FilterSet, Header as RpcHeader, Log as RpcLog,
    Transaction as RpcTransaction, TransactionReceipt as RpcReceipt,
};
use hansa_ledger::{LocatedLog, LocatedTransaction, LogFilter, TransactionReceipt};
use hansa_pool::PooledTransaction;
use hansa_types::{Block, SignedTransaction};

/// A transaction as JSON-RPC shows it.
pub(crate) type Transaction = RpcTransaction<SignedTransaction>;

pub(crate) fn header(block: &Block) -> RpcHeader {
    RpcHeader::from_consensus(
        Sealed::new_unchecked(block.header().clone(), block.hash()),
        None,
        Some(U256::from(block.encoded().len())),
    )
}

/// A block with its transactions' hashes, or with the whole transactions when their senders are given.
pub(crate) fn block(block: &Block, senders: Option<&[Address]>) -> RpcBlock<Transaction> {
    let transactions = match senders {
        None => BlockTransactions::Hashes(block.transactions().iter().map(|tx| *tx.tx_hash()).collect()),
        Some(senders) => BlockTransactions::Full(
            block
                .transactions()
                .iter()
                .zip(senders)
                .enumerate()
                .map(|(i, (tx, sender))| in_block(block, i as u64, tx, *sender))
                .collect(),
        ),
    };
    RpcBlock::new(header(block), transactions).with_withdrawals(Some(Withdrawals::default()))
}

pub(crate) fn in_block(block: &Block, index: u64, tx: &SignedTransaction, sender: Address) -> Transaction {
    Transaction {
        inner: Recovered::new_unchecked(tx.clone(), sender),
        block_hash: Some(block.hash()),
        block_number: Some(block.number()),
        transaction_index: Some(index),
        effective_gas_price: Some(0),
        block_timestamp: Some(block.header().timestamp),
    }
}

pub(crate) fn located(tx: LocatedTransaction) -> Transaction {
    Transaction {
        inner: Recovered::new_unchecked(tx.transaction, tx.sender),
        block_hash: Some(tx.block_hash),
        block_number: Some(tx.block_number),
        transaction_index: Some(tx.transaction_index),
        effective_gas_price: Some(0),
        block_timestamp: Some(tx.timestamp),
    }
}

pub(crate) fn pending(tx: &PooledTransaction) -> Transaction {
    Transaction {
        inner: Recovered::new_unchecked(tx.transaction.clone(), tx.sender),
        block_hash: None,
        block_number: None,
        transaction_index: None,
        effective_gas_price: None,
        block_timestamp: None,
    }
}

pub(crate) fn receipt(receipt: TransactionReceipt) -> RpcReceipt {
    let (mut index, number, hash) = (receipt.first_log_index, receipt.block_number, receipt.block_hash);
    let inner = receipt.receipt.map_logs(|log| {
        let log_index = index;
        index += 1;
        RpcLog {
            inner: log,
            block_hash: Some(hash),
            block_number: Some(number),
            block_timestamp: Some(receipt.timestamp),
            transaction_hash: Some(receipt.transaction_hash),
            transaction_index: Some(receipt.transaction_index),
            log_index: Some(log_index),
            removed: false,
        }
    });
    RpcReceipt {
        inner,
        transaction_hash: receipt.transaction_hash,
        transaction_index: Some(receipt.transaction_index),
        block_hash: Some(hash),
        block_number: Some(number),
        gas_used: receipt.gas_used,
        effective_gas_price: 0,
        blob_gas_used: None,
        blob_gas_price: None,
        from: receipt.sender,
        to: receipt.to,
        contract_address: receipt.contract_address,
    }
}

pub(crate) fn log(log: LocatedLog) -> RpcLog {
    RpcLog {
        inner: log.log,
        block_hash: Some(log.block_hash),
        block_number: Some(log.block_number),
        block_timestamp: Some(log.timestamp),
        transaction_hash: Some(log.transaction_hash),
        transaction_index: Some(log.transaction_index),
        log_index: Some(log.log_index),
        removed: false,
    }
}

/// What a filter matches, over the given heights.
pub(crate) fn log_filter(filter: &Filter, from: u64, to: u64, limit: usize) -> LogFilter {
    LogFilter {
        from,
        to,
        addresses: values(&filter.address),
        topics: filter.topics.each_ref().map(values),
        limit,
    }
}

fn values<T: Copy + Eq + core::hash::Hash>(set: &FilterSet<T>) -> Vec<T> {
    set.iter().copied().collect()
}
