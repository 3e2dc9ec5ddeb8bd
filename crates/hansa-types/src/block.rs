//! The consortium's block: a standard Ethereum header and transactions, and what consensus adds.

use std::sync::Arc;

use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{B256, Bytes, keccak256};
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};
use hansa_keccak::list_root;

use crate::{SignedTransaction, decode_transactions};

/// Largest encoded block that is proposed or accepted, in bytes.
pub const MAX_BLOCK_BYTES: usize = 8 * 1024 * 1024;

/// What the agreement engine needs a block to carry. All four are opaque here; the header's `extraData` commits to
/// them.
#[derive(Clone, Debug, Default, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct ConsensusData {
    /// The round and parent under which the block was proposed.
    pub context: Bytes,
    /// The threshold signature over the parent's round, from which `prevrandao` is derived. Empty where the parent is
    /// of another epoch.
    pub seed: Bytes,
    /// The threshold signature over the round before the block's own, which drew the leader. Empty where that round is the
    /// parent's, and in the first round of an epoch.
    pub draw: Bytes,
    /// A dealer's log or an epoch's outcome for the continuous resharing of the group key. Mostly empty.
    pub reshare: Bytes,
}

impl ConsensusData {
    /// keccak-256 of the RLP encoding: the header's `extraData`.
    pub fn digest(&self) -> B256 {
        keccak256(alloy_rlp::encode(self))
    }
}

/// A block with its hash and encoding computed once. Cloning is cheap.
///
/// Encoding: `rlp([header, [transaction…], [context, seed, draw, reshare]])`, each transaction an RLP string holding its
/// EIP-2718 envelope.
#[derive(Clone, Debug)]
pub struct Block(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    hash: B256,
    header: Header,
    transactions: Vec<SignedTransaction>,
    consensus: ConsensusData,
    encoded: Bytes,
}

