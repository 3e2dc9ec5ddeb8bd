//! Recovers who made an Ethereum signature, sooner where it is expected.
//!
//! [`recover`] asks libsecp256k1, as everybody does. But a consortium's signatures come from a few accounts again and again,
//! and to check that a signature is that of a known key takes a third of the time once the key's multiples are at hand.
//! [`recover_many`] does that for signers that were announced with [`expect`], and asks the library about everybody else and
//! whenever the check fails: the answers are the library's in every case.
//!
//! Nothing here is secret, so nothing takes care to run in constant time. No keys are kept but public ones.

mod multiples;
mod sums;
mod verify;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock};

use alloy_primitives::{Address, B256};
use lru::LruCache;
use parking_lot::Mutex;
use rayon::prelude::*;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, SECP256K1};

use crate::multiples::Multiples;
use crate::verify::Check;

/// Keys remembered, 64 bytes each.
const KEYS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);
/// Keys whose multiples are kept, a quarter of a megabyte each: one for every member that a consortium can have.
const MULTIPLES_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
/// How many signatures of a signer must have been counted before its multiples are computed. That takes as long as 150
/// recoveries; with more signers than there is room for, each signature so bears a third of what it saves.
const SIGNATURES_MIN: u32 = 512;
/// So many signatures are checked together on one thread: inversions are shared, but the work of a batch is spread.
const CHUNK: usize = 64;
/// Fewer than this share too little, and are for the library.
const CHECKS_MIN: usize = 4;

/// What a signer is recovered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The 32 bytes that were signed.
    pub digest: B256,
    /// `r ‖ s`, big-endian. Both halves of `s` are accepted, as by the `ecrecover` precompile: who wants only the lower
    /// (EIP-2) checks that.
    pub r_s: [u8; 64],
    /// Whether the ordinate of the signature's point is odd: `v` is 28.
    pub is_odd: bool,
}

/// Signers met so far, of the whole process: an answer depends on nothing but its question, so it does not matter who asked.
static SIGNERS: LazyLock<Mutex<Signers>> = LazyLock::new(|| {
    Mutex::new(Signers { keys: LruCache::new(KEYS_MAX), multiples: LruCache::new(MULTIPLES_MAX) })
});

struct Signers {
    keys: LruCache<Address, Met>,
    multiples: LruCache<Address, Arc<Multiples>>,
}

/// A key that has signed, and how often since its multiples were last wanted.
struct Met {
    key: PublicKey,
    signatures: u32,
}

/// Recovers a signer; `None` where no key can have made the signature.
pub fn recover(question: &Question) -> Option<Address> {
    let id = if question.is_odd { RecoveryId::One } else { RecoveryId::Zero };
    let signature = RecoverableSignature::from_compact(&question.r_s, id).ok()?;
    let key = SECP256K1.recover_ecdsa(&Message::from_digest(question.digest.0), &signature).ok()?;
    let signer = Address::from_raw_public_key(key.serialize_uncompressed().get(1..)?);
    SIGNERS.lock().keys.get_or_insert(signer, || Met { key, signatures: 0 });
    Some(signer)
}

/// Recovers several signers, in parallel. Beside each question stands who is likely to have signed; a wrong guess costs
/// time and changes no answer.
pub fn recover_many(questions: &[(Question, Option<Address>)]) -> Vec<Option<Address>> {
    let chunks = questions.par_chunks(CHUNK);
    chunks
        .flat_map_iter(|chunk| if chunk.len() < CHECKS_MIN { each(chunk) } else { checked(chunk) })
        .collect()
}

fn each(questions: &[(Question, Option<Address>)]) -> Vec<Option<Address>> {
    questions.iter().map(|(question, _)| recover(question)).collect()
}

/// Checks those with an expected signer together, and recovers the others and those that fail.
fn checked(questions: &[(Question, Option<Address>)]) -> Vec<Option<Address>> {
    let multiples: Vec<Option<Arc<Multiples>>> = {
        let mut signers = SIGNERS.lock();
        let known = |likely: Option<Address>| signers.multiples.get(&likely?).cloned();
        questions.iter().map(|(_, likely)| *likely).map(known).collect()
    };
    let checks: Vec<_> = questions
        .iter()
        .zip(&multiples)
        .map(|((question, _), multiples)| Some(Check { question, multiples: multiples.as_deref()? }))
        .collect();
    let is_so = verify::all(&checks);
    let answer = |((question, likely), is_so): (&(Question, Option<Address>), bool)| {
        if is_so { *likely } else { recover(question) }
    };
    questions.iter().zip(is_so).map(answer).collect()
}

/// Tells that an account has made so many signatures, so that more of it are likely. Whoever tells decides for whom the
/// process spends memory and time: accounts that may send transactions, not any that sign something.
pub fn expect(signer: Address, signatures: u32) {
    let mut signers = SIGNERS.lock();
    if signers.multiples.contains(&signer) {
        return;
    }
    let Some(met) = signers.keys.get_mut(&signer) else { return };
    met.signatures = met.signatures.saturating_add(signatures);
    if met.signatures >= SIGNATURES_MIN {
        met.signatures = 0;
        let key = met.key;
        drop(signers);
        let multiples = Arc::new(Multiples::of_key(&key));
        SIGNERS.lock().multiples.put(signer, multiples);
    }
}
