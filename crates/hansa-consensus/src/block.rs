//! The block type of the agreement engine.
//!
//! A [`ChainBlock`] is a [`Block`] with decoded consensus data. Validity is decided by the ledger and the application.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use commonware_codec::{
    Buf, Decode as _, DecodeExt as _, Encode as _, EncodeSize, Error, RangeCfg, Read, Write,
};
use commonware_consensus::{
    BoundedBlock, CertifiableBlock, Heightable,
    types::{Epoch, Height, Round, View},
};
use commonware_cryptography::{Digest as _, Digestible};
use commonware_glue::dkg::ReshareBlock;
use hansa_types::{Block, ConsensusData, MAX_BLOCK_BYTES};

use crate::{
    digest::BlockDigest,
    types::{Context, Directory, EpochInfo, PARTICIPANTS_MAX, Payload, PublicKey, SHARING_VERSION, Variant},
};

/// Maximum length of a length prefix in bytes.
const PREFIX_BYTES_MAX: usize = 5;

/// A block with decoded context and payload. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct ChainBlock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    block: Block,
    context: Context,
    payload: Option<Carried>,
}

/// The payload with a `Debug` implementation.
struct Carried(Payload);

impl core::fmt::Debug for Carried {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match &self.0 {
            Payload::DealerLog(_) => "DealerLog",
            Payload::EpochInfo(_) => "EpochInfo",
        })
    }
}

impl ChainBlock {
    /// The genesis block. Its encoding has no consensus data: the data of epoch 0 follow from the genesis file, to which the header
    /// commits.
    pub(crate) fn genesis(block: Block, leader: PublicKey, info: EpochInfo) -> Self {
        let context = Context {
            round: Round::new(Epoch::zero(), View::zero()),
            leader,
            parent: (View::zero(), BlockDigest::EMPTY),
        };
        Self(Arc::new(Inner { block, context, payload: Some(Carried(Payload::EpochInfo(info))) }))
    }

    /// Decodes the consensus data of a block above genesis.
    ///
    /// # Errors
    /// If the context or the payload is malformed.
    pub(crate) fn new(block: Block) -> Result<Self, Error> {
        let data = block.consensus();
        let context = Context::decode(data.context.0.clone())?;
        let payload = match data.reshare.is_empty() {
            true => None,
            false => {
                let limits = (PARTICIPANTS_MAX, SHARING_VERSION);
                Some(Carried(Payload::decode_cfg(data.reshare.0.clone(), &limits)?))
            }
        };
        Ok(Self(Arc::new(Inner { block, context, payload })))
    }

    /// The block.
    pub(crate) fn block(&self) -> &Block {
        &self.0.block
    }

    /// The context of the proposal, by reference.
    pub(crate) fn proposed_in(&self) -> &Context {
        &self.0.context
    }
}

/// Encodes the consensus data of a block.
pub(crate) fn consensus_data(
    context: &Context,
    seed: Bytes,
    draw: Bytes,
    payload: Option<&Payload>,
) -> ConsensusData {
    ConsensusData {
        context: context.encode().into(),
        seed: seed.into(),
        draw: draw.into(),
        reshare: payload.map(|payload| payload.encode()).unwrap_or_default().into(),
    }
}

/// The configuration of the block decoder: the genesis block, which is not self-describing.
#[derive(Clone)]
pub(crate) struct BlockRules {
    pub(crate) genesis: ChainBlock,
}

impl Write for ChainBlock {
    fn write(&self, buf: &mut impl BufMut) {
        self.0.block.encoded().0.write(buf);
    }
}

impl EncodeSize for ChainBlock {
    fn encode_size(&self) -> usize {
        self.0.block.encoded().0.encode_size()
    }
}

impl Read for ChainBlock {
    type Cfg = BlockRules;

