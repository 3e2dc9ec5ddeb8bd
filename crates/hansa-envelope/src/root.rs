//! The root block of a stored version. The chain records its digest.
//!
//! Encoding: dag-cbor, CIDv1, sha2-256. The block has no secrets in the clear. Its links let any IPFS node fetch and pin the whole
//! version without a key. Everything that must be provable of a version later is in it, because the digest in the contract's storage
//! then commits to it.

use alloy_primitives::B256;
use bytes::Bytes;
use cid::{Cid, multihash::Multihash};
use hansa_types::{ObjectId, Version};
use serde::{Deserialize, Serialize};

use crate::{
    AudienceKey, DataKey, DekContext, EnvelopeError, VersionKeys, unwrap_dek, wrap::OWNER_KEY_BYTES,
    wrap::WRAPPED_DEK_BYTES,
};

/// Maximum length of a root block in bytes.
pub const ROOT_BYTES_MAX: usize = 1024;
const FORMAT: u8 = 3;
const DAG_CBOR: u64 = 0x71;
const SHA2_256: u64 = 0x12;

/// The root of one version of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ObjectRoot {
    /// Format of this structure: 3.
    format: u8,
    /// The sealed manifest: a UnixFS file.
    pub manifest: Cid,
    /// Salt of the manifest's key; see [`VersionKeys::manifest`].
    pub manifest_salt: B256,
    /// The sealed content: a UnixFS file.
    pub content: Cid,
    /// Length of the sealed content in bytes.
    pub content_length: u64,
    /// Salt of the version's key derivation.
    pub salt: B256,
    /// Commitment to data key and salt.
    pub key_commitment: B256,
    /// The data key wrapped with the audience key; see [`crate::wrap_dek`].
    pub wrapped_key: Bytes,
    /// The audience key's epoch.
    pub key_epoch: u32,
    /// The audience key wrapped for its owner alone; see [`crate::wrap_owner_key`].
    pub owner_key: Bytes,
    /// Deposits of the data key, one for each limited grant with a deposit: a raw block of [`hansa_types::VersionDeposits`]. Not encoded
    /// where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deposits: Option<Cid>,
    /// Keyed commitment to the plaintext.
    pub commitment: B256,
    /// Padded size of the ciphertext in bytes.
    pub size_class: u64,
    /// Unix seconds by the owner's clock.
    pub created_at: u64,
    /// Unix seconds after which the version is no longer effective; 0 for ever.
    pub valid_until: u64,
}

/// The parts of a root that do not follow from its version's keys. Fields as in [`ObjectRoot`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields of the root")]
pub struct RootParts {
    pub manifest: Cid,
    pub manifest_salt: B256,
    pub content: Cid,
    pub content_length: u64,
    pub wrapped_key: Vec<u8>,
    pub key_epoch: u32,
    pub owner_key: Vec<u8>,
    pub deposits: Option<Cid>,
    pub commitment: B256,
    pub size_class: u64,
    pub created_at: u64,
    pub valid_until: u64,
}

/// The CID of a root block by its digest on the chain.
pub fn root_cid(digest: B256) -> Cid {
    // A sha2-256 digest fits the 64 bytes of a multihash.
    let hash = Multihash::wrap(SHA2_256, digest.as_slice()).unwrap_or_default();
    Cid::new_v1(DAG_CBOR, hash)
}

impl ObjectRoot {
    /// Assembles a root.
    pub fn new(keys: &VersionKeys, parts: RootParts) -> Self {
        Self {
            format: FORMAT,
            manifest: parts.manifest,
            manifest_salt: parts.manifest_salt,
            content: parts.content,
            content_length: parts.content_length,
            salt: keys.salt(),
            key_commitment: keys.key_commitment(),
            wrapped_key: parts.wrapped_key.into(),
            key_epoch: parts.key_epoch,
            owner_key: parts.owner_key.into(),
            deposits: parts.deposits,
            commitment: parts.commitment,
            size_class: parts.size_class,
            created_at: parts.created_at,
            valid_until: parts.valid_until,
        }
    }

