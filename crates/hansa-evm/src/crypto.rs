//! The curve arithmetic behind the `ecrecover` precompile: that of the transactions' signatures, and done ahead of
//! execution where it is known what will be asked.
//!
//! The machine would bring a second copy of the same library, whose tables of a megabyte compete with the first one's for
//! the processor's cache; every record makes both recover a key. All other precompiles stay the machine's own.

use std::sync::LazyLock;

use alloy_consensus::crypto::secp256k1::recover_signer_unchecked;
use alloy_primitives::{B256, Signature};
use lru::LruCache;
use parking_lot::Mutex;
use revm::precompile::{Crypto, PrecompileHalt, install_crypto};

/// Answers kept; as many as a pool holds transactions. They take some 200 bytes each.
const AHEAD_MAX: usize = 131_072;

/// What is recovered from: digest, `r ‖ s`, parity.
type Question = (B256, [u8; 64], u8);
/// The address in a word, `None` where there is none.
type Answer = Option<B256>;

/// Answers that wait for their question. Of the whole process, as the machine's arithmetic is; an answer depends on nothing
/// but its question, so it does not matter who asks.
static AHEAD: LazyLock<Mutex<LruCache<Question, Answer>>> =
    LazyLock::new(|| Mutex::new(LruCache::unbounded()));

/// Recovers the signer of a digest before a contract asks for it, so that the block's execution, which goes on one processor,
/// need not. A signature that no contract would accept is left alone. Costs as much as it saves.
pub fn recover_ahead(digest: B256, signature: &[u8]) {
    let Some((r_s, &[v @ (27 | 28)])) = signature.split_first_chunk::<64>() else { return };
    let question = (digest, *r_s, v.saturating_sub(27));
    if AHEAD.lock().contains(&question) {
        return;
    }
    let answer = recover(&question);
    let mut ahead = AHEAD.lock();
    ahead.put(question, answer);
    if ahead.len() > AHEAD_MAX {
        ahead.pop_lru();
    }
}

fn recover((digest, r_s, parity): &Question) -> Answer {
    let signature = Signature::from_bytes_and_parity(r_s, *parity == 1);
    recover_signer_unchecked(&signature, *digest).ok().map(|address| address.into_word())
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
        let question = (B256::from(digest), *signature, parity);
        // Asked once, as a rule: what has been used makes room.
        let ahead = AHEAD.lock().pop(&question);
        let answer = ahead.unwrap_or_else(|| recover(&question));
        answer.map(Into::into).ok_or(PrecompileHalt::Secp256k1RecoverFailed)
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
        let is_waiting = |parity| AHEAD.lock().contains(&(digest, r_s, parity));
        recover_ahead(digest, &[&r_s[..], &[28]].concat());
        assert!(is_waiting(1));
        let ahead = SharedCurve.secp256k1_ecrecover(&r_s, 1, &digest).unwrap();
        assert!(!is_waiting(1));
        assert_eq!(SharedCurve.secp256k1_ecrecover(&r_s, 1, &digest).unwrap(), ahead);
        assert_eq!(ahead[12..], hex!("a94f5374fce5edbc8e2a8697c15331677e6ebf0b"));
        for refused in [&r_s[..], &[], &[&r_s[..], &[1]].concat(), &[&r_s[..], &[27, 0]].concat()] {
            recover_ahead(digest, refused);
            assert!(!is_waiting(0) && !is_waiting(1));
        }
        // No point of the curve has this abscissa; that it has none is an answer too.
        recover_ahead(digest, &[&[0xff; 64][..], &[27]].concat());
        assert_eq!(AHEAD.lock().get(&(digest, [0xff; 64], 0)), Some(&None));
        assert!(SharedCurve.secp256k1_ecrecover(&[0xff; 64], 0, &digest).is_err());
    }
}
