//! Seals deposits to the group key, signs identities with a share, and combines what a quorum signed.
//!
//! Pure functions; who may have what is decided elsewhere.

use std::sync::Arc;

use alloy_primitives::B256;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use bytes::Bytes;
use commonware_codec::{DecodeExt as _, Encode as _};
use commonware_cryptography::bls12381::{
    primitives::{
        group::Share,
        ops::{self, threshold},
    },
    tle::{self, Block, Ciphertext},
};
use commonware_parallel::Sequential;
use commonware_utils::sys_rng;
use hansa_types::{CAPSULE_BYTES, DEPOSITED_BYTES_MAX, Deposit, Genesis, ReleaseId};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    error::ConsensusError,
    genesis,
    release::error::ReleaseError,
    types::{GroupPublic, PartialSignature, Sharing, Signature, Variant},
};

/// Bytes of a threshold signature: a compressed point of G1.
pub(crate) const SIGNATURE_BYTES: usize = 48;
const LABEL: &[u8] = b"hansa/v1 deposit";

/// The group's signature over an identity, which opens the deposits sealed under it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReleaseSignature([u8; SIGNATURE_BYTES]);

impl core::fmt::Debug for ReleaseSignature {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ReleaseSignature")
    }
}

impl ReleaseSignature {
    /// The compressed point.
    pub const fn to_bytes(&self) -> [u8; SIGNATURE_BYTES] {
        self.0
    }

    /// A signature from its compressed point; [`GroupKey::open`] checks it.
    pub const fn from_bytes(bytes: [u8; SIGNATURE_BYTES]) -> Self {
        Self(bytes)
    }

    fn point(&self) -> Option<Signature> {
        Signature::decode(Bytes::copy_from_slice(&self.0)).ok()
    }
}

/// The consortium's public key, with the namespace in which it releases keys. Resharing does not change it. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct GroupKey {
    chain: B256,
    /// `"hansa-release:" ‖ chain id (8 bytes, big-endian) ‖ genesis hash`; votes and certificates use another one.
    namespace: Arc<[u8]>,
    public: GroupPublic,
}

impl GroupKey {
    /// The group key of the network with this genesis file and this hash of its genesis block.
    ///
    /// # Errors
    /// When the file has no group key that can be used.
    pub fn of(genesis: &Genesis, genesis_hash: B256) -> Result<Self, ConsensusError> {
        let public = *genesis::first_epoch(genesis)?.output.public().public();
        let namespace = genesis::release_namespace(genesis.chain_id, genesis_hash);
        Ok(Self { chain: genesis_hash, namespace: namespace.into(), public })
    }

    /// Hash of the network's genesis block, which every identity names.
    pub const fn chain(&self) -> B256 {
        self.chain
    }

