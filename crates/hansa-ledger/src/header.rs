//! Header fields that do not depend on execution. Each has exactly one valid value, except timestamp,
//! `prevrandao`, beneficiary and extra data.

use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Header};
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_primitives::{Address, B64, B256, U256};

use hansa_evm::BlockEnvironment;

use crate::BlockFault;

/// The header of a child of `parent`, before execution. Ethereum's later fields are there, with the values that
/// they have on a chain without withdrawals, blobs, beacon chain and requests, so that every tool reads the block as one
/// of the Osaka rules.
pub(crate) fn child(
    parent: &Header,
    parent_hash: B256,
    timestamp: u64,
    prevrandao: B256,
    beneficiary: Address,
) -> Header {
    Header {
        parent_hash,
        number: parent.number.saturating_add(1),
        gas_limit: parent.gas_limit,
        timestamp,
        mix_hash: prevrandao,
        beneficiary,
        ..blank()
    }
}

/// The fields that are the same in every block.
pub(crate) fn blank() -> Header {
    Header {
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        difficulty: U256::ZERO,
        nonce: B64::ZERO,
        base_fee_per_gas: Some(0),
        withdrawals_root: Some(EMPTY_ROOT_HASH),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

/// Checks a header against its parent's, leaving aside what execution decides.
pub(crate) fn check(header: &Header, parent: &Header, parent_hash: B256) -> Result<(), BlockFault> {
    if header.timestamp < parent.timestamp {
        return Err(BlockFault::Header("timestamp"));
    }
    let expected = child(parent, parent_hash, header.timestamp, header.mix_hash, header.beneficiary);
    let wrong = if header.parent_hash != expected.parent_hash {
        "parentHash"
    } else if header.number != expected.number {
        "number"
    } else if header.gas_limit != expected.gas_limit {
        "gasLimit"
    } else if header.base_fee_per_gas != expected.base_fee_per_gas {
        "baseFeePerGas"
    } else {
        // All other fields must equal the expected header's, including absent fields of later forks.
        let rest = Header {
            state_root: header.state_root,
            transactions_root: header.transactions_root,
            receipts_root: header.receipts_root,
            logs_bloom: header.logs_bloom,
            gas_used: header.gas_used,
            extra_data: header.extra_data.clone(),
            ..expected
        };
        if *header == rest {
            return Ok(());
        }
        "set of constant fields"
    };
    Err(BlockFault::Header(wrong))
}

/// The block environment of the EVM.
pub(crate) fn environment(header: &Header) -> BlockEnvironment {
    BlockEnvironment {
        number: header.number,
        timestamp: header.timestamp,
        parent_hash: header.parent_hash,
        prevrandao: header.mix_hash,
        beneficiary: header.beneficiary,
        gas_limit: header.gas_limit,
    }
}
