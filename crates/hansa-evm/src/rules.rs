//! Addresses and code that the protocol itself relies on.

use alloy_eips::eip2935;
use alloy_primitives::{Address, Bytes, address};

/// Who makes the system call at the start of a block, and initialises predeployed contracts (EIP-2935).
pub const SYSTEM_ADDRESS: Address = address!("0xfffffffffffffffffffffffffffffffffffffffe");

/// The contract that keeps the last 8,191 block hashes (EIP-2935), part of the genesis state.
pub const HISTORY_STORAGE_ADDRESS: Address = eip2935::HISTORY_STORAGE_ADDRESS;

/// Its code.
pub fn history_storage_code() -> Bytes {
    eip2935::HISTORY_STORAGE_CODE.clone()
}
