//! Draws the swarm's pre-shared key and wraps it for a new member.
//!
//! This hides the key from the carrier of an invitation. Admission to the swarm is decided by the registry.

use hansa_types::{DcId, SwarmKey};
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, aead::AesGcm256, kdf::HkdfSha256, kem::XWing,
};
use zeroize::Zeroizing;

use crate::{EnvelopeError, MemberKeys, secret::random};

const ENCAPSULATION_BYTES: usize = 1120;

fn info(chain_id: u64) -> Vec<u8> {
    [b"hansa/v1 invitation".as_slice(), &chain_id.to_be_bytes()].concat()
}

/// A fresh random swarm key.
///
/// # Errors
/// When the operating system's random generator fails.
pub fn new_swarm_key() -> Result<SwarmKey, EnvelopeError> {
    random().map(SwarmKey::from_bytes)
}

/// Wraps the swarm key to a member's X-Wing public key (1,216 bytes) by HPKE (RFC 9180, base mode): 1,168 bytes.
///
/// # Errors
/// [`EnvelopeError::Key`] if the public key is invalid.
pub fn wrap_swarm_key(
    recipient_key: &[u8],
    key: &SwarmKey,
    chain_id: u64,
    recipient: DcId,
) -> Result<Vec<u8>, EnvelopeError> {
    let public = <XWing as Kem>::PublicKey::from_bytes(recipient_key)
        .map_err(|_| EnvelopeError::Key("the recipient's encryption key"))?;
    let (encapsulation, sealed) = hpke::single_shot_seal::<AesGcm256, HkdfSha256, XWing>(
        &OpModeS::Base,
        &public,
        &info(chain_id),
        key.expose(),
        &recipient.value().to_be_bytes(),
    )
    .map_err(|_| EnvelopeError::Crypto("wrapping the swarm key"))?;
    Ok([encapsulation.to_bytes().as_slice(), &sealed].concat())
}

/// The inverse of [`wrap_swarm_key`].
///
/// # Errors
/// [`EnvelopeError::WrongKey`] if recipient, chain or bytes differ.
pub fn unwrap_swarm_key(
    keys: &MemberKeys,
    wrapped: &[u8],
    chain_id: u64,
    recipient: DcId,
) -> Result<SwarmKey, EnvelopeError> {
    let (encapsulation, sealed) =
        wrapped.split_at_checked(ENCAPSULATION_BYTES).ok_or(EnvelopeError::WrongKey)?;
    let encapsulation =
        <XWing as Kem>::EncappedKey::from_bytes(encapsulation).map_err(|_| EnvelopeError::WrongKey)?;
    let plain = Zeroizing::new(
        hpke::single_shot_open::<AesGcm256, HkdfSha256, XWing>(
            &OpModeR::Base,
            &keys.encryption_secret()?,
            &encapsulation,
            &info(chain_id),
            sealed,
            &recipient.value().to_be_bytes(),
        )
        .map_err(|_| EnvelopeError::WrongKey)?,
    );
    plain.as_slice().try_into().map(SwarmKey::from_bytes).map_err(|_| EnvelopeError::WrongKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_invited_member_of_the_same_chain_unwraps_the_swarm_key() {
        let (member, other) = (MemberKeys::generate().unwrap(), MemberKeys::generate().unwrap());
        let (key, five) = (new_swarm_key().unwrap(), DcId::new(5).unwrap());
        let wrapped = wrap_swarm_key(&member.encryption_key().unwrap(), &key, 7, five).unwrap();
        assert!(unwrap_swarm_key(&member, &wrapped, 7, five).unwrap() == key);
        assert!(unwrap_swarm_key(&other, &wrapped, 7, five).is_err());
        assert!(unwrap_swarm_key(&member, &wrapped, 8, five).is_err());
        assert!(unwrap_swarm_key(&member, &wrapped, 7, DcId::new(6).unwrap()).is_err());
        for end in 0..wrapped.len() {
            assert!(unwrap_swarm_key(&member, &wrapped[..end], 7, five).is_err());
        }
    }
}
