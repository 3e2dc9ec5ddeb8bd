//! Proofs against the roots of a proven header: accounts and storage (EIP-1186), transactions and receipts.
//!
//! A proof is the list of the trie's nodes from the root to the value, or to where the value would be. Each node is named by its hash in
//! the one before, so nothing but the root has to be trusted.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_trie::{Nibbles, proof::verify_proof};

use crate::ProofError;

pub use alloy_trie::TrieAccount as Account;

fn check(
    root: B256,
    key: &[u8],
    value: Option<Vec<u8>>,
    nodes: &[Bytes],
    named: &'static str,
) -> Result<(), ProofError> {
    verify_proof(root, Nibbles::unpack(key), value, nodes).map_err(|_| ProofError::Trie(named))
}

/// Checks that the state holds `account` at `address`, or nothing where `None`. `nodes` is `accountProof` of `eth_getProof`.
///
/// # Errors
/// When the nodes prove another account, or nothing.
pub fn account(
    state_root: B256,
    address: Address,
    account: Option<&Account>,
    nodes: &[Bytes],
) -> Result<(), ProofError> {
    let value = account.map(alloy_rlp::encode);
    check(state_root, keccak256(address).as_slice(), value, nodes, "account")
}

/// Checks that an account's storage holds `value` in `slot`; zero is the absence of a value. `nodes` is `proof` of a slot in the answer of
/// `eth_getProof`, `storage_root` that of the proven [`account`].
///
/// # Errors
/// When the nodes prove another value, or nothing.
pub fn storage(storage_root: B256, slot: B256, value: U256, nodes: &[Bytes]) -> Result<(), ProofError> {
    let value = (!value.is_zero()).then(|| alloy_rlp::encode(value));
    check(storage_root, keccak256(slot).as_slice(), value, nodes, "storage value")
}

/// Checks that a block's transaction at `index` is `envelope` (EIP-2718).
///
/// # Errors
/// When the nodes prove another transaction, or nothing.
pub fn transaction(
    transactions_root: B256,
    index: u64,
    envelope: &[u8],
    nodes: &[Bytes],
) -> Result<(), ProofError> {
    check(transactions_root, &alloy_rlp::encode(index), Some(envelope.to_vec()), nodes, "transaction")
}

/// Checks that the receipt of a block's transaction at `index` is `envelope` (EIP-2718 receipt with its bloom filter).
///
/// # Errors
/// When the nodes prove another receipt, or nothing.
pub fn receipt(receipts_root: B256, index: u64, envelope: &[u8], nodes: &[Bytes]) -> Result<(), ProofError> {
    check(receipts_root, &alloy_rlp::encode(index), Some(envelope.to_vec()), nodes, "receipt")
}
