//! The members' quota of what all nodes store: what is left at the start of a block, and what the block uses of it.
//!
//! Read from and written to the governance contract's storage as part of the block's state, without running code. The time is the parent's.

use hansa_contracts::{GOVERNANCE, Quota, Usage};
use hansa_evm::{BlockExecutor, Growth, StateError, StateView};
use hansa_types::DcId;

use crate::{LedgerError, state::ParentState};

/// The quota in force.
pub(crate) fn in_force(state: &impl StateView) -> Result<Quota, StateError> {
    Ok(Quota::from_slot(state.storage(GOVERNANCE, Quota::SLOT)?))
}

/// What a member had used when it last sent something.
pub(crate) fn used(state: &impl StateView, member: DcId) -> Result<Usage, StateError> {
    Ok(Usage::from_slot(state.storage(GOVERNANCE, Usage::slot_of(member))?))
}

/// What a member may make all nodes store in a child of this block.
pub(crate) fn left(state: &ParentState<'_>, quota: Quota, member: DcId) -> Result<Growth, StateError> {
    if !quota.limits() {
        return Ok(Growth::UNLIMITED);
    }
    let (bytes, slots) = quota.left(used(state, member)?, state.parent_timestamp);
    Ok(Growth { bytes, slots })
}

/// Seconds until a member may send again; 0 while it may.
pub(crate) fn wait_seconds(state: &ParentState<'_>, member: DcId) -> Result<u64, StateError> {
    let quota = in_force(state)?;
    if !quota.limits() {
        return Ok(0);
    }
    Ok(quota.free_at(used(state, member)?).saturating_sub(state.parent_timestamp))
}

/// Notes after the last transaction what the block's senders used. A network whose contracts know no quota stays as it is.
pub(crate) fn charge(
    executor: &mut BlockExecutor<ParentState<'_>>,
    state: &ParentState<'_>,
) -> Result<(), LedgerError> {
    let quota = in_force(state)?;
    if !quota.limits() {
        return Ok(());
    }
    for (member, Growth { bytes, slots }) in executor.growth().collect::<Vec<_>>() {
        let usage = quota.at(used(state, member)?, state.parent_timestamp).add(bytes, slots);
        executor.set_storage(GOVERNANCE, Usage::slot_of(member), usage.to_slot())?;
    }
    Ok(())
}
