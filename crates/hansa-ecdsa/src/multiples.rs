//! Precomputed multiples of a point of secp256k1. Any multiple of the point is the sum of 32 of them. Not constant-time.

use std::sync::LazyLock;

use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, BigInt, PrimeField};
use ark_secp256k1::{Affine, Fq, Fr, Projective};
use secp256k1::PublicKey;

/// Digits of a scalar in base 256.
pub(crate) const ROWS: usize = 32;
/// The largest digit; the smallest is −127.
const DIGIT_MAX: i16 = 128;

/// `digit · 256^row · P` for a point `P` and each positive digit. A negative digit uses the negated point: the table is half as
/// large, and its size decides whether it stays in the processor's cache.
pub(crate) struct Multiples(Vec<Multiple>);

/// A finite point in a cache line of its own.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Multiple {
    x: Fq,
    y: Fq,
}

/// Multiples of the curve's generator.
pub(crate) static OF_GENERATOR: LazyLock<Multiples> = LazyLock::new(|| Multiples::of(Affine::generator()));

impl Multiples {
    pub(crate) fn of_key(key: &PublicKey) -> Self {
        let [_, coordinates @ ..] = key.serialize_uncompressed();
        let [x, y] = halves(&coordinates).map(|half| Fq::from_bigint(integer(half)).unwrap_or_default());
        Self::of(Affine::new_unchecked(x, y))
    }

    fn of(point: Affine) -> Self {
        let mut all = Vec::with_capacity(ROWS * DIGIT_MAX as usize);
        let mut unit = point.into_group();
        for _ in 0..ROWS {
            let mut multiple = unit;
            for _ in 1..DIGIT_MAX {
                all.push(multiple);
                multiple += &unit;
            }
            all.push(multiple);
            unit = multiple.double();
        }
        let multiple = |point: Affine| Multiple { x: point.x, y: point.y };
        Self(Projective::normalize_batch(&all).into_iter().map(multiple).collect())
    }

    /// The multiple for a digit; `None` for digit 0.
    pub(crate) fn at(&self, row: usize, digit: i16) -> Option<Affine> {
        let Multiple { x, y } = *self.multiple(row, digit)?;
        Some(Affine::new_unchecked(x, if digit < 0 { -y } else { y }))
    }

    /// Loads the cache line that [`Self::at`] reads. The result only keeps the compiler from removing the load.
    pub(crate) fn prefetch(&self, row: usize, digit: i16) -> u64 {
        self.multiple(row, digit).map_or(0, |multiple| multiple.x.0.0[0])
    }

    fn multiple(&self, row: usize, digit: i16) -> Option<&Multiple> {
        let at = usize::from(digit.unsigned_abs()).checked_sub(1)?;
        self.0.get(row * DIGIT_MAX as usize + at)
    }
}

/// A scalar as digits from −127 to 128, least significant first.
pub(crate) fn digits(scalar: Fr) -> [i16; ROWS] {
    // The smaller of the scalar and its negative: the last digit's highest bit is free for the carry.
    let is_negative = scalar.into_bigint() > Fr::MODULUS_MINUS_ONE_DIV_TWO;
    let magnitude = if is_negative { -scalar } else { scalar };
    let bytes = magnitude.into_bigint().0.map(u64::to_le_bytes);
    let mut carried = 0;
    let mut digits = [0; ROWS];
    for (digit, byte) in digits.iter_mut().zip(bytes.as_flattened()) {
        let value = i16::from(*byte) + carried;
        carried = i16::from(value > DIGIT_MAX);
        *digit = value - 256 * carried;
        if is_negative {
            *digit = -*digit;
        }
    }
    digits
}

/// The integer of 32 bytes, big-endian.
pub(crate) fn integer(bytes: &[u8; 32]) -> BigInt<4> {
    let mut limbs = [0; 4];
    for (limb, bytes) in limbs.iter_mut().rev().zip(bytes.as_chunks().0) {
        *limb = u64::from_be_bytes(*bytes);
    }
    BigInt(limbs)
}

/// Splits `r ‖ s` or `x ‖ y`.
pub(crate) fn halves(bytes: &[u8; 64]) -> [&[u8; 32]; 2] {
    let (halves, _) = bytes.as_chunks();
    [&halves[0], &halves[1]]
}
