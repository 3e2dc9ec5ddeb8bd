//! Calls that change nothing: `eth_call` and `eth_estimateGas`.
//!
//! Bounded by gas alone, so that the same call ends the same way on every machine.

use alloy_eips::eip2930::AccessList;
use alloy_primitives::{Address, Bytes, Log, U256};
use revm::context_interface::result::{ExecutionResult, HaltReason, Output};

use hansa_types::TRANSACTION_GAS_MAX;

use crate::{BlockEnvironment, ExecutionError, Executor, Overrides, StateView};

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
    /// The sender's nonce; matters only where a simulation checks nonces.
    pub nonce: Option<u64>,
    /// Addresses and slots declared beforehand (EIP-2930).
    pub access_list: AccessList,
    /// What it supposes in place of the state and the block.
    pub overrides: Overrides,
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
            ExecutionResult::Halt { reason, .. } => Self::Halt { reason: words(&reason), gas_used },
        }
    }
}

/// A reason in geth's words, where libraries look for them.
fn words(reason: &HaltReason) -> String {
    match reason {
        HaltReason::OpcodeNotFound | HaltReason::InvalidFEOpcode => "invalid opcode".to_owned(),
        HaltReason::OutOfFunds => "insufficient balance for transfer".to_owned(),
        HaltReason::CreateCollision => "contract address collision".to_owned(),
        HaltReason::CreateContractSizeLimit => "max code size exceeded".to_owned(),
        HaltReason::CreateContractStartingWithEF => "invalid code: must not begin with 0xef".to_owned(),
        HaltReason::CreateInitCodeSizeLimit => "max initcode size exceeded".to_owned(),
        HaltReason::StateChangeDuringStaticCall | HaltReason::CallNotAllowedInsideStatic => {
            "write protection".to_owned()
        }
        HaltReason::CallTooDeep => "max call depth exceeded".to_owned(),
        other => other.to_string(),
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
        let mut simulation = self.simulate(view, request.overrides.block.apply(environment), false);
        simulation.suppose(&request.overrides.accounts)?;
        let (result, _) = simulation.try_call(request)?;
        Ok(result.into())
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
        let block_gas = request.overrides.block.apply(environment).gas_limit;
        let most = request.gas.unwrap_or(u64::MAX).min(TRANSACTION_GAS_MAX).min(block_gas);
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
