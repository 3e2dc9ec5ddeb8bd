//! Key wrapping: a data key under an audience key, an audience key or a single data key to a member's public key.
//!
//! All are bound to their context, so that a wrapped key is invalid for another object, version, epoch or recipient, and none is taken for
//! one of another kind. Context encoding: a label, then big-endian integers in the order of the structure's fields.

use alloy_primitives::B256;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use hansa_types::{DcId, ObjectId, Version};
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, aead::AesGcm256, kdf::HkdfSha256, kem::XWing,
};
use zeroize::Zeroizing;

use crate::{AudienceKey, DataKey, EnvelopeError, MemberKeys, StorageKey, TAG_BYTES, secret::random};

/// Length of a wrapped data key in bytes: nonce 12 ‖ ciphertext 32 ‖ tag 16.
pub const WRAPPED_DEK_BYTES: usize = 60;
/// Length of an audience key wrapped for its owner: nonce 12 ‖ ciphertext 32 ‖ tag 16.
pub(crate) const OWNER_KEY_BYTES: usize = 60;
/// Length of a key wrapped to a member in bytes: X-Wing encapsulation 1,120 ‖ ciphertext 32 ‖ tag 16.
pub const MEMBER_WRAPPED_BYTES: usize = 1168;
const ENCAPSULATION_BYTES: usize = 1120;

/// The context of a wrapped data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DekContext {
    /// The consortium.
    pub chain_id: u64,
    /// The object.
    pub object: ObjectId,
    /// The version.
    pub version: Version,
    /// The audience key's epoch.
    pub epoch: u32,
    /// [`crate::VersionKeys::key_commitment`].
    pub key_commitment: B256,
}

impl DekContext {
    fn encode(&self) -> Vec<u8> {
        let mut out = b"hansa/v1 dek".to_vec();
        out.extend(self.chain_id.to_be_bytes());
        out.extend(self.object.owner.value().to_be_bytes());
        out.extend(self.object.number.to_be_bytes());
        out.extend(self.version.0.to_be_bytes());
        out.extend(self.epoch.to_be_bytes());
        out.extend(self.key_commitment);
        out
    }
}

/// The context of a wrapped audience key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KekContext {
    /// The consortium.
    pub chain_id: u64,
    /// The object.
    pub object: ObjectId,
    /// The key's epoch.
    pub epoch: u32,
    /// The recipient.
    pub recipient: DcId,
}

impl KekContext {
    fn info(&self) -> Vec<u8> {
        let mut out = b"hansa/v1 kek".to_vec();
        out.extend(self.chain_id.to_be_bytes());
        out.extend(self.object.owner.value().to_be_bytes());
        out.extend(self.object.number.to_be_bytes());
        out.extend(self.epoch.to_be_bytes());
        out
    }

    fn aad(&self) -> [u8; 4] {
        self.recipient.value().to_be_bytes()
    }
}

/// The context of a data key wrapped to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantedDekContext {
    /// The consortium.
    pub chain_id: u64,
    /// The object.
    pub object: ObjectId,
    /// The version.
    pub version: Version,
    /// The recipient.
    pub recipient: DcId,
}

impl GrantedDekContext {
    fn info(&self) -> Vec<u8> {
        let mut out = b"hansa/v1 granted dek".to_vec();
        out.extend(self.chain_id.to_be_bytes());
        out.extend(self.object.owner.value().to_be_bytes());
        out.extend(self.object.number.to_be_bytes());
        out.extend(self.version.0.to_be_bytes());
        out
    }

    fn aad(&self) -> [u8; 4] {
        self.recipient.value().to_be_bytes()
    }
}

fn aes_key(kek: &AudienceKey) -> Result<LessSafeKey, EnvelopeError> {
    UnboundKey::new(&AES_256_GCM, kek.expose())
        .map(LessSafeKey::new)
        .map_err(|_| EnvelopeError::Crypto("AES-256-GCM"))
}

/// Wraps `dek` under `kek` with AES-256-GCM and a random nonce. An epoch has far fewer than 2³² versions.
///
/// # Errors
/// When the random generator fails.
pub fn wrap_dek(kek: &AudienceKey, dek: &DataKey, context: &DekContext) -> Result<Vec<u8>, EnvelopeError> {
    wrap_dek_with_nonce(kek, dek, context, random()?)
}

