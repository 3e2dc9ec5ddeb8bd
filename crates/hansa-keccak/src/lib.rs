//! keccak-256 of many messages at once, and of lists: four of them in an AVX2 register take about as long as two one after the other, and eight
//! in one of AVX-512 less than that.

mod list;

#[cfg(target_arch = "x86_64")]
mod lanes;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use alloy_primitives::{B256, keccak256};

pub use list::list_root;

/// Puts the digests of messages in the place of what `digests` holds.
pub fn digest_all<'a>(mut messages: impl Iterator<Item = &'a [u8]>, digests: &mut Vec<B256>) {
    digests.clear();
    let Some(first) = messages.next() else { return };
    let Some(second) = messages.next() else { return digests.push(keccak256(first)) };
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "the kernels take it by reference"))]
    let mut messages = [first, second].into_iter().chain(messages);
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        #[expect(unsafe_code, reason = "a function for a processor feature that was just detected")]
        // SAFETY: the processor has AVX-512F.
        return unsafe { avx512::digest_all(&mut messages, digests) };
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[expect(unsafe_code, reason = "a function for a processor feature that was just detected")]
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::digest_all(&mut messages, digests) };
    }
    digests.extend(messages.map(keccak256));
}

/// Messages that follow one another in `bytes`, each up to its place in `ends`.
///
/// # Panics
/// Where `ends` do not ascend or go beyond the bytes.
pub fn pieces<'a>(bytes: &'a [u8], ends: &'a [usize]) -> impl Iterator<Item = &'a [u8]> + Clone {
    let begins = std::iter::once(0).chain(ends.iter().copied());
    begins.zip(ends).map(|(begin, &end)| &bytes[begin..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: usize = 136;

    type Digester = fn(&[&[u8]], &mut Vec<B256>);

    /// The ways that this processor knows.
    fn digesters() -> Vec<Digester> {
        let mut digesters: Vec<Digester> =
            vec![|messages, digests| digest_all(messages.iter().copied(), digests)];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            digesters.push(|messages, digests| {
                digests.clear();
                #[expect(unsafe_code, reason = "as in `digest_all`")]
                // SAFETY: the processor has AVX2.
                unsafe {
                    avx2::digest_all(&mut messages.iter().copied(), digests);
                }
            });
        }
        digesters
    }

    /// Every length up to several blocks, so that messages end at each place of a block and in each order of the lanes.
    #[test]
    fn digests_of_many_are_those_of_each() {
        let bytes: Vec<u8> = (0..5 * RATE).map(|at| ((at * at) >> 3) as u8).collect();
        for first in [0, 1, RATE - 2, 4 * RATE] {
            for count in 0..2 * RATE {
                let lengths = (first..first + count).map(|at| at * 331 % (5 * RATE));
                let messages: Vec<&[u8]> = lengths.map(|length| &bytes[5 * RATE - length..]).collect();
                let expected: Vec<B256> = messages.iter().map(keccak256).collect();
                for digest_all in digesters() {
                    let mut digests = vec![B256::repeat_byte(1); 3];
                    digest_all(&messages, &mut digests);
                    assert_eq!(digests, expected);
                }
            }
        }
    }
}
