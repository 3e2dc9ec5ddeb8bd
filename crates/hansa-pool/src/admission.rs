//! The checks that need neither the state nor the other transactions.

use alloy_consensus::{Transaction, TxType};
use alloy_eips::eip2718::Encodable2718;

use hansa_types::{
    INITCODE_BYTES_MAX, SignedTransaction, TRANSACTION_BYTES_MAX, TRANSACTION_GAS_MAX, intrinsic_gas,
    is_deployer,
};

use crate::{PoolError, PoolRules};

/// Checks a transaction on its own, cheapest checks first; returns its encoded length.
pub(crate) fn check(transaction: &SignedTransaction, rules: &PoolRules) -> Result<usize, PoolError> {
    match transaction.tx_type() {
        TxType::Eip4844 => return Err(PoolError::BlobTransaction),
        TxType::Eip7702 => return Err(PoolError::Delegation),
        _ => {}
    }
    match transaction.chain_id() {
        Some(id) if id == rules.chain_id => {}
        Some(id) => return Err(PoolError::WrongChain { transaction: id, chain: rules.chain_id }),
        None if is_deployer(transaction) => {}
        None => return Err(PoolError::Unprotected),
    }
    let bytes = transaction.encode_2718_len();
    if bytes > TRANSACTION_BYTES_MAX {
        return Err(PoolError::TooLarge { bytes, limit: TRANSACTION_BYTES_MAX });
    }
    check_gas(transaction, rules)?;
    let input = transaction.input().len();
    if transaction.is_create() && input > INITCODE_BYTES_MAX {
        return Err(PoolError::InitCode { bytes: input, limit: INITCODE_BYTES_MAX });
    }
    if transaction.max_priority_fee_per_gas().is_some_and(|tip| tip > transaction.max_fee_per_gas()) {
        return Err(PoolError::FeeCap);
    }
    Ok(bytes)
}

fn check_gas(transaction: &SignedTransaction, rules: &PoolRules) -> Result<(), PoolError> {
    let (gas_limit, limit) = (transaction.gas_limit(), rules.block_gas.min(TRANSACTION_GAS_MAX));
    if gas_limit > limit {
        return Err(PoolError::GasLimitTooHigh { gas_limit, limit });
    }
    let needed = intrinsic_gas(transaction);
    if gas_limit < needed {
        return Err(PoolError::IntrinsicGas { gas_limit, needed });
    }
    Ok(())
}