fn wrap_dek_with_nonce(
    kek: &AudienceKey,
    dek: &DataKey,
    context: &DekContext,
    nonce: [u8; NONCE_LEN],
) -> Result<Vec<u8>, EnvelopeError> {
    let mut sealed = Zeroizing::new(*dek.expose());
    let tag = aes_key(kek)?
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(context.encode()),
            sealed.as_mut_slice(),
        )
        .map_err(|_| EnvelopeError::Crypto("wrapping a data key"))?;
    Ok([nonce.as_slice(), sealed.as_slice(), tag.as_ref()].concat())
}

/// The inverse of [`wrap_dek`] in the same context.
///
/// # Errors
/// [`EnvelopeError::WrongKey`] if key, context or bytes differ.
pub fn unwrap_dek(kek: &AudienceKey, wrapped: &[u8], context: &DekContext) -> Result<DataKey, EnvelopeError> {
    let (nonce, sealed) = wrapped
        .split_first_chunk::<NONCE_LEN>()
        .filter(|_| wrapped.len() == WRAPPED_DEK_BYTES)
        .ok_or_else(|| EnvelopeError::malformed("a wrapped data key", "it is not 60 bytes long"))?;
    let mut opened = Zeroizing::new(sealed.to_vec());
    let plain = aes_key(kek)?
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context.encode()), &mut opened)
        .map_err(|_| EnvelopeError::WrongKey)?;
    DataKey::from_slice(plain)
}

/// Seals a key of 32 bytes to a member's X-Wing public key (1,216 bytes) by HPKE (RFC 9180, base mode, KEM 0x647a, HKDF-SHA256,
/// AES-256-GCM).
fn seal_to_member(
    recipient_key: &[u8],
    key: &[u8; 32],
    info: &[u8],
    aad: &[u8],
) -> Result<Vec<u8>, EnvelopeError> {
    let recipient = <XWing as Kem>::PublicKey::from_bytes(recipient_key)
        .map_err(|_| EnvelopeError::Key("the recipient's encryption key"))?;
    let (encapsulation, sealed) =
        hpke::single_shot_seal::<AesGcm256, HkdfSha256, XWing>(&OpModeS::Base, &recipient, info, key, aad)
            .map_err(|_| EnvelopeError::Crypto("wrapping a key to a member"))?;
    Ok([encapsulation.to_bytes().as_slice(), &sealed].concat())
}

/// The inverse of [`seal_to_member`] for the recipient.
fn open_as_member(
    keys: &MemberKeys,
    wrapped: &[u8],
    info: &[u8],
    aad: &[u8],
) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
    let (encapsulation, sealed) = wrapped
        .split_at_checked(ENCAPSULATION_BYTES)
        .filter(|(_, sealed)| sealed.len() == 32_usize.saturating_add(TAG_BYTES))
        .ok_or_else(|| EnvelopeError::malformed("a key wrapped to a member", "it is not 1,168 bytes long"))?;
    let encapsulation =
        <XWing as Kem>::EncappedKey::from_bytes(encapsulation).map_err(|_| EnvelopeError::WrongKey)?;
    hpke::single_shot_open::<AesGcm256, HkdfSha256, XWing>(
        &OpModeR::Base,
        &keys.encryption_secret()?,
        &encapsulation,
        info,
        sealed,
        aad,
    )
    .map(Zeroizing::new)
    .map_err(|_| EnvelopeError::WrongKey)
}

/// Wraps `kek` to a member's X-Wing public key: [`MEMBER_WRAPPED_BYTES`] bytes.
///
/// # Errors
/// [`EnvelopeError::Key`] if the public key is invalid.
pub fn wrap_kek(
    recipient_key: &[u8],
    kek: &AudienceKey,
    context: &KekContext,
) -> Result<Vec<u8>, EnvelopeError> {
    seal_to_member(recipient_key, kek.expose(), &context.info(), &context.aad())
}

