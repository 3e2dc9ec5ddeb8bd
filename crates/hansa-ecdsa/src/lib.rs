//! Recovers the signers of Ethereum signatures, faster for expected ones.
//!
//! [`Signers::recover`] calls libsecp256k1. Most signatures of a consortium come from a few accounts, and verifying a signature
//! against a known key takes a third of the time of a recovery once multiples of the key are precomputed.
//! [`Signers::recover_many`] verifies where the caller expects a signer that [`Signers::expect`] has announced. It falls back to the
//! library for all others and for each failed verification, so results equal the library's (ADR 0006).
//!
//! No operation is constant-time, because no input is secret. Only public keys are stored.
//!
//! ```
//! use alloy_primitives::{B256, address, b256, hex};
//! use hansa_ecdsa::{SignedDigest, Signers};
//!
//! let signed = SignedDigest {
//!     digest: b256!("18c547e4f7b0f325ad1e56f57e26c745b09a3e503d86e00e5255ff7f715d3d1c"),
//!     r_s: hex!(
//!         "73b1693892219d736caba55bdb67216e485557ea6b6af75f37096c9aa6a5a75f"
//!         "eeb940b1d03b21e36b0e47e79769f095fe2ab855bd91e3a38756b7d75a9c4549"
//!     ),
//!     is_odd: true,
//! };
//! let signer = address!("a94f5374fce5edbc8e2a8697c15331677e6ebf0b");
//! assert_eq!(Signers::default().recover(&signed), Some(signer));
//! ```

mod multiples;
mod sums;
mod verify;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::Arc;

use alloy_primitives::{Address, B256};
use lru::LruCache;
use parking_lot::Mutex;
use rayon::prelude::*;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, SECP256K1};

use crate::multiples::Multiples;
use crate::verify::Check;

/// Public keys in the cache, 64 bytes each.
const KEYS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);
/// Keys with precomputed multiples by default: one for every possible member.
const EXPECTED_DEFAULT: usize = 256;
/// Signatures after which a signer's multiples are computed. The computation costs as much as 150 recoveries. If signers exceed
/// the cache, it uses up a third of what these signatures save.
const SIGNATURES_MIN: u32 = 512;
/// Signatures verified together on one thread. A larger chunk shares more inversions, a smaller one uses more threads.
const CHUNK: usize = 64;
/// Smaller chunks go to the library: they share too few inversions.
const CHECKS_MIN: usize = 4;

/// A digest and its signature, from which the signer is recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignedDigest {
    /// The signed 32 bytes.
    pub digest: B256,
    /// `r ‖ s`, big-endian. High values of `s` are accepted, as by the `ecrecover` precompile; the rule of EIP-2 is the caller's.
    pub r_s: [u8; 64],
    /// Parity of the signature's point: `true` for an odd ordinate (`v` is 28).
    pub is_odd: bool,
}

/// The signers known to one node: their public keys, and multiples of the keys of expected ones. A result depends on its input only.
/// Clones share them.
#[derive(Clone)]
pub struct Signers(Arc<Mutex<Known>>);

struct Known {
    keys: LruCache<Address, Key>,
    multiples: LruCache<Address, Arc<Multiples>>,
}

impl Default for Signers {
    fn default() -> Self {
        Self::new(EXPECTED_DEFAULT)
    }
}

/// A recovered public key, and the announced signatures since its multiples were last computed.
struct Key {
    key: PublicKey,
    signatures: u32,
}

impl Signers {
    /// With room for the multiples of so many expected signers' keys, 256 KiB each; one at least.
    pub fn new(expected_max: usize) -> Self {
        let multiples = LruCache::new(NonZeroUsize::new(expected_max).unwrap_or(NonZeroUsize::MIN));
        Self(Arc::new(Mutex::new(Known { keys: LruCache::new(KEYS_MAX), multiples })))
    }

    /// Recovers a signer; `None` if the signature is valid for no key.
    pub fn recover(&self, signed: &SignedDigest) -> Option<Address> {
        let id = if signed.is_odd { RecoveryId::One } else { RecoveryId::Zero };
        let signature = RecoverableSignature::from_compact(&signed.r_s, id).ok()?;
        let key = SECP256K1.recover_ecdsa(&Message::from_digest(signed.digest.0), &signature).ok()?;
        let signer = Address::from_raw_public_key(key.serialize_uncompressed().get(1..)?);
        self.0.lock().keys.get_or_insert(signer, || Key { key, signatures: 0 });
        Some(signer)
    }

    /// Recovers several signers in parallel. Each input may name the expected signer; a wrong one costs time and changes no result.
    pub fn recover_many(&self, inputs: &[(SignedDigest, Option<Address>)]) -> Vec<Option<Address>> {
        let chunks = inputs.par_chunks(CHUNK);
        chunks
            .flat_map_iter(
                |chunk| if chunk.len() < CHECKS_MIN { self.each(chunk) } else { self.checked(chunk) },
            )
            .collect()
    }

    fn each(&self, inputs: &[(SignedDigest, Option<Address>)]) -> Vec<Option<Address>> {
        inputs.iter().map(|(signed, _)| self.recover(signed)).collect()
    }

    /// Verifies inputs with an expected signer as a batch; recovers the others and those that fail.
    fn checked(&self, inputs: &[(SignedDigest, Option<Address>)]) -> Vec<Option<Address>> {
        let multiples: Vec<Option<Arc<Multiples>>> = {
            let mut signers = self.0.lock();
            let known = |likely: Option<Address>| signers.multiples.get(&likely?).cloned();
            inputs.iter().map(|(_, likely)| *likely).map(known).collect()
        };
        let checks: Vec<_> = inputs
            .iter()
            .zip(&multiples)
            .map(|((signed, _), multiples)| Some(Check { signed, multiples: multiples.as_deref()? }))
            .collect();
        let holds = verify::all(&checks);
        let answer = |((signed, likely), holds): (&(SignedDigest, Option<Address>), bool)| {
            if holds { *likely } else { self.recover(signed) }
        };
        inputs.iter().zip(holds).map(answer).collect()
    }

    /// Announces that an account has made so many signatures, so more of them are likely. Each announced account costs memory and time:
    /// callers announce accounts that may send transactions, not every signer.
    pub fn expect(&self, signer: Address, signatures: u32) {
        let mut signers = self.0.lock();
        if signers.multiples.contains(&signer) {
            return;
        }
        let Some(known) = signers.keys.get_mut(&signer) else { return };
        known.signatures = known.signatures.saturating_add(signatures);
        if known.signatures >= SIGNATURES_MIN {
            known.signatures = 0;
            let key = known.key;
            drop(signers);
            let multiples = Arc::new(Multiples::of_key(&key));
            self.0.lock().multiples.put(signer, multiples);
        }
    }
}
