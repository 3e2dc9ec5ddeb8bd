//! Hashes many messages at once, and lists of them to Ethereum's roots.
//!
//! Four messages in AVX2 registers take about as long as two in sequence; eight in AVX-512 registers take less. Digests do not
//! depend on the processor. Nothing here runs in parallel.
//!
//! ```
//! use alloy_primitives::keccak256;
//!
//! let mut digests = Vec::new();
//! hansa_keccak::digest_all([b"one".as_slice(), b"two"].into_iter(), &mut digests);
//! assert_eq!(digests, [keccak256(b"one"), keccak256(b"two")]);
//! ```

mod list;

#[cfg(target_arch = "x86_64")]
mod lanes;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use alloy_primitives::{B256, keccak256};

pub use list::list_root;

/// Replaces the content of `digests` by the keccak-256 of each message, in order.
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

/// The messages concatenated in `bytes`. `ends` has the end of each.
///
/// # Panics
/// If `ends` are not ascending or exceed the length of `bytes`.
pub fn pieces<'a>(bytes: &'a [u8], ends: &'a [usize]) -> impl Iterator<Item = &'a [u8]> + Clone {
    let begins = std::iter::once(0).chain(ends.iter().copied());
    begins.zip(ends).map(|(begin, &end)| &bytes[begin..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: usize = 136;

    type Digester = fn(&[&[u8]], &mut Vec<B256>);

    /// The implementations that this processor supports.
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

    /// Lengths up to several blocks: messages end at each offset of a block and in each order of the lanes.
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
