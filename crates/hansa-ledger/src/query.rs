//! Reading finalised blocks, transactions and receipts.

use std::sync::Arc;

use alloy_consensus::ReceiptEnvelope;
use alloy_primitives::{Address, B256};

use hansa_types::{Block, SignedTransaction};

use crate::{
    BLOCKS, HASHES, Ledger, LedgerError, LocatedLog, RECEIPTS, TRANSACTIONS,
    records::{self, BlockPlace},
};

/// A final block with its receipts.
#[derive(Clone, Debug)]
pub struct FinalisedBlock {
    /// The block.
    pub block: Block,
    /// One receipt for each transaction, in order.
    pub receipts: Arc<Vec<TransactionReceipt>>,
    /// Whether the registry of members emitted an event: [`Ledger::members`] may have changed.
    pub registry_changed: bool,
}

impl FinalisedBlock {
    /// All logs of the block, in order.
    pub fn logs(&self) -> impl Iterator<Item = LocatedLog> + '_ {
        self.receipts.iter().flat_map(TransactionReceipt::located_logs)
    }
}

/// A receipt with its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionReceipt {
    /// Status, cumulative gas, logs and bloom filter, as committed to by the header.
    pub receipt: ReceiptEnvelope,
    /// The transaction.
    pub transaction_hash: B256,
    /// Its place in the block, from 0.
    pub transaction_index: u64,
    /// The block.
    pub block_hash: B256,
    /// Its height.
    pub block_number: u64,
    /// Its time, in Unix seconds.
    pub timestamp: u64,
    /// Signer of the transaction.
    pub sender: Address,
    /// Its recipient; `None` where it creates a contract.
    pub to: Option<Address>,
    /// The contract it was to create, whether or not that succeeded.
    pub contract_address: Option<Address>,
    /// Gas used by this transaction alone.
    pub gas_used: u64,
    /// Number of logs in the block before its first.
    pub first_log_index: u64,
}

impl TransactionReceipt {
    /// Its logs with their place in the block.
    pub fn located_logs(&self) -> impl Iterator<Item = LocatedLog> + '_ {
        (self.first_log_index..).zip(self.receipt.logs()).map(|(log_index, log)| LocatedLog {
            log: log.clone(),
            block_hash: self.block_hash,
            block_number: self.block_number,
            timestamp: self.timestamp,
            transaction_hash: self.transaction_hash,
            transaction_index: self.transaction_index,
            log_index,
        })
    }
}

/// A transaction with its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedTransaction {
    /// The transaction.
    pub transaction: SignedTransaction,
    /// Its signer.
    pub sender: Address,
    /// The block.
    pub block_hash: B256,
    /// Its height.
    pub block_number: u64,
    /// Its time, in Unix seconds.
    pub timestamp: u64,
    /// The transaction's place in the block, from 0.
    pub transaction_index: u64,
}

impl Ledger {
    /// A finalised block by height.
    ///
    /// # Errors
    /// When the store is at fault, as for every method here.
    pub fn block(&self, number: u64) -> Result<Option<Block>, LedgerError> {
        if let Some(recent) = self.recent(number) {
            return Ok(Some(recent.block.clone()));
        }
        if number > self.head().number() {
            return Ok(None);
        }
        records::load_block(self.shared().store.as_ref(), number)
    }

    /// A finalised block by hash.
    ///
    /// # Errors
    /// See [`Ledger::block`].
    pub fn block_by_hash(&self, hash: B256) -> Result<Option<Block>, LedgerError> {
        self.number_of(hash)?.map_or(Ok(None), |number| self.block(number))
    }

    /// The height of a finalised block.
    ///
    /// # Errors
    /// See [`Ledger::block`].
    pub fn number_of(&self, hash: B256) -> Result<Option<u64>, LedgerError> {
        let Some(bytes) = self.shared().store.get(HASHES, hash.as_slice())? else { return Ok(None) };
        records::number(&bytes).map(Some).ok_or(LedgerError::Damaged { what: "index of blocks" })
    }

    /// The receipts of a finalised block, one for each transaction.
    ///
    /// # Errors
    /// See [`Ledger::block`].
    pub fn receipts(&self, number: u64) -> Result<Option<Arc<Vec<TransactionReceipt>>>, LedgerError> {
        if let Some(recent) = self.recent(number) {
            return Ok(Some(Arc::clone(&recent.receipts)));
        }
        if let Some(read) = self.shared().read.lock().get(&number) {
            return Ok(Some(Arc::clone(read)));
        }
        let receipts = self.load_receipts(number)?;
        if let Some(receipts) = &receipts {
            self.shared().read.lock().put(number, Arc::clone(receipts));
        }
        Ok(receipts)
    }

