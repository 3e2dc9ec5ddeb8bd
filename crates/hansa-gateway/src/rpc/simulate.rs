//! `eth_simulateV1`: calls in blocks that might come next, each on what the ones before changed.
//!
//! The blocks have numbers, times and hashes like real ones; their state roots are zero, because no trie is kept for
//! them. All calls together get the gas of a single one.

use alloy_consensus::{Header, SignableTransaction, TxEip1559};
use alloy_primitives::{Signature, TxKind};
use alloy_rpc_types_eth::{
    Block as RpcBlock, BlockId, Log as RpcLog,
    simulate::{SimBlock, SimCallResult, SimulateError, SimulatePayload, SimulatedBlock},
};
use hansa_ledger::{
    BlockEnvironment, BlockOverride, CallOutcome, CallRequest, InvalidReason, LedgerError, Simulation,
    StateView,
};
use hansa_types::{Block, ConsensusData, SignedTransaction};

use super::{
    Chain,
    args::{Args, located},
    calls,
    convert::{self, Transaction},
    error::RpcError,
};

pub(crate) type Answer = Vec<SimulatedBlock<RpcBlock<Transaction>>>;

pub(crate) fn simulate(chain: &Chain, args: &mut Args<'_>) -> Result<Answer, RpcError> {
    let payload: SimulatePayload = args.required()?;
    let at: BlockId = args.block()?;
    let blocks = payload.block_state_calls;
    let (blocks_max, calls_max) = (chain.limits.simulation_blocks, chain.limits.simulation_calls);
    if blocks.is_empty() || blocks.len() > blocks_max {
        return Err(RpcError::params(format!("a simulation has 1 to {blocks_max} blocks")));
    }
    if blocks.iter().map(|block| block.calls.len()).sum::<usize>() > calls_max {
        return Err(RpcError::params(format!("a simulation has at most {calls_max} calls")));
    }
    if payload.trace_transfers {
        return Err(RpcError::params("`traceTransfers` is not supported"));
    }
    let (mut parent, mut simulation) =
        chain.ledger.simulate(located(&chain.ledger, at)?, payload.validation)?;
    let mut answer = Vec::with_capacity(blocks.len());
    for block in blocks {
        let (header, shown) = next(chain, &mut simulation, &parent, block, payload.return_full_transactions)?;
        parent = header;
        answer.push(shown);
    }
    Ok(answer)
}

