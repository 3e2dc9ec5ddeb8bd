//! A block: bytes with their verified CID. The bytes are not interpreted.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use cid::{Cid, Version};
use multihash::Multihash;

use crate::ContentError;

/// Maximum length of a block in bytes, as in Bitswap.
pub const MAX_BLOCK_BYTES: usize = 2 * 1024 * 1024;

/// Codec of plain bytes.
pub const RAW: u64 = 0x55;
/// Codec of UnixFS nodes.
pub const DAG_PB: u64 = 0x70;
/// Codec of structured roots.
pub const DAG_CBOR: u64 = 0x71;

const SHA2_256: u64 = 0x12;

/// A sha2-256 digest, the key of a block. CIDs of any version and codec with this digest share the block.
pub(crate) type Key = [u8; 32];

/// Bytes with their CID, verified at construction. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    cid: Cid,
    bytes: Bytes,
}

impl Block {
    /// The block of these bytes under a CID version 1 of the given codec.
    ///
    /// # Errors
    /// [`ContentError::TooLong`].
    pub fn new(codec: u64, bytes: Bytes) -> Result<Self, ContentError> {
        check_length(&bytes)?;
        Ok(Self { cid: cid_of(codec, sha256(&bytes)), bytes })
    }

    /// Verifies that the bytes hash to the CID.
    ///
    /// # Errors
    /// [`ContentError::TooLong`], [`ContentError::UnsupportedHash`], [`ContentError::WrongBytes`].
    pub fn verify(cid: Cid, bytes: Bytes) -> Result<Self, ContentError> {
        check_length(&bytes)?;
        if sha256(&bytes) != key_of(&cid)? {
            return Err(ContentError::WrongBytes(cid));
        }
        Ok(Self { cid, bytes })
    }

    /// A block whose bytes were verified before, at the latest when they were stored.
    pub(crate) const fn checked(cid: Cid, bytes: Bytes) -> Self {
        Self { cid, bytes }
    }

    /// The same bytes under another CID with the same digest. A peer may answer a want under another version or codec.
    ///
    /// # Errors
    /// [`ContentError::UnsupportedHash`], [`ContentError::WrongBytes`] if the digests differ.
    pub fn renamed(self, cid: Cid) -> Result<Self, ContentError> {
        if key_of(&cid)? != key_of(&self.cid)? {
            return Err(ContentError::WrongBytes(cid));
        }
        Ok(Self { cid, bytes: self.bytes })
    }

    /// The block's CID.
    pub const fn cid(&self) -> &Cid {
        &self.cid
    }

    /// The block's bytes.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The block's bytes, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    pub(crate) fn key(&self) -> Result<Key, ContentError> {
        key_of(&self.cid)
    }
}

fn check_length(bytes: &Bytes) -> Result<(), ContentError> {
    if bytes.len() > MAX_BLOCK_BYTES { Err(ContentError::TooLong(bytes.len())) } else { Ok(()) }
}

pub(crate) fn sha256(bytes: &[u8]) -> Key {
    let mut key = Key::default();
    let digest = digest(&SHA256, bytes);
    for (to, from) in key.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    key
}

/// The key of a CID with a sha2-256 multihash.
pub(crate) fn key_of(cid: &Cid) -> Result<Key, ContentError> {
    if cid.hash().code() != SHA2_256 {
        return Err(ContentError::UnsupportedHash(*cid));
    }
    cid.hash().digest().try_into().map_err(|_| ContentError::UnsupportedHash(*cid))
}

/// The CID version 1 of a codec and a digest.
pub(crate) fn cid_of(codec: u64, key: Key) -> Cid {
    // A digest of 32 bytes fits the 64 bytes of a multihash.
    let hash = Multihash::wrap(SHA2_256, &key).unwrap_or_default();
    Cid::new_v1(codec, hash)
}

/// The codec that the index records for a CID.
pub(crate) const fn codec_of(cid: &Cid) -> u64 {
    match cid.version() {
        Version::V0 => DAG_PB,
        Version::V1 => cid.codec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_raw_block_has_its_well_known_cid() {
        let block = Block::new(RAW, Bytes::new()).unwrap();
        assert_eq!(block.cid().to_string(), "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku");
    }

    #[test]
    fn wrong_bytes_and_wrong_hashes_are_refused() {
        let cid = *Block::new(RAW, Bytes::from_static(b"a")).unwrap().cid();
        assert!(matches!(Block::verify(cid, Bytes::from_static(b"b")), Err(ContentError::WrongBytes(_))));
        let identity = Cid::new_v1(RAW, Multihash::wrap(0, b"a").unwrap());
        assert!(matches!(
            Block::verify(identity, Bytes::from_static(b"a")),
            Err(ContentError::UnsupportedHash(_))
        ));
        let long = Bytes::from(vec![0; MAX_BLOCK_BYTES + 1]);
        assert!(matches!(Block::new(RAW, long), Err(ContentError::TooLong(_))));
    }
}
