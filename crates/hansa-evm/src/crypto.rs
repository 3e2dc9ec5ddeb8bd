//! The curve arithmetic behind the `ecrecover` precompile: that of the transactions' signatures, and done ahead of
//! execution where it is known what will be asked.
//!
//! The machine would bring a second copy of the same library, whose tables of a megabyte compete with the first one's for
//! the processor's cache; every record makes both recover a key. All other precompiles stay the machine's own.

use std::sync::LazyLock;

use alloy_primitives::{Address, B256};
use hansa_ecdsa::{Question, recover, recover_many};
use lru::LruCache;
use parking_lot::Mutex;
use revm::precompile::{Crypto, PrecompileHalt, install_crypto};

/// Answers kept; as many as a pool holds transactions. They take some 200 bytes each.
const AHEAD_MAX: usize = 131_072;

/// Answers that wait for their question. Of the whole process, as the machine's arithmetic is; an answer depends on nothing
/// but its question, so it does not matter who asks.
static AHEAD: LazyLock<Mutex<LruCache<Question, Option<Address>>>> =
    LazyLock::new(|| Mutex::new(LruCache::unbounded()));

/// A digest that a contract will be asked about, and the 65 bytes `r ‖ s ‖ v` over it; `None` for what no contract would
/// accept as a signature.
pub fn question(digest: B256, signature: &[u8]) -> Option<Question> {
    let Some((r_s, &[v @ (27 | 28)])) = signature.split_first_chunk::<64>() else { return None };
    Some(Question { digest, r_s: *r_s, is_odd: v == 28 })
}

/// Recovers signers before contracts ask for them, so that the block's execution, which goes on one processor, need not.
/// Beside each question stands who is likely to have signed.
pub fn recover_ahead(questions: &[(Question, Option<Address>)]) {
    let new: Vec<_> = {
        let ahead = AHEAD.lock();
        questions.iter().filter(|(question, _)| !ahead.contains(question)).copied().collect()
    };
    let answers = recover_many(&new);
    let mut ahead = AHEAD.lock();
    for ((question, _), answer) in new.into_iter().zip(answers) {
        ahead.put(question, answer);
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
        let question = Question { digest: B256::from(digest), r_s: *signature, is_odd: parity == 1 };
        // Asked once, as a rule: what has been used makes room.
        let ahead = AHEAD.lock().pop(&question);
        let answer = ahead.unwrap_or_else(|| recover(&question));
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
