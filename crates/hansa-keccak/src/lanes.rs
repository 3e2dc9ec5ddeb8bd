//! The sponge of keccak-256 (FIPS 202 with Ethereum's padding) over vector registers: one message a lane. Each vector holds the same
//! word of all states. The macro [`sponge`] takes the operations of a processor feature.

/// Rate of the sponge in bytes (FIPS 202: 1,088 bits for 256 bits of output).
pub(crate) const RATE: usize = 136;

/// The message in one lane.
#[derive(Clone, Copy)]
pub(crate) struct Lane<'a> {
    pub(crate) number: usize,
    /// Bytes not yet absorbed; `None` after the padding.
    pub(crate) rest: Option<&'a [u8]>,
}

impl<'a> Lane<'a> {
    /// The next block of the message. The last one is padded (0x01 to 0x80, as in Ethereum) in the buffer `padded`.
    pub(crate) fn block<'b>(&mut self, padded: &'b mut [u8; RATE]) -> &'b [u8; RATE]
    where
        'a: 'b,
    {
        let rest = self.rest.unwrap_or_default();
        if let Some((block, rest)) = rest.split_first_chunk() {
            self.rest = Some(rest);
            return block;
        }
        *padded = [0; RATE];
        padded[..rest.len()].copy_from_slice(rest);
        padded[rest.len()] = 0x01;
        padded[RATE - 1] |= 0x80;
        self.rest = None;
        padded
    }
}

/// Round constants of ι (FIPS 202, 3.2.5): a linear-feedback shift register gives the bits at 2^j − 1.
pub(crate) const ROUND_CONSTANTS: [i64; 24] = {
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

/// Defines `digest_all` for a processor feature. The module provides `Vector`, which has `LANES` words, and these functions: `splat`,
/// `gather` (from the words of all lanes), `words` (its inverse), `and`, `xor`, `xor3`, `rotate` (to the left), `chi` (a ⊕ (¬b ∧ c)).
macro_rules! sponge {
    ($feature:literal) => {
        /// The states of all lanes, by row and column.
        type States = [[Vector; 5]; 5];

        #[target_feature(enable = $feature)]
        pub(crate) fn digest_all(messages: &mut dyn Iterator<Item = &[u8]>, digests: &mut Vec<B256>) {
            let mut states = [[splat(0); 5]; 5];
            let mut lanes: [Option<Lane<'_>>; LANES] = [None; LANES];
            let mut padded = [0; RATE];
            loop {
                // One block of each lane, by word and lane.
                let mut block = [[0; LANES]; RATE / 8];
                for (at, lane) in lanes.iter_mut().enumerate() {
                    if lane.is_none() {
                        *lane = messages.next().map(|message| {
                            digests.push(B256::ZERO);
                            Lane { number: digests.len() - 1, rest: Some(message) }
                        });
                    }
                    if let Some(lane) = lane {
                        let bytes = lane.block(&mut padded);
                        for (words, bytes) in block.iter_mut().zip(bytes.as_chunks().0) {
                            words[at] = i64::from_le_bytes(*bytes);
                        }
                    }
                }
                if lanes.iter().all(Option::is_none) {
                    return;
                }
                for (word, absorbed) in states.as_flattened_mut().iter_mut().zip(block) {
                    *word = xor(*word, gather(absorbed));
                }
                permute(&mut states);
                let [head, ..] = states;
                let heads = [words(head[0]), words(head[1]), words(head[2]), words(head[3])];
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
                    let mask = gather(kept);
                    for word in states.as_flattened_mut() {
                        *word = and(*word, mask);
                    }
                }
            }
        }

        /// Keccak-f[1600] (FIPS 202, 3.3) on all states.
        #[target_feature(enable = $feature)]
        fn permute(states: &mut States) {
            for constant in ROUND_CONSTANTS {
                round(states, constant);
            }
        }

        #[target_feature(enable = $feature)]
        fn round(a: &mut States, constant: i64) {
            let column = [sum(a, 0), sum(a, 1), sum(a, 2), sum(a, 3), sum(a, 4)];
            let theta = [
                xor(column[4], rotate::<1, 63>(column[1])),
                xor(column[0], rotate::<1, 63>(column[2])),
                xor(column[1], rotate::<1, 63>(column[3])),
                xor(column[2], rotate::<1, 63>(column[4])),
                xor(column[3], rotate::<1, 63>(column[0])),
            ];
            // ρ and π: the word of row y, column x, rotated to the left. Then χ, row by row.
            let mut next = [
                row([
                    rotated::<0, 64>(a[0][0], theta[0]),
                    rotated::<44, 20>(a[1][1], theta[1]),
                    rotated::<43, 21>(a[2][2], theta[2]),
                    rotated::<21, 43>(a[3][3], theta[3]),
                    rotated::<14, 50>(a[4][4], theta[4]),
                ]),
                row([
                    rotated::<28, 36>(a[0][3], theta[3]),
                    rotated::<20, 44>(a[1][4], theta[4]),
                    rotated::<3, 61>(a[2][0], theta[0]),
                    rotated::<45, 19>(a[3][1], theta[1]),
                    rotated::<61, 3>(a[4][2], theta[2]),
                ]),
                row([
                    rotated::<1, 63>(a[0][1], theta[1]),
                    rotated::<6, 58>(a[1][2], theta[2]),
                    rotated::<25, 39>(a[2][3], theta[3]),
                    rotated::<8, 56>(a[3][4], theta[4]),
                    rotated::<18, 46>(a[4][0], theta[0]),
                ]),
                row([
                    rotated::<27, 37>(a[0][4], theta[4]),
                    rotated::<36, 28>(a[1][0], theta[0]),
                    rotated::<10, 54>(a[2][1], theta[1]),
                    rotated::<15, 49>(a[3][2], theta[2]),
                    rotated::<56, 8>(a[4][3], theta[3]),
                ]),
                row([
                    rotated::<62, 2>(a[0][2], theta[2]),
                    rotated::<55, 9>(a[1][3], theta[3]),
                    rotated::<39, 25>(a[2][4], theta[4]),
                    rotated::<41, 23>(a[3][0], theta[0]),
                    rotated::<2, 62>(a[4][1], theta[1]),
                ]),
            ];
            next[0][0] = xor(next[0][0], splat(constant));
            *a = next;
        }

        #[target_feature(enable = $feature)]
        fn sum(a: &States, x: usize) -> Vector {
            xor3(xor3(a[0][x], a[1][x], a[2][x]), a[3][x], a[4][x])
        }

        #[target_feature(enable = $feature)]
        fn rotated<const LEFT: i32, const RIGHT: i32>(word: Vector, theta: Vector) -> Vector {
            rotate::<LEFT, RIGHT>(xor(word, theta))
        }

        #[target_feature(enable = $feature)]
        fn row([a, b, c, d, e]: [Vector; 5]) -> [Vector; 5] {
            [chi(a, b, c), chi(b, c, d), chi(c, d, e), chi(d, e, a), chi(e, a, b)]
        }
    };
}
pub(crate) use sponge;
