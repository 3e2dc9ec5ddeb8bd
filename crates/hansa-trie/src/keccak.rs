//! keccak-256 of many messages at once. A trie's nodes wait only for their children, so that most of what a block changes in it
//! can be hashed side by side: four nodes take about twice as long as one where the processor has AVX2.

use alloy_primitives::{B256, keccak256};

/// Puts the digests of messages in the place of what `digests` holds. The messages follow one another in `bytes`, each up to its
/// place in `ends`.
pub(crate) fn digest_all(bytes: &[u8], ends: &[usize], digests: &mut Vec<B256>) {
    digests.clear();
    #[cfg(target_arch = "x86_64")]
    if ends.len() > 1 && is_x86_feature_detected!("avx2") {
        digests.resize(ends.len(), B256::ZERO);
        #[expect(unsafe_code, reason = "a function for a processor feature that was just detected")]
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::digest_all(Messages { bytes, ends, next: 0 }, digests) };
    }
    digests.extend(Messages { bytes, ends, next: 0 }.map(|(_, message)| keccak256(message)));
}

/// The messages with their numbers.
struct Messages<'a> {
    bytes: &'a [u8],
    ends: &'a [usize],
    next: usize,
}

impl<'a> Iterator for Messages<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let number = self.next;
        let end = *self.ends.get(number)?;
        let begin = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.next += 1;
        Some((number, &self.bytes[begin..end]))
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_andnot_si256, _mm256_extract_epi64, _mm256_or_si256,
        _mm256_set_epi64x, _mm256_set1_epi64x, _mm256_slli_epi64, _mm256_srli_epi64, _mm256_xor_si256,
    };

    use alloy_primitives::B256;

    use super::Messages;

    /// Bytes that a permutation takes in (FIPS 202: the rate; for 256 bits of output 1,088 bits).
    const RATE: usize = 136;

    const LANES: usize = 4;

    /// Row by row; each vector has the same word of four states.
    type States = [[__m256i; 5]; 5];

    /// What is in one of the four places.
    #[derive(Clone, Copy)]
    struct Lane<'a> {
        number: usize,
        /// What has not been taken in; none when all has been, and the padding.
        rest: Option<&'a [u8]>,
    }

    impl Lane<'_> {
        /// The next block of the message; the last one is padded (0x01 to 0x80, as Ethereum pads).
        fn block(&mut self) -> [u8; RATE] {
            let rest = self.rest.unwrap_or_default();
            if let Some((block, rest)) = rest.split_first_chunk() {
                self.rest = Some(rest);
                return *block;
            }
            let mut block = [0; RATE];
            block[..rest.len()].copy_from_slice(rest);
            block[rest.len()] = 0x01;
            block[RATE - 1] |= 0x80;
            self.rest = None;
            block
        }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn digest_all(mut messages: Messages<'_>, digests: &mut [B256]) {
        let zero = _mm256_set1_epi64x(0);
        let mut states = [[zero; 5]; 5];
        let mut lanes: [Option<Lane<'_>>; LANES] = [None; LANES];
        loop {
            let mut blocks = [[0; RATE]; LANES];
            for (lane, block) in lanes.iter_mut().zip(&mut blocks) {
                if lane.is_none() {
                    *lane = messages.next().map(|(number, message)| Lane { number, rest: Some(message) });
                }
                if let Some(lane) = lane {
                    *block = lane.block();
                }
            }
            if lanes.iter().all(Option::is_none) {
                return;
            }
            absorb(&mut states, &blocks);
            permute(&mut states);
            let heads = [states[0][0], states[0][1], states[0][2], states[0][3]].map(|head| words(head));
            let mut kept = [-1; LANES];
            for ((at, lane), kept) in lanes.iter_mut().enumerate().zip(&mut kept) {
                if let Some(done) = lane.take_if(|lane| lane.rest.is_none()) {
                    let digest = &mut digests[done.number];
                    for (bytes, head) in digest.as_chunks_mut::<8>().0.iter_mut().zip(&heads) {
                        *bytes = head[at].to_le_bytes();
                    }
                    *kept = 0;
                }
            }
            if kept != [-1; LANES] {
                let [a, b, c, d] = kept;
                let mask = _mm256_set_epi64x(d, c, b, a);
                for word in states.as_flattened_mut() {
                    *word = _mm256_and_si256(*word, mask);
                }
            }
        }
    }

    #[target_feature(enable = "avx2")]
    fn absorb(states: &mut States, [a, b, c, d]: &[[u8; RATE]; LANES]) {
        let ((a, _), (b, _), (c, _), (d, _)) = (a.as_chunks(), b.as_chunks(), c.as_chunks(), d.as_chunks());
        for (word, (((a, b), c), d)) in
            states.as_flattened_mut().iter_mut().zip(a.iter().zip(b).zip(c).zip(d))
        {
            let taken_in = _mm256_set_epi64x(
                i64::from_le_bytes(*d),
                i64::from_le_bytes(*c),
                i64::from_le_bytes(*b),
                i64::from_le_bytes(*a),
            );
            *word = _mm256_xor_si256(*word, taken_in);
        }
    }

    /// Keccak-f[1600] (FIPS 202, 3.3) of four states.
    #[target_feature(enable = "avx2")]
    fn permute(states: &mut States) {
        for constant in ROUND_CONSTANTS {
            round(states, constant);
        }
    }

    #[target_feature(enable = "avx2")]
    fn round(a: &mut States, constant: i64) {
        let column = [sum(a, 0), sum(a, 1), sum(a, 2), sum(a, 3), sum(a, 4)];
        let theta = [
            _mm256_xor_si256(column[4], turn::<1, 63>(column[1])),
            _mm256_xor_si256(column[0], turn::<1, 63>(column[2])),
            _mm256_xor_si256(column[1], turn::<1, 63>(column[3])),
            _mm256_xor_si256(column[2], turn::<1, 63>(column[4])),
            _mm256_xor_si256(column[3], turn::<1, 63>(column[0])),
        ];
        // A row of the result of ρ and π: from row y, column x, turned to the left.
        macro_rules! row {
            ($(($y:literal, $x:literal, $left:literal)),*) => {
                chi([$(turn::<$left, { 64 - $left }>(_mm256_xor_si256(a[$y][$x], theta[$x]))),*])
            };
        }
        let mut next = [
            row!((0, 0, 0), (1, 1, 44), (2, 2, 43), (3, 3, 21), (4, 4, 14)),
            row!((0, 3, 28), (1, 4, 20), (2, 0, 3), (3, 1, 45), (4, 2, 61)),
            row!((0, 1, 1), (1, 2, 6), (2, 3, 25), (3, 4, 8), (4, 0, 18)),
            row!((0, 4, 27), (1, 0, 36), (2, 1, 10), (3, 2, 15), (4, 3, 56)),
            row!((0, 2, 62), (1, 3, 55), (2, 4, 39), (3, 0, 41), (4, 1, 2)),
        ];
        next[0][0] = _mm256_xor_si256(next[0][0], _mm256_set1_epi64x(constant));
        *a = next;
    }

    #[target_feature(enable = "avx2")]
    fn sum(a: &States, x: usize) -> __m256i {
        let upper = _mm256_xor_si256(_mm256_xor_si256(a[0][x], a[1][x]), a[2][x]);
        _mm256_xor_si256(upper, _mm256_xor_si256(a[3][x], a[4][x]))
    }

    #[target_feature(enable = "avx2")]
    fn turn<const LEFT: i32, const RIGHT: i32>(word: __m256i) -> __m256i {
        _mm256_or_si256(_mm256_slli_epi64::<LEFT>(word), _mm256_srli_epi64::<RIGHT>(word))
    }

    #[target_feature(enable = "avx2")]
    fn chi([a, b, c, d, e]: [__m256i; 5]) -> [__m256i; 5] {
        [
            _mm256_xor_si256(a, _mm256_andnot_si256(b, c)),
            _mm256_xor_si256(b, _mm256_andnot_si256(c, d)),
            _mm256_xor_si256(c, _mm256_andnot_si256(d, e)),
            _mm256_xor_si256(d, _mm256_andnot_si256(e, a)),
            _mm256_xor_si256(e, _mm256_andnot_si256(a, b)),
        ]
    }

    #[target_feature(enable = "avx2")]
    fn words(vector: __m256i) -> [i64; LANES] {
        [
            _mm256_extract_epi64::<0>(vector),
            _mm256_extract_epi64::<1>(vector),
            _mm256_extract_epi64::<2>(vector),
            _mm256_extract_epi64::<3>(vector),
        ]
    }

    /// ι, computed from its definition: a linear-feedback shift register gives the bits at 2^j − 1.
    const ROUND_CONSTANTS: [i64; 24] = {
        let mut constants = [0; 24];
        let mut register = 1u16;
        let mut round = 0;
        while round < 24 {
            let mut bit = 0;
            while bit < 7 {
                if register & 1 == 1 {
                    constants[round] |= 1i64 << ((1 << bit) - 1);
                }
                register <<= 1;
                if register & 0x100 != 0 {
                    register ^= 0x171;
                }
                bit += 1;
            }
            round += 1;
        }
        constants
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: usize = 136;

    /// Every length up to several blocks, so that messages end at each place of a block and in each order of the lanes.
    #[test]
    fn digests_of_many_are_those_of_each() {
        let bytes: Vec<u8> = (0..5 * RATE * 5 * RATE).map(|at| ((at * at) >> 3) as u8).collect();
        for first in [0, 1, RATE - 2, 4 * RATE] {
            for count in 0..2 * RATE {
                let lengths = (first..first + count).map(|at| at * 331 % (5 * RATE));
                let ends: Vec<usize> = lengths
                    .scan(0, |end, length| {
                        *end += length;
                        Some(*end)
                    })
                    .collect();
                let messages = Messages { bytes: &bytes, ends: &ends, next: 0 };
                let expected: Vec<B256> = messages.map(|(_, message)| keccak256(message)).collect();
                let mut digests = vec![B256::repeat_byte(1); 3];
                digest_all(&bytes, &ends, &mut digests);
                assert_eq!(digests, expected);
            }
        }
    }
}
