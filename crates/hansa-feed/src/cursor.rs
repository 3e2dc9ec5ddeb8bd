//! The stored form of cursors.
//!
//! Key: `feed/` and the consumer's name. Value: next height (8 bytes, big endian), hash of the genesis block (32 bytes).

use alloy_primitives::B256;

use crate::FeedError;

/// The key of a consumer's cursor.
pub(crate) fn key(name: &str) -> Vec<u8> {
    [b"feed/", name.as_bytes()].concat()
}

/// The value of a cursor.
pub(crate) fn encode(next: u64, genesis: B256) -> Vec<u8> {
    [next.to_be_bytes().as_slice(), genesis.as_slice()].concat()
}

/// The next height that a stored cursor names.
///
/// # Errors
/// [`FeedError::DamagedCursor`], [`FeedError::OtherChain`].
pub(crate) fn decode(name: &str, value: &[u8], expected: B256) -> Result<u64, FeedError> {
    let damaged = || FeedError::DamagedCursor(name.to_owned());
    let (next, genesis) = value.split_first_chunk().ok_or_else(damaged)?;
    let genesis = B256::try_from(genesis).map_err(|_| damaged())?;
    if genesis != expected {
        return Err(FeedError::OtherChain { name: name.to_owned(), genesis });
    }
    Ok(u64::from_be_bytes(*next))
}