    fn read_cfg(buf: &mut impl Buf, rules: &BlockRules) -> Result<Self, Error> {
        let bytes = Bytes::read_cfg(buf, &RangeCfg::from(0..=MAX_BLOCK_BYTES))?;
        let block = Block::decode(&bytes.into()).map_err(|error| Error::Wrapped("block", Box::new(error)))?;
        if block.number() > 0 {
            return Self::new(block);
        }
        match block == *rules.genesis.block() {
            true => Ok(rules.genesis.clone()),
            false => Err(Error::Invalid("block", "a genesis block of another chain")),
        }
    }
}

impl BoundedBlock for ChainBlock {
    fn max_encode_size(_: &BlockRules) -> usize {
        MAX_BLOCK_BYTES.saturating_add(PREFIX_BYTES_MAX)
    }
}

impl Digestible for ChainBlock {
    type Digest = BlockDigest;

    fn digest(&self) -> BlockDigest {
        self.0.block.hash().into()
    }
}

impl Heightable for ChainBlock {
    fn height(&self) -> Height {
        Height::new(self.0.block.number())
    }
}

impl commonware_consensus::Block for ChainBlock {
    fn parent(&self) -> BlockDigest {
        self.0.block.header().parent_hash.into()
    }
}

impl CertifiableBlock for ChainBlock {
    type Context = Context;

    fn context(&self) -> Context {
        self.0.context.clone()
    }
}

impl ReshareBlock for ChainBlock {
    type Variant = Variant;
    type PublicKey = PublicKey;
    type Directory = Directory;

    fn payload(&self) -> Option<Payload> {
        self.0.payload.as_ref().map(|payload| payload.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use alloy_consensus::Header;
    use alloy_primitives::hex;
    use commonware_consensus::Block as _;
    use commonware_cryptography::Signer as _;

    use super::*;
    use crate::{handle::private_key, tests::fixture};

    fn context() -> Context {
        Context {
            round: Round::new(Epoch::new(2), View::new(300)),
            leader: private_key(&[7; 32]).unwrap().public_key(),
            parent: (View::new(299), BlockDigest([5; 32])),
        }
    }

    fn sample() -> ChainBlock {
        let header = Header { number: 9, parent_hash: [5; 32].into(), ..Header::default() };
        let data = consensus_data(&context(), Bytes::from_static(b"seed"), Bytes::new(), None);
        ChainBlock::new(Block::new(header, Vec::new(), data)).unwrap()
    }

    #[test]
    fn the_context_is_encoded_as_pinned() {
        let leader = "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c";
        let expected = format!("02ac02{leader}ab02{}", "05".repeat(32));
        assert_eq!(hex::encode(context().encode()), expected);
    }

    #[test]
    fn blocks_round_trip_and_nothing_else_decodes() {
        let rules = fixture::rules();
        let block = sample();
        let encoded = block.encode();
        assert_eq!(encoded.len(), block.encode_size());
        assert!(encoded.len() <= ChainBlock::max_encode_size(&rules));
        let back = ChainBlock::decode_cfg(encoded.clone(), &rules).unwrap();
        assert_eq!(back.digest(), block.digest());
        assert_eq!(back.context(), context());
        assert_eq!(back.parent(), BlockDigest([5; 32]));
        assert!(back.payload().is_none());
        for end in 0..encoded.len() {
            assert!(ChainBlock::decode_cfg(encoded.slice(..end), &rules).is_err(), "{end}");
        }
        let garbled = ConsensusData { context: vec![1].into(), ..ConsensusData::default() };
        let garbled = Block::new(Header { number: 9, ..Header::default() }, Vec::new(), garbled);
        assert!(ChainBlock::decode_cfg(garbled.encoded().0.encode(), &rules).is_err());
    }

    #[test]
    fn only_the_own_genesis_decodes_and_it_describes_the_first_epoch() {
        let rules = fixture::rules();
        let own = ChainBlock::decode_cfg(rules.genesis.encode(), &rules).unwrap();
        assert!(matches!(own.payload(), Some(Payload::EpochInfo(info)) if info.players.len() == 4));
        let other = Block::genesis(Header { timestamp: 77, ..Header::default() });
        assert!(ChainBlock::decode_cfg(other.encoded().0.encode(), &rules).is_err());
    }
}
