//! Signatures inside calls: the `ecrecover` precompile and the signers recovered for it before execution (ADR 0005).
//!
//! revm's own precompile reads a process-wide hook for its curve arithmetic and has a copy of the library with tables of a megabyte, which
//! would compete with the first copy's for the processor's cache. The machine therefore has its own provider of precompiles, which
//! answers `ecrecover` from the values of its executor. All other precompiles are revm's.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, address, map::AddressSet};
use hansa_ecdsa::{SignedDigest, Signers};
use lru::LruCache;
use parking_lot::Mutex;
use revm::{
    context::Cfg,
    context_interface::ContextTr,
    handler::{EthPrecompiles, PrecompileProvider, precompile_output_to_interpreter_result},
    interpreter::{CallInputs, InterpreterResult},
    precompile::{EthPrecompileOutput, PrecompileHalt, PrecompileOutput},
    primitives::hardfork::SpecId,
};

/// The address of the `ecrecover` precompile.
const ECRECOVER: Address = address!("0x0000000000000000000000000000000000000001");
/// Gas of the `ecrecover` precompile (yellow paper, appendix E).
const ECRECOVER_GAS: u64 = 3_000;

/// Signers known to one node, and those recovered before execution. A result depends on its input only. Clones share both.
#[derive(Clone)]
pub struct Signatures {
    signers: Signers,
    ahead_max: usize,
    ahead: Arc<Mutex<LruCache<SignedDigest, Option<Address>>>>,
}

impl Signatures {
    /// With the signers that the pool learns from, and room for so many results; some 200 bytes each.
    pub fn new(signers: Signers, ahead_max: usize) -> Self {
        Self { signers, ahead_max, ahead: Arc::new(Mutex::new(LruCache::unbounded())) }
    }

    /// Recovers signers in parallel before contracts need them; a block executes on one thread. Each input may name the expected
    /// signer.
    pub fn recover_ahead(&self, inputs: &[(SignedDigest, Option<Address>)]) {
        let new: Vec<_> = {
            let ahead = self.ahead.lock();
            inputs.iter().filter(|(signed, _)| !ahead.contains(signed)).copied().collect()
        };
        let answers = self.signers.recover_many(&new);
        let mut ahead = self.ahead.lock();
        for ((signed, _), answer) in new.into_iter().zip(answers) {
            ahead.put(signed, answer);
        }
        while ahead.len() > self.ahead_max {
            ahead.pop_lru();
        }
    }

    fn recover(&self, signed: &SignedDigest) -> Option<Address> {
        // A signature is usually recovered once: used entries leave the cache.
        let ahead = self.ahead.lock().pop(signed);
        ahead.unwrap_or_else(|| self.signers.recover(signed))
    }

    /// The output of the `ecrecover` precompile: the signer as a word, or nothing.
    fn ecrecover(&self, input: &[u8]) -> Bytes {
        let signer = precompile_question(input).and_then(|signed| self.recover(&signed));
        signer.map(|signer| Bytes::from(signer.into_word().0)).unwrap_or_default()
    }
}

/// A digest and the 65 bytes `r ‖ s ‖ v` over it; `None` if no contract accepts them as a signature.
pub fn question(digest: B256, signature: &[u8]) -> Option<SignedDigest> {
    let Some((r_s, &[v @ (27 | 28)])) = signature.split_first_chunk::<64>() else { return None };
    Some(SignedDigest { digest, r_s: *r_s, is_odd: v == 28 })
}

/// The input of the precompile: digest, `v` as a word, `r`, `s`; zeros follow a shorter one, and the rest of a longer one is ignored.
fn precompile_question(input: &[u8]) -> Option<SignedDigest> {
    let mut padded = [0; 128];
    padded.iter_mut().zip(input).for_each(|(byte, given)| *byte = *given);
    let (digest, rest) = padded.split_first_chunk::<32>()?;
    let (v, rest) = rest.split_first_chunk::<32>()?;
    let (&v, zeros) = v.split_last()?;
    if zeros.iter().any(|byte| *byte != 0) || !matches!(v, 27 | 28) {
        return None;
    }
    Some(SignedDigest { digest: B256::from(digest), r_s: *rest.first_chunk()?, is_odd: v == 28 })
}

/// Ethereum's precompiles, with one executor's signatures.
pub(crate) struct Precompiles {
    ethereum: EthPrecompiles,
    signatures: Signatures,
}

impl Precompiles {
    pub(crate) fn new(spec: SpecId, signatures: Signatures) -> Self {
        Self { ethereum: EthPrecompiles::new(spec), signatures }
    }

    /// Their addresses, which are warm in every transaction.
    pub(crate) fn addresses(&self) -> &AddressSet {
        self.ethereum.warm_addresses()
    }
}

impl<C: ContextTr<Cfg: Cfg<Spec = SpecId>>> PrecompileProvider<C> for Precompiles {
    type Output = InterpreterResult;

