//! The rules by which leaders are drawn, and the round that a block names as its own.
//!
//! The same rules as in `hansa-consensus`; a test there compares them. No leader can influence its own draw.

use alloy_primitives::{B256, keccak256};
use hansa_types::NetworkKey;
use sha2::{Digest as _, Sha256};

use crate::reader::Reader;

/// The leader of the first view of `epoch` among `validators` many, `prevrandao` being that of the last block before it:
/// `keccak256("hansa:first-leader" ‖ epoch (8 bytes, big endian) ‖ prevrandao)`, its last eight bytes modulo the number. 0 where there are
/// no validators.
pub fn first_leader(epoch: u64, prevrandao: B256, validators: u32) -> u32 {
    let input = [b"hansa:first-leader".as_slice(), &epoch.to_be_bytes(), prevrandao.as_slice()].concat();
    remainder(&keccak256(input).0[24..], validators)
}

/// The leader of a later view: SHA-256 of the compressed threshold signature over the view before, modulo the number of validators. 0
/// where there are none.
pub fn later_leader(seed_signature: &[u8], validators: u32) -> u32 {
    remainder(&Sha256::digest(seed_signature), validators)
}

/// `bytes`, big endian, modulo `divisor`.
fn remainder(bytes: &[u8], divisor: u32) -> u32 {
    let step = |rest: u64, byte: &u8| ((rest << 8) | u64::from(*byte)).checked_rem(u64::from(divisor));
    let rest = bytes.iter().try_fold(0, step);
    rest.and_then(|rest| u32::try_from(rest).ok()).unwrap_or_default()
}

/// The round in which a block was proposed: `LEB128(epoch) ‖ LEB128(view) ‖ leader (32 bytes) ‖ LEB128(parent view) ‖ parent hash`.
pub(crate) struct Context {
    pub(crate) epoch: u64,
    pub(crate) view: u64,
    pub(crate) leader: NetworkKey,
    pub(crate) parent_view: u64,
    pub(crate) parent_hash: B256,
}

impl Context {
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let context = Self {
            epoch: reader.integer()?,
            view: reader.integer()?,
            leader: NetworkKey(reader.array()?.into()),
            parent_view: reader.integer()?,
            parent_hash: reader.array()?.into(),
        };
        reader.is_empty().then_some(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_leaders_are_drawn_evenly_and_by_a_fixed_rule() {
        let mut counts = [0_u32; 4];
        for epoch in 0..4_000_u64 {
            let seed = keccak256(epoch.to_be_bytes());
            counts[first_leader(epoch, seed, 4) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
        assert_eq!(first_leader(7, B256::ZERO, 1), 0);
        let all: Vec<_> = (0..8).map(|epoch| first_leader(epoch, B256::repeat_byte(7), 5)).collect();
        assert_ne!(all, [0, 1, 2, 3, 4, 0, 1, 2], "not in turn");
    }

    #[test]
    fn remainders_are_those_of_long_division() {
        assert_eq!(remainder(&[0xff; 8], 1_000), (u64::MAX % 1_000) as u32);
        assert_eq!(remainder(&[0xff; 16], u32::MAX), (u128::MAX % u128::from(u32::MAX)) as u32);
        assert_eq!(remainder(&[1, 2], 0), 0);
    }
}
