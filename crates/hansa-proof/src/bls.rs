//! BLS signatures over BLS12-381: public keys in G2, signatures in G1, both compressed.
//!
//! Verification only (draft-irtf-cfrg-bls-signature-05, proof-of-possession scheme). A message is hashed as
//! `LEB128(length of the namespace) ‖ namespace ‖ message`, which separates the uses of a key.

use ark_bls12_381::{Bls12_381, G1Affine, G1Projective, G2Affine, g1};
use ark_ec::{
    AffineRepr as _,
    hashing::{HashToCurve as _, curve_maps::wb::WBMap, map_to_curve_hasher::MapToCurveBasedHasher},
    pairing::Pairing as _,
};
use ark_ff::{Zero as _, field_hashers::DefaultFieldHasher};
use ark_serialize::CanonicalDeserialize as _;
use sha2::Sha256;

use crate::reader::write_integer;

/// Domain separation tag of signatures that are not themselves proofs of possession.
const DOMAIN: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";

/// Bytes of a compressed public key.
pub(crate) const KEY_BYTES: usize = 96;
/// Bytes of a compressed signature.
pub(crate) const SIGNATURE_BYTES: usize = 48;

type Hasher = MapToCurveBasedHasher<G1Projective, DefaultFieldHasher<Sha256, 128>, WBMap<g1::Config>>;

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey(G2Affine);

impl PublicKey {
    /// `None` for what is no point of the group, or the point at infinity.
    pub(crate) fn decode(bytes: &[u8; KEY_BYTES]) -> Option<Self> {
        let point = G2Affine::deserialize_compressed(bytes.as_slice()).ok()?;
        (!point.is_zero()).then_some(Self(point))
    }

    /// Whether `signature` is this key's over `message`.
    pub(crate) fn verifies(&self, namespace: &[u8], message: &[u8], signature: &[u8]) -> bool {
        self.check(namespace, message, signature).unwrap_or(false)
    }

    fn check(&self, namespace: &[u8], message: &[u8], signature: &[u8]) -> Option<bool> {
        let signature: &[u8; SIGNATURE_BYTES] = signature.try_into().ok()?;
        let signature = G1Affine::deserialize_compressed(signature.as_slice()).ok()?;
        if signature.is_zero() {
            return None;
        }
        let mut signed = Vec::new();
        write_integer(u64::try_from(namespace.len()).ok()?, &mut signed);
        signed.extend_from_slice(namespace);
        signed.extend_from_slice(message);
        let hashed = Hasher::new(DOMAIN).ok()?.hash(&signed).ok()?;
        // e(hashed, key) = e(signature, generator), as one product.
        #[expect(
            clippy::arithmetic_side_effects,
            reason = "a point of the curve has an inverse; nothing overflows"
        )]
        let generator = -G2Affine::generator();
        Some(Bls12_381::multi_pairing([hashed, signature], [self.0, generator]).is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The points of infinity would verify for every message.
    #[test]
    fn infinity_is_no_key_and_no_signature() {
        let mut infinity = [0; KEY_BYTES];
        infinity[0] = 0xc0;
        assert_eq!(PublicKey::decode(&infinity), None);
        let key = PublicKey(G2Affine::generator());
        assert!(!key.verifies(b"", b"", &infinity[..SIGNATURE_BYTES]));
        for length in [0, 47, 49, 96] {
            assert!(!key.verifies(b"", b"", &infinity[..length]), "{length}");
        }
    }
}
