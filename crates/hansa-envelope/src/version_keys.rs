//! Key derivation from a version's data key.
//!
//! HKDF-SHA256 (RFC 5869) with the version's random salt. AES-GCM is not key-committing; the 32-byte commitment in the object root
//! prevents a ciphertext that decrypts to two plaintexts under two keys.
//!
//! A repeated put or update keeps its content and seals another manifest, and both can become public. A manifest's key therefore
//! depends on object, version and a fresh salt of its own.

use alloy_primitives::B256;
use aws_lc_rs::{
    hkdf::{HKDF_SHA256, KeyType, Prk, Salt},
    hmac,
};
use hansa_types::{ObjectId, Version};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{ContentDigest, DataKey, EnvelopeError, OpeningKey, SealingKey, secret::random};

const CONTENT: &[u8] = b"hansa/v1 content";
const MANIFEST: &[u8] = b"hansa/v2 manifest";
const KEY_COMMITMENT: &[u8] = b"hansa/v1 key commitment";
const PLAINTEXT_COMMITMENT: &[u8] = b"hansa/v1 plaintext commitment";

/// The keys of one version of one object.
#[derive(Clone)]
pub struct VersionKeys {
    salt: B256,
    prk: Prk,
    key_commitment: B256,
}

struct ThirtyTwo;

impl KeyType for ThirtyTwo {
    fn len(&self) -> usize {
        32
    }
}

/// label ‖ owner (4) ‖ number (8) ‖ version (4) ‖ salt (32), integers big-endian.
fn manifest_label(object: ObjectId, version: Version, salt: B256) -> Vec<u8> {
    let owner = object.owner.value().to_be_bytes();
    [MANIFEST, &owner, &object.number.to_be_bytes(), &version.0.to_be_bytes(), salt.as_slice()].concat()
}

/// HKDF-Expand to 32 bytes.
pub(crate) fn expand(prk: &Prk, info: &[u8]) -> Result<Zeroizing<[u8; 32]>, EnvelopeError> {
    let mut out = Zeroizing::new([0; 32]);
    prk.expand(&[info], ThirtyTwo)
        .and_then(|okm| okm.fill(out.as_mut_slice()))
        .map_err(|_| EnvelopeError::Crypto("key derivation"))?;
    Ok(out)
}

impl VersionKeys {
    /// The keys of a new version with a fresh salt, and the key that seals its content.
    ///
    /// # Errors
    /// When the random generator fails.
    pub fn create(dek: &DataKey) -> Result<(Self, SealingKey), EnvelopeError> {
        let keys = Self::derive(dek, B256::from(random::<32>()?))?;
        let content = SealingKey::new(&*expand(&keys.prk, CONTENT)?)?;
        Ok((keys, content))
    }

    /// The keys of an existing version.
    ///
    /// # Errors
    /// Only when the cryptographic library fails.
    pub fn derive(dek: &DataKey, salt: B256) -> Result<Self, EnvelopeError> {
        let prk = Salt::new(HKDF_SHA256, salt.as_slice()).extract(dek.expose());
        let key_commitment = B256::from(*expand(&prk, KEY_COMMITMENT)?);
        Ok(Self { salt, prk, key_commitment })
    }

    /// Like [`VersionKeys::derive`]; verifies the key commitment.
    ///
    /// # Errors
    /// [`EnvelopeError::WrongKey`] if `dek` does not match the commitment.
    pub fn open(dek: &DataKey, salt: B256, key_commitment: B256) -> Result<Self, EnvelopeError> {
        let keys = Self::derive(dek, salt)?;
        let same: bool = keys.key_commitment.as_slice().ct_eq(key_commitment.as_slice()).into();
        if same { Ok(keys) } else { Err(EnvelopeError::WrongKey) }
    }

    /// The salt, public in the object root.
    pub fn salt(&self) -> B256 {
        self.salt
    }

    /// The commitment to data key and salt, public in the object root.
    pub fn key_commitment(&self) -> B256 {
        self.key_commitment
    }

    /// The key that opens the content stream.
    ///
    /// # Errors
    /// Only when the cryptographic library fails.
    pub fn content(&self) -> Result<OpeningKey, EnvelopeError> {
        OpeningKey::new(&*expand(&self.prk, CONTENT)?, "the content")
    }

