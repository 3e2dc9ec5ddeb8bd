//! XSalsa20, the stream cipher of the private-network protocol, with sixteen blocks at a time. A scalar implementation would dominate
//! the cost of a transfer. It does not authenticate.
//!
//! The vector code needs AVX-512 or AVX2 and is chosen at run time. Other processors run the same arithmetic on integers.

const BLOCKS: usize = 16;
const BATCH: usize = BLOCKS * 64;

/// Sixteen consecutive blocks of the key stream.
type Batch = [u8; BATCH];
/// The words of sixteen blocks: one row for each of the 16 words, with its value in each block.
type Rows = [[u32; BLOCKS]; 16];

/// A position in a key stream.
pub(crate) struct XSalsa20 {
    state: [u32; 16],
    counter: u64,
    ahead: Batch,
    /// Number of used bytes of `ahead`.
    used: usize,
}

impl XSalsa20 {
    pub(crate) fn new(key: &[u8; 32], nonce: &[u8; 24]) -> Self {
        let mut words = nonce.chunks_exact(4).map(word);
        let mut next = || words.next().unwrap_or_default();
        let derived = derive(&read_key(key), [next(), next(), next(), next()]);
        Self { state: initial(&derived, [next(), next(), 0, 0]), counter: 0, ahead: [0; BATCH], used: BATCH }
    }

    /// Writes the XOR of `from` and the key stream to `to`, which has the same length.
    pub(crate) fn apply(&mut self, from: &[u8], to: &mut [u8]) {
        let left = self.ahead.get(self.used..).unwrap_or_default();
        let head = left.len().min(from.len()).min(to.len());
        let ((from_head, from), (to_head, to)) = (from.split_at(head), to.split_at_mut(head));
        add(from_head, left, to_head);
        self.used = self.used.saturating_add(head);
        for (from, to) in from.chunks(BATCH).zip(to.chunks_mut(BATCH)) {
            self.refill();
            add(from, &self.ahead, to);
            self.used = from.len();
        }
    }

    fn refill(&mut self) {
        self.ahead = blocks(&self.state, self.counter);
        self.counter = self.counter.wrapping_add(BLOCKS as u64);
    }
}

fn add(data: &[u8], stream: &[u8], to: &mut [u8]) {
    for ((to, byte), key) in to.iter_mut().zip(data).zip(stream) {
        *to = byte ^ key;
    }
}

fn word(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_le_bytes)
}

fn read_key(key: &[u8; 32]) -> [u32; 8] {
    let mut words = [0; 8];
    for (to, from) in words.iter_mut().zip(key.chunks_exact(4)) {
        *to = word(from);
    }
    words
}

/// The initial state: constant, key, nonce and counter.
const fn initial(key: &[u32; 8], [a, b, c, d]: [u32; 4]) -> [u32; 16] {
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *key;
    [0x6170_7865, k0, k1, k2, k3, 0x3320_646e, a, b, c, d, 0x7962_2d32, k4, k5, k6, k7, 0x6b20_6574]
}

/// HSalsa20: the subkey for the rest of the nonce.
fn derive(key: &[u32; 8], nonce: [u32; 4]) -> [u32; 8] {
    let [a, _, _, _, _, b, e, f, g, h, c, _, _, _, _, d] = scalar::rounds(initial(key, nonce));
    [a, b, c, d, e, f, g, h]
}

/// Sixteen consecutive blocks.
fn blocks(state: &[u32; 16], counter: u64) -> Batch {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            #[expect(unsafe_code, reason = "a function for a processor feature that was just detected")]
            // SAFETY: the processor has AVX-512.
            return serialised(&unsafe { avx512::blocks(state, counter) });
        }
        if is_x86_feature_detected!("avx2") {
            #[expect(unsafe_code, reason = "a function for a processor feature that was just detected")]
            // SAFETY: the processor has AVX2.
            return unsafe { avx2::blocks(state, counter) };
        }
    }
    serialised(&scalar::blocks(state, counter))
}

/// Serialises the blocks in order; words are little-endian.
fn serialised(rows: &Rows) -> Batch {
    let mut batch = [0; BATCH];
    for (index, block) in batch.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        for (bytes, row) in block.as_chunks_mut::<4>().0.iter_mut().zip(rows) {
            *bytes = row.get(index).copied().unwrap_or_default().to_le_bytes();
        }
    }
    batch
}

/// The counters of consecutive blocks as low and high words.
fn counters<const N: usize>(first: u64) -> ([u32; N], [u32; N]) {
    let (mut low, mut high) = ([0; N], [0; N]);
    for (index, (low, high)) in low.iter_mut().zip(&mut high).enumerate() {
        let [a, b, c, d, e, f, g, h] = first.wrapping_add(index as u64).to_le_bytes();
        *low = u32::from_le_bytes([a, b, c, d]);
        *high = u32::from_le_bytes([e, f, g, h]);
    }
    (low, high)
}