/// The inverse of [`wrap_kek`] for the recipient in the same context.
///
/// # Errors
/// [`EnvelopeError::WrongKey`] if recipient, context or bytes differ.
pub fn unwrap_kek(
    keys: &MemberKeys,
    wrapped: &[u8],
    context: &KekContext,
) -> Result<AudienceKey, EnvelopeError> {
    AudienceKey::from_slice(&open_as_member(keys, wrapped, &context.info(), &context.aad())?)
}

/// Wraps the data key of one version to a member's X-Wing public key: [`MEMBER_WRAPPED_BYTES`] bytes.
///
/// # Errors
/// [`EnvelopeError::Key`] if the public key is invalid.
pub fn wrap_granted_dek(
    recipient_key: &[u8],
    dek: &DataKey,
    context: &GrantedDekContext,
) -> Result<Vec<u8>, EnvelopeError> {
    seal_to_member(recipient_key, dek.expose(), &context.info(), &context.aad())
}

/// The inverse of [`wrap_granted_dek`] for the recipient in the same context. Whether the key is that of the version is said by the
/// key commitment in the object root: a hostile owner wraps any key.
///
/// # Errors
/// [`EnvelopeError::WrongKey`] if recipient, context or bytes differ.
pub fn unwrap_granted_dek(
    keys: &MemberKeys,
    wrapped: &[u8],
    context: &GrantedDekContext,
) -> Result<DataKey, EnvelopeError> {
    DataKey::from_slice(&open_as_member(keys, wrapped, &context.info(), &context.aad())?)
}

fn owner_label(chain_id: u64, object: ObjectId, epoch: u32) -> Vec<u8> {
    let mut out = b"hansa/v1 owner key".to_vec();
    out.extend(chain_id.to_be_bytes());
    out.extend(object.owner.value().to_be_bytes());
    out.extend(object.number.to_be_bytes());
    out.extend(epoch.to_be_bytes());
    out
}

/// Wraps an audience key for its owner alone: 60 bytes under the member's storage key. It travels with the object, so that the owner has its
/// keys again where its own disk is lost (C7).
///
/// # Errors
/// When the random generator fails.
pub fn wrap_owner_key(
    storage: &StorageKey,
    kek: &AudienceKey,
    chain_id: u64,
    object: ObjectId,
    epoch: u32,
) -> Result<Vec<u8>, EnvelopeError> {
    storage.seal(&owner_label(chain_id, object, epoch), kek.expose())
}

