//! Accounts and proofs on finalised state.

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256, Bytes, U64, U256};
use alloy_rpc_types_eth::{EIP1186AccountProofResponse, EIP1186StorageProof, SyncInfo, SyncStatus};
use hansa_ledger::BlockRef;

use super::{
    Chain,
    args::{Args, located},
    error::RpcError,
};

pub(crate) fn syncing(chain: &Chain, _: &mut Args<'_>) -> Result<SyncStatus, RpcError> {
    Ok(match chain.network.catching_up_to() {
        None => SyncStatus::None,
        Some(highest) => SyncStatus::Info(Box::new(SyncInfo {
            current_block: U256::from(chain.ledger.head().number()),
            highest_block: U256::from(highest),
            ..Default::default()
        })),
    })
}

fn block(chain: &Chain, args: &mut Args<'_>) -> Result<BlockRef, RpcError> {
    located(&chain.ledger, args.block()?)
}

pub(crate) fn balance(chain: &Chain, args: &mut Args<'_>) -> Result<U256, RpcError> {
    let address: Address = args.required()?;
    Ok(chain.ledger.account(block(chain, args)?, address)?.balance)
}

pub(crate) fn nonce(chain: &Chain, args: &mut Args<'_>) -> Result<U64, RpcError> {
    let address: Address = args.required()?;
    let id = args.block()?;
    let nonce = chain.ledger.account(located(&chain.ledger, id)?, address)?.nonce;
    let pending = match id {
        BlockId::Number(BlockNumberOrTag::Pending) => chain.pool.next_nonce(address),
        _ => None,
    };
    Ok(U64::from(pending.unwrap_or_default().max(nonce)))
}

pub(crate) fn code(chain: &Chain, args: &mut Args<'_>) -> Result<Bytes, RpcError> {
    let address: Address = args.required()?;
    Ok(chain.ledger.code(block(chain, args)?, address)?)
}

pub(crate) fn storage(chain: &Chain, args: &mut Args<'_>) -> Result<B256, RpcError> {
    let address: Address = args.required()?;
    let slot = slot(&args.required::<String>()?)?.0;
    Ok(chain.ledger.storage(block(chain, args)?, address, slot)?)
}

/// Reads a storage key: 32 bytes, or a shorter quantity. The flag says that it was a quantity.
fn slot(text: &str) -> Result<(B256, bool), RpcError> {
    let digits = text.strip_prefix("0x").unwrap_or_default();
    if digits.is_empty() || digits.len() > 64 {
        return Err(RpcError::params(format!("{text:?} is no storage key: 0x and 1 to 64 hex digits")));
    }
    let value = U256::from_str_radix(digits, 16)
        .map_err(|_| RpcError::params(format!("{text:?} is no storage key: 0x and 1 to 64 hex digits")))?;
    Ok((value.into(), digits.len() < 64))
}

pub(crate) fn proof(chain: &Chain, args: &mut Args<'_>) -> Result<EIP1186AccountProofResponse, RpcError> {
    let address: Address = args.required()?;
    let keys: Vec<String> = args.required()?;
    let most = chain.limits.proof_slots;
    if keys.len() > most {
        return Err(RpcError::params(format!("at most {most} storage keys are proven at once")));
    }
    let keys = keys.iter().map(|key| slot(key)).collect::<Result<Vec<_>, _>>()?;
    let slots: Vec<B256> = keys.iter().map(|key| key.0).collect();
    let proof = chain.ledger.proof(block(chain, args)?, address, &slots)?;
    let storage_proof = proof
        .storage_proofs
        .into_iter()
        .zip(keys)
        .map(|(proof, (slot, quantity))| EIP1186StorageProof {
            // Answered in the form in which it was asked.
            key: if quantity { U256::from_be_bytes(slot.0).into() } else { slot.into() },
            value: proof.value,
            proof: proof.proof,
        })
        .collect();
    Ok(EIP1186AccountProofResponse {
        address,
        balance: proof.account.balance,
        code_hash: proof.account.code_hash,
        nonce: proof.account.nonce,
        storage_hash: proof.storage_root,
        account_proof: proof.account_proof,
        storage_proof,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_keys_are_read_in_both_forms() {
        assert_eq!(slot("0x1").unwrap(), (B256::with_last_byte(1), true));
        let full = B256::repeat_byte(7);
        assert_eq!(slot(&full.to_string()).unwrap(), (full, false));
        for bad in ["", "1", "0x", "0xg", &format!("0x{}", "0".repeat(65))] {
            assert!(slot(bad).is_err(), "{bad}");
        }
    }
}