/// Ten double rounds over the variables x0 to x15; `step(a, b, c, bits)` = a ^ ((b + c) <<< bits).
macro_rules! double_rounds {
    ($x:ident, $step:ident) => {
        let [
            mut x0,
            mut x1,
            mut x2,
            mut x3,
            mut x4,
            mut x5,
            mut x6,
            mut x7,
            mut x8,
            mut x9,
            mut x10,
            mut x11,
            mut x12,
            mut x13,
            mut x14,
            mut x15,
        ] = $x;
        macro_rules! quarter {
            ($a:ident, $b:ident, $c:ident, $d:ident) => {
                $b = $step::<7, 25>($b, $a, $d);
                $c = $step::<9, 23>($c, $b, $a);
                $d = $step::<13, 19>($d, $c, $b);
                $a = $step::<18, 14>($a, $d, $c);
            };
        }
        for _ in 0..10 {
            quarter!(x0, x4, x8, x12);
            quarter!(x5, x9, x13, x1);
            quarter!(x10, x14, x2, x6);
            quarter!(x15, x3, x7, x11);
            quarter!(x0, x1, x2, x3);
            quarter!(x5, x6, x7, x4);
            quarter!(x10, x11, x8, x9);
            quarter!(x15, x12, x13, x14);
        }
        $x = [x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15];
    };
}

mod scalar {
    use super::{BLOCKS, Rows, counters};

    fn step<const LEFT: u32, const RIGHT: u32>(a: u32, b: u32, c: u32) -> u32 {
        a ^ b.wrapping_add(c).rotate_left(LEFT)
    }

    pub(super) fn rounds(mut x: [u32; 16]) -> [u32; 16] {
        double_rounds!(x, step);
        x
    }

    pub(super) fn blocks(state: &[u32; 16], counter: u64) -> Rows {
        let mut rows = Rows::default();
        let (low, high) = counters::<BLOCKS>(counter);
        for (block, (low, high)) in low.into_iter().zip(high).enumerate() {
            let mut first = *state;
            let [_, _, _, _, _, _, _, _, l, h, ..] = &mut first;
            (*l, *h) = (low, high);
            let last = rounds(first);
            for ((row, first), last) in rows.iter_mut().zip(first).zip(last) {
                if let Some(word) = row.get_mut(block) {
                    *word = first.wrapping_add(last);
                }
            }
        }
        rows
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        __m512i, _mm512_add_epi32, _mm512_rol_epi32, _mm512_set1_epi32, _mm512_xor_si512,
    };

    use super::{BLOCKS, Rows, counters};