    /// The compressed point of G2, 96 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.public.encode().to_vec()
    }

    /// Seals `inner`, which should be encrypted to the grantee already, under `id`.
    ///
    /// # Errors
    /// When `id` is of another network or `inner` is longer than [`DEPOSITED_BYTES_MAX`].
    pub fn seal(&self, id: &ReleaseId, inner: &[u8]) -> Result<Deposit, ReleaseError> {
        self.seal_with(&mut sys_rng(), id, inner)
    }

    fn seal_with(
        &self,
        rng: &mut impl CryptoRng,
        id: &ReleaseId,
        inner: &[u8],
    ) -> Result<Deposit, ReleaseError> {
        self.check_chain(id)?;
        if inner.len() > DEPOSITED_BYTES_MAX {
            return Err(ReleaseError::TooLong(inner.len()));
        }
        let mut key = Zeroizing::new([0; 32]);
        rng.fill_bytes(key.as_mut());
        let block = Zeroizing::new(Block::new(*key));
        let sealing = || ReleaseError::Crypto("sealing a deposit");
        let target = (&*self.namespace, id.encode());
        let capsule = tle::encrypt::<_, Variant>(rng, self.public, (target.0, &target.1), &block)
            .map_err(|_| sealing())?;
        let capsule = <[u8; CAPSULE_BYTES]>::try_from(capsule.encode().as_ref()).map_err(|_| sealing())?;
        let mut sealed = inner.to_vec();
        cipher(&key)?
            .seal_in_place_append_tag(only_nonce(), associated(id), &mut sealed)
            .map_err(|_| sealing())?;
        Ok(Deposit { capsule, sealed: sealed.into() })
    }

    /// Opens a deposit with the group's signature over the identity under which it was sealed.
    ///
    /// # Errors
    /// [`ReleaseError::Damaged`] when signature, identity or deposit do not belong together.
    pub fn open(
        &self,
        id: &ReleaseId,
        signature: &ReleaseSignature,
        deposit: &Deposit,
    ) -> Result<Vec<u8>, ReleaseError> {
        self.check_chain(id)?;
        let damaged = || ReleaseError::Damaged;
        let signature = signature.point().ok_or_else(damaged)?;
        let capsule = Ciphertext::<Variant>::decode(Bytes::copy_from_slice(&deposit.capsule));
        let block = tle::decrypt(&signature, &capsule.map_err(|_| damaged())?).map(Zeroizing::new);
        let key =
            Zeroizing::new(<[u8; 32]>::try_from(block.ok_or_else(damaged)?.as_ref()).map_err(|_| damaged())?);
        let mut opened = deposit.sealed.to_vec();
        let length = cipher(&key)?
            .open_in_place(only_nonce(), associated(id), &mut opened)
            .map_err(|_| damaged())?
            .len();
        opened.truncate(length);
        Ok(opened)
    }

    /// Whether `signature` is the group's over `id`.
    pub fn verifies(&self, id: &ReleaseId, signature: &ReleaseSignature) -> bool {
        let point = signature.point();
        point.is_some_and(|point| {
            ops::verify_message::<Variant>(&self.public, &self.namespace, &id.encode(), &point).is_ok()
        })
    }

    /// One validator's part of the signature over `id`.
    pub(crate) fn partial(&self, share: &Share, id: &ReleaseId) -> PartialSignature {
        threshold::sign_message::<Variant>(share, &self.namespace, &id.encode())
    }

    /// Whether a validator's part is genuine under its committee's public polynomial.
    pub(crate) fn verifies_partial(
        &self,
        sharing: &Sharing,
        id: &ReleaseId,
        partial: &PartialSignature,
    ) -> bool {
        threshold::verify_message::<Variant>(sharing, &self.namespace, &id.encode(), partial).is_ok()
    }

    /// Combines a quorum's parts. `None` when there are too few or one of those taken is not genuine.
    pub(crate) fn recover<'a>(
        &self,
        sharing: &Sharing,
        id: &ReleaseId,
        partials: impl IntoIterator<Item = &'a PartialSignature>,
    ) -> Option<ReleaseSignature> {
        let point = threshold::recover::<Variant, _>(sharing, partials, &Sequential).ok()?;
        let bytes = point.encode();
        let signature = ReleaseSignature(bytes.as_ref().try_into().ok()?);
        self.verifies(id, &signature).then_some(signature)
    }

    pub(crate) fn check_chain(&self, id: &ReleaseId) -> Result<(), ReleaseError> {
        if id.chain == self.chain { Ok(()) } else { Err(ReleaseError::OtherChain) }
    }
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, ReleaseError> {
    let key = UnboundKey::new(&AES_256_GCM, key);
    key.map(LessSafeKey::new).map_err(|_| ReleaseError::Crypto("preparing AES-256-GCM"))
}

