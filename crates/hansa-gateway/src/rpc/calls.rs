//! Calls that are tried on finalised state: `eth_call`, `eth_estimateGas`, `eth_createAccessList`.

use alloy_primitives::{Bytes, TxKind, U64, U256};
use alloy_rpc_types_eth::{
    AccessListResult, BlockOverrides, TransactionRequest,
    state::{AccountOverride as RpcAccount, StateOverride},
};
use hansa_ledger::{AccountOverride, BlockOverride, BlockRef, CallOutcome, CallRequest, Estimate, Overrides};

use super::{
    Chain,
    args::{Args, located},
    error::RpcError,
};

/// Reads the call, the block and what is supposed, in geth's order.
fn parse(chain: &Chain, args: &mut Args<'_>) -> Result<(BlockRef, CallRequest), RpcError> {
    let request = request(chain, args.required()?)?;
    let at = located(&chain.ledger, args.block()?)?;
    let accounts = accounts(args.optional()?.unwrap_or_default(), chain.limits.call_overrides)?;
    let block = block(args.optional()?.unwrap_or_default())?;
    Ok((at, CallRequest { overrides: Overrides { accounts, block }, ..request }))
}

/// A call as the ledger tries it. Prices are ignored, because nobody pays.
pub(crate) fn request(chain: &Chain, request: TransactionRequest) -> Result<CallRequest, RpcError> {
    let here = chain.ledger.chain_id();
    if request.chain_id.is_some_and(|id| id != here) {
        return Err(RpcError::refused(format!("the call is for another chain; this is {here}")));
    }
    let data = request
        .input
        .try_into_unique_input()
        .map_err(|_| RpcError::params("`input` and `data` are both given and differ"))?;
    Ok(CallRequest {
        from: request.from.unwrap_or_default(),
        to: request.to.and_then(|kind| match kind {
            TxKind::Call(to) => Some(to),
            TxKind::Create => None,
        }),
        gas: request.gas,
        value: request.value.unwrap_or_default(),
        data: data.unwrap_or_default(),
        nonce: request.nonce,
        access_list: request.access_list.unwrap_or_default(),
        overrides: Overrides::default(),
    })
}

/// What is supposed of accounts, of `most` at most and of as many slots of each.
pub(crate) fn accounts(
    given: StateOverride,
    most: usize,
) -> Result<Vec<(alloy_primitives::Address, AccountOverride)>, RpcError> {
    if given.len() > most {
        return Err(RpcError::params(format!("at most {most} accounts are overridden at once")));
    }
    given.into_iter().map(|(address, account)| Ok((address, account_override(account, most)?))).collect()
}

fn account_override(account: RpcAccount, most: usize) -> Result<AccountOverride, RpcError> {
    if account.move_precompile_to.is_some() {
        return Err(RpcError::params("precompiled contracts cannot be moved"));
    }
    if account.state.is_some() && account.state_diff.is_some() {
        return Err(RpcError::params("an account has both `state` and `stateDiff`"));
    }
    let replaces_storage = account.state.is_some();
    let slots = account.state.or(account.state_diff).unwrap_or_default();
    if slots.len() > most {
        return Err(RpcError::params(format!("at most {most} slots of an account are overridden")));
    }
    Ok(AccountOverride {
        balance: account.balance,
        nonce: account.nonce,
        code: account.code,
        slots: slots.into_iter().map(|(slot, value)| (U256::from_be_bytes(slot.0), value.into())).collect(),
        replaces_storage,
    })
}

/// What is supposed of the block.
pub(crate) fn block(given: BlockOverrides) -> Result<BlockOverride, RpcError> {
    let is_given = |value: Option<U256>| value.is_some_and(|value| !value.is_zero());
    if is_given(given.base_fee) || is_given(given.difficulty) {
        return Err(RpcError::params("base fee and difficulty are 0 on this chain and cannot be overridden"));
    }
    if given.block_hash.is_some_and(|hashes| !hashes.is_empty()) || given.blob_base_fee.is_some() {
        return Err(RpcError::params("block hashes and the blob base fee cannot be overridden"));
    }
    let number = given.number.map(u64::try_from).transpose();
    Ok(BlockOverride {
        number: number.map_err(|_| RpcError::params("a block number has at most 64 bits"))?,
        timestamp: given.time,
        gas_limit: given.gas_limit,
        beneficiary: given.coinbase,
        prevrandao: given.random,
    })
}

pub(crate) fn call(chain: &Chain, args: &mut Args<'_>) -> Result<Bytes, RpcError> {
    let (at, request) = parse(chain, args)?;
    match chain.ledger.call(at, request)? {
        CallOutcome::Success { output, .. } => Ok(output),
        failed => Err(RpcError::execution(&failed)),
    }
}

pub(crate) fn estimate(chain: &Chain, args: &mut Args<'_>) -> Result<U64, RpcError> {
    let (at, request) = parse(chain, args)?;
    match chain.ledger.estimate(at, request)? {
        Estimate::Gas(gas) => Ok(U64::from(gas)),
        Estimate::Failed(outcome) => Err(RpcError::execution(&outcome)),
    }
}

pub(crate) fn access_list(chain: &Chain, args: &mut Args<'_>) -> Result<AccessListResult, RpcError> {
    let (at, request) = parse(chain, args)?;
    let accessed = chain.ledger.access_list(at, request)?;
    let error = match &accessed.outcome {
        CallOutcome::Success { .. } => None,
        failed => Some(RpcError::execution(failed).into_message()),
    };
    let gas_used = U256::from(accessed.outcome.gas_used());
    Ok(AccessListResult { access_list: accessed.list, gas_used, error })
}
