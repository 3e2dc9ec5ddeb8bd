//! Reads positional parameters, with errors that name the one at fault.

use alloy_eips::{BlockId, BlockNumberOrTag};
use hansa_ledger::{BlockRef, Ledger};
use jsonrpsee::types::{Params, params::ParamsSequence};
use serde::de::DeserializeOwned;

use super::error::RpcError;

/// The parameters of one call, read from first to last.
pub(crate) struct Args<'a> {
    rest: ParamsSequence<'a>,
    index: usize,
}

impl<'a> Args<'a> {
    /// # Errors
    /// When the parameters are an object: Ethereum's are an array.
    pub(crate) fn new(params: &'a Params<'_>) -> Result<Self, RpcError> {
        if params.is_object() {
            return Err(RpcError::params("parameters are given as an array"));
        }
        Ok(Self { rest: params.sequence(), index: 0 })
    }

    /// A parameter that must be there.
    pub(crate) fn required<T: DeserializeOwned>(&mut self) -> Result<T, RpcError> {
        self.optional()?.ok_or_else(|| {
            RpcError::params(format!("missing value for required argument {}", self.index - 1))
        })
    }

    /// A parameter that may be missing or null.
    pub(crate) fn optional<T: DeserializeOwned>(&mut self) -> Result<Option<T>, RpcError> {
        let index = self.index;
        self.index += 1;
        self.rest.optional_next::<T>().map_err(|error| {
            let detail = error.data().map(|data| data.get().trim_matches('"').to_owned());
            RpcError::params(format!(
                "invalid argument {index}: {}",
                detail.unwrap_or_else(|| error.message().to_owned())
            ))
        })
    }

    /// A block; the last finalised one when missing.
    pub(crate) fn block(&mut self) -> Result<BlockId, RpcError> {
        Ok(self.optional()?.unwrap_or_default())
    }
}

/// The height a tag or number names, which may lie above the head.
pub(crate) fn height(ledger: &Ledger, tag: BlockNumberOrTag) -> u64 {
    match tag {
        BlockNumberOrTag::Number(number) => number,
        BlockNumberOrTag::Earliest => 0,
        BlockNumberOrTag::Latest
        | BlockNumberOrTag::Finalized
        | BlockNumberOrTag::Safe
        | BlockNumberOrTag::Pending => ledger.head().number(),
    }
}

/// The finalised block a parameter names.
///
/// # Errors
/// When there is none.
pub(crate) fn located(ledger: &Ledger, id: BlockId) -> Result<BlockRef, RpcError> {
    let number = match id {
        BlockId::Hash(hash) => {
            ledger.number_of(hash.block_hash)?.ok_or_else(RpcError::block_not_found)?;
            return Ok(BlockRef::Hash(hash.block_hash));
        }
        BlockId::Number(BlockNumberOrTag::Number(number)) => number,
        BlockId::Number(BlockNumberOrTag::Earliest) => 0,
        BlockId::Number(_) => return Ok(BlockRef::Head),
    };
    match number.cmp(&ledger.head().number()) {
        // The head keeps its name only as long as it is the head, so it is asked for by number.
        core::cmp::Ordering::Greater => Err(RpcError::block_not_found()),
        _ => Ok(BlockRef::Number(number)),
    }
}