    /// A key that seals one manifest of this version of this object, and the fresh salt of its derivation.
    ///
    /// # Errors
    /// When the random generator fails.
    pub fn seal_manifest(
        &self,
        object: ObjectId,
        version: Version,
    ) -> Result<(SealingKey, B256), EnvelopeError> {
        let salt = B256::from(random::<32>()?);
        let key = expand(&self.prk, &manifest_label(object, version, salt))?;
        Ok((SealingKey::new(&*key)?, salt))
    }

    /// The key that opens the manifest; `salt` is from the object root.
    ///
    /// # Errors
    /// Only when the cryptographic library fails.
    pub fn manifest(
        &self,
        object: ObjectId,
        version: Version,
        salt: B256,
    ) -> Result<OpeningKey, EnvelopeError> {
        OpeningKey::new(&*expand(&self.prk, &manifest_label(object, version, salt))?, "the manifest")
    }

    /// The commitment to the plaintext on the chain (C5): HMAC-SHA256 of content digest ‖ size (8 bytes, big-endian), under a key derived
    /// from the data key. Without the data key it reveals nothing, even about a plaintext with four possible values. With the data key,
    /// a copy can be checked against the chain.
    ///
    /// # Errors
    /// Only when the cryptographic library fails.
    pub fn plaintext_commitment(&self, digest: &ContentDigest, size: u64) -> Result<B256, EnvelopeError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, expand(&self.prk, PLAINTEXT_COMMITMENT)?.as_slice());
        let mut context = hmac::Context::with_key(&key);
        context.update(&digest.0);
        context.update(&size.to_be_bytes());
        B256::try_from(context.sign().as_ref()).map_err(|_| EnvelopeError::Crypto("HMAC"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{seal_buffer, segment::open_buffer};

    #[test]
    fn rfc_5869_test_case_1_through_the_same_library_calls() {
        let prk =
            Salt::new(HKDF_SHA256, &hex::decode("000102030405060708090a0b0c").unwrap()).extract(&[0x0b; 22]);
        let okm = expand(&prk, &hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap()).unwrap();
        let expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
        assert_eq!(hex::encode(*okm), expected[..64]);
    }

    #[test]
    fn derivation_is_pinned() {
        let keys = VersionKeys::derive(&DataKey::from_bytes([1; 32]), B256::repeat_byte(2)).unwrap();
        let commitment = keys.plaintext_commitment(&ContentDigest([3; 32]), 4).unwrap();
        assert_eq!(
            (keys.key_commitment().to_string(), commitment.to_string()),
            (
                "0x95237e0a6a90adebc78ff550131a71209d82633c939be793c20445d6d042b8f6".to_owned(),
                "0xb277aff004cd574a53a7fec42d108fd8be361e19f964e8ff9f5923c5aed6285d".to_owned()
            )
        );
    }

    #[test]
    fn no_two_sealed_manifests_share_a_key() {
        let (keys, _) = VersionKeys::create(&DataKey::generate().unwrap()).unwrap();
        let (one, other): (ObjectId, ObjectId) = ("1/9".parse().unwrap(), "1/10".parse().unwrap());
        let mut streams = std::collections::HashSet::new();
        for (object, version) in [(one, 1), (one, 1), (one, 2), (other, 1)] {
            let (key, salt) = keys.seal_manifest(object, Version(version)).unwrap();
            let sealed = seal_buffer(key, b"the same bytes").unwrap().concat();
            let opening = keys.manifest(object, Version(version), salt).unwrap();
            assert_eq!(open_buffer(opening, &sealed).unwrap(), b"the same bytes");
            for (object, salt) in [(other, salt), (one, B256::ZERO)] {
                let foreign = keys.manifest(object, Version(3), salt).unwrap();
                assert!(open_buffer(foreign, &sealed).is_err());
            }
            assert!(streams.insert(sealed), "the key stream repeats");
        }
    }

    #[test]
    fn another_key_or_salt_is_refused() {
        let dek = DataKey::generate().unwrap();
        let (keys, _) = VersionKeys::create(&dek).unwrap();
        assert!(VersionKeys::open(&dek, keys.salt(), keys.key_commitment()).is_ok());
        let other = DataKey::generate().unwrap();
        for (dek, salt) in [(&other, keys.salt()), (&dek, B256::ZERO)] {
            let refused = VersionKeys::open(dek, salt, keys.key_commitment());
            assert!(matches!(refused, Err(EnvelopeError::WrongKey)));
        }
    }
}
