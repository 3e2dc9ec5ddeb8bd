//! A member's secret keys and their uses: three that the registry knows, and the storage secret of its node.
//!
//! Secrets are zeroised on drop and never printed. [`crate::KeyStore`] stores them.

use core::fmt;

use alloy_consensus::{SignableTransaction, Signed};
use alloy_primitives::{Address, B256, Bytes, Signature};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use hansa_contracts::card_digest;
use hansa_types::{ClusterId, MemberCard, NetworkKey, SignedCard, SignedTransaction};
use hpke::{Deserializable, Kem, Serializable, kem::XWing};
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{EnvelopeError, secret::random, version_keys::expand};

/// Network key (ed25519), account (secp256k1) and encryption key (X-Wing) of one member, and its storage secret.
///
/// The storage secret is independent of the three keys, so that a member with new keys still reads its own disk.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MemberKeys {
    network: [u8; 32],
    account: [u8; 32],
    encryption: [u8; 32],
    storage: [u8; 32],
}

impl fmt::Debug for MemberKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberKeys({})", self.account())
    }
}

fn secp256k1_secret(bytes: &[u8; 32]) -> Result<SecretKey, EnvelopeError> {
    SecretKey::from_byte_array(bytes).map_err(|_| EnvelopeError::Key("the account's secret key"))
}

fn address_of(key: &PublicKey) -> Address {
    let [_, point @ ..] = key.serialize_uncompressed();
    Address::from_raw_public_key(&point)
}

impl MemberKeys {
    /// Fresh random keys.
    ///
    /// # Errors
    /// When the random generator fails.
    pub fn generate() -> Result<Self, EnvelopeError> {
        let mut account = random()?;
        while secp256k1_secret(&account).is_err() {
            account = random()?;
        }
        Ok(Self { network: random()?, account, encryption: random()?, storage: random()? })
    }

    /// Fresh keys for the same member: network key, account and encryption key are new, the storage secret stays.
    ///
    /// # Errors
    /// When the random generator fails.
    pub fn renewed(&self) -> Result<Self, EnvelopeError> {
        let mut renewed = Self::generate()?;
        renewed.storage = self.storage;
        Ok(renewed)
    }

    /// Keys from their secrets: ed25519 seed, secp256k1 scalar, X-Wing seed, storage secret; 32 bytes each.
    ///
    /// # Errors
    /// [`EnvelopeError::Key`] when the scalar is zero or not below the group order.
    pub fn from_secrets(
        network: [u8; 32],
        account: [u8; 32],
        encryption: [u8; 32],
        storage: [u8; 32],
    ) -> Result<Self, EnvelopeError> {
        let keys = Self { network, account, encryption, storage };
        secp256k1_secret(&keys.account)?;
        Ok(keys)
    }

    /// The ed25519 seed (32 bytes), for the consensus engine and libp2p.
    pub fn network_secret(&self) -> &[u8; 32] {
        &self.network
    }

    /// The secp256k1 scalar (32 bytes, big endian), for exporting a development key.
    pub fn account_secret(&self) -> &[u8; 32] {
        &self.account
    }

    /// The X-Wing seed (32 bytes).
    pub fn encryption_seed(&self) -> &[u8; 32] {
        &self.encryption
    }

    /// The storage secret (32 bytes).
    pub fn storage_secret(&self) -> &[u8; 32] {
        &self.storage
    }

    pub(crate) fn encryption_secret(&self) -> Result<<XWing as Kem>::PrivateKey, EnvelopeError> {
        <XWing as Kem>::PrivateKey::from_bytes(&self.encryption)
            .map_err(|_| EnvelopeError::Key("the encryption key"))
    }

    /// The ed25519 public key.
    pub fn network_key(&self) -> NetworkKey {
        NetworkKey(B256::from(SigningKey::from_bytes(&self.network).verifying_key().to_bytes()))
    }

    /// The account's address.
    pub fn account(&self) -> Address {
        secp256k1_secret(&self.account)
            .map(|secret| address_of(&PublicKey::from_secret_key(SECP256K1, &secret)))
            .unwrap_or_default()
    }

    /// The X-Wing public key, 1,216 bytes.
    ///
    /// # Errors
    /// Never for keys made by this type.
    pub fn encryption_key(&self) -> Result<Bytes, EnvelopeError> {
        Ok(Bytes::copy_from_slice(&XWing::sk_to_pk(&self.encryption_secret()?).to_bytes()))
    }

    /// The card that an organisation publishes, signed by account and network key. Endpoints as [`MemberCard`] says.
    ///
    /// # Errors
    /// Never for keys made by this type.
    pub fn card(
        &self,
        name: String,
        cluster: ClusterId,
        consensus_endpoint: String,
        swarm_endpoint: String,
    ) -> Result<SignedCard, EnvelopeError> {
        let card = MemberCard {
            name,
            cluster,
            account: self.account(),
            network_key: self.network_key(),
            encryption_key: self.encryption_key()?,
            consensus_endpoint,
            swarm_endpoint,
        };
        let digest = card_digest(&card);
        Ok(SignedCard {
            account_signature: Bytes::copy_from_slice(&self.sign_digest(digest)?.as_bytes()),
            network_signature: Bytes::copy_from_slice(&self.sign_network(digest.as_slice())),
            card,
        })
    }

