//! Computes roots and receipts after execution. Proposer and verifier share this code.

use std::sync::Arc;

use alloy_consensus::Transaction;
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256};
use hansa_keccak::list_root;

use hansa_evm::{BlockExecutor, ExecutedTransaction, StateChanges};
use hansa_trie::StateView;
use hansa_types::{Block, SignedTransaction};

use crate::{LedgerError, TransactionReceipt, chain::ExecutedBlock, state::ParentState};

/// The header fields that execution determines, with the state behind them.
pub(crate) struct Results {
    pub(crate) state: StateView,
    pub(crate) changes: StateChanges,
    pub(crate) receipts_root: B256,
    pub(crate) gas_used: u64,
    pub(crate) logs_bloom: alloy_primitives::Bloom,
}

/// Computes the roots after the last transaction.
pub(crate) fn conclude(
    executor: BlockExecutor<ParentState<'_>>,
    parent: &StateView,
    executed: &[ExecutedTransaction],
) -> Result<Results, LedgerError> {
    let (gas_used, logs_bloom) = (executor.gas_used(), *executor.logs_bloom());
    let changes = executor.finish();
    let update = crate::state::update(&changes);
    let (state, receipts_root) = rayon::join(|| parent.apply(&update), || receipts_root(executed));
    Ok(Results { state: state?, changes, receipts_root, gas_used, logs_bloom })
}

fn receipts_root(executed: &[ExecutedTransaction]) -> B256 {
    let receipts: Vec<_> = executed.iter().map(|transaction| transaction.receipt.encoded_2718()).collect();
    list_root(&receipts)
}

/// Assembles block, state and located receipts.
pub(crate) fn assemble(
    block: Block,
    results: Results,
    senders: &[Address],
    executed: Vec<ExecutedTransaction>,
) -> Arc<ExecutedBlock> {
    let mut first_log_index = 0_u64;
    let receipts = (0_u64..)
        .zip(block.transactions())
        .zip(senders)
        .zip(executed)
        .map(|(((index, transaction), sender), executed)| {
            let receipt = locate(&block, index, transaction, *sender, first_log_index, executed);
            first_log_index = first_log_index.saturating_add(receipt.receipt.logs().len() as u64);
            receipt
        })
        .collect();
    Arc::new(ExecutedBlock {
        state: results.state,
        changes: Arc::new(results.changes),
        receipts: Arc::new(receipts),
        block,
    })
}

fn locate(
    block: &Block,
    transaction_index: u64,
    transaction: &SignedTransaction,
    sender: Address,
    first_log_index: u64,
    executed: ExecutedTransaction,
) -> TransactionReceipt {
    TransactionReceipt {
        receipt: executed.receipt,
        transaction_hash: *transaction.tx_hash(),
        transaction_index,
        block_hash: block.hash(),
        block_number: block.number(),
        timestamp: block.header().timestamp,
        sender,
        to: transaction.to(),
        contract_address: executed.contract_address,
        gas_used: executed.gas_used,
        first_log_index,
    }
}
