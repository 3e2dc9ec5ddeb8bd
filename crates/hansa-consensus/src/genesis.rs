//! Values that the agreement engine derives from the genesis file.
//!
//! All nodes derive equal values. Nothing is stored.

use alloy_primitives::B256;
use commonware_codec::{Decode as _, DecodeExt as _};
use commonware_consensus::types::Epoch;
use commonware_glue::dkg::types::EpochOutcome;
use commonware_utils::ordered::Set;
use hansa_types::{Block, Genesis, NetworkKey};

use crate::{
    block::ChainBlock,
    error::ConsensusError,
    peers,
    types::{Directory, EpochInfo, Output, PARTICIPANTS_MAX, PublicKey, SHARING_VERSION},
};

/// The namespace of the signatures that release deposited keys. It is no prefix of another namespace.
pub(crate) fn release_namespace(chain_id: u64, genesis_hash: B256) -> Vec<u8> {
    [b"hansa-release:".as_slice(), &chain_id.to_be_bytes(), genesis_hash.as_slice()].concat()
}

/// The namespace of the ceremony for `draft`.
pub(crate) fn ceremony_namespace(draft: &Genesis) -> Vec<u8> {
    [b"hansa-ceremony:".as_slice(), draft.digest().as_slice()].concat()
}

/// The engine's form of a registered network key.
pub(crate) fn public_key(key: NetworkKey) -> Option<PublicKey> {
    PublicKey::decode(bytes::Bytes::copy_from_slice(key.0.as_slice())).ok()
}

/// The registered form of an engine's key.
pub(crate) fn network_key(key: &PublicKey) -> NetworkKey {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(key.as_ref()) {
        *to = *from;
    }
    NetworkKey(bytes.into())
}

/// The founders' keys.
///
/// # Errors
/// If one is no ed25519 public key.
pub(crate) fn founders(genesis: &Genesis) -> Result<Set<PublicKey>, ConsensusError> {
    let keys = genesis.founders.iter().enumerate().map(|(i, founder)| {
        public_key(founder.network_key).ok_or(ConsensusError::NetworkKey(i.saturating_add(1)))
    });
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    if keys.len() > PARTICIPANTS_MAX.get() as usize {
        return Err(ConsensusError::Setting {
            name: "founders",
            reason: "there are more than an epoch has seats",
        });
    }
    Ok(Set::from_iter_dedup(keys))
}

/// The founders' endpoints.
pub(crate) fn directory(genesis: &Genesis) -> Directory {
    let addresses = genesis.founders.iter().filter_map(|founder| {
        Some((public_key(founder.network_key)?, peers::address(&founder.consensus_endpoint)))
    });
    addresses.collect()
}

/// The description of epoch 0.
///
/// # Errors
/// When the genesis file has no usable group key.
pub(crate) fn first_epoch(genesis: &Genesis) -> Result<EpochInfo, ConsensusError> {
    if genesis.group.is_empty() {
        return Err(ConsensusError::NoGroupKey);
    }
    let limits = (PARTICIPANTS_MAX, SHARING_VERSION);
    let output = Output::decode_cfg(genesis.group.0.clone(), &limits)
        .map_err(|_| ConsensusError::GroupKey("it is malformed"))?;
    let founders = founders(genesis)?;
    if *output.players() != founders {
        return Err(ConsensusError::GroupKey("its holders are not the founders"));
    }
    Ok(EpochInfo {
        outcome: EpochOutcome::Success,
        epoch: Epoch::zero(),
        output,
        players: founders.clone(),
        next_players: founders,
        directory: directory(genesis),
    })
}

/// The genesis block as a [`ChainBlock`].
///
/// # Errors
/// As [`first_epoch`].
pub(crate) fn block(genesis: &Genesis, block: Block) -> Result<ChainBlock, ConsensusError> {
    let info = first_epoch(genesis)?;
    let leader = info.players.iter().next().cloned().ok_or(ConsensusError::GroupKey("it has no holders"))?;
    Ok(ChainBlock::genesis(block, leader, info))
}