    /// Signs with the network key: 64 bytes, RFC 8032.
    pub fn sign_network(&self, message: &[u8]) -> [u8; 64] {
        SigningKey::from_bytes(&self.network).sign(message).to_bytes()
    }

    /// Signs a 32-byte digest (EIP-712, EIP-191) with the account: low-s, RFC 6979. [`Signature::as_bytes`] gives the 65
    /// bytes r ‖ s ‖ v with v 27 or 28 that contracts take.
    ///
    /// # Errors
    /// Never for keys made by this type.
    pub fn sign_digest(&self, digest: B256) -> Result<Signature, EnvelopeError> {
        let secret = secp256k1_secret(&self.account)?;
        let signature = SECP256K1.sign_ecdsa_recoverable(&Message::from_digest(digest.0), &secret);
        let (recovery, compact) = signature.serialize_compact();
        Ok(Signature::from_bytes_and_parity(&compact, i32::from(recovery) & 1 == 1))
    }

    /// Signs a transaction of any type with the account. The chain id is the transaction's own.
    ///
    /// # Errors
    /// Never for keys made by this type.
    pub fn sign_transaction<T>(&self, transaction: T) -> Result<SignedTransaction, EnvelopeError>
    where
        T: SignableTransaction<Signature>,
        SignedTransaction: From<Signed<T>>,
    {
        let signature = self.sign_digest(transaction.signature_hash())?;
        Ok(transaction.into_signed(signature).into())
    }

    /// The key under which this member's node stores secrets on its own disk: HKDF-SHA256 over the storage secret.
    ///
    /// # Errors
    /// Only when the cryptographic library fails.
    pub fn storage_key(&self) -> Result<StorageKey, EnvelopeError> {
        StorageKey::of_secret(&self.storage)
    }
}

/// Checks that a card is signed by its own account and its own network key.
///
/// # Errors
/// [`EnvelopeError::CardNotSigned`] with the key whose signature is missing or another's. An account that is a contract (EIP-1271) is
/// checked by the registry alone.
pub fn check_card(signed: &SignedCard) -> Result<(), EnvelopeError> {
    let digest = card_digest(&signed.card);
    let by_network = VerifyingKey::from_bytes(&signed.card.network_key.0.0).is_ok_and(|key| {
        ed25519_dalek::Signature::from_slice(&signed.network_signature)
            .is_ok_and(|signature| key.verify_strict(digest.as_slice(), &signature).is_ok())
    });
    if !by_network {
        return Err(EnvelopeError::CardNotSigned("network key"));
    }
    let by_account = Signature::try_from(signed.account_signature.as_ref())
        .is_ok_and(|signature| verify_account_signature(signed.card.account, digest, &signature));
    if by_account { Ok(()) } else { Err(EnvelopeError::CardNotSigned("account")) }
}

/// Whether `signature` over `digest` is by `account`.
pub fn verify_account_signature(account: Address, digest: B256, signature: &Signature) -> bool {
    signature.recover_address_from_prehash(&digest).is_ok_and(|signer| signer == account)
}

/// Encrypts small values that a node keeps on its own disk: AES-256-GCM, random nonce, bound to a label.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct StorageKey([u8; 32]);

impl StorageKey {
    pub(crate) fn of_secret(secret: &[u8; 32]) -> Result<Self, EnvelopeError> {
        let prk = Salt::new(HKDF_SHA256, b"hansa/v1").extract(secret);
        Ok(Self(*expand(&prk, b"hansa/v1 storage")?))
    }

    fn cipher(&self) -> Result<LessSafeKey, EnvelopeError> {
        UnboundKey::new(&AES_256_GCM, &self.0)
            .map(LessSafeKey::new)
            .map_err(|_| EnvelopeError::Crypto("AES-256-GCM"))
    }

    /// Raw bytes, for another store's own encryption.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key for another purpose; different labels give independent keys.
    ///
    /// # Errors
    /// Only when the cryptographic library fails.
    pub fn derive(&self, label: &str) -> Result<Self, EnvelopeError> {
        let prk = Salt::new(HKDF_SHA256, b"hansa/v1 storage").extract(&self.0);
        Ok(Self(*expand(&prk, label.as_bytes())?))
    }

    /// Seals a value: nonce 12 ‖ ciphertext ‖ tag 16. `label` is authenticated and needed to open; callers use the value's key in its store.
    ///
    /// # Errors
    /// When the random generator fails.
    pub fn seal(&self, label: &[u8], value: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut sealed = value.to_vec();
        self.cipher()?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(label), &mut sealed)
            .map_err(|_| EnvelopeError::Crypto("sealing a stored value"))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// The inverse of [`StorageKey::seal`] with the same label.
    ///
    /// # Errors
    /// [`EnvelopeError::Tampered`] if key, label or bytes differ.
    pub fn open(&self, label: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        let damaged = || EnvelopeError::Tampered("a stored secret");
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(damaged)?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let length = self
            .cipher()?
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(label), &mut opened)
            .map_err(|_| damaged())?
            .len();
        opened.truncate(length);
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use alloy_consensus::{TxEip1559, TxLegacy, transaction::SignerRecoverable};
    use alloy_primitives::{TxKind, address, keccak256};

