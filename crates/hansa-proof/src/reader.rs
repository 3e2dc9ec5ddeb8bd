//! Reads the agreement engine's encoding: integers as LEB128 of least length, lists with their length before them.
//!
//! Only what proofs need. `None` stands for bytes that end early or are not in the one encoding of their value.

use hansa_types::{NetworkKey, SEATS_MAX};

/// Bytes that are read from front to back.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn integer(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let placed = bits.checked_shl(shift)?;
            if placed.checked_shr(shift)? != bits || (byte == 0 && shift > 0) {
                return None;
            }
            value |= placed;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// The length of a list that has an entry for each seat at most.
    pub(crate) fn length(&mut self) -> Option<usize> {
        let length = self.integer().filter(|length| *length <= u64::from(SEATS_MAX.get()))?;
        usize::try_from(length).ok()
    }

    /// A set of network keys, which ascend.
    pub(crate) fn keys(&mut self) -> Option<Vec<NetworkKey>> {
        let length = self.length()?;
        let keys: Option<Vec<_>> = (0..length).map(|_| Some(NetworkKey(self.array()?.into()))).collect();
        keys.filter(|keys| keys.is_sorted_by(|a, b| a.0 < b.0))
    }
}

/// Appends an integer as LEB128.
pub(crate) fn write_integer(mut value: u64, to: &mut Vec<u8>) {
    while value > 0x7f {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_encoding() {
        for value in [0, 1, 0x7f, 0x80, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut encoded = Vec::new();
            write_integer(value, &mut encoded);
            let mut reader = Reader::new(&encoded);
            assert_eq!(reader.integer(), Some(value));
            assert!(reader.is_empty());
            for end in 0..encoded.len() {
                assert_eq!(Reader::new(&encoded[..end]).integer(), None, "{value} cut at {end}");
            }
        }
        let too_long = [&[0xff; 9][..], &[2]].concat();
        for bad in [&[0x80, 0][..], &[0xff, 0x80, 0], &too_long, &[0xff; 11]] {
            assert_eq!(Reader::new(bad).integer(), None, "{bad:?}");
        }
    }

    #[test]
    fn sets_ascend_and_have_a_bound() {
        let set = |keys: &[u8]| {
            let mut encoded = vec![keys.len() as u8];
            keys.iter().for_each(|key| encoded.extend([*key; 32]));
            Reader::new(&encoded).keys().map(|keys| keys.len())
        };
        assert_eq!(set(&[]), Some(0));
        assert_eq!(set(&[1, 2, 9]), Some(3));
        assert_eq!(set(&[1, 1]), None);
        assert_eq!(set(&[2, 1]), None);
        let mut huge = Vec::new();
        write_integer(u64::from(SEATS_MAX.get()) + 1, &mut huge);
        assert_eq!(Reader::new(&huge).length(), None);
    }
}
