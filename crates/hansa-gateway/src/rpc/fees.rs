//! Fees: there are none, and the answers say so in the shape that wallets expect.

use alloy_eips::BlockNumberOrTag;
use alloy_primitives::U64;
use alloy_rpc_types_eth::FeeHistory;

use super::{
    Chain,
    args::{Args, height},
    error::RpcError,
};

pub(crate) fn history(chain: &Chain, args: &mut Args<'_>) -> Result<FeeHistory, RpcError> {
    let (count, newest): (U64, BlockNumberOrTag) = (args.required()?, args.required()?);
    let percentiles: Vec<f64> = args.optional()?.unwrap_or_default();
    let most = chain.limits.fee_percentiles;
    if percentiles.len() > most {
        return Err(RpcError::params(format!("at most {most} reward percentiles are answered")));
    }
    if percentiles.iter().any(|p| !(0.0..=100.0).contains(p)) || percentiles.windows(2).any(|p| p[0] > p[1]) {
        return Err(RpcError::params("reward percentiles are ascending numbers from 0 to 100"));
    }
    let newest = height(&chain.ledger, newest);
    if newest > chain.ledger.head().number() {
        return Err(RpcError::block_not_found());
    }
    let count = count.saturating_to::<u64>().min(chain.limits.fee_blocks).min(newest.saturating_add(1));
    let oldest = newest.saturating_add(1).saturating_sub(count);
    let mut ratios = Vec::with_capacity(count as usize);
    for number in oldest..oldest.saturating_add(count) {
        let block = chain.ledger.block(number)?.ok_or_else(RpcError::block_not_found)?;
        ratios.push(block.header().gas_used as f64 / block.header().gas_limit.max(1) as f64);
    }
    let blocks = ratios.len();
    Ok(FeeHistory {
        base_fee_per_gas: vec![0; blocks + 1],
        gas_used_ratio: ratios,
        base_fee_per_blob_gas: vec![1; blocks + 1],
        blob_gas_used_ratio: vec![0.0; blocks],
        oldest_block: oldest,
        reward: (!percentiles.is_empty()).then(|| vec![vec![0; percentiles.len()]; blocks]),
    })
}
