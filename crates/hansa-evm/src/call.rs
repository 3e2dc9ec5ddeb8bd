//! Calls that change nothing: `eth_call` and `eth_estimateGas`.
//!
//! Bounded by gas alone, so that the same call ends the same way on every machine.

use alloy_eips::eip2930::AccessList;
use alloy_primitives::{Address, Bytes, Log, TxKind, U256};
use revm::{
    ExecuteEvm,
    context::TxEnv,
    context_interface::result::{ExecutionResult, Output},
};

use hansa_types::TRANSACTION_GAS_MAX;

use crate::{BlockEnvironment, ExecutionError, Executor, StateView, executor::execution_error};

/// The most gas a call may use; some 0.3 seconds of the slowest precompile.
pub const CALL_GAS_MAX: u64 = 50_000_000;

/// A call to be tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallRequest {
    /// On whose behalf; no signature is needed.
    pub from: Address,
    /// The callee; `None` runs `data` as a contract's creation.
    pub to: Option<Address>,
    /// Gas limit; [`CALL_GAS_MAX`] when absent, and never more.
    pub gas: Option<u64>,
    /// Wei to send.
    pub value: U256,
    /// Calldata or creation code.
    pub data: Bytes,
    /// Addresses and slots declared beforehand (EIP-2930).
    pub access_list: AccessList,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// It returned.
    Success {
        /// Return data, or the created contract's code.
        output: Bytes,
        /// Gas used after refunds.
        gas_used: u64,
        /// Logs it would emit.
        logs: Vec<Log>,
    },
    /// It reverted.
    Revert {
        /// The encoded error.
        output: Bytes,
        /// Gas used after refunds.
        gas_used: u64,
    },
    /// It ran out of gas or did something forbidden.
    Halt {
        /// What, in words.
        reason: String,
        /// Gas used, all there was.
        gas_used: u64,
    },
}

impl CallOutcome {
    /// Gas used, whatever the end.
    pub const fn gas_used(&self) -> u64 {
        match self {
            Self::Success { gas_used, .. } | Self::Revert { gas_used, .. } | Self::Halt { gas_used, .. } => {
                *gas_used
            }
        }
    }
}

impl From<ExecutionResult> for CallOutcome {
    fn from(result: ExecutionResult) -> Self {
        let gas_used = result.tx_gas_used();
        match result {
            ExecutionResult::Success {
                output: Output::Call(output) | Output::Create(output, _),
                logs,
                ..
            } => Self::Success { output, gas_used, logs },
            ExecutionResult::Revert { output, .. } => Self::Revert { output, gas_used },
            ExecutionResult::Halt { reason, .. } => Self::Halt { reason: reason.to_string(), gas_used },
        }
    }
}

/// The answer to an estimate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Estimate {
    /// A gas limit with which the call succeeds, at most 1.6 % above the least.
    Gas(u64),
    /// It fails even with the largest gas limit.
    Failed(CallOutcome),
}

impl Executor {
    /// Runs a call on a state and forgets its changes.
    ///
    /// # Errors
    /// When the state cannot be read, or the request breaks a rule of transactions, such as offering less than the
    /// intrinsic gas.
    pub fn call<V: StateView>(
        &self,
        view: V,
        environment: BlockEnvironment,
        request: &CallRequest,
    ) -> Result<CallOutcome, ExecutionError> {
        let gas = request.gas.unwrap_or(CALL_GAS_MAX).min(CALL_GAS_MAX).min(environment.gas_limit);
        let mut machine = self.machine(view, environment, |cfg| {
            cfg.disable_nonce_check = true;
            cfg.disable_eip3607 = true;
            cfg.tx_gas_limit_cap = Some(CALL_GAS_MAX);
        });
        let chain_id = Some(machine.ctx.cfg.chain_id);
        let result = machine.transact_one(TxEnv {
            tx_type: 1,
            caller: request.from,
            gas_limit: gas,
            kind: request.to.map_or(TxKind::Create, TxKind::Call),
            value: request.value,
            data: request.data.clone(),
            chain_id,
            access_list: request.access_list.clone(),
            ..TxEnv::default()
        });
        Ok(result.map_err(execution_error)?.into())
    }

    /// Finds a gas limit with which the call succeeds, by bisection.
    ///
    /// # Errors
    /// As [`Executor::call`].
    pub fn estimate<V: StateView>(
        &self,
        view: V,
        environment: BlockEnvironment,
        request: &CallRequest,
    ) -> Result<Estimate, ExecutionError> {
        let most = request.gas.unwrap_or(u64::MAX).min(TRANSACTION_GAS_MAX).min(environment.gas_limit);
        let attempt = |gas: u64| {
            let request = CallRequest { gas: Some(gas), ..request.clone() };
            self.call(&view, environment, &request)
        };
        let first = attempt(most)?;
        let CallOutcome::Success { gas_used, .. } = first else { return Ok(Estimate::Failed(first)) };
        // Below what it used it cannot succeed; refunds and the 63/64 rule may ask for more.
        let (mut low, mut high) = (gas_used.saturating_sub(1), most);
        let guess = gas_used.saturating_add(gas_used / 64).saturating_add(2_300).min(most);
        if succeeds(attempt(guess))? {
            high = guess;
        } else {
            low = guess;
        }
        while high.saturating_sub(low) > 1 && high.saturating_sub(low) > high / 64 {
            let middle = low.midpoint(high);
            if succeeds(attempt(middle))? {
                high = middle;
            } else {
                low = middle;
            }
        }
        Ok(Estimate::Gas(high))
    }
}

/// A limit below the intrinsic gas is an invalid request to the machine, and too little gas to the search.
fn succeeds(outcome: Result<CallOutcome, ExecutionError>) -> Result<bool, ExecutionError> {
    match outcome {
        Ok(outcome) => Ok(matches!(outcome, CallOutcome::Success { .. })),
        Err(ExecutionError::Invalid(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