/// Unwraps the result of [`wrap_owner_key`].
///
/// # Errors
/// [`EnvelopeError::Tampered`] when storage key, chain, object, epoch or bytes are others.
pub fn unwrap_owner_key(
    storage: &StorageKey,
    wrapped: &[u8],
    chain_id: u64,
    object: ObjectId,
    epoch: u32,
) -> Result<AudienceKey, EnvelopeError> {
    AudienceKey::from_slice(&storage.open(&owner_label(chain_id, object, epoch), wrapped)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> ObjectId {
        text.parse().unwrap()
    }

    fn dek_context() -> DekContext {
        DekContext {
            chain_id: 7,
            object: object("1/42"),
            version: Version(3),
            epoch: 2,
            key_commitment: B256::repeat_byte(9),
        }
    }

    fn kek_context() -> KekContext {
        KekContext { chain_id: 7, object: object("1/42"), epoch: 2, recipient: DcId::new(5).unwrap() }
    }

    #[test]
    fn x_wing_vector_of_the_draft() {
        let vector: std::collections::HashMap<String, String> =
            serde_json::from_str(include_str!("../testdata/xwing.json")).unwrap();
        let field = |name: &str| hex::decode(&vector[name]).unwrap();
        let keys =
            MemberKeys::from_secrets([1; 32], [1; 32], field("sk").try_into().unwrap(), [1; 32]).unwrap();
        assert_eq!(keys.encryption_key().unwrap(), field("pk"));
        let encapsulation = <XWing as Kem>::EncappedKey::from_bytes(&field("ct")).unwrap();
        let shared = XWing::decap(&keys.encryption_secret().unwrap(), None, &encapsulation).unwrap();
        assert_eq!(shared.0.as_slice(), field("ss"));
    }

    #[test]
    fn rfc_9180_appendix_a_1_1_through_the_same_library() {
        // DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, base mode, sequence number 0.
        let bytes = |text: &str| hex::decode(text).unwrap();
        type X25519 = hpke::kem::X25519HkdfSha256;
        let secret = "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8";
        let encapsulated = "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431";
        let sealed =
            "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a";
        let opened = hpke::single_shot_open::<hpke::aead::AesGcm128, HkdfSha256, X25519>(
            &OpModeR::Base,
            &<X25519 as Kem>::PrivateKey::from_bytes(&bytes(secret)).unwrap(),
            &<X25519 as Kem>::EncappedKey::from_bytes(&bytes(encapsulated)).unwrap(),
            &bytes("4f6465206f6e2061204772656369616e2055726e"),
            &bytes(sealed),
            b"Count-0",
        );
        assert_eq!(opened.unwrap(), b"Beauty is truth, truth beauty");
    }

    #[test]
    fn a_wrapped_data_key_is_pinned() {
        let (kek, dek) = (AudienceKey::from_bytes([1; 32]), DataKey::from_bytes([2; 32]));
        let wrapped = wrap_dek_with_nonce(&kek, &dek, &dek_context(), [3; 12]).unwrap();
        assert_eq!(wrapped.len(), WRAPPED_DEK_BYTES);
        assert_eq!(
            hex::encode(&wrapped),
            "030303030303030303030303fa631698fd86356baffee465ce1b26aaba31a34f85cdc0b0ae12bf44a8488471a0d3e13df54e3f4eea314cf454ab3e8b"
        );
        assert_eq!(unwrap_dek(&kek, &wrapped, &dek_context()).unwrap(), dek);
    }

    #[test]
    fn data_keys_open_only_in_their_context_and_unaltered() {
        let (kek, dek) = (AudienceKey::generate().unwrap(), DataKey::generate().unwrap());
        let good = dek_context();
        let wrapped = wrap_dek(&kek, &dek, &good).unwrap();
        let others = [
            DekContext { chain_id: 8, ..good },
            DekContext { object: object("1/43"), ..good },
            DekContext { object: object("2/42"), ..good },
            DekContext { version: Version(4), ..good },
            DekContext { epoch: 3, ..good },
            DekContext { key_commitment: B256::ZERO, ..good },
        ];
        for other in others {
            assert!(matches!(unwrap_dek(&kek, &wrapped, &other), Err(EnvelopeError::WrongKey)), "{other:?}");
        }
        assert!(unwrap_dek(&AudienceKey::generate().unwrap(), &wrapped, &good).is_err());
        for at in 0..wrapped.len() {
            let mut bad = wrapped.clone();
            bad[at] ^= 1;
            assert!(unwrap_dek(&kek, &bad, &good).is_err(), "{at}");
            assert!(unwrap_dek(&kek, &wrapped[..at], &good).is_err(), "{at}");
        }
    }

    #[test]
    fn audience_keys_open_only_for_their_recipient_in_their_context_and_unaltered() {
        let keys = MemberKeys::generate().unwrap();
        let kek = AudienceKey::generate().unwrap();
        let good = kek_context();
        let wrapped = wrap_kek(&keys.encryption_key().unwrap(), &kek, &good).unwrap();
        assert_eq!(wrapped.len(), MEMBER_WRAPPED_BYTES);
        assert_eq!(unwrap_kek(&keys, &wrapped, &good).unwrap(), kek);
        let others = [
            KekContext { chain_id: 8, ..good },
            KekContext { object: object("1/43"), ..good },
            KekContext { epoch: 3, ..good },
            KekContext { recipient: DcId::new(6).unwrap(), ..good },
        ];
        for other in others {
            assert!(matches!(unwrap_kek(&keys, &wrapped, &other), Err(EnvelopeError::WrongKey)), "{other:?}");
        }
        assert!(unwrap_kek(&MemberKeys::generate().unwrap(), &wrapped, &good).is_err());
        for at in (0..wrapped.len()).step_by(41).chain(1120..wrapped.len()) {
            let mut bad = wrapped.clone();
            bad[at] ^= 1;
            assert!(unwrap_kek(&keys, &bad, &good).is_err(), "{at}");
            assert!(unwrap_kek(&keys, &wrapped[..at], &good).is_err(), "{at}");
        }
        for bad in [&[][..], &[0; 32], &[0xff; 1216]] {
            assert!(matches!(wrap_kek(bad, &kek, &good), Err(EnvelopeError::Key(_))), "{}", bad.len());
        }
    }

    fn granted_context() -> GrantedDekContext {
        let (object, recipient) = (object("1/42"), DcId::new(5).unwrap());
        GrantedDekContext { chain_id: 7, object, version: Version(3), recipient }
    }

    #[test]
    fn a_granted_data_key_is_pinned() {
        let context = granted_context();
        let info = "68616e73612f7631206772616e7465642064656b000000000000000700000001000000000000002a00000003";
        assert_eq!((hex::encode(context.info()), context.aad()), (info.to_owned(), [0, 0, 0, 5]));
        let keys = MemberKeys::from_secrets([1; 32], [1; 32], [2; 32], [1; 32]).unwrap();
        let wrapped = hex::decode(include_str!("../testdata/granted_dek.hex").trim()).unwrap();
        let dek = unwrap_granted_dek(&keys, &wrapped, &context).unwrap();
        assert_eq!(dek, DataKey::from_bytes([3; 32]));
    }

    #[test]
    fn granted_data_keys_open_only_for_their_recipient_in_their_context_and_unaltered() {
        let keys = MemberKeys::generate().unwrap();
        let dek = DataKey::generate().unwrap();
        let good = granted_context();
        let wrapped = wrap_granted_dek(&keys.encryption_key().unwrap(), &dek, &good).unwrap();
        assert_eq!(wrapped.len(), MEMBER_WRAPPED_BYTES);
        assert_eq!(unwrap_granted_dek(&keys, &wrapped, &good).unwrap(), dek);
        let others = [
            GrantedDekContext { chain_id: 8, ..good },
            GrantedDekContext { object: object("1/43"), ..good },
            GrantedDekContext { object: object("2/42"), ..good },
            GrantedDekContext { version: Version(4), ..good },
            GrantedDekContext { recipient: DcId::new(6).unwrap(), ..good },
        ];
        for other in others {
            let opened = unwrap_granted_dek(&keys, &wrapped, &other);
            assert!(matches!(opened, Err(EnvelopeError::WrongKey)), "{other:?}");
        }
        assert!(unwrap_granted_dek(&MemberKeys::generate().unwrap(), &wrapped, &good).is_err());
        for at in (0..wrapped.len()).step_by(41).chain(1120..wrapped.len()) {
            let mut bad = wrapped.clone();
            bad[at] ^= 1;
            assert!(unwrap_granted_dek(&keys, &bad, &good).is_err(), "{at}");
            assert!(unwrap_granted_dek(&keys, &wrapped[..at], &good).is_err(), "{at}");
        }
        // The epoch with the version's number: the same integers, another label.
        let as_kek = KekContext { epoch: 3, ..kek_context() };
        assert!(matches!(unwrap_kek(&keys, &wrapped, &as_kek), Err(EnvelopeError::WrongKey)));
    }

    #[test]
    fn an_owner_key_opens_in_its_place_only() {
        let keys = MemberKeys::generate().unwrap();
        let storage = keys.storage_key().unwrap();
        let (kek, object) = (AudienceKey::generate().unwrap(), "1/42".parse().unwrap());
        let wrapped = wrap_owner_key(&storage, &kek, 7, object, 3).unwrap();
        assert_eq!(wrapped.len(), OWNER_KEY_BYTES);
        assert!(unwrap_owner_key(&storage, &wrapped, 7, object, 3).unwrap() == kek);
        let other = "1/43".parse().unwrap();
        let stranger = MemberKeys::generate().unwrap().storage_key().unwrap();
        let wrong = [
            unwrap_owner_key(&stranger, &wrapped, 7, object, 3),
            unwrap_owner_key(&storage, &wrapped, 8, object, 3),
            unwrap_owner_key(&storage, &wrapped, 7, other, 3),
            unwrap_owner_key(&storage, &wrapped, 7, object, 4),
            unwrap_owner_key(&storage, &wrapped[1..], 7, object, 3),
        ];
        assert!(wrong.into_iter().all(|opened| opened.is_err()));
    }
}
