//! The curve arithmetic of the `ecrecover` precompile. Transactions use the same library, and expected calls are computed before
//! execution (ADR 0005).
//!
//! revm's own copy of the library has tables of a megabyte, which would compete with the first copy's for the processor's cache:
//! each record recovers a key with both. All other precompiles are revm's.

use std::sync::LazyLock;

use alloy_primitives::{Address, B256};
use hansa_ecdsa::{SignedDigest, recover, recover_many};
use lru::LruCache;
use parking_lot::Mutex;
use revm::precompile::{Crypto, PrecompileHalt, install_crypto};

/// Recovered signers in the cache, as many as a pool holds transactions; some 200 bytes each.
const AHEAD_MAX: usize = 131_072;

/// Signers recovered before execution. A result depends on its input only, so the whole process shares them.
static AHEAD: LazyLock<Mutex<LruCache<SignedDigest, Option<Address>>>> =
    LazyLock::new(|| Mutex::new(LruCache::unbounded()));

/// A digest and the 65 bytes `r ‖ s ‖ v` over it; `None` if no contract accepts them as a signature.
pub fn question(digest: B256, signature: &[u8]) -> Option<SignedDigest> {
    let Some((r_s, &[v @ (27 | 28)])) = signature.split_first_chunk::<64>() else { return None };
    Some(SignedDigest { digest, r_s: *r_s, is_odd: v == 28 })
}

/// Recovers signers in parallel before contracts need them; a block executes on one thread. Each input may name the expected signer.
pub fn recover_ahead(inputs: &[(SignedDigest, Option<Address>)]) {
    let new: Vec<_> = {
        let ahead = AHEAD.lock();
        inputs.iter().filter(|(signed, _)| !ahead.contains(signed)).copied().collect()
    };
    let answers = recover_many(&new);
    let mut ahead = AHEAD.lock();
    for ((signed, _), answer) in new.into_iter().zip(answers) {
        ahead.put(signed, answer);
    }
    while ahead.len() > AHEAD_MAX {
        ahead.pop_lru();
    }
}

#[derive(Debug)]
struct SharedCurve;

impl Crypto for SharedCurve {
    fn secp256k1_ecrecover(
        &self,
        signature: &[u8; 64],
        parity: u8,
        digest: &[u8; 32],
    ) -> Result<[u8; 32], PrecompileHalt> {
        let signed = SignedDigest { digest: B256::from(digest), r_s: *signature, is_odd: parity == 1 };
        // A signature is usually recovered once: used entries leave the cache.
        let ahead = AHEAD.lock().pop(&signed);
        let answer = ahead.unwrap_or_else(|| recover(&signed));
        answer.map(|signer| signer.into_word().0).ok_or(PrecompileHalt::Secp256k1RecoverFailed)
    }
}

/// Makes the machine use it, in the whole process and from the first call on.
pub(crate) fn install() {
    // Refused when it is installed already.
    let _ = install_crypto(SharedCurve);
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{b256, hex};

    use super::*;

    #[test]
    fn an_answer_given_ahead_is_used_once_and_is_the_same() {
        // The vector of go-ethereum's ecRecover.json ("ValidKey"), as in the tests of the precompile.
        let digest = b256!("18c547e4f7b0f325ad1e56f57e26c745b09a3e503d86e00e5255ff7f715d3d1c");
        let r_s = hex!(
            "73b1693892219d736caba55bdb67216e485557ea6b6af75f37096c9aa6a5a75feeb940b1d03b21e36b0e47e79769f095fe2ab855bd91e3a38756b7d75a9c4549"
        );
        let question = |r_s: [u8; 64], v| question(digest, &[&r_s[..], &[v]].concat()).unwrap();
        let is_waiting = |v| AHEAD.lock().contains(&question(r_s, v));
        recover_ahead(&[(question(r_s, 28), None)]);
        assert!(is_waiting(28) && !is_waiting(27));
        let ahead = SharedCurve.secp256k1_ecrecover(&r_s, 1, &digest).unwrap();
        assert!(!is_waiting(28));
        assert_eq!(SharedCurve.secp256k1_ecrecover(&r_s, 1, &digest).unwrap(), ahead);
        assert_eq!(ahead[12..], hex!("a94f5374fce5edbc8e2a8697c15331677e6ebf0b"));
        // No point of the curve has this abscissa; that it has none is an answer too.
        recover_ahead(&[(question([0xff; 64], 27), Some(Address::ZERO))]);
        assert_eq!(AHEAD.lock().get(&question([0xff; 64], 27)), Some(&None));
        assert!(SharedCurve.secp256k1_ecrecover(&[0xff; 64], 0, &digest).is_err());
        for refused in [&r_s[..], &[], &[&r_s[..], &[1]].concat(), &[&r_s[..], &[27, 0]].concat()] {
            assert_eq!(super::question(digest, refused), None);
        }
    }
}
