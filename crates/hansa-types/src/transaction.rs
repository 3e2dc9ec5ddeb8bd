//! Signed transactions as they travel.

use alloy_consensus::transaction::RlpEcdsaDecodableTx;
use alloy_consensus::{
    EthereumTxEnvelope, SignableTransaction, Signed, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxLegacy,
    TxType,
};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::B256;
use hansa_keccak::{digest_all, pieces};

/// A signed Ethereum transaction of any type; the chain refuses blob transactions.
pub type SignedTransaction = EthereumTxEnvelope<TxEip4844>;

/// Envelopes that are hashed together: enough to fill the processor's vectors, and few enough that a long list whose first entry is
/// malformed costs next to nothing.
const HASHED_TOGETHER: usize = 64;

/// Decodes EIP-2718 envelopes, each in the one encoding that its transaction has. Their hashes are computed many at a time, for a
/// fifth of what each by itself costs.
///
/// # Errors
/// The place of the first that is malformed.
pub fn decode_transactions(envelopes: &[impl AsRef<[u8]>]) -> Result<Vec<SignedTransaction>, usize> {
    let (mut transactions, mut hashes, mut encoded) = (Vec::new(), Vec::new(), Vec::new());
    for envelopes in envelopes.chunks(HASHED_TOGETHER) {
        digest_all(envelopes.iter().map(AsRef::as_ref), &mut hashes);
        for (envelope, hash) in envelopes.iter().map(AsRef::as_ref).zip(&hashes) {
            let transaction = decode(envelope, *hash).ok_or(transactions.len())?;
            encoded.clear();
            transaction.encode_2718(&mut encoded);
            if encoded != envelope {
                return Err(transactions.len());
            }
            transactions.push(transaction);
        }
    }
    Ok(transactions)
}

fn decode(envelope: &[u8], hash: B256) -> Option<SignedTransaction> {
    const LEGACY_MIN: u8 = 0xc0;
    let (first, payload) = envelope.split_first()?;
    if *first >= LEGACY_MIN {
        return signed::<TxLegacy>(envelope, hash);
    }
    match TxType::try_from(*first).ok()? {
        TxType::Legacy => None,
        TxType::Eip2930 => signed::<TxEip2930>(payload, hash),
        TxType::Eip1559 => signed::<TxEip1559>(payload, hash),
        TxType::Eip4844 => signed::<TxEip4844>(payload, hash),
        TxType::Eip7702 => signed::<TxEip7702>(payload, hash),
    }
}

fn signed<T: RlpEcdsaDecodableTx>(mut payload: &[u8], hash: B256) -> Option<SignedTransaction>
where
    SignedTransaction: From<Signed<T>>,
{
    let (transaction, signature) = T::rlp_decode_with_signature(&mut payload).ok()?;
    payload.is_empty().then(|| Signed::new_unchecked(transaction, signature, hash).into())
}

/// What the senders of transactions signed, each digest for a fifth of what it costs by itself.
pub fn signature_hashes(transactions: &[&SignedTransaction]) -> Vec<B256> {
    let (mut signed, mut ends) = (Vec::new(), Vec::with_capacity(transactions.len()));
    for transaction in transactions {
        match transaction {
            EthereumTxEnvelope::Legacy(legacy) => legacy.tx().encode_for_signing(&mut signed),
            EthereumTxEnvelope::Eip2930(eip2930) => eip2930.tx().encode_for_signing(&mut signed),
            EthereumTxEnvelope::Eip1559(eip1559) => eip1559.tx().encode_for_signing(&mut signed),
            EthereumTxEnvelope::Eip4844(eip4844) => eip4844.tx().encode_for_signing(&mut signed),
            EthereumTxEnvelope::Eip7702(eip7702) => eip7702.tx().encode_for_signing(&mut signed),
        }
        ends.push(signed.len());
    }
    let mut hashes = Vec::with_capacity(transactions.len());
    digest_all(pieces(&signed, &ends), &mut hashes);
    hashes
}

#[cfg(test)]
mod tests {
    use alloy_consensus::Transaction;
    use alloy_eips::eip2718::Decodable2718;
    use alloy_primitives::{Bytes, Signature, U256};

    use super::*;

    /// One of each type.
    fn samples() -> Vec<SignedTransaction> {
        fn signed<T: SignableTransaction<Signature>>(transaction: T) -> SignedTransaction
        where
            SignedTransaction: From<Signed<T>>,
        {
            transaction.into_signed(Signature::new(U256::from(1), U256::from(2), true)).into()
        }
        let input = Bytes::from(vec![7; 300]);
        vec![
            signed(TxLegacy { chain_id: Some(7), nonce: 1, input: input.clone(), ..TxLegacy::default() }),
            signed(TxLegacy { nonce: 2, ..TxLegacy::default() }),
            signed(TxEip2930 { nonce: 3, input: input.clone(), ..TxEip2930::default() }),
            signed(TxEip1559 { nonce: 4, input: input.clone(), ..TxEip1559::default() }),
            signed(TxEip4844 { nonce: 5, input: input.clone(), ..TxEip4844::default() }),
            signed(TxEip7702 { nonce: 6, input, ..TxEip7702::default() }),
        ]
    }

    #[test]
    fn decodes_what_was_encoded() {
        let samples = samples();
        let envelopes: Vec<Vec<u8>> = samples.iter().map(Encodable2718::encoded_2718).collect();
        let decoded = decode_transactions(&envelopes).unwrap();
        assert_eq!(decoded, samples);
        for ((decoded, sample), envelope) in decoded.iter().zip(&samples).zip(&envelopes) {
            assert_eq!(decoded.tx_hash(), sample.tx_hash());
            assert_eq!(decoded, &SignedTransaction::decode_2718_exact(envelope).unwrap());
        }
        assert_eq!(decode_transactions(&[[0_u8; 0]; 0]), Ok(Vec::new()));
        let mut many: Vec<_> = envelopes.iter().cycle().take(3 * HASHED_TOGETHER + 1).cloned().collect();
        let decoded = decode_transactions(&many).unwrap();
        assert!(decoded.iter().eq(samples.iter().cycle().take(many.len())));
        many.push(vec![5]);
        assert_eq!(decode_transactions(&many), Err(many.len() - 1));
    }

    #[test]
    fn signature_hashes_are_those_of_each() {
        let samples = samples();
        let expected: Vec<B256> = samples.iter().map(SignedTransaction::signature_hash).collect();
        assert_eq!(signature_hashes(&samples.iter().collect::<Vec<_>>()), expected);
    }

    #[test]
    fn refuses_what_is_no_envelope_and_names_its_place() {
        for sample in samples() {
            let good = sample.encoded_2718();
            let refused = |bad: &[u8]| {
                assert_eq!(decode_transactions(&[&good, &good, bad]), Err(2), "{}", sample.nonce());
            };
            (0..good.len()).for_each(|end| refused(&good[..end]));
            refused(&[&good[..], &[0]].concat());
            refused(&[&[0], &good[..]].concat());
            refused(&[&[5], &good[1..]].concat());
            // A length in two bytes where one would do.
            if let Some(at) = good.windows(2).position(|pair| pair == [0xb9, 0x01]) {
                assert_eq!(good.get(at + 2), Some(&0x2c));
                refused(&[&good[..at], &[0xba, 0x00, 0x01], &good[at + 2..]].concat());
            }
        }
    }
}
