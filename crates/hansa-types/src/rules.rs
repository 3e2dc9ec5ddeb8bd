//! The chain's own rules about transactions, in figures; pool and execution apply the same.

use core::num::NonZeroU32;

use alloy_consensus::Transaction;
use alloy_eips::eip7825;
use alloy_primitives::{Address, B256, address, b256};

use crate::SignedTransaction;

/// The most gas one transaction may ask for (EIP-7825).
pub const TRANSACTION_GAS_MAX: u64 = eip7825::MAX_TX_GAS_LIMIT_OSAKA;

/// The longest transaction that is accepted, EIP-2718 encoded, in bytes.
pub const TRANSACTION_BYTES_MAX: usize = 128 * 1024;

/// The longest creation code, in bytes (EIP-3860).
pub const INITCODE_BYTES_MAX: usize = 49_152;

/// The most bytes that the transactions of one block may have together: half of [`crate::MAX_BLOCK_BYTES`], so that
/// header and consensus data always fit.
pub const BODY_BYTES_MAX: usize = crate::MAX_BLOCK_BYTES / 2;

/// The most members that a consortium can have, removed ones included: votes are kept in one word of 256 bits
/// (`Suite.MEMBERS_MAX` in the contracts). All of them can be connected at a time.
pub const MEMBERS_MAX: usize = 255;

/// The most validators that an epoch can have, because each deals key shares to all others.
pub const SEATS_MAX: NonZeroU32 = match NonZeroU32::new(64) {
    Some(seats) => seats,
    None => NonZeroU32::MIN,
};

/// Hash of the one transaction that every Ethereum chain executes the same: it creates the deterministic deployment
/// proxy (`0x4e59b44847b379578588920ca78fbf26c0b4956c`), which tools deploy through with `CREATE2`. Its signature names
/// no chain and was made up, so that nobody has its sender's key: the same bytes give the same address everywhere.
pub const DEPLOYER_TRANSACTION: B256 =
    b256!("0xeddf9e61fb9d8f5111840daef55e5fde0041f5702856532cdbb5a02998033d26");

/// The account that the made-up signature of [`DEPLOYER_TRANSACTION`] recovers to. It may send although it is not
/// registered: no other transaction of it can exist.
pub const DEPLOYER_ACCOUNT: Address = address!("0x3fab184622dc19b6109349b94811493bf2a45362");

/// Whether this is the transaction that creates the deterministic deployment proxy.
pub fn is_deployer(transaction: &SignedTransaction) -> bool {
    *transaction.tx_hash() == DEPLOYER_TRANSACTION
}

/// The gas that one member's transactions may use of a block: half of it, though never less than the largest
/// transaction needs.
pub const fn member_gas_quota(block_gas: u64) -> u64 {
    let half = block_gas / 2;
    if half > TRANSACTION_GAS_MAX { half } else { TRANSACTION_GAS_MAX }
}

/// The gas a transaction must offer before anything is executed: the greater of the intrinsic gas (Yellow Paper,
/// EIP-2028, EIP-2930, EIP-3860) and the calldata floor (EIP-7623).
pub fn intrinsic_gas(transaction: &SignedTransaction) -> u64 {
    let input = transaction.input();
    let zeros = input.iter().filter(|byte| **byte == 0).count() as u64;
    let others = (input.len() as u64).saturating_sub(zeros);
    let tokens = zeros.saturating_add(others.saturating_mul(4));
    let mut gas = 21_000_u64.saturating_add(tokens.saturating_mul(4));
    if transaction.is_create() {
        let words = (input.len() as u64).div_ceil(32);
        gas = gas.saturating_add(32_000).saturating_add(words.saturating_mul(2));
    }
    if let Some(list) = transaction.access_list() {
        let slots: usize = list.iter().map(|item| item.storage_keys.len()).sum();
        gas = gas
            .saturating_add((list.len() as u64).saturating_mul(2_400))
            .saturating_add((slots as u64).saturating_mul(1_900));
    }
    gas.max(21_000_u64.saturating_add(tokens.saturating_mul(10)))
}
