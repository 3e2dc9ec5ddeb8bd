//! Errors of JSON-RPC methods, with the codes and phrases that Ethereum's tools look for.

use alloy_primitives::Bytes;
use alloy_sol_types::{Revert, SolError};
use hansa_contracts::explain_revert;
use hansa_ledger::{CallOutcome, LedgerError};
use hansa_pool::PoolError;
use jsonrpsee::types::{ErrorObjectOwned, error::INVALID_PARAMS_CODE};

/// geth's code for whatever the chain or the pool refuses.
const REFUSED: i32 = -32000;
/// geth's code for a call that reverted; `data` holds what it returned.
const REVERTED: i32 = 3;
/// EIP-1474: limit exceeded.
const LIMIT: i32 = -32005;
/// JSON-RPC: internal error.
const INTERNAL: i32 = -32603;

/// An error as a caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RpcError {
    code: i32,
    message: String,
    data: Option<Bytes>,
}

impl RpcError {
    fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// An error with a method's own code.
    pub(crate) fn code(code: i32, message: impl Into<String>) -> Self {
        Self::new(code, message)
    }

    /// What it says, without its code.
    pub(crate) fn into_message(self) -> String {
        self.message
    }

    pub(crate) fn params(message: impl Into<String>) -> Self {
        Self::new(INVALID_PARAMS_CODE, message)
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(REFUSED, message)
    }

    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self::new(LIMIT, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(INTERNAL, message)
    }

    pub(crate) fn busy() -> Self {
        Self::limit("the node is busy; try again in a moment")
    }

    pub(crate) fn batch_time() -> Self {
        Self::limit("the batch took too long; send the remaining requests in another one")
    }

    pub(crate) fn block_not_found() -> Self {
        // geth's phrase: ethers and viem take it as "retry or give up", not as a fault.
        Self::refused("header not found")
    }

    /// The error of a call that did not succeed.
    pub(crate) fn execution(outcome: &CallOutcome) -> Self {
        match outcome {
            CallOutcome::Success { .. } => Self::internal("a call that succeeded was reported as failed"),
            CallOutcome::Revert { output, .. } => {
                let reason = match Revert::abi_decode(output) {
                    Ok(revert) => format!(": {}", revert.reason),
                    Err(_) if output.is_empty() => String::new(),
                    Err(_) => format!(": {}", explain_revert(output)),
                };
                Self {
                    code: REVERTED,
                    message: format!("execution reverted{reason}"),
                    data: Some(output.clone()),
                }
            }
            CallOutcome::Halt { reason, .. } => Self::refused(reason.clone()),
        }
    }
}

impl From<RpcError> for ErrorObjectOwned {
    fn from(error: RpcError) -> Self {
        ErrorObjectOwned::owned(error.code, error.message, error.data)
    }
}

impl From<ErrorObjectOwned> for RpcError {
    fn from(error: ErrorObjectOwned) -> Self {
        let detail = error.data().map(|data| format!(": {}", data.get().trim_matches('"')));
        Self::new(error.code(), format!("{}{}", error.message(), detail.unwrap_or_default()))
    }
}

impl From<LedgerError> for RpcError {
    fn from(error: LedgerError) -> Self {
        match error {
            // geth's phrase, by which tools recognise that an older state is wanted than the node has.
            LedgerError::StateNotKept { requested, oldest } => Self::refused(format!(
                "missing trie node: the historical state of block {requested} is not available; the oldest is that of block {oldest}"
            )),
            LedgerError::EpochNotFinal(_) => Self::refused(error.to_string()),
            LedgerError::InvalidCall(reason) => Self::refused(reason.to_string()),
            LedgerError::UnknownBlock(_) => Self::block_not_found(),
            LedgerError::TooManyLogs(limit) => Self::limit(format!(
                "query returned more than {limit} results; narrow the block range, the addresses or the topics"
            )),
            _ => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the ledger failed a JSON-RPC call"
                );
                Self::internal(error.to_string())
            }
        }
    }
}

impl From<PoolError> for RpcError {
    fn from(error: PoolError) -> Self {
        match error.retry_ms() {
            Some(_) => Self::limit(error.to_string()),
            None => Self::refused(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::hex;

    use super::*;

    #[test]
    fn a_state_that_is_not_kept_is_said_in_geths_words() {
        let error = RpcError::from(LedgerError::StateNotKept { requested: 3, oldest: 9 });
        assert_eq!(error.code, -32000);
        assert!(error.message.starts_with("missing trie node"), "{}", error.message);
        assert!(
            error.message.contains("block 3 ") && error.message.ends_with("block 9"),
            "{}",
            error.message
        );
    }

    #[test]
    fn reverts_carry_their_reason_and_data() {
        let output = Bytes::from(hex!(
            "08c379a0000000000000000000000000000000000000000000000000000000000000002000000000000000000000000000000000000000000000000000000000000000046e6f706500000000000000000000000000000000000000000000000000000000"
        ));
        let error = RpcError::execution(&CallOutcome::Revert { output: output.clone(), gas_used: 1 });
        assert_eq!(error.code, 3);
        assert!(error.message.starts_with("execution reverted: "), "{}", error.message);
        assert!(error.message.contains("nope"), "{}", error.message);
        assert_eq!(error.data, Some(output));
    }
}