    #[target_feature(enable = "avx512f")]
    fn step<const LEFT: i32, const RIGHT: i32>(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        _mm512_xor_si512(a, _mm512_rol_epi32::<LEFT>(_mm512_add_epi32(b, c)))
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn blocks(state: &[u32; 16], counter: u64) -> Rows {
        let (low, high) = counters::<BLOCKS>(counter);
        let mut first = state.map(|word| _mm512_set1_epi32(word.cast_signed()));
        let [_, _, _, _, _, _, _, _, l, h, ..] = &mut first;
        (*l, *h) = (load(low), load(high));
        let mut x = first;
        double_rounds!(x, step);
        let mut rows = Rows::default();
        for ((row, first), last) in rows.iter_mut().zip(first).zip(x) {
            *row = store(_mm512_add_epi32(first, last));
        }
        rows
    }

    #[target_feature(enable = "avx512f")]
    #[expect(unsafe_code, reason = "the standard library has no safe conversion")]
    fn load(words: [u32; 16]) -> __m512i {
        // SAFETY: both types are 64 bytes of plain integers.
        unsafe { std::mem::transmute(words) }
    }

    #[target_feature(enable = "avx512f")]
    #[expect(unsafe_code, reason = "the standard library has no safe conversion")]
    fn store(vector: __m512i) -> [u32; 16] {
        // SAFETY: both types are 64 bytes of plain integers.
        unsafe { std::mem::transmute(vector) }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi32, _mm256_or_si256, _mm256_permute2x128_si256, _mm256_set1_epi32,
        _mm256_slli_epi32, _mm256_srli_epi32, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64,
        _mm256_unpacklo_epi32, _mm256_unpacklo_epi64, _mm256_xor_si256,
    };

    use super::{Batch, counters};

    #[target_feature(enable = "avx2")]
    fn step<const LEFT: i32, const RIGHT: i32>(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        let sum = _mm256_add_epi32(b, c);
        let turned = _mm256_or_si256(_mm256_slli_epi32::<LEFT>(sum), _mm256_srli_epi32::<RIGHT>(sum));
        _mm256_xor_si256(a, turned)
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn blocks(state: &[u32; 16], counter: u64) -> Batch {
        store([half(state, counter), half(state, counter.wrapping_add(8))])
    }

    /// Eight blocks of two vectors each.
    #[target_feature(enable = "avx2")]
    fn half(state: &[u32; 16], counter: u64) -> [[__m256i; 2]; 8] {
        let (low, high) = counters::<8>(counter);
        let mut first = [load([0; 8]); 16];
        for (vector, word) in first.iter_mut().zip(state) {
            *vector = _mm256_set1_epi32(word.cast_signed());
        }
        let [_, _, _, _, _, _, _, _, l, h, ..] = &mut first;
        (*l, *h) = (load(low), load(high));
        let mut x = first;
        double_rounds!(x, step);
        for (last, first) in x.iter_mut().zip(first) {
            *last = _mm256_add_epi32(first, *last);
        }
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = x;
        let (front, back) = (transposed([a, b, c, d, e, f, g, h]), transposed([i, j, k, l, m, n, o, p]));
        let mut blocks = [[load([0; 8]); 2]; 8];
        for ((block, front), back) in blocks.iter_mut().zip(front).zip(back) {
            *block = [front, back];
        }
        blocks
    }

    /// Transposes 8 × 8 words.
    #[target_feature(enable = "avx2")]
    fn transposed([a, b, c, d, e, f, g, h]: [__m256i; 8]) -> [__m256i; 8] {
        let (front, back) = (quarters([a, b, c, d]), quarters([e, f, g, h]));
        let mut low = [a; 4];
        let mut high = [a; 4];
        for (((low, high), front), back) in low.iter_mut().zip(&mut high).zip(front).zip(back) {
            *low = _mm256_permute2x128_si256::<0x20>(front, back);
            *high = _mm256_permute2x128_si256::<0x31>(front, back);
        }
        let ([a, b, c, d], [e, f, g, h]) = (low, high);
        [a, b, c, d, e, f, g, h]
    }

    /// Transposes 4 × 4 words in each half: vector n has word n of each input, then word n + 4.
    #[target_feature(enable = "avx2")]
    fn quarters([a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
        let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
        let (ab_high, cd_high) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
        [
            _mm256_unpacklo_epi64(ab, cd),
            _mm256_unpackhi_epi64(ab, cd),
            _mm256_unpacklo_epi64(ab_high, cd_high),
            _mm256_unpackhi_epi64(ab_high, cd_high),
        ]
    }

    #[target_feature(enable = "avx2")]
    #[expect(unsafe_code, reason = "the standard library has no safe conversion")]
    fn load(words: [u32; 8]) -> __m256i {
        // SAFETY: both types are 32 bytes of plain integers.
        unsafe { std::mem::transmute(words) }
    }

    #[target_feature(enable = "avx2")]
    #[expect(unsafe_code, reason = "the standard library has no safe conversion")]
    fn store(vectors: [[[__m256i; 2]; 8]; 2]) -> Batch {
        // SAFETY: both types are 1,024 bytes of plain integers.
        unsafe { std::mem::transmute(vectors) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(key: &[u8; 32], nonce: &[u8; 24], length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        XSalsa20::new(key, nonce).apply(&vec![0; length], &mut bytes);
        bytes
    }

    /// Key, nonce and the first bytes of NaCl's test `stream3`.
    #[test]
    fn the_stream_is_that_of_nacl() {
        let key: [u8; 32] = hex::decode("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
            .unwrap()
            .try_into()
            .unwrap();
        let nonce: [u8; 24] =
            hex::decode("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37").unwrap().try_into().unwrap();
        assert_eq!(
            hex::encode(stream(&key, &nonce, 32)),
            "eea6a7251c1e72916d11c2cb214d3c252539121d8e234e652d651fa4c8cff880"
        );
    }

    #[test]
    fn all_implementations_agree_beyond_a_carry_of_the_counter() {
        let state = initial(&[1, 2, 3, 4, 5, 6, 7, 8], [9, 10, 0, 0]);
        for counter in [0, 5, u64::from(u32::MAX) - 7, u64::MAX - 3] {
            let expected = serialised(&scalar::blocks(&state, counter));
            assert_eq!(blocks(&state, counter), expected);
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                #[expect(unsafe_code, reason = "a function for a processor feature that was just detected")]
                // SAFETY: the processor has AVX2.
                let vector = unsafe { avx2::blocks(&state, counter) };
                assert_eq!(vector, expected);
            }
        }
    }

    proptest! {
        #[test]
        fn pieces_of_any_length_make_the_same_stream(pieces in proptest::collection::vec(0..3000usize, 0..8)) {
            let (key, nonce) = ([3; 32], [4; 24]);
            let mut cipher = XSalsa20::new(&key, &nonce);
            let mut joined = Vec::new();
            for length in pieces {
                let mut piece = vec![0; length];
                cipher.apply(&vec![0; length], &mut piece);
                joined.extend(piece);
            }
            prop_assert_eq!(&joined, &stream(&key, &nonce, joined.len()));
        }
    }
}
