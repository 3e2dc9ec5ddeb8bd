//! The curve arithmetic behind the `ecrecover` precompile: that of the transactions' signatures.
//!
//! The machine would bring a second copy of the same library, whose tables of a megabyte compete with the first one's for
//! the processor's cache; every record makes both recover a key. All other precompiles stay the machine's own.

use alloy_consensus::crypto::secp256k1::recover_signer_unchecked;
use alloy_primitives::{B256, Signature};
use revm::precompile::{Crypto, PrecompileHalt, install_crypto};

#[derive(Debug)]
struct SharedCurve;

impl Crypto for SharedCurve {
    fn secp256k1_ecrecover(
        &self,
        signature: &[u8; 64],
        parity: u8,
        message: &[u8; 32],
    ) -> Result<[u8; 32], PrecompileHalt> {
        let signature = Signature::from_bytes_and_parity(signature, parity == 1);
        recover_signer_unchecked(&signature, B256::from(message))
            .map(|address| address.into_word().0)
            .map_err(|_| PrecompileHalt::Secp256k1RecoverFailed)
    }
}

/// Makes the machine use it, in the whole process and from the first call on.
pub(crate) fn install() {
    // Refused when it is installed already.
    let _ = install_crypto(SharedCurve);
}
