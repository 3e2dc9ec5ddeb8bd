//! Finalisation: one atomic batch a block, durable before it is announced.

use std::sync::Arc;

use alloy_primitives::Address;

use hansa_kv::Batch;
use hansa_pool::ordinary_cost;
use hansa_types::{Block, Member};

use crate::{
    BLOCKS, FinalisedBlock, HASHES, Ledger, LedgerError, META, RECEIPTS, TRANSACTIONS, accounts,
    chain::ExecutedBlock, ledger::HEAD_KEY, logs, members, propose::parent_state, records,
};

impl Ledger {
    /// Makes a child of the head final; executes it first if need be. Durable when it returns. Does nothing for a
    /// block at or below the head.
    ///
    /// # Errors
    /// [`LedgerError::NotNext`] when the block is not the head's child. After any other error the node must stop.
    pub fn finalise(&self, block: &Block) -> Result<(), LedgerError> {
        self.finalise_many(std::slice::from_ref(block))
    }

    /// Makes several blocks of consecutive heights final with a single flush to the disk. After a crash, either none
    /// of them is final or those up to some height.
    ///
    /// # Errors
    /// As [`Ledger::finalise`].
    pub fn finalise_many(&self, blocks: &[Block]) -> Result<(), LedgerError> {
        let _one_at_a_time = self.shared().finalising.lock();
        let mut finalised = Vec::with_capacity(blocks.len());
        let result = blocks.iter().try_for_each(|block| {
            finalised.extend(self.finalise_buffered(block)?);
            Ok(())
        });
        if !finalised.is_empty() {
            self.shared().store.sync()?;
        }
        for block in finalised {
            self.announce(block);
        }
        result
    }

    /// Writes one block without waiting for the disk, and makes it the head.
    fn finalise_buffered(&self, block: &Block) -> Result<Option<Arc<FinalisedBlock>>, LedgerError> {
        let shared = self.shared();
        let head = Arc::clone(&shared.chain.read().head);
        if block.number() <= head.block.number() {
            return Ok(None);
        }
        if block.header().parent_hash != head.block.hash() {
            return Err(LedgerError::NotNext { number: block.number(), head: head.block.number() });
        }
        let executed = match self.executed(&block.hash()) {
            Some(executed) => executed,
            None => {
                let executed = self.execute(block)?;
                shared.chain.write().insert(executed)
            }
        };
        let registry_changed = members::changed_in(&executed.receipts);
        let members = if registry_changed {
            Arc::new(members::read(&shared.executor, &executed)?)
        } else {
            self.members()
        };
        let mut batch = Batch::new();
        record(&mut batch, &executed, &members, registry_changed)?;
        members::freeze(shared.store.as_ref(), &mut batch, &executed.block, &members, self.epoch_blocks())?;
        let staged = shared.states.stage(&executed.state, &mut batch)?;
        shared.store.write_buffered(batch)?;
        shared.states.adopt(staged);
        let finalised = Arc::new(FinalisedBlock {
            block: executed.block.clone(),
            receipts: Arc::clone(&executed.receipts),
            registry_changed,
        });
        let mut chain = shared.chain.write();
        let former = std::mem::replace(&mut chain.members, members);
        chain.advance(Arc::clone(&executed));
        chain.recent.put(finalised.block.number(), Arc::clone(&finalised));
        drop(chain);
        self.release_pool(&executed, if registry_changed { &former } else { &[] })?;
        Ok(Some(finalised))
    }

    /// Removes from the pool the block's transactions, and those of accounts that have lost their authority.
    fn release_pool(&self, executed: &ExecutedBlock, former: &[Member]) -> Result<(), LedgerError> {
        let mut senders: Vec<Address> = executed.receipts.iter().map(|receipt| receipt.sender).collect();
        senders.sort_unstable();
        // Senders of this block are likely to send more.
        for of_one in senders.chunk_by(|one, next| one == next) {
            let count = u32::try_from(of_one.len()).unwrap_or(u32::MAX);
            of_one.iter().take(1).for_each(|sender| self.shared().signers.expect(*sender, count));
        }
        senders.extend(former.iter().map(|member| member.card.account));
        senders.sort_unstable();
        senders.dedup();
        let costs = executed.receipts.iter().map(|receipt| (receipt.sender, ordinary_cost(receipt.gas_used)));
        self.pool().charge(costs);
        let state = parent_state(executed);
        let mut accounts = Vec::with_capacity(senders.len());
        for sender in senders {
            accounts.push((sender, accounts::sender_state(&state, sender)?.map(|state| state.nonce)));
        }
        self.pool().on_finalised(accounts);
        Ok(())
    }

    fn announce(&self, block: Arc<FinalisedBlock>) {
        // Without subscribers there is no error.
        let _ = self.shared().finalised.send(block);
    }
}

/// Writes a block's records, except its state and its epoch's members.
pub(crate) fn record(
    batch: &mut Batch,
    executed: &ExecutedBlock,
    members: &[Member],
    members_changed: bool,
) -> Result<(), LedgerError> {
    let block = &executed.block;
    let number = block.number();
    let key = number.to_be_bytes();
    batch.put(META, HEAD_KEY, key);
    batch.put(BLOCKS, key, block.encoded().as_ref());
    batch.put(HASHES, block.hash().as_slice(), key);
    batch.put(RECEIPTS, key, records::encode_receipts(&executed.receipts));
    for receipt in executed.receipts.iter() {
        let place = records::place(number, receipt.transaction_index);
        batch.put(TRANSACTIONS, receipt.transaction_hash.as_slice(), place);
    }
    logs::index(batch, number, &executed.receipts);
    if members_changed {
        batch.put(META, members::MEMBERS_KEY, members::encode(members)?);
    }
    Ok(())
}
