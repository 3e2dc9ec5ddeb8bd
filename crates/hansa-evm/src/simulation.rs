//! Calls one after the other on a state, each on what the ones before changed, with suppositions in between.
//!
//! Everything is forgotten with the [`Simulation`]. The calls share one allowance of gas, so that a simulation costs no
//! more than a single call may.

use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_primitives::{Address, B256, TxKind};
use revm::{ExecuteEvm, context::TxEnv, context_interface::result::ExecutionResult, state::EvmState};

use crate::{
    AccountOverride, AccountState, BlockEnvironment, CALL_GAS_MAX, CallOutcome, CallRequest, ExecutionError,
    Executor, InvalidReason, StateError, StateView,
    executor::{Machine, block_env, execution_error},
};

/// Runs of one call in search of its access list. Each may reach slots that the one before did not.
const ACCESS_RUNS_MAX: usize = 8;

/// A call's access list (EIP-2930), and how the call ended with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accessed {
    /// Accounts and slots in ascending order, without those that are always warm.
    pub list: AccessList,
    /// The outcome of the run that declared the list.
    pub outcome: CallOutcome,
}

/// A state on which calls are tried.
pub struct Simulation<V: StateView> {
    machine: Machine<V>,
    block_gas: u64,
    gas_left: u64,
}

impl Executor {
    /// Begins a simulation. With `checks_nonces` a call's nonce must be its sender's next.
    pub fn simulate<V: StateView>(
        &self,
        view: V,
        environment: BlockEnvironment,
        checks_nonces: bool,
    ) -> Simulation<V> {
        let machine = self.machine(view, environment, |cfg| {
            cfg.disable_nonce_check = !checks_nonces;
            cfg.disable_eip3607 = true;
            cfg.tx_gas_limit_cap = Some(CALL_GAS_MAX);
        });
        Simulation { machine, block_gas: environment.gas_limit, gas_left: CALL_GAS_MAX }
    }

    /// Finds the accounts and slots that a call reaches.
    ///
    /// # Errors
    /// As [`Executor::call`].
    pub fn access_list<V: StateView>(
        &self,
        view: V,
        environment: BlockEnvironment,
        request: &CallRequest,
    ) -> Result<Accessed, ExecutionError> {
        let environment = request.overrides.block.apply(environment);
        let mut request = request.clone();
        let mut runs = 0_usize;
        loop {
            let mut simulation = self.simulate(&view, environment, false);
            simulation.suppose(&request.overrides.accounts)?;
            let (outcome, state) = simulation.try_call(&request)?;
            let list = simulation.reached(&state, request.from);
            runs = runs.saturating_add(1);
            if list == request.access_list || runs == ACCESS_RUNS_MAX {
                return Ok(Accessed { list, outcome: outcome.into() });
            }
            request.access_list = list;
        }
    }
}

impl<V: StateView> Simulation<V> {
    /// Goes on in another block. The changes so far stay.
    pub fn enter(&mut self, environment: BlockEnvironment) {
        self.block_gas = environment.gas_limit;
        self.machine.ctx.block = block_env(environment);
    }

    /// Supposes something of accounts from here on.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn suppose(&mut self, accounts: &[(Address, AccountOverride)]) -> Result<(), StateError> {
        let state = &mut self.machine.ctx.journaled_state.database;
        accounts.iter().try_for_each(|(address, account)| state.suppose(*address, account))
    }

    /// An account as the calls so far left it.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn account(&mut self, address: Address) -> Result<AccountState, StateError> {
        self.machine.ctx.journaled_state.database.account(address)
    }

    /// The gas limit that a request gets: its own or all there is, never more than is left.
    pub fn gas_limit(&self, request: &CallRequest) -> u64 {
        request.gas.unwrap_or(self.gas_left).min(self.gas_left).min(self.block_gas)
    }

    /// Runs a call and keeps its changes.
    ///
    /// # Errors
    /// As [`Executor::call`].
    pub fn call(&mut self, request: &CallRequest) -> Result<CallOutcome, ExecutionError> {
        let (result, state) = self.try_call(request)?;
        self.machine.ctx.journaled_state.database.commit(state)?;
        let outcome = CallOutcome::from(result);
        self.gas_left = self.gas_left.saturating_sub(outcome.gas_used());
        Ok(outcome)
    }

    /// Runs a call and forgets its changes.
    pub(crate) fn try_call(
        &mut self,
        request: &CallRequest,
    ) -> Result<(ExecutionResult, EvmState), ExecutionError> {
        let (value, balance) = (request.value, self.account(request.from)?.balance);
        if value > balance {
            return Err(ExecutionError::Invalid(InvalidReason::InsufficientBalance { value, balance }));
        }
        let chain_id = Some(self.machine.ctx.cfg.chain_id);
        let result = self.machine.transact_one(TxEnv {
            tx_type: 1,
            caller: request.from,
            gas_limit: self.gas_limit(request),
            kind: request.to.map_or(TxKind::Create, TxKind::Call),
            value: request.value,
            data: request.data.clone(),
            nonce: request.nonce.unwrap_or_default(),
            chain_id,
            access_list: request.access_list.clone(),
            ..TxEnv::default()
        });
        let state = self.machine.finalize();
        Ok((result.map_err(execution_error)?, state))
    }

    /// What a run reached. Sender, callee, precompiles and the block's beneficiary are warm in any case, so that only
    /// their slots are worth declaring.
    fn reached(&self, state: &EvmState, sender: Address) -> AccessList {
        let callee = match self.machine.ctx.tx.kind {
            TxKind::Call(to) => Some(to),
            TxKind::Create => None,
        };
        let is_warm = |address: &Address| {
            *address == sender
                || Some(*address) == callee
                || *address == self.machine.ctx.block.beneficiary
                || self.machine.precompiles.addresses().contains(address)
        };
        let mut items: Vec<AccessListItem> = state
            .iter()
            // A contract created by the call has no address before it.
            .filter(|(_, account)| !account.is_created())
            .filter(|(address, account)| !account.storage.is_empty() || !is_warm(address))
            .map(|(address, account)| {
                let mut storage_keys: Vec<B256> =
                    account.storage.keys().map(|slot| B256::from(*slot)).collect();
                storage_keys.sort_unstable();
                AccessListItem { address: *address, storage_keys }
            })
            .collect();
        items.sort_unstable_by_key(|item| item.address);
        AccessList(items)
    }
}