/// Why bytes are not a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockDecodeError {
    /// Longer than [`MAX_BLOCK_BYTES`].
    #[error("a block of {0} bytes is longer than the limit of {MAX_BLOCK_BYTES}")]
    TooLong(usize),
    /// Not RLP of the expected shape.
    #[error("not a block: {0}")]
    Rlp(#[from] alloy_rlp::Error),
    /// A transaction is not a signed EIP-2718 envelope.
    #[error("transaction {0} of the block is malformed")]
    Transaction(usize),
    /// The header's roots do not commit to the body.
    #[error("the header's {0} does not commit to the block's body")]
    Commitment(&'static str),
}

impl Block {
    /// Assembles a block. The caller fills every header field except `transactions_root`, `ommers_hash` and
    /// `extra_data`, which are set here from the body.
    pub fn new(mut header: Header, transactions: Vec<SignedTransaction>, consensus: ConsensusData) -> Self {
        let envelopes = envelopes(&transactions);
        header.transactions_root = list_root(&envelopes);
        header.ommers_hash = EMPTY_OMMER_ROOT_HASH;
        header.extra_data = consensus.digest().into();
        Self::seal(header, transactions, &envelopes, consensus)
    }

    /// The genesis block: no transactions, no consensus data, `extra_data` as given.
    pub fn genesis(header: Header) -> Self {
        Self::seal(header, Vec::new(), &Vec::new(), ConsensusData::default())
    }

    fn seal(
        header: Header,
        transactions: Vec<SignedTransaction>,
        envelopes: &Vec<Bytes>,
        consensus: ConsensusData,
    ) -> Self {
        let length = header.length().saturating_add(envelopes.length()).saturating_add(consensus.length());
        let mut encoded = Vec::with_capacity(length.saturating_add(9));
        alloy_rlp::Header { list: true, payload_length: length }.encode(&mut encoded);
        header.encode(&mut encoded);
        envelopes.encode(&mut encoded);
        consensus.encode(&mut encoded);
        Self(Arc::new(Inner {
            hash: header.hash_slow(),
            header,
            transactions,
            consensus,
            encoded: encoded.into(),
        }))
    }

    /// Decodes one block that fills `bytes` entirely, and checks that the header commits to the body. Nothing about
    /// its validity on a chain is checked.
    ///
    /// # Errors
    /// See [`BlockDecodeError`].
    pub fn decode(bytes: &Bytes) -> Result<Self, BlockDecodeError> {
        if bytes.len() > MAX_BLOCK_BYTES {
            return Err(BlockDecodeError::TooLong(bytes.len()));
        }
        let mut rest = bytes.as_ref();
        let mut payload = alloy_rlp::Header::decode_bytes(&mut rest, true)?;
        if !rest.is_empty() {
            return Err(alloy_rlp::Error::UnexpectedLength.into());
        }
        let header = Header::decode(&mut payload)?;
        let envelopes = Vec::<Bytes>::decode(&mut payload)?;
        let consensus = ConsensusData::decode(&mut payload)?;
        if !payload.is_empty() {
            return Err(alloy_rlp::Error::UnexpectedLength.into());
        }
        let transactions = decode_transactions(&envelopes).map_err(BlockDecodeError::Transaction)?;
        if header.ommers_hash != EMPTY_OMMER_ROOT_HASH {
            return Err(BlockDecodeError::Commitment("ommersHash"));
        }
        if header.transactions_root != list_root(&envelopes) {
            return Err(BlockDecodeError::Commitment("transactionsRoot"));
        }
        let is_genesis = header.number == 0 && consensus == ConsensusData::default();
        if !is_genesis && header.extra_data.as_ref() != consensus.digest().as_slice() {
            return Err(BlockDecodeError::Commitment("extraData"));
        }
        Ok(Self(Arc::new(Inner {
            hash: header.hash_slow(),
            header,
            transactions,
            consensus,
            encoded: bytes.clone(),
        })))
    }

    /// keccak-256 of the RLP header.
    pub fn hash(&self) -> B256 {
        self.0.hash
    }

    /// The standard Ethereum header.
    pub fn header(&self) -> &Header {
        &self.0.header
    }

    /// The height, 0 at genesis.
    pub fn number(&self) -> u64 {
        self.0.header.number
    }

    /// The transactions in their order of execution.
    pub fn transactions(&self) -> &[SignedTransaction] {
        &self.0.transactions
    }

    /// What consensus added.
    pub fn consensus(&self) -> &ConsensusData {
        &self.0.consensus
    }

    /// The whole block's encoding.
    pub fn encoded(&self) -> &Bytes {
        &self.0.encoded
    }
}

fn envelopes(transactions: &[SignedTransaction]) -> Vec<Bytes> {
    transactions.iter().map(|transaction| transaction.encoded_2718().into()).collect()
}

impl PartialEq for Block {
    fn eq(&self, other: &Self) -> bool {
        self.0.hash == other.0.hash
    }
}

impl Eq for Block {}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Block {
        let header = Header { number: 7, gas_limit: 1, timestamp: 3, ..Default::default() };
        let consensus = ConsensusData {
            context: Bytes::from_static(b"context"),
            seed: Bytes::from_static(b"seed"),
            draw: Bytes::from_static(b"draw"),
            reshare: Bytes::new(),
        };
        Block::new(header, Vec::new(), consensus)
    }

    #[test]
    fn encoding_round_trips() {
        let block = sample();
        let back = Block::decode(block.encoded()).unwrap();
        assert_eq!(back, block);
        assert_eq!(back.consensus(), block.consensus());
        assert_eq!(back.encoded(), block.encoded());
    }

    #[test]
    fn the_hash_commits_to_consensus_data() {
        let block = sample();
        let forged = Block::seal(block.header().clone(), Vec::new(), &Vec::new(), ConsensusData::default());
        assert_eq!(Block::decode(forged.encoded()), Err(BlockDecodeError::Commitment("extraData")));
    }

    #[test]
    fn truncated_and_extended_encodings_are_refused() {
        let encoded = sample().encoded().to_vec();
        for end in 0..encoded.len() {
            assert!(Block::decode(&Bytes::copy_from_slice(&encoded[..end])).is_err(), "{end}");
        }
        let mut longer = encoded;
        longer.push(0);
        assert!(Block::decode(&longer.into()).is_err());
    }
}
