//! Hashed keys as strings of 64 nibbles, most significant first.

use alloy_primitives::B256;

/// Number of nibbles of a hashed key.
pub(crate) const KEY_NIBBLES: usize = 64;

/// The nibble at position `at` (0 to 63).
#[inline]
pub(crate) fn nibble(key: &B256, at: usize) -> usize {
    let byte = key[at >> 1];
    usize::from(if at & 1 == 0 { byte >> 4 } else { byte & 0x0f })
}

/// Number of leading nibbles that two keys share.
#[inline]
pub(crate) fn shared_nibbles(a: &B256, b: &B256) -> usize {
    let (a_high, a_low) = halves(a);
    let (b_high, b_low) = halves(b);
    let bits = match (a_high ^ b_high).leading_zeros() {
        128 => 128 + (a_low ^ b_low).leading_zeros(),
        bits => bits,
    };
    (bits >> 2) as usize
}

/// The key's first `len` nibbles, then zeros.
pub(crate) fn truncated(key: &B256, len: usize) -> B256 {
    let mut path = B256::ZERO;
    let whole = len >> 1;
    path[..whole].copy_from_slice(&key[..whole]);
    if len & 1 == 1 {
        path[whole] = key[whole] & 0xf0;
    }
    path
}

/// The first `len` nibbles of `path` followed by `nibble`.
pub(crate) fn extended(path: &B256, len: usize, nibble: usize) -> B256 {
    let mut longer = truncated(path, len);
    longer[len >> 1] |= (nibble as u8) << if len & 1 == 0 { 4 } else { 0 };
    longer
}

/// Appends the nibbles from `from` to `to` (excluded), two to a byte, high half first. An odd last one is padded with zero.
pub(crate) fn pack(key: &B256, from: usize, to: usize, out: &mut Vec<u8>) {
    if from & 1 == 0 && to & 1 == 0 {
        out.extend_from_slice(&key[from >> 1..to >> 1]);
        return;
    }
    let mut at = from;
    while at < to {
        let high = nibble(key, at) as u8;
        let low = if at + 1 < to { nibble(key, at + 1) as u8 } else { 0 };
        out.push(high << 4 | low);
        at += 2;
    }
}

/// The inverse of [`pack`]: writes the nibbles from `from` to `to` into `key`, where they must be zero.
pub(crate) fn unpack(key: &mut B256, from: usize, to: usize, packed: &[u8]) {
    for at in from..to {
        let offset = at - from;
        let Some(byte) = packed.get(offset >> 1) else { return };
        let value = if offset & 1 == 0 { byte >> 4 } else { byte & 0x0f };
        key[at >> 1] |= value << if at & 1 == 0 { 4 } else { 0 };
    }
}

#[inline]
fn halves(key: &B256) -> (u128, u128) {
    let value = alloy_primitives::U256::from_be_bytes(key.0);
    let [a, b, c, d] = *value.as_limbs();
    (u128::from(d) << 64 | u128::from(c), u128::from(b) << 64 | u128::from(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_shared_nibbles() {
        let key = B256::repeat_byte(0x12);
        assert_eq!(shared_nibbles(&key, &key), 64);
        for at in 0..64 {
            let mut other = key;
            other[at / 2] ^= if at % 2 == 0 { 0x10 } else { 0x01 };
            assert_eq!(shared_nibbles(&key, &other), at);
            assert_eq!(shared_nibbles(&key, &truncated(&key, at)), at);
            assert_eq!(extended(&key, at, nibble(&key, at)), truncated(&key, at + 1));
        }
    }

    #[test]
    fn packs_and_unpacks_any_stretch() {
        let key = alloy_primitives::keccak256(b"key");
        for from in 0..64 {
            for to in from..=64 {
                let mut packed = Vec::new();
                pack(&key, from, to, &mut packed);
                assert_eq!(packed.len(), (to - from).div_ceil(2));
                let mut back = truncated(&key, from);
                unpack(&mut back, from, to, &packed);
                assert_eq!(back, truncated(&key, to));
            }
        }
    }
}