/// Every key seals once, so its nonce may be constant.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn associated(id: &ReleaseId) -> Aad<Vec<u8>> {
    Aad::from([LABEL, &id.encode()].concat())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::hex;
    use commonware_cryptography::bls12381::primitives::group::Share;
    use commonware_utils::TestRng;
    use hansa_envelope::{AudienceKey, KekContext, MemberKeys, unwrap_kek, wrap_kek};
    use hansa_types::{DEPOSIT_OVERHEAD_BYTES, DcId, ReleasedKey, Version};

    use super::*;
    use crate::tests::fixture::four_founders;

    fn group() -> (GroupKey, Sharing, Vec<Share>) {
        let (genesis, shares) = four_founders();
        let sharing = genesis::first_epoch(&genesis).unwrap().output.public().clone();
        (GroupKey::of(&genesis, B256::ZERO).unwrap(), sharing, shares.values().to_vec())
    }

    fn id() -> ReleaseId {
        ReleaseId {
            chain: B256::ZERO,
            object: "1/42".parse().unwrap(),
            key: ReleasedKey::Epoch(1),
            grantee: DcId::new(2),
            grant_nonce: 1,
        }
    }

    fn released(id: &ReleaseId) -> ReleaseSignature {
        let (group, sharing, shares) = group();
        let parts: Vec<_> = shares.iter().take(3).map(|share| group.partial(share, id)).collect();
        group.recover(&sharing, id, &parts).unwrap()
    }

    #[test]
    fn a_deposit_opens_with_its_own_signature_and_no_other() {
        let (group, ..) = group();
        let deposit = group.seal(&id(), b"inner").unwrap();
        assert_eq!(deposit.encode().len(), b"inner".len() + DEPOSIT_OVERHEAD_BYTES);
        assert_eq!(group.open(&id(), &released(&id()), &deposit).unwrap(), b"inner");
        let others = [
            ReleaseId { object: "1/43".parse().unwrap(), ..id() },
            ReleaseId { key: ReleasedKey::Version(Version(1)), ..id() },
            ReleaseId { grantee: DcId::new(3), ..id() },
            ReleaseId { grant_nonce: 2, ..id() },
        ];
        for other in others {
            let signature = released(&other);
            assert_eq!(group.open(&other, &signature, &deposit), Err(ReleaseError::Damaged));
            assert_eq!(group.open(&id(), &signature, &deposit), Err(ReleaseError::Damaged));
            assert_eq!(group.open(&other, &released(&id()), &deposit), Err(ReleaseError::Damaged));
        }
        let elsewhere = ReleaseId { chain: B256::repeat_byte(1), ..id() };
        assert_eq!(group.seal(&elsewhere, b"inner"), Err(ReleaseError::OtherChain));
        assert_eq!(group.seal(&id(), &[0; DEPOSITED_BYTES_MAX + 1]), Err(ReleaseError::TooLong(2049)));
    }

    #[test]
    fn an_altered_deposit_does_not_open() {
        let (group, ..) = group();
        let (deposit, signature) = (group.seal(&id(), b"inner").unwrap(), released(&id()));
        for at in [0, 95, 96, 127, 128, 159] {
            let mut bad = deposit.clone();
            bad.capsule[at] ^= 1;
            assert_eq!(group.open(&id(), &signature, &bad), Err(ReleaseError::Damaged), "{at}");
        }
        for at in 0..deposit.sealed.len() {
            let mut sealed = deposit.sealed.to_vec();
            sealed[at] ^= 1;
            let bad = Deposit { sealed: sealed.into(), ..deposit.clone() };
            assert_eq!(group.open(&id(), &signature, &bad), Err(ReleaseError::Damaged), "{at}");
        }
    }

    #[test]
    fn a_validator_alone_reads_nothing() {
        let (group, sharing, shares) = group();
        let deposit = group.seal(&id(), b"inner").unwrap();
        for share in &shares {
            let part = group.partial(share, &id());
            assert_eq!(group.recover(&sharing, &id(), [&part]), None);
            let signature = ReleaseSignature(part.value.encode().as_ref().try_into().unwrap());
            assert!(!group.verifies(&id(), &signature));
            assert_eq!(group.open(&id(), &signature, &deposit), Err(ReleaseError::Damaged));
        }
    }

    #[test]
    fn a_quorum_without_the_grantee_reads_nothing() {
        let (group, ..) = group();
        let (grantee, stranger) = (MemberKeys::generate().unwrap(), MemberKeys::generate().unwrap());
        let key = AudienceKey::generate().unwrap();
        let context =
            KekContext { chain_id: 7, object: id().object, epoch: 1, recipient: DcId::new(2).unwrap() };
        let inner = wrap_kek(&grantee.encryption_key().unwrap(), &key, &context).unwrap();
        let deposit = group.seal(&id(), &inner).unwrap();
        assert!(deposit.encode().len() <= 2048, "the contract's limit");
        let opened = group.open(&id(), &released(&id()), &deposit).unwrap();
        assert!(unwrap_kek(&stranger, &opened, &context).is_err());
        assert_eq!(unwrap_kek(&grantee, &opened, &context).unwrap(), key);
    }

    /// Other programs open what this one sealed.
    #[test]
    fn a_deposit_is_pinned() {
        let (group, ..) = group();
        let deposit = group.seal_with(&mut TestRng::new(7), &id(), b"inner").unwrap().encode();
        assert_eq!(hex::encode(&deposit), include_str!("../../testdata/deposit.hex").trim());
        let signature = hex::encode(released(&id()).to_bytes());
        assert_eq!(signature, include_str!("../../testdata/release-signature.hex").trim());
    }
}
