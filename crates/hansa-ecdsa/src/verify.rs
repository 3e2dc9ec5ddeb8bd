//! Checks that signatures recover to given keys.
//!
//! A signature `(r, s)` of digest `z` recovers to the key `Q = r⁻¹(sR − zG)`, `R` being the point with abscissa `r` and the
//! ordinate of the given parity (SEC 1, 4.1.6). For one `Q` that is so exactly if `R = s⁻¹zG + s⁻¹rQ`, and that sum is what
//! is formed here, from multiples of `G` and of `Q`.

use std::hint::black_box;

use ark_ff::{BigInteger, PrimeField, Zero};
use ark_secp256k1::{Fq, Fr};

use crate::Question;
use crate::multiples::{Multiples, OF_GENERATOR, ROWS, digits, halves, integer};
use crate::sums::{Sum, Sums};

/// Parts in which each sum is formed, so that a step of the additions has more to share.
const PARTS: usize = 16;
const ROWS_A_PART: usize = ROWS / PARTS;

/// A question, and the multiples of the key that is to be the answer.
pub(crate) struct Check<'a> {
    pub(crate) question: &'a Question,
    pub(crate) multiples: &'a Multiples,
}

/// A check with its numbers.
struct Claim<'a> {
    at: usize,
    of_generator: [i16; ROWS],
    of_key: [i16; ROWS],
    multiples: &'a Multiples,
    abscissa: Fq,
    is_odd: bool,
}

/// Whether each check holds; one that is not there does not. One that holds may, hardly ever, be denied.
pub(crate) fn all(checks: &[Option<Check<'_>>]) -> Vec<bool> {
    let mut is_so = vec![false; checks.len()];
    for (claim, sum) in sums(&claims(checks)) {
        if let Sum::Point(point) = sum {
            let is_odd = point.y.into_bigint().is_odd();
            is_so[claim.at] = point.x == claim.abscissa && is_odd == claim.is_odd;
        }
    }
    is_so
}

/// Those that can hold at all: with `r` and `s` from 1 to the order of the curve, excluded.
fn claims<'a>(checks: &[Option<Check<'a>>]) -> Vec<Claim<'a>> {
    let numbers = checks.iter().enumerate().filter_map(|(at, check)| {
        let check = check.as_ref()?;
        let [r, s] = halves(&check.question.r_s).map(integer);
        let [scalar_r, s] = [Fr::from_bigint(r)?, Fr::from_bigint(s)?];
        let is_sound = !scalar_r.is_zero() && !s.is_zero();
        // The field is larger than the order, so `r` is in it.
        is_sound.then_some((at, check, Fq::from_bigint(r)?, scalar_r, s))
    });
    let numbers: Vec<_> = numbers.collect();
    let mut inverses: Vec<Fr> = numbers.iter().map(|(.., s)| *s).collect();
    ark_ff::batch_inversion(&mut inverses);
    let claim = |((at, check, abscissa, r, _), inverse): (&(usize, &Check<'a>, Fq, Fr, Fr), Fr)| Claim {
        at: *at,
        of_generator: digits(reduced(&check.question.digest.0) * inverse),
        of_key: digits(*r * inverse),
        multiples: check.multiples,
        abscissa: *abscissa,
        is_odd: check.question.is_odd,
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
        // Keys' multiples are rarely in the processor's cache, and each addition would wait for its own. Reads that nothing waits
        // for run beside one another.
        let reads =
            claims.iter().flat_map(|claim| rows().map(|row| claim.multiples.touch(row, claim.of_key[row])));
        black_box(reads.fold(0, |all, read| all ^ read));
        sums.add(
            claims.iter().flat_map(|claim| rows().map(|row| claim.multiples.at(row, claim.of_key[row]))),
        );
    }
    let whole = (0..PARTS.ilog2()).fold(sums, |sums, _| sums.fold());
    claims.iter().zip(whole.into_inner())
}

/// A digest as a scalar: modulo the order of the curve, of which it is less than twice.
fn reduced(digest: &[u8; 32]) -> Fr {
    let mut number = integer(digest);
    if number >= Fr::MODULUS {
        number.sub_with_borrow(&Fr::MODULUS);
    }
    Fr::from_bigint(number).unwrap_or_default()
}
