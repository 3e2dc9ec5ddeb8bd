//! Multiples of a point of secp256k1, computed once so that any multiple is the sum of a few of them.

use std::sync::LazyLock;

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{BigInt, PrimeField};
use ark_secp256k1::{Affine, Fq, Fr, Projective};
use secp256k1::PublicKey;

/// Bytes of a scalar.
pub(crate) const ROWS: usize = 32;
/// What a byte can be but zero.
const DIGITS: usize = 255;

/// `digit · 256^row · P` for a point `P`.
pub(crate) struct Multiples(Vec<Affine>);

/// Those of the curve's generator.
pub(crate) static OF_GENERATOR: LazyLock<Multiples> = LazyLock::new(|| Multiples::of(Affine::generator()));

impl Multiples {
    pub(crate) fn of_key(key: &PublicKey) -> Self {
        let [_, coordinates @ ..] = key.serialize_uncompressed();
        let [x, y] = halves(&coordinates).map(|half| Fq::from_bigint(integer(half)).unwrap_or_default());
        Self::of(Affine::new_unchecked(x, y))
    }

    fn of(point: Affine) -> Self {
        let mut all = Vec::with_capacity(ROWS * DIGITS);
        let mut unit = point.into_group();
        for _ in 0..ROWS {
            let mut multiple = unit;
            for _ in 0..DIGITS {
                all.push(multiple);
                multiple += &unit;
            }
            unit = multiple;
        }
        Self(Projective::normalize_batch(&all))
    }

    /// `None` is zero.
    pub(crate) fn at(&self, row: usize, digit: u8) -> Option<&Affine> {
        self.0.get(row * DIGITS + usize::from(digit).checked_sub(1)?)
    }
}

/// A scalar's bytes, least significant first.
pub(crate) fn digits(scalar: Fr) -> [u8; ROWS] {
    let mut digits = [0; ROWS];
    for (bytes, limb) in digits.chunks_exact_mut(8).zip(scalar.into_bigint().0) {
        bytes.copy_from_slice(&limb.to_le_bytes());
    }
    digits
}

/// 32 bytes, most significant first.
pub(crate) fn integer(bytes: &[u8; 32]) -> BigInt<4> {
    let mut limbs = [0; 4];
    for (limb, bytes) in limbs.iter_mut().rev().zip(bytes.as_chunks().0) {
        *limb = u64::from_be_bytes(*bytes);
    }
    BigInt(limbs)
}

/// `r` and `s`, or `x` and `y`.
pub(crate) fn halves(bytes: &[u8; 64]) -> [&[u8; 32]; 2] {
    let (halves, _) = bytes.as_chunks();
    [&halves[0], &halves[1]]
}
