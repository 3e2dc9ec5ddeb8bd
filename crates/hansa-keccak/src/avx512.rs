//! keccak-256 of eight messages at once in AVX-512 registers. The caller detects the processor feature.

use std::arch::x86_64::{
    __m512i, _mm512_and_si512, _mm512_extracti64x4_epi64, _mm512_rol_epi64, _mm512_set_epi64,
    _mm512_set1_epi64, _mm512_ternarylogic_epi64, _mm512_xor_si512,
};

use alloy_primitives::B256;

use crate::avx2;
use crate::lanes::{Lane, RATE, ROUND_CONSTANTS, sponge};

const LANES: usize = 8;

type Vector = __m512i;

sponge!("avx512f");

#[target_feature(enable = "avx512f")]
fn splat(word: i64) -> Vector {
    _mm512_set1_epi64(word)
}

#[target_feature(enable = "avx512f")]
fn gather([a, b, c, d, e, f, g, h]: [i64; LANES]) -> Vector {
    _mm512_set_epi64(h, g, f, e, d, c, b, a)
}

#[target_feature(enable = "avx512f")]
fn words(vector: Vector) -> [i64; LANES] {
    let [a, b, c, d] = avx2::words(_mm512_extracti64x4_epi64::<0>(vector));
    let [e, f, g, h] = avx2::words(_mm512_extracti64x4_epi64::<1>(vector));
    [a, b, c, d, e, f, g, h]
}

#[target_feature(enable = "avx512f")]
fn and(a: Vector, b: Vector) -> Vector {
    _mm512_and_si512(a, b)
}

#[target_feature(enable = "avx512f")]
fn xor(a: Vector, b: Vector) -> Vector {
    _mm512_xor_si512(a, b)
}

#[target_feature(enable = "avx512f")]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    // Truth table of a ⊕ b ⊕ c; a is the most significant bit of the index.
    _mm512_ternarylogic_epi64::<0b1001_0110>(a, b, c)
}

#[target_feature(enable = "avx512f")]
fn rotate<const LEFT: i32, const RIGHT: i32>(word: Vector) -> Vector {
    _mm512_rol_epi64::<LEFT>(word)
}

#[target_feature(enable = "avx512f")]
fn chi(a: Vector, b: Vector, c: Vector) -> Vector {
    // Truth table of a ⊕ (¬b ∧ c).
    _mm512_ternarylogic_epi64::<0b1101_0010>(a, b, c)
}
