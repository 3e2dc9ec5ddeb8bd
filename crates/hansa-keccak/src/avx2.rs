//! keccak-256 of four messages at once in AVX2 registers. The caller detects the processor feature.

use std::arch::x86_64::{
    __m256i, _mm256_and_si256, _mm256_andnot_si256, _mm256_extract_epi64, _mm256_or_si256, _mm256_set_epi64x,
    _mm256_set1_epi64x, _mm256_slli_epi64, _mm256_srli_epi64, _mm256_xor_si256,
};

use alloy_primitives::B256;

use crate::lanes::{Lane, RATE, ROUND_CONSTANTS, sponge};

const LANES: usize = 4;

type Vector = __m256i;

sponge!("avx2");

#[target_feature(enable = "avx2")]
fn splat(word: i64) -> Vector {
    _mm256_set1_epi64x(word)
}

#[target_feature(enable = "avx2")]
fn gather([a, b, c, d]: [i64; LANES]) -> Vector {
    _mm256_set_epi64x(d, c, b, a)
}

#[target_feature(enable = "avx2")]
pub(crate) fn words(vector: Vector) -> [i64; LANES] {
    [
        _mm256_extract_epi64::<0>(vector),
        _mm256_extract_epi64::<1>(vector),
        _mm256_extract_epi64::<2>(vector),
        _mm256_extract_epi64::<3>(vector),
    ]
}

#[target_feature(enable = "avx2")]
fn and(a: Vector, b: Vector) -> Vector {
    _mm256_and_si256(a, b)
}

#[target_feature(enable = "avx2")]
fn xor(a: Vector, b: Vector) -> Vector {
    _mm256_xor_si256(a, b)
}

#[target_feature(enable = "avx2")]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    xor(xor(a, b), c)
}

#[target_feature(enable = "avx2")]
fn rotate<const LEFT: i32, const RIGHT: i32>(word: Vector) -> Vector {
    _mm256_or_si256(_mm256_slli_epi64::<LEFT>(word), _mm256_srli_epi64::<RIGHT>(word))
}

#[target_feature(enable = "avx2")]
fn chi(a: Vector, b: Vector, c: Vector) -> Vector {
    xor(a, _mm256_andnot_si256(b, c))
}
