//! What members sign: EIP-712 digests under the domain "Hansa", version "1".
//!
//! It computes the 32 bytes to be signed; keys and signatures are elsewhere.

use std::borrow::Cow;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{Eip712Domain, SolStruct};

use crate::abi;

/// A message that a contract of the suite accepts with a signature.
///
/// Records are signed for the owner's storage contract ([`crate::data_store_of`]), all others for [`crate::SHARING`].
pub trait Signable: SolStruct {}

impl Signable for abi::Record {}
impl Signable for abi::Grant {}
impl Signable for abi::Revocation {}
impl Signable for abi::VisibilityChange {}
impl Signable for abi::Opening {}
impl Signable for abi::KeyRelease {}
impl Signable for abi::Refusal {}

/// The digest to sign for `contract` on the chain with this id. The signature is 65 bytes `r ‖ s ‖ v`, `v` 27 or 28,
/// `s` in the lower half.
pub fn signing_hash<M: Signable>(message: &M, chain_id: u64, contract: Address) -> B256 {
    let domain = Eip712Domain::new(
        Some(Cow::Borrowed("Hansa")),
        Some(Cow::Borrowed("1")),
        Some(U256::from(chain_id)),
        Some(contract),
        None,
    );
    message.eip712_signing_hash(&domain)
}
