//! The registry's members at the head, and as of each epoch's last block.
//!
//! Read from the contract only when it has emitted an event; kept in the store as JSON. An epoch with the members of the one
//! before it has no entry of its own.

use std::{ops::Bound, sync::Arc};

use hansa_contracts::{Quota, REGISTRY, Usage, abi, members_from_return};
use hansa_evm::{Executor, StateError};
use hansa_kv::{Batch, KeyRange, KvStore, Order};
use hansa_types::{Block, DcId, Member};

use alloy_primitives::Bytes;

use crate::{
    Ledger, LedgerError, META, TransactionReceipt, chain::ExecutedBlock, header, propose::parent_state, quota,
};

pub(crate) const MEMBERS_KEY: &[u8] = b"members";
const EPOCH_PREFIX: &[u8] = b"epoch";

/// The quota at a block, and what each member used of it when it last sent something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// What each member may make all nodes store.
    pub quota: Quota,
    /// The block's time in Unix seconds.
    pub time: u64,
    /// By member, ascending.
    pub members: Vec<(DcId, Usage)>,
}

impl Ledger {
    /// The members' quotas at the finalised head.
    ///
    /// # Errors
    /// When the store is at fault.
    pub fn quotas(&self) -> Result<Quotas, LedgerError> {
        let head = Arc::clone(&self.shared().chain.read().head);
        let state = parent_state(&head);
        let usage = |member: &Member| Ok((member.dc_id, quota::used(&state, member.dc_id)?));
        let members = self.members().iter().map(usage).collect::<Result<_, StateError>>()?;
        Ok(Quotas { quota: quota::in_force(&state)?, time: state.parent_timestamp, members })
    }

    /// The members at the finalised head, of any standing, by `dcId`.
    pub fn members(&self) -> Arc<Vec<Member>> {
        Arc::clone(&self.shared().chain.read().members)
    }

    /// The members as of the last block of an epoch: epoch `e` has the blocks `e·n` to `e·n + n − 1`, where `n` is
    /// the genesis file's `epochBlocks`.
    ///
    /// # Errors
    /// [`LedgerError::EpochNotFinal`] when that block is not final yet.
    pub fn members_at_epoch(&self, epoch: u64) -> Result<Vec<Member>, LedgerError> {
        let next = epoch.saturating_add(1).saturating_mul(self.epoch_blocks());
        if self.head().number().saturating_add(1) < next {
            return Err(LedgerError::EpochNotFinal(epoch));
        }
        let bytes = frozen(self.shared().store.as_ref(), epoch)?;
        decode(&bytes.ok_or(LedgerError::Damaged { what: "list of an epoch's members" })?)
    }

    pub(crate) fn epoch_blocks(&self) -> u64 {
        self.genesis().limits.epoch_blocks
    }
}

fn epoch_key(epoch: u64) -> Vec<u8> {
    let mut key = EPOCH_PREFIX.to_vec();
    key.extend_from_slice(&epoch.to_be_bytes());
    key
}

/// The members at the end of an epoch: its own entry, or the last one before it.
fn frozen(store: &dyn KvStore, epoch: u64) -> Result<Option<Vec<u8>>, LedgerError> {
    let mut up_to = KeyRange::up_to(&epoch_key(epoch));
    up_to.start = Bound::Included(epoch_key(0));
    let newest = store.scan(META, up_to, Order::Descending, 1)?;
    Ok(newest.into_iter().next().map(|(_, members)| members))
}

/// Stores the members at the end of an epoch, if `block` is its last and they are not those of the epoch before.
pub(crate) fn freeze(
    store: &dyn KvStore,
    batch: &mut Batch,
    block: &Block,
    members: &[Member],
    epoch_blocks: u64,
) -> Result<(), LedgerError> {
    let number = block.number();
    if number.saturating_add(1).checked_rem(epoch_blocks) != Some(0) {
        return Ok(());
    }
    let epoch = number.checked_div(epoch_blocks).unwrap_or_default();
    let members = encode(members)?;
    if frozen(store, epoch)?.as_ref() != Some(&members) {
        batch.put(META, epoch_key(epoch), members);
    }
    Ok(())
}

/// Whether any of these transactions changed the registry. Every change emits an event.
pub(crate) fn changed_in(receipts: &[TransactionReceipt]) -> bool {
    receipts.iter().flat_map(|receipt| receipt.receipt.logs()).any(|log| log.address == REGISTRY)
}

/// Asks the registry in the state after a block.
pub(crate) fn read(executor: &Executor, at: &ExecutedBlock) -> Result<Vec<Member>, LedgerError> {
    // As part of no block: the environment only matters to contracts that look at it.
    let environment = hansa_evm::BlockEnvironment { number: 0, ..header::environment(at.block.header()) };
    let mut block = executor.begin(parent_state(at), environment).map_err(LedgerError::Execution)?;
    let call = alloy_sol_types::SolCall::abi_encode(&abi::ConsortiumRegistry::membersCall {});
    let output = block.system_call(REGISTRY, Bytes::from(call)).map_err(LedgerError::Execution)?;
    members_from_return(&output).map_err(|error| LedgerError::Members(error.to_string()))
}

pub(crate) fn stored(store: &dyn KvStore) -> Result<Vec<Member>, LedgerError> {
    let bytes = store.get(META, MEMBERS_KEY)?.ok_or(LedgerError::Damaged { what: "list of members" })?;
    decode(&bytes)
}

pub(crate) fn encode(members: &[Member]) -> Result<Vec<u8>, LedgerError> {
    serde_json::to_vec(members).map_err(|error| LedgerError::Members(error.to_string()))
}

fn decode(bytes: &[u8]) -> Result<Vec<Member>, LedgerError> {
    serde_json::from_slice(bytes).map_err(|_| LedgerError::Damaged { what: "list of members" })
}
