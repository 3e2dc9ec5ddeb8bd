//! Verifies another node's block by executing it.

use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::Address;

use hansa_evm::{ExecutionError, Payer};
use hansa_types::{BODY_BYTES_MAX, Block, TRANSACTION_BYTES_MAX};

use crate::{
    BlockFault, Ledger, LedgerError,
    chain::ExecutedBlock,
    execute::{self, Results},
    header,
    propose::{Registered, parent_state},
    quota, upgrade,
};

impl Ledger {
    /// Checks that a block may follow its parent: header, senders, every transaction and all roots. A block that
    /// was verified or proposed here is not executed again.
    ///
    /// Not checked: `extraData`'s content, `prevrandao`, the beneficiary, and whether the timestamp lies in the future.
    ///
    /// # Errors
    /// [`LedgerError::UnknownParent`] when the parent has not been executed here (yet); [`LedgerError::InvalidBlock`] when
    /// the block breaks a rule; otherwise this node's storage is at fault.
    pub fn verify(&self, block: &Block) -> Result<(), LedgerError> {
        if self.executed(&block.hash()).is_some() {
            return Ok(());
        }
        let head = self.head().number();
        if block.number() <= head {
            return match self.number_of(block.hash())? {
                Some(_) => Ok(()),
                None => Err(invalid(block, BlockFault::Superseded)),
            };
        }
        let executed = self.execute(block)?;
        self.shared().chain.write().insert(executed);
        Ok(())
    }

    /// Executes a block on its parent and compares everything.
    pub(crate) fn execute(&self, block: &Block) -> Result<std::sync::Arc<ExecutedBlock>, LedgerError> {
        let parent_hash = block.header().parent_hash;
        let parent = self.executed(&parent_hash).ok_or(LedgerError::UnknownParent(parent_hash))?;
        let fail = |fault| invalid(block, fault);
        header::check(block.header(), parent.block.header(), parent_hash).map_err(fail)?;
        check_sizes(block).map_err(fail)?;
        let signers = self.pool().signers(block.transactions());
        let senders = signers.map_err(|index| fail(BlockFault::Signature(index)))?;
        let payers = payers(block, &parent, &senders)?;
        let mut executor = upgrade::begin(self.shared(), &parent, block.header())?;
        let mut executed = Vec::with_capacity(senders.len());
        let transactions = block.transactions().iter().zip(&senders).zip(payers).enumerate();
        for (index, ((transaction, sender), payer)) in transactions {
            match executor.transact(transaction, *sender, payer) {
                Ok(transaction) => executed.push(transaction),
                Err(ExecutionError::Invalid(reason)) => {
                    return Err(fail(BlockFault::Transaction { index, reason }));
                }
                Err(error) => return Err(LedgerError::Execution(error)),
            }
        }
        quota::charge(&mut executor, &parent_state(&parent))?;
        let results = execute::conclude(executor, &parent.state, &executed)?;
        check_results(block, &results).map_err(fail)?;
        Ok(execute::assemble(block.clone(), results, &senders, executed))
    }
}

/// The payer of each transaction.
fn payers(block: &Block, parent: &ExecutedBlock, senders: &[Address]) -> Result<Vec<Payer>, LedgerError> {
    let state = parent_state(parent);
    let mut registered = Registered::new(&state);
    let mut payers = Vec::with_capacity(senders.len());
    for (index, sender) in senders.iter().copied().enumerate() {
        if registered.sender(sender)?.is_none() {
            return Err(invalid(block, BlockFault::UnregisteredSender { index, sender }));
        }
        payers.push(registered.payer(sender)?);
    }
    Ok(payers)
}

fn check_sizes(block: &Block) -> Result<(), BlockFault> {
    let mut total = 0_usize;
    for (index, transaction) in block.transactions().iter().enumerate() {
        let bytes = transaction.encode_2718_len();
        if bytes > TRANSACTION_BYTES_MAX {
            return Err(BlockFault::TransactionTooLong(index));
        }
        total = total.saturating_add(bytes).saturating_add(4);
    }
    if total > BODY_BYTES_MAX { Err(BlockFault::BodyTooLong(total)) } else { Ok(()) }
}

fn check_results(block: &Block, results: &Results) -> Result<(), BlockFault> {
    let header = block.header();
    let wrong = if header.gas_used != results.gas_used {
        "gasUsed"
    } else if header.logs_bloom != results.logs_bloom {
        "logsBloom"
    } else if header.receipts_root != results.receipts_root {
        "receiptsRoot"
    } else if header.state_root != results.state.root() {
        "stateRoot"
    } else {
        return Ok(());
    };
    Err(BlockFault::Header(wrong))
}

fn invalid(block: &Block, fault: BlockFault) -> LedgerError {
    LedgerError::InvalidBlock { number: block.number(), hash: block.hash(), fault }
}