/// Simulates the block after `parent`.
fn next<V: StateView>(
    chain: &Chain,
    simulation: &mut Simulation<V>,
    parent: &Header,
    block: SimBlock,
    full: bool,
) -> Result<(Header, SimulatedBlock<RpcBlock<Transaction>>), RpcError> {
    let mut header = header_after(parent, calls::block(block.block_overrides.unwrap_or_default())?)?;
    simulation.enter(BlockEnvironment {
        number: header.number,
        timestamp: header.timestamp,
        parent_hash: header.parent_hash,
        prevrandao: header.mix_hash,
        beneficiary: header.beneficiary,
        gas_limit: header.gas_limit,
    });
    let accounts = calls::accounts(block.state_overrides.unwrap_or_default(), chain.limits.call_overrides)?;
    simulation.suppose(&accounts).map_err(LedgerError::from)?;
    let (mut transactions, mut senders, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
    for request in block.calls {
        let request = calls::request(chain, request)?;
        transactions.push(transaction(chain, simulation, &request)?);
        senders.push(request.from);
        let outcome = simulation.call(&request).map_err(|error| invalid(error.into()))?;
        header.gas_used = header.gas_used.saturating_add(outcome.gas_used());
        outcomes.push(outcome);
    }
    let made = Block::new(header, transactions, ConsensusData::default());
    let calls = results(&made, outcomes);
    let inner = convert::block(&made, full.then_some(senders.as_slice()));
    Ok((made.header().clone(), SimulatedBlock { inner, calls }))
}

fn header_after(parent: &Header, given: BlockOverride) -> Result<Header, RpcError> {
    let number = given.number.unwrap_or(parent.number.saturating_add(1));
    let timestamp = given.timestamp.unwrap_or(parent.timestamp.saturating_add(1));
    if number <= parent.number {
        return Err(RpcError::code(-38020, "block numbers of a simulation ascend"));
    }
    if timestamp <= parent.timestamp {
        return Err(RpcError::code(-38021, "block timestamps of a simulation ascend"));
    }
    Ok(Header {
        parent_hash: parent.hash_slow(),
        number,
        timestamp,
        gas_limit: given.gas_limit.unwrap_or(parent.gas_limit),
        beneficiary: given.beneficiary.unwrap_or(parent.beneficiary),
        mix_hash: given.prevrandao.unwrap_or_default(),
        base_fee_per_gas: Some(0),
        ..Header::default()
    })
}

/// The call as a transaction, for its hash; nobody signed it.
fn transaction<V: StateView>(
    chain: &Chain,
    simulation: &mut Simulation<V>,
    request: &CallRequest,
) -> Result<SignedTransaction, RpcError> {
    let next = simulation.account(request.from).map_err(LedgerError::from)?.nonce;
    let unsigned = TxEip1559 {
        chain_id: chain.ledger.chain_id(),
        nonce: request.nonce.unwrap_or(next),
        gas_limit: simulation.gas_limit(request),
        to: request.to.map_or(TxKind::Create, TxKind::Call),
        value: request.value,
        input: request.data.clone(),
        access_list: request.access_list.clone(),
        ..TxEip1559::default()
    };
    Ok(unsigned.into_signed(Signature::new(Default::default(), Default::default(), false)).into())
}

/// The calls' results, with logs that name the block they are in.
fn results(block: &Block, outcomes: Vec<CallOutcome>) -> Vec<SimCallResult> {
    let mut log_index = 0_u64;
    let place = |transaction_index: usize, log_index: u64, inner| RpcLog {
        inner,
        block_hash: Some(block.hash()),
        block_number: Some(block.number()),
        block_timestamp: Some(block.header().timestamp),
        transaction_hash: block.transactions().get(transaction_index).map(|tx| *tx.tx_hash()),
        transaction_index: Some(transaction_index as u64),
        log_index: Some(log_index),
        removed: false,
    };
    let mut one = |(index, outcome): (usize, CallOutcome)| {
        let (gas_used, error) = (outcome.gas_used(), failure(&outcome));
        let (return_data, logs) = match outcome {
            CallOutcome::Success { output, logs, .. } => (output, logs),
            CallOutcome::Revert { output, .. } => (output, Vec::new()),
            CallOutcome::Halt { .. } => Default::default(),
        };
        let logs = logs.into_iter().map(|log| {
            log_index = log_index.saturating_add(1);
            place(index, log_index.saturating_sub(1), log)
        });
        SimCallResult {
            return_data,
            logs: logs.collect(),
            gas_used,
            max_used_gas: None,
            status: error.is_none(),
            error,
        }
    };
    outcomes.into_iter().enumerate().map(&mut one).collect()
}

fn failure(outcome: &CallOutcome) -> Option<SimulateError> {
    let code = match outcome {
        CallOutcome::Success { .. } => return None,
        CallOutcome::Revert { .. } => SimulateError::EXECUTION_REVERTED_CODE,
        CallOutcome::Halt { .. } => SimulateError::VM_EXECUTION_ERROR_CODE,
    };
    let data = match outcome {
        CallOutcome::Revert { output, .. } => Some(output.clone()),
        _ => None,
    };
    Some(SimulateError { code, message: RpcError::execution(outcome).into_message(), data })
}

/// A call that could not even begin, with the codes of the method's specification.
fn invalid(error: LedgerError) -> RpcError {
    let code = match &error {
        LedgerError::InvalidCall(InvalidReason::NonceTooLow { .. }) => -38010,
        LedgerError::InvalidCall(InvalidReason::NonceTooHigh { .. }) => -38011,
        LedgerError::InvalidCall(InvalidReason::IntrinsicGas { .. }) => -38013,
        LedgerError::InvalidCall(InvalidReason::InsufficientBalance { .. }) => -38014,
        _ => return error.into(),
    };
    RpcError::code(code, RpcError::from(error).into_message())
}
