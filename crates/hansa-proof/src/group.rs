//! The group key of a genesis file, and the validators that an epoch's last block names for the next.
//!
//! Both are parts of what a key generation leaves, in the agreement engine's encoding. Parts that no proof needs are skipped: the
//! genesis block or the header commits to them, too.

use hansa_types::NetworkKey;

use crate::{
    bls::{KEY_BYTES, PublicKey},
    reader::Reader,
};

/// The public outcome of a key generation or a resharing.
pub(crate) struct Outcome {
    pub(crate) key: PublicKey,
    /// The holders of the shares, ascending.
    pub(crate) holders: Vec<NetworkKey>,
}

impl Outcome {
    /// Transcript (32 bytes), numbering of the shares (1), their number (4), the coefficients of the public polynomial, dealers, holders,
    /// holders whose shares were revealed. The first coefficient is the group key.
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.take(32 + 1 + 4)?;
        let coefficients = reader.length()?.checked_sub(1)?;
        let key = PublicKey::decode(&reader.array::<KEY_BYTES>()?)?;
        reader.take(coefficients.checked_mul(KEY_BYTES)?)?;
        let _dealers = reader.keys()?;
        let holders = reader.keys().filter(|holders| !holders.is_empty())?;
        let _revealed = reader.keys()?;
        Some(Self { key, holders })
    }

    /// What a genesis file holds.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let outcome = Self::read(&mut reader)?;
        reader.is_empty().then_some(outcome)
    }
}

/// The epoch that an epoch's last block describes, and its validators in the order in which a draw counts them.
///
/// Tag (1 byte), whether the resharing succeeded (1), epoch, outcome; what follows is not read.
pub(crate) fn committee(reshare: &[u8]) -> Option<(u64, Vec<NetworkKey>)> {
    const EPOCH_INFO: u8 = 1;
    let mut reader = Reader::new(reshare);
    if reader.byte()? != EPOCH_INFO || reader.byte()? > 1 {
        return None;
    }
    Some((reader.integer()?, Outcome::read(&mut reader)?.holders))
}
