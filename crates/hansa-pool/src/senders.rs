//! Who sent a transaction: recovered from its signature, many at a time.

use std::num::NonZeroUsize;

use alloy_consensus::{Transaction, crypto::SECP256K1N_HALF};
use alloy_primitives::{Address, B256};
use hansa_ecdsa::{SignedDigest, Signers};
use lru::LruCache;
use parking_lot::Mutex;
use rayon::prelude::*;

use hansa_types::{SignedTransaction, signature_hashes};

use crate::PooledTransaction;

/// Contracts of which is known who calls them.
const CONTRACTS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);
/// Hashing so many transactions is worth another thread.
const HASHES_PER_THREAD: usize = 64;

pub(crate) struct Senders {
    signers: Signers,
    remembered: Mutex<LruCache<B256, Address>>,
    /// Who last sent to a contract, and as a rule will send to it next.
    callers: Mutex<LruCache<Address, Address>>,
}

impl Senders {
    /// Remembers the senders of `remembered` transactions.
    pub(crate) fn new(signers: Signers, remembered: usize) -> Self {
        let remembered = NonZeroUsize::new(remembered).unwrap_or(NonZeroUsize::MIN);
        let callers = Mutex::new(LruCache::new(CONTRACTS_MAX));
        Self { signers, remembered: Mutex::new(LruCache::new(remembered)), callers }
    }

    /// The senders, those that are not remembered recovered in parallel; `None` where the signature is invalid or malleable
    /// (EIP-2).
    pub(crate) fn find(&self, transactions: &[&SignedTransaction]) -> Vec<Option<Address>> {
        let mut senders: Vec<Option<Address>> = {
            let mut remembered = self.remembered.lock();
            transactions.iter().map(|transaction| remembered.get(transaction.tx_hash()).copied()).collect()
        };
        let pairs = transactions.iter().copied().zip(&senders);
        let new: Vec<_> = pairs.filter(|(_, sender)| sender.is_none()).map(|(new, _)| new).collect();
        let recovered = self.recover(&new);
        for (sender, recovered) in senders.iter_mut().filter(|sender| sender.is_none()).zip(recovered) {
            *sender = recovered;
        }
        senders
    }

    /// Remembers the senders of transactions that will be asked for again and are not in the pool.
    pub(crate) fn remember<'a>(&self, found: impl Iterator<Item = (&'a SignedTransaction, Address)>) {
        let mut remembered = self.remembered.lock();
        for (transaction, sender) in found {
            remembered.put(*transaction.tx_hash(), sender);
        }
    }

    fn recover(&self, transactions: &[&SignedTransaction]) -> Vec<Option<Address>> {
        let likely: Vec<Option<Address>> = {
            let mut callers = self.callers.lock();
            let likely = |to: Option<Address>| callers.get(&to?).copied();
            transactions.iter().map(|transaction| (**transaction).to()).map(likely).collect()
        };
        let digests: Vec<B256> =
            transactions.par_chunks(HASHES_PER_THREAD).flat_map_iter(signature_hashes).collect();
        let inputs: Vec<Option<(SignedDigest, Option<Address>)>> = transactions
            .iter()
            .zip(digests)
            .zip(likely)
            .map(|((transaction, digest), likely)| Some((signed_digest(transaction, digest)?, likely)))
            .collect();
        let asked: Vec<_> = inputs.iter().flatten().copied().collect();
        let mut answers = self.signers.recover_many(&asked).into_iter();
        inputs.iter().map(|signed| signed.as_ref().and_then(|_| answers.next().flatten())).collect()
    }

    /// Learns from an admitted transaction who sends to what.
    pub(crate) fn learn(&self, admitted: &PooledTransaction) {
        if let Some(to) = admitted.transaction.to() {
            self.callers.lock().put(to, admitted.sender);
        }
    }
}

fn signed_digest(transaction: &SignedTransaction, digest: B256) -> Option<SignedDigest> {
    let signature = transaction.signature();
    if signature.s() > SECP256K1N_HALF {
        return None;
    }
    let mut r_s = [0; 64];
    let (r, s) = r_s.split_at_mut(32);
    r.copy_from_slice(&signature.r().to_be_bytes::<32>());
    s.copy_from_slice(&signature.s().to_be_bytes::<32>());
    Some(SignedDigest { digest, r_s, is_odd: signature.v() })
}
