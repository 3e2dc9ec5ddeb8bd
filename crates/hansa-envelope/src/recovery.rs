//! The backup of a member's secrets, which only its recovery key opens (C7).
//!
//! The recovery key is 32 random bytes that exist on paper alone. Its X-Wing key pair follows from it, so whoever seals the backup needs
//! the public half only, and an attacker with a quantum computer gains nothing from the ciphertext, which every member may read. Text
//! form of the key: lower-case hexadecimal in groups of eight digits, the last group the start of a SHA-256 over the others, so that a
//! slip of the pen is noticed.

use std::{fmt, str::FromStr};

use alloy_primitives::hex;
use aws_lc_rs::digest::{SHA256, digest};
use hansa_types::SwarmKey;
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, aead::AesGcm256, kdf::HkdfSha256, kem::XWing,
};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{EnvelopeError, MemberKeys, secret::random};

const INFO: &[u8] = b"hansa/v1 recovery";
/// The first bytes of a sealed backup: tells it from any other file.
const MAGIC: &[u8; 8] = b"hansa-r1";
const ENCAPSULATION_BYTES: usize = 1120;
/// Longest backup that is read; its largest part is the genesis file.
const SEALED_BYTES_MAX: usize = 16 << 20;
const CHECK_BYTES: usize = 4;

/// A member's recovery key. Never stored; printed once.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RecoveryKey([u8; 32]);

/// The content of a backup: enough to be the member again on an empty disk.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backup {
    /// ed25519 seed, secp256k1 scalar, X-Wing seed, storage secret; 32 bytes each.
    secrets: [Secret; 4],
    /// The swarm's pre-shared key.
    swarm: Secret,
    /// The member's card as JSON.
    pub card: String,
    /// The genesis file's text.
    pub genesis: String,
}

/// 32 secret bytes, hexadecimal in JSON.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Secret([u8; 32]);

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        hex::encode(secret.0)
    }
}

impl TryFrom<String> for Secret {
    type Error = EnvelopeError;

    fn try_from(text: String) -> Result<Self, EnvelopeError> {
        let text = Zeroizing::new(text);
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.as_bytes(), &mut bytes)
            .map_err(|_| EnvelopeError::Key("a backup's secret"))?;
        Ok(Self(bytes))
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(_)")
    }
}

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backup(_)")
    }
}

fn check(key: &[u8; 32]) -> Vec<u8> {
    digest(&SHA256, key).as_ref().iter().copied().take(CHECK_BYTES).collect()
}

impl RecoveryKey {
    /// A fresh random key.
    ///
    /// # Errors
    /// When the random generator fails.
    pub fn generate() -> Result<Self, EnvelopeError> {
        Ok(Self(random()?))
    }

    /// The text to print: nine groups of eight hexadecimal digits.
    pub fn to_text(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new([self.0.as_slice(), &check(&self.0)].concat());
        let groups: Zeroizing<Vec<String>> = Zeroizing::new(bytes.chunks(4).map(hex::encode).collect());
        Zeroizing::new(groups.join(" "))
    }

    fn secret(&self) -> Result<<XWing as Kem>::PrivateKey, EnvelopeError> {
        <XWing as Kem>::PrivateKey::from_bytes(&self.0).map_err(|_| EnvelopeError::Key("the recovery key"))
    }

    /// Seals a backup by HPKE (RFC 9180, base mode): magic 8 ‖ X-Wing encapsulation 1,120 ‖ ciphertext ‖ tag 16.
    ///
    /// # Errors
    /// Only when the cryptographic library fails.
    pub fn seal(&self, backup: &Backup) -> Result<Vec<u8>, EnvelopeError> {
        let failed = |_| EnvelopeError::Crypto("sealing a backup");
        let plain = Zeroizing::new(
            serde_json::to_vec(backup).map_err(|_| EnvelopeError::Crypto("encoding a backup"))?,
        );
        let public = XWing::sk_to_pk(&self.secret()?);
        let (encapsulation, sealed) = hpke::single_shot_seal::<AesGcm256, HkdfSha256, XWing>(
            &OpModeS::Base,
            &public,
            INFO,
            &plain,
            MAGIC,
        )
        .map_err(failed)?;
        Ok([MAGIC.as_slice(), encapsulation.to_bytes().as_slice(), &sealed].concat())
    }

