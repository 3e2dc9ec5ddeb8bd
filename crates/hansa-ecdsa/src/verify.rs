//! Batch verification that signatures recover to given keys.
//!
//! A signature `(r, s)` of digest `z` recovers to the key `Q = r⁻¹(sR − zG)`, where `R` is the point with abscissa `r` and an ordinate
//! of the given parity (SEC 1, 4.1.6). For a given `Q` this holds exactly if `R = s⁻¹zG + s⁻¹rQ`. The sum is computed from multiples
//! of `G` and of `Q`. A failed check is no verdict: the caller recovers with the library.

use std::hint::black_box;

use ark_ff::{BigInteger, PrimeField, Zero};
use ark_secp256k1::{Fq, Fr};

use crate::SignedDigest;
use crate::multiples::{Multiples, OF_GENERATOR, ROWS, digits, halves, integer};
use crate::sums::{Sum, Sums};

/// Partial sums of each check. More of them share one inversion.
const PARTS: usize = 16;
const ROWS_A_PART: usize = ROWS / PARTS;

/// A signature and the multiples of the expected key.
pub(crate) struct Check<'a> {
    pub(crate) signed: &'a SignedDigest,
    pub(crate) multiples: &'a Multiples,
}

/// A check with its scalars as digits.
struct Claim<'a> {
    at: usize,
    of_generator: [i16; ROWS],
    of_key: [i16; ROWS],
    multiples: &'a Multiples,
    abscissa: Fq,
    is_odd: bool,
}

/// The result of each check; `false` for `None`. A degenerate sum also gives `false`, although its signature may be valid.
pub(crate) fn all(checks: &[Option<Check<'_>>]) -> Vec<bool> {
    let mut holds = vec![false; checks.len()];
    for (claim, sum) in sums(&claims(checks)) {
        if let Sum::Point(point) = sum {
            let is_odd = point.y.into_bigint().is_odd();
            holds[claim.at] = point.x == claim.abscissa && is_odd == claim.is_odd;
        }
    }
    holds
}

/// The checks with `r` and `s` in range: at least 1 and below the order of the curve.
fn claims<'a>(checks: &[Option<Check<'a>>]) -> Vec<Claim<'a>> {
    let numbers = checks.iter().enumerate().filter_map(|(at, check)| {
        let check = check.as_ref()?;
        let [r, s] = halves(&check.signed.r_s).map(integer);
        let [scalar_r, s] = [Fr::from_bigint(r)?, Fr::from_bigint(s)?];
        let is_sound = !scalar_r.is_zero() && !s.is_zero();
        // The field is larger than the order, so `r` is an element of it.
        is_sound.then_some((at, check, Fq::from_bigint(r)?, scalar_r, s))
    });
    let numbers: Vec<_> = numbers.collect();
    let mut inverses: Vec<Fr> = numbers.iter().map(|(.., s)| *s).collect();
    ark_ff::batch_inversion(&mut inverses);
    let claim = |((at, check, abscissa, r, _), inverse): (&(usize, &Check<'a>, Fq, Fr, Fr), Fr)| Claim {
        at: *at,
        of_generator: digits(reduced(&check.signed.digest.0) * inverse),
        of_key: digits(*r * inverse),
        multiples: check.multiples,
        abscissa: *abscissa,
        is_odd: check.signed.is_odd,
    };
    numbers.iter().zip(inverses).map(claim).collect()
}

fn sums<'a, 'b>(claims: &'b [Claim<'a>]) -> impl Iterator<Item = (&'b Claim<'a>, Sum)> {
    let mut sums = Sums::new(claims.len() * PARTS);
    for step in 0..ROWS_A_PART {
        let rows = move || (0..PARTS).map(move |part| part * ROWS_A_PART + step);
        sums.add(
            claims.iter().flat_map(|claim| rows().map(|row| OF_GENERATOR.at(row, claim.of_generator[row]))),
        );
        // Each step prefetches its table entries, so the cache misses overlap.
        let reads = claims
            .iter()
            .flat_map(|claim| rows().map(|row| claim.multiples.prefetch(row, claim.of_key[row])));
        black_box(reads.fold(0, |all, read| all ^ read));
        sums.add(
            claims.iter().flat_map(|claim| rows().map(|row| claim.multiples.at(row, claim.of_key[row]))),
        );
    }
    let whole = (0..PARTS.ilog2()).fold(sums, |sums, _| sums.fold());
    claims.iter().zip(whole.into_inner())
}

/// A digest as a scalar modulo the order of the curve. It is less than twice the order.
fn reduced(digest: &[u8; 32]) -> Fr {
    let mut number = integer(digest);
    if number >= Fr::MODULUS {
        number.sub_with_borrow(&Fr::MODULUS);
    }
    Fr::from_bigint(number).unwrap_or_default()
}