    use super::*;

    fn keys() -> MemberKeys {
        MemberKeys::from_secrets([1; 32], [0x46; 32], [3; 32], [4; 32]).unwrap()
    }

    #[test]
    fn a_card_counts_only_with_the_signatures_of_its_own_keys() {
        let card =
            |keys: &MemberKeys| keys.card("acme".into(), ClusterId(1), "a:1".into(), "b".into()).unwrap();
        let (own, other) = (card(&keys()), card(&MemberKeys::generate().unwrap()));
        check_card(&own).unwrap();
        let changes: [&dyn Fn(&mut SignedCard); 6] = [
            &|signed| signed.card.encryption_key = other.card.encryption_key.clone(),
            &|signed| signed.card.account = other.card.account,
            &|signed| signed.card.consensus_endpoint = "a:2".into(),
            &|signed| signed.account_signature = other.account_signature.clone(),
            &|signed| signed.network_signature = other.network_signature.clone(),
            &|signed| signed.account_signature = Bytes::new(),
        ];
        for change in changes {
            let mut changed = own.clone();
            change(&mut changed);
            assert!(matches!(check_card(&changed), Err(EnvelopeError::CardNotSigned(_))));
        }
    }

    #[test]
    fn renewed_keys_are_others_and_read_the_same_disk() {
        let renewed = keys().renewed().unwrap();
        assert_ne!(renewed.account(), keys().account());
        assert_ne!(renewed.network_key(), keys().network_key());
        assert_ne!(renewed.encryption_key().unwrap(), keys().encryption_key().unwrap());
        let sealed = keys().storage_key().unwrap().seal(b"label", b"value").unwrap();
        assert_eq!(*renewed.storage_key().unwrap().open(b"label", &sealed).unwrap(), b"value");
    }

    #[test]
    fn eip_155_example_transaction_is_signed_as_published() {
        // EIP-155, "Example": nonce 9, 20 gwei, 21000, 0x3535…, 1 ether, chain 1, key 0x4646….
        let tx = TxLegacy {
            chain_id: Some(1),
            nonce: 9,
            gas_price: 20_000_000_000,
            gas_limit: 21_000,
            to: TxKind::Call(address!("3535353535353535353535353535353535353535")),
            value: alloy_primitives::U256::from(10).pow(alloy_primitives::U256::from(18)),
            input: Bytes::new(),
        };
        let signed = keys().sign_transaction(tx).unwrap();
        let signature = signed.signature();
        assert_eq!(
            format!("{:x}", signature.r()),
            "28ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276"
        );
        assert_eq!(
            format!("{:x}", signature.s()),
            "67cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83"
        );
        assert_eq!(signed.recover_signer().unwrap(), keys().account());
        assert_eq!(keys().account(), address!("9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F"));
    }

    #[test]
    fn digests_and_typed_transactions_recover_to_the_account() {
        let keys = MemberKeys::generate().unwrap();
        let digest = keccak256(b"digest");
        let signature = keys.sign_digest(digest).unwrap();
        assert!(verify_account_signature(keys.account(), digest, &signature));
        assert!(!verify_account_signature(keys.account(), keccak256(b"other"), &signature));
        assert!(matches!(signature.as_bytes()[64], 27 | 28));
        let tx = keys.sign_transaction(TxEip1559 { chain_id: 7, ..Default::default() }).unwrap();
        assert_eq!(tx.recover_signer().unwrap(), keys.account());
    }

    #[test]
    fn rfc_8032_test_2() {
        let seed = hex::decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb").unwrap();
        let keys = MemberKeys::from_secrets(seed.try_into().unwrap(), [1; 32], [0; 32], [0; 32]).unwrap();
        assert_eq!(
            hex::encode(keys.network_key().0),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        assert_eq!(
            hex::encode(keys.sign_network(&[0x72])),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
    }

    #[test]
    fn impossible_account_keys_are_refused() {
        for bad in [[0; 32], [0xff; 32]] {
            assert!(matches!(
                MemberKeys::from_secrets([1; 32], bad, [1; 32], [1; 32]),
                Err(EnvelopeError::Key(_))
            ));
        }
    }

    #[test]
    fn stored_values_open_only_under_their_key_and_label() {
        let key = keys().storage_key().unwrap();
        let sealed = key.seal(b"a/1", b"secret").unwrap();
        assert_eq!(key.open(b"a/1", &sealed).unwrap().as_slice(), b"secret");
        assert!(key.open(b"a/2", &sealed).is_err());
        assert!(key.derive("x").unwrap().open(b"a/1", &sealed).is_err());
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            assert!(key.open(b"a/1", &bad).is_err(), "{i}");
            assert!(key.open(b"a/1", &sealed[..i]).is_err(), "{i}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = format!("{:?}", keys());
        assert_eq!(text, format!("MemberKeys({})", keys().account()));
    }
}