    fn load_receipts(&self, number: u64) -> Result<Option<Arc<Vec<TransactionReceipt>>>, LedgerError> {
        let Some(block) = self.block(number)? else { return Ok(None) };
        let damaged = || LedgerError::Damaged { what: "receipts" };
        let bytes = self.shared().store.get(RECEIPTS, &number.to_be_bytes())?.ok_or_else(damaged)?;
        let stored = records::decode_receipts(&bytes).ok_or_else(damaged)?;
        if stored.len() != block.transactions().len() {
            return Err(damaged());
        }
        let place = BlockPlace::of(&block);
        let receipts: Option<Vec<_>> = (0_u64..)
            .zip(stored.into_iter().zip(block.transactions()))
            .map(|(index, (stored, transaction))| records::complete(stored, &place, transaction, index))
            .collect();
        receipts.map(|receipts| Some(Arc::new(receipts))).ok_or_else(damaged)
    }

    /// The senders of a finalised block's transactions.
    ///
    /// # Errors
    /// See [`Ledger::block`].
    pub fn senders(&self, number: u64) -> Result<Option<Vec<Address>>, LedgerError> {
        let receipts = self.receipts(number)?;
        Ok(receipts.map(|receipts| receipts.iter().map(|receipt| receipt.sender).collect()))
    }

    /// The receipt of a finalised transaction.
    ///
    /// # Errors
    /// See [`Ledger::block`].
    pub fn receipt(&self, hash: B256) -> Result<Option<TransactionReceipt>, LedgerError> {
        let Some((number, index)) = self.place_of(hash)? else { return Ok(None) };
        if let Some(recent) = self.recent(number) {
            return Ok(usize::try_from(index).ok().and_then(|index| recent.receipts.get(index)).cloned());
        }
        let damaged = || LedgerError::Damaged { what: "receipts" };
        let (place, transaction) = self.load_transaction(number, index)?;
        let bytes = self.shared().store.get(RECEIPTS, &number.to_be_bytes())?.ok_or_else(damaged)?;
        let stored = records::decode_receipt(&bytes, index).ok_or_else(damaged)?;
        records::complete(stored, &place, &transaction, index).map(Some).ok_or_else(damaged)
    }

    /// A finalised transaction.
    ///
    /// # Errors
    /// See [`Ledger::block`].
    pub fn transaction(&self, hash: B256) -> Result<Option<LocatedTransaction>, LedgerError> {
        let Some((number, index)) = self.place_of(hash)? else { return Ok(None) };
        let Some(receipt) = self.receipt(hash)? else { return Ok(None) };
        let recent = self
            .recent(number)
            .and_then(|recent| recent.block.transactions().get(usize::try_from(index).ok()?).cloned());
        let transaction = match recent {
            Some(transaction) => transaction,
            None => self.load_transaction(number, index)?.1,
        };
        Ok(Some(LocatedTransaction {
            transaction,
            sender: receipt.sender,
            block_hash: receipt.block_hash,
            block_number: number,
            timestamp: receipt.timestamp,
            transaction_index: index,
        }))
    }

    fn place_of(&self, hash: B256) -> Result<Option<(u64, u64)>, LedgerError> {
        let Some(bytes) = self.shared().store.get(TRANSACTIONS, hash.as_slice())? else { return Ok(None) };
        records::read_place(&bytes).map(Some).ok_or(LedgerError::Damaged { what: "index of transactions" })
    }

    fn load_transaction(
        &self,
        number: u64,
        index: u64,
    ) -> Result<(BlockPlace, SignedTransaction), LedgerError> {
        let damaged = || LedgerError::Damaged { what: "block" };
        let block = self.shared().store.get(BLOCKS, &number.to_be_bytes())?.ok_or_else(damaged)?;
        let header = records::decode_header(&block).ok_or_else(damaged)?;
        let place = BlockPlace { hash: header.hash_slow(), number, timestamp: header.timestamp };
        let transaction = records::decode_transaction(&block, index).ok_or_else(damaged)?;
        Ok((place, transaction))
    }

    pub(crate) fn recent(&self, number: u64) -> Option<Arc<FinalisedBlock>> {
        self.shared().chain.read().recent.peek(&number).cloned()
    }
}