    /// Opens what [`RecoveryKey::seal`] sealed.
    ///
    /// # Errors
    /// [`EnvelopeError::ForeignBackup`] when it is no backup, or another key's, or damaged.
    pub fn open(&self, sealed: &[u8]) -> Result<Backup, EnvelopeError> {
        let foreign = || EnvelopeError::ForeignBackup;
        if sealed.len() > SEALED_BYTES_MAX {
            return Err(foreign());
        }
        let rest = sealed.strip_prefix(MAGIC.as_slice()).ok_or_else(foreign)?;
        let (encapsulation, sealed) = rest.split_at_checked(ENCAPSULATION_BYTES).ok_or_else(foreign)?;
        let encapsulation = <XWing as Kem>::EncappedKey::from_bytes(encapsulation).map_err(|_| foreign())?;
        let plain = hpke::single_shot_open::<AesGcm256, HkdfSha256, XWing>(
            &OpModeR::Base,
            &self.secret()?,
            &encapsulation,
            INFO,
            sealed,
            MAGIC,
        );
        let plain = Zeroizing::new(plain.map_err(|_| foreign())?);
        serde_json::from_slice(&plain).map_err(|_| foreign())
    }
}

impl FromStr for RecoveryKey {
    type Err = EnvelopeError;

    /// Reads the text form; spaces and line breaks count for nothing.
    fn from_str(text: &str) -> Result<Self, EnvelopeError> {
        let digits: Zeroizing<String> = Zeroizing::new(text.split_whitespace().collect());
        let mut bytes = Zeroizing::new([0; 32 + CHECK_BYTES]);
        hex::decode_to_slice(digits.as_bytes(), bytes.as_mut_slice())
            .map_err(|_| EnvelopeError::RecoveryKeyText)?;
        let (key, sum) = bytes.split_at(32);
        let key: [u8; 32] = key.try_into().map_err(|_| EnvelopeError::RecoveryKeyText)?;
        if check(&key) == sum { Ok(Self(key)) } else { Err(EnvelopeError::RecoveryKeyText) }
    }
}

impl Backup {
    /// A member's secrets with the public files that its home needs.
    pub fn new(keys: &MemberKeys, swarm: &SwarmKey, card: String, genesis: String) -> Self {
        let secrets =
            [keys.network_secret(), keys.account_secret(), keys.encryption_seed(), keys.storage_secret()];
        Self { secrets: secrets.map(|secret| Secret(*secret)), swarm: Secret(*swarm.expose()), card, genesis }
    }

    /// The member's keys.
    ///
    /// # Errors
    /// [`EnvelopeError::Key`] when the account's scalar is none.
    pub fn keys(&self) -> Result<MemberKeys, EnvelopeError> {
        let [network, account, encryption, storage] = &self.secrets;
        MemberKeys::from_secrets(network.0, account.0, encryption.0, storage.0)
    }

    /// The swarm's pre-shared key.
    pub fn swarm_key(&self) -> SwarmKey {
        SwarmKey::from_bytes(self.swarm.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> (MemberKeys, Backup) {
        let keys = MemberKeys::generate().unwrap();
        let swarm = SwarmKey::from_bytes([7; 32]);
        let backup = Backup::new(&keys, &swarm, "card".into(), "genesis".into());
        (keys, backup)
    }

    #[test]
    fn a_backup_brings_the_member_back_and_only_with_its_own_key() {
        let (keys, backup) = backup();
        let key = RecoveryKey::generate().unwrap();
        let sealed = key.seal(&backup).unwrap();
        let opened = key.open(&sealed).unwrap();
        assert_eq!(opened.keys().unwrap().public().unwrap(), keys.public().unwrap());
        assert_eq!(opened.keys().unwrap().storage_secret(), keys.storage_secret());
        assert_eq!((opened.card.as_str(), opened.genesis.as_str()), ("card", "genesis"));
        assert_eq!(opened.swarm_key().expose(), &[7; 32]);

        let foreign = |sealed: &[u8], key: &RecoveryKey| {
            assert!(matches!(key.open(sealed), Err(EnvelopeError::ForeignBackup)));
        };
        foreign(&sealed, &RecoveryKey::generate().unwrap());
        foreign(b"", &key);
        for end in (0..sealed.len()).step_by(97) {
            foreign(&sealed[..end], &key);
        }
        for at in (0..sealed.len()).step_by(61) {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            foreign(&damaged, &key);
        }
    }

    #[test]
    fn the_text_of_a_key_notices_slips() {
        let key = RecoveryKey([0xab; 32]);
        let text = key.to_text();
        assert_eq!(text.split(' ').count(), 9);
        let back: RecoveryKey = format!("\n {} \n", *text).parse().unwrap();
        assert_eq!(back.0, key.0);
        for bad in ["", "abababab", &text[1..], &text.replacen("ab", "ba", 1)] {
            assert!(matches!(bad.parse::<RecoveryKey>(), Err(EnvelopeError::RecoveryKeyText)), "{bad}");
        }
    }

    #[test]
    fn a_sealed_backup_shows_nothing_of_its_content() {
        let (keys, backup) = backup();
        let sealed = RecoveryKey::generate().unwrap().seal(&backup).unwrap();
        let text = String::from_utf8_lossy(&sealed);
        assert!(!text.contains("genesis") && !text.contains(&hex::encode(keys.account_secret())));
    }
}