    fn set_spec(&mut self, spec: SpecId) -> bool {
        <EthPrecompiles as PrecompileProvider<C>>::set_spec(&mut self.ethereum, spec)
    }

    fn run(&mut self, context: &mut C, inputs: &CallInputs) -> Result<Option<InterpreterResult>, String> {
        if inputs.bytecode_address != ECRECOVER {
            return self.ethereum.run(context, inputs);
        }
        let answer = if inputs.gas_limit < ECRECOVER_GAS {
            Err(PrecompileHalt::OutOfGas)
        } else {
            let output = self.signatures.ecrecover(&inputs.input.as_bytes(context));
            Ok(EthPrecompileOutput::new(ECRECOVER_GAS, output))
        };
        let output = PrecompileOutput::from_eth_result(answer, inputs.reservoir);
        Ok(Some(precompile_output_to_interpreter_result(output, inputs.gas_limit)))
    }

    fn warm_addresses(&self) -> &AddressSet {
        self.addresses()
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{b256, hex};
    use proptest::prelude::*;

    use super::*;

    // The vector of go-ethereum's ecRecover.json ("ValidKey"), as in the tests of the precompile.
    const DIGEST: B256 = b256!("18c547e4f7b0f325ad1e56f57e26c745b09a3e503d86e00e5255ff7f715d3d1c");
    const R_S: [u8; 64] = hex!(
        "73b1693892219d736caba55bdb67216e485557ea6b6af75f37096c9aa6a5a75feeb940b1d03b21e36b0e47e79769f095fe2ab855bd91e3a38756b7d75a9c4549"
    );

    fn input(v: u8, r_s: &[u8]) -> Vec<u8> {
        [DIGEST.as_slice(), &[0; 31], &[v], r_s].concat()
    }

    #[test]
    fn an_answer_given_ahead_is_used_once_and_is_the_same() {
        let signatures = Signatures::new(Signers::default(), 16);
        let question = |r_s: [u8; 64], v| question(DIGEST, &[&r_s[..], &[v]].concat()).unwrap();
        let is_waiting = |v| signatures.ahead.lock().contains(&question(R_S, v));
        signatures.recover_ahead(&[(question(R_S, 28), None)]);
        assert!(is_waiting(28) && !is_waiting(27));
        let ahead = signatures.ecrecover(&input(28, &R_S));
        assert!(!is_waiting(28));
        assert_eq!(signatures.ecrecover(&input(28, &R_S)), ahead);
        assert_eq!(ahead[12..], hex!("a94f5374fce5edbc8e2a8697c15331677e6ebf0b"));
        // No point of the curve has this abscissa; that it has none is an answer too.
        signatures.recover_ahead(&[(question([0xff; 64], 27), Some(Address::ZERO))]);
        assert_eq!(signatures.ahead.lock().get(&question([0xff; 64], 27)), Some(&None));
        assert!(signatures.ecrecover(&input(27, &[0xff; 64])).is_empty());
        for refused in [&R_S[..], &[], &[&R_S[..], &[1]].concat(), &[&R_S[..], &[27, 0]].concat()] {
            assert_eq!(super::question(DIGEST, refused), None);
        }
    }

    #[test]
    fn two_executors_share_nothing() {
        let [one, other] = [(); 2].map(|()| Signatures::new(Signers::default(), 16));
        one.recover_ahead(&[(question(DIGEST, &[&R_S[..], &[28]].concat()).unwrap(), None)]);
        assert_eq!((one.ahead.lock().len(), other.ahead.lock().len()), (1, 0));
    }

    /// revm's own precompile, with revm's own library.
    fn revms(input: &[u8]) -> Bytes {
        revm::precompile::secp256k1::ec_recover_run(input, ECRECOVER_GAS).unwrap().bytes
    }

    #[test]
    fn odd_inputs_are_answered_as_by_revm() {
        let signatures = Signatures::new(Signers::default(), 16);
        let whole = input(28, &R_S);
        let mut high = whole.clone();
        high[40] = 1;
        let longer = [&whole[..], &[9; 40]].concat();
        for input in [&whole, &high, &longer, &input(27, &R_S), &input(0, &R_S), &input(29, &R_S)] {
            assert_eq!(signatures.ecrecover(input), revms(input));
        }
        for end in 0..whole.len() {
            assert_eq!(signatures.ecrecover(&whole[..end]), revms(&whole[..end]), "{end}");
        }
    }

    proptest! {
        #[test]
        fn any_input_is_answered_as_by_revm(
            mut input in proptest::collection::vec(any::<u8>(), 0..160), v in 26_u8..30, is_word in any::<bool>(),
        ) {
            if let (true, Some(word)) = (is_word, input.get_mut(32..64)) {
                word.fill(0);
                word[31] = v;
            }
            prop_assert_eq!(Signatures::new(Signers::default(), 16).ecrecover(&input), revms(&input));
        }
    }
}