    /// The canonical encoding.
    ///
    /// # Errors
    /// Only if a CID cannot be encoded.
    pub fn encode(&self) -> Result<Bytes, EnvelopeError> {
        serde_ipld_dagcbor::to_vec(self)
            .map(Bytes::from)
            .map_err(|e| EnvelopeError::malformed("an object root", e))
    }

    /// Decodes a block. Only the canonical encoding is accepted.
    ///
    /// # Errors
    /// [`EnvelopeError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let malformed = |why: &dyn std::fmt::Display| EnvelopeError::malformed("an object root", why);
        if bytes.len() > ROOT_BYTES_MAX {
            return Err(malformed(&"it is longer than 1,024 bytes"));
        }
        let root: Self = serde_ipld_dagcbor::from_slice(bytes).map_err(|e| malformed(&e))?;
        if root.format != FORMAT {
            return Err(malformed(&"its format is not 3; another version of Hansa wrote it"));
        }
        if root.wrapped_key.len() != WRAPPED_DEK_BYTES || root.owner_key.len() != OWNER_KEY_BYTES {
            return Err(malformed(&"a wrapped key is not 60 bytes long"));
        }
        if root.encode()? != bytes {
            return Err(malformed(&"it is not in canonical dag-cbor"));
        }
        Ok(root)
    }

    /// sha2-256 of the encoded block, as recorded on the chain.
    ///
    /// # Errors
    /// As [`ObjectRoot::encode`].
    pub fn digest(&self) -> Result<B256, EnvelopeError> {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.encode()?);
        B256::try_from(digest.as_ref()).map_err(|_| EnvelopeError::Crypto("SHA-256"))
    }

    /// Unwraps the data key with the audience key, and checks it against the key commitment.
    ///
    /// # Errors
    /// [`EnvelopeError::WrongKey`] if `kek` is not the audience key of this epoch, or this is not the root of that version.
    pub fn data_key(
        &self,
        kek: &AudienceKey,
        chain_id: u64,
        object: ObjectId,
        version: Version,
    ) -> Result<DataKey, EnvelopeError> {
        let (epoch, key_commitment) = (self.key_epoch, self.key_commitment);
        let context = DekContext { chain_id, object, version, epoch, key_commitment };
        let dek = unwrap_dek(kek, &self.wrapped_key, &context)?;
        self.unlock(&dek)?;
        Ok(dek)
    }

    /// The keys that follow from the version's data key.
    ///
    /// # Errors
    /// [`EnvelopeError::WrongKey`] if `dek` does not match the key commitment: it is not the data key of this version.
    pub fn unlock(&self, dek: &DataKey) -> Result<VersionKeys, EnvelopeError> {
        VersionKeys::open(dek, self.salt, self.key_commitment)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wrap_dek;

    fn raw_cid(byte: u8) -> Cid {
        Cid::new_v1(0x55, Multihash::wrap(SHA2_256, &[byte; 32]).unwrap())
    }

    fn context() -> DekContext {
        DekContext {
            chain_id: 7,
            object: "1/42".parse().unwrap(),
            version: Version(1),
            epoch: 3,
            key_commitment: B256::ZERO,
        }
    }

    fn parts() -> RootParts {
        RootParts {
            manifest: raw_cid(1),
            manifest_salt: B256::repeat_byte(6),
            content: raw_cid(2),
            content_length: 4112,
            wrapped_key: vec![5; WRAPPED_DEK_BYTES],
            key_epoch: 3,
            owner_key: vec![7; OWNER_KEY_BYTES],
            deposits: None,
            commitment: B256::repeat_byte(8),
            size_class: 8_192,
            created_at: 1_800_000_000,
            valid_until: 0,
        }
    }

    fn sample() -> ObjectRoot {
        let keys = VersionKeys::derive(&DataKey::from_bytes([1; 32]), B256::repeat_byte(2)).unwrap();
        ObjectRoot::new(&keys, parts())
    }

    #[test]
    fn the_encoding_is_pinned() {
        let root = sample();
        assert_eq!(
            hex::encode(root.encode().unwrap()),
            "ae6473616c745820020202020202020202020202020202020202020202020202020202020202020266666f72\
             6d61740367636f6e74656e74d82a582500015512200202020202020202020202020202020202020202020202\
             020202020202020202686b657945706f636803686d616e6966657374d82a5825000155122001010101010101\
             01010101010101010101010101010101010101010101010101686f776e65724b6579583c0707070707070707\
             0707070707070707070707070707070707070707070707070707070707070707070707070707070707070707\
             0707070707070707696372656174656441741a6b49d2006973697a65436c6173731920006a636f6d6d69746d\
             656e74582008080808080808080808080808080808080808080808080808080808080808086a76616c696455\
             6e74696c006a777261707065644b6579583c0505050505050505050505050505050505050505050505050505\
             050505050505050505050505050505050505050505050505050505050505050505056c6d616e696665737453\
             616c74582006060606060606060606060606060606060606060606060606060606060606066d636f6e74656e\
             744c656e6774681910106d6b6579436f6d6d69746d656e74582095237e0a6a90adebc78ff550131a71209d82\
             633c939be793c20445d6d042b8f6"
        );
        assert_eq!(ObjectRoot::decode(&root.encode().unwrap()).unwrap(), root);
        let with = ObjectRoot { deposits: Some(raw_cid(3)), ..sample() };
        let link = format!("686465706f73697473d82a58250001551220{}", "03".repeat(32));
        let encoded = hex::encode(with.encode().unwrap());
        assert!(encoded.starts_with("af") && encoded.contains(&link), "{encoded}");
        assert_eq!(ObjectRoot::decode(&with.encode().unwrap()).unwrap(), with);
        let short = Bytes::from_static(&[1]);
        let others = [
            ObjectRoot { format: 2, ..sample() },
            ObjectRoot { owner_key: short.clone(), ..sample() },
            ObjectRoot { wrapped_key: short, ..sample() },
        ];
        for other in others {
            assert!(ObjectRoot::decode(&other.encode().unwrap()).is_err());
        }
    }

    #[test]
    fn unlocks_with_its_audience_key_only() {
        let (kek, dek) = (AudienceKey::generate().unwrap(), DataKey::generate().unwrap());
        let (keys, _) = VersionKeys::create(&dek).unwrap();
        let bound = DekContext { key_commitment: keys.key_commitment(), ..context() };
        let wrapped = wrap_dek(&kek, &dek, &bound).unwrap();
        let root = ObjectRoot::new(&keys, RootParts { wrapped_key: wrapped, ..parts() });
        let DekContext { chain_id, object, version, .. } = context();
        let opened = root.data_key(&kek, chain_id, object, version).unwrap();
        assert_eq!((&opened, root.unlock(&opened).unwrap().salt()), (&dek, keys.salt()));
        let other = AudienceKey::generate().unwrap();
        let wrong = [
            root.data_key(&other, chain_id, object, version),
            root.data_key(&kek, chain_id, object, Version(2)),
            // Wrapped as it should be, and not the key that the root commits to.
            ObjectRoot { salt: B256::ZERO, ..root.clone() }.data_key(&kek, chain_id, object, version),
        ];
        for wrong in wrong {
            assert!(matches!(wrong, Err(EnvelopeError::WrongKey)));
        }
        assert!(matches!(root.unlock(&DataKey::generate().unwrap()), Err(EnvelopeError::WrongKey)));
    }

    #[test]
    fn only_the_canonical_encoding_is_read() {
        let good = sample().encode().unwrap();
        for end in 0..good.len() {
            assert!(ObjectRoot::decode(&good[..end]).is_err(), "{end}");
        }
        assert!(ObjectRoot::decode(&[good.as_ref(), &[0]].concat()).is_err());
        assert!(ObjectRoot::decode(&[0; ROOT_BYTES_MAX + 1]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(ObjectRoot::decode(&bytes).is_err());
        }

        #[test]
        fn a_change_never_yields_the_same_digest(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let good = sample();
            let mut bytes = good.encode().unwrap().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(other) = ObjectRoot::decode(&bytes) {
                prop_assert_ne!(other.digest().unwrap(), good.digest().unwrap());
            }
        }
    }
}
