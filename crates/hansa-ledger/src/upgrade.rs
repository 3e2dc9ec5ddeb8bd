//! Begins a block: the system's own changes that come before its transactions.
//!
//! Block 1 tells the registry the genesis hash. A block at an upgrade's height replaces the system contracts as part of its state, so
//! that all nodes agree on the outcome. Which suite comes when is the governance contract's business; it is read from storage, without running
//! code. A suite that cannot be begun is given up in that block, and the old one goes on: a vote never stops the chain.

use std::{collections::BTreeMap, sync::Arc};

use alloy_consensus::Header;
use alloy_primitives::{B256, Bytes};
use alloy_sol_types::SolCall;

use hansa_contracts::{GOVERNANCE, REGISTRY, SuiteState, abi};
use hansa_evm::{BlockExecutor, ExecutionError, StateView};
use hansa_types::Suite;

use crate::{
    Ledger, LedgerError, chain::ExecutedBlock, header, ledger::Shared, propose::parent_state,
    state::ParentState,
};

/// The suites that this node can run besides the one it was founded with, by digest.
pub(crate) type Suites = BTreeMap<B256, Arc<Suite>>;

impl Ledger {
    /// The suite in force and the pending one at the finalised head.
    ///
    /// # Errors
    /// When the store is at fault.
    pub fn suite(&self) -> Result<SuiteState, LedgerError> {
        let head = Arc::clone(&self.shared().chain.read().head);
        suite_state(&parent_state(&head))
    }

    /// The suites that this node can run besides the one it was founded with, in no order.
    pub fn known_suites(&self) -> impl Iterator<Item = &Suite> {
        self.shared().suites.values().map(Arc::as_ref)
    }

    /// Whether the block after the head begins a suite that this node cannot run: the node must stop here.
    ///
    /// # Errors
    /// [`LedgerError::SuiteMissing`] if so; otherwise the store is at fault.
    pub fn check_next_suite(&self) -> Result<(), LedgerError> {
        let head = Arc::clone(&self.shared().chain.read().head);
        due(self.shared(), &parent_state(&head), head.block.number().saturating_add(1)).map(|_| ())
    }

    /// Tries a suite on the state of the head without keeping anything. `Some` says why it would be given up at its height.
    ///
    /// # Errors
    /// [`LedgerError::SuiteMissing`] when this node does not have it; otherwise the store is at fault.
    pub fn rehearse_suite(&self, digest: B256) -> Result<Option<String>, LedgerError> {
        let head = Arc::clone(&self.shared().chain.read().head);
        let suite = self.shared().suites.get(&digest);
        let version = suite.map_or(0, |suite| suite.version);
        let height = head.block.number().saturating_add(1);
        let suite = suite.ok_or(LedgerError::SuiteMissing { version, digest, height })?;
        let environment = header::environment(head.block.header());
        let mut trial = self.shared().executor.begin(parent_state(&head), environment)?;
        // Any version can be activated where none is pending: the contract takes what is there.
        refusal(begin_suite(&mut trial, suite)).map_err(LedgerError::Execution)
    }
}

/// Starts the block that `header` describes on its executed parent.
pub(crate) fn begin<'a>(
    shared: &Shared,
    parent: &'a ExecutedBlock,
    header: &Header,
) -> Result<BlockExecutor<ParentState<'a>>, LedgerError> {
    let environment = header::environment(header);
    let start = || shared.executor.begin(parent_state(parent), environment).map_err(LedgerError::Execution);
    let mut block = start()?;
    if header.number == 1 {
        let call = abi::ConsortiumRegistry::setGenesisHashCall { hash: header.parent_hash };
        block.system_call(REGISTRY, call.abi_encode().into()).map_err(LedgerError::Execution)?;
    }
    if let Some(suite) = due(shared, &parent_state(parent), header.number)? {
        replace(&mut block, start()?, &suite, header.number).map_err(LedgerError::Execution)?;
    }
    Ok(block)
}

/// The suite that block `number` begins, if it begins one.
fn due(shared: &Shared, state: &impl StateView, number: u64) -> Result<Option<Arc<Suite>>, LedgerError> {
    let SuiteState { pending, height, digest, .. } = suite_state(state)?;
    if pending == 0 || number < height {
        return Ok(None);
    }
    match shared.suites.get(&digest) {
        Some(suite) => Ok(Some(Arc::clone(suite))),
        None => Err(LedgerError::SuiteMissing { version: pending, digest, height }),
    }
}

fn suite_state(state: &impl StateView) -> Result<SuiteState, LedgerError> {
    let [first, second] = SuiteState::SLOTS.map(|slot| state.storage(GOVERNANCE, slot));
    Ok(SuiteState::from_slots([first?, second?]))
}

/// Begins the suite in `block`, or gives it up there if it fails in `trial`, which is thrown away.
fn replace<V: StateView>(
    block: &mut BlockExecutor<V>,
    mut trial: BlockExecutor<V>,
    suite: &Suite,
    height: u64,
) -> Result<(), ExecutionError> {
    let version = suite.version;
    match refusal(begin_suite(&mut trial, suite))? {
        None => {
            begin_suite(block, suite)?;
            tracing::info!(height, version, "the system contracts are replaced");
        }
        Some(reason) => {
            block.system_call(GOVERNANCE, abi::Governance::abandonSuiteCall {}.abi_encode().into())?;
            tracing::warn!(
                height,
                version,
                reason,
                "the new system contracts cannot be begun; the old ones stay"
            );
        }
    }
    Ok(())
}

fn begin_suite<V: StateView>(block: &mut BlockExecutor<V>, suite: &Suite) -> Result<(), ExecutionError> {
    for (address, code) in &suite.code {
        block.place(*address, code.clone())?;
    }
    let activate = Bytes::from(abi::Governance::activateSuiteCall {}.abi_encode());
    let calls = suite.calls.iter().map(|call| (call.to, call.data.clone()));
    for (to, data) in calls.chain([(GOVERNANCE, activate)]) {
        block.system_call(to, data)?;
    }
    Ok(())
}

/// The reason where a call of the suite failed, which it does on every node alike. Other errors are this node's.
fn refusal(outcome: Result<(), ExecutionError>) -> Result<Option<String>, ExecutionError> {
    match outcome {
        Ok(()) => Ok(None),
        Err(failed @ ExecutionError::SystemCall { .. }) => Ok(Some(failed.to_string())),
        Err(error) => Err(error),
    }
}
