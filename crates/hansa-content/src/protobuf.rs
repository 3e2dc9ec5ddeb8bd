//! Protocol Buffers wire format, as far as dag-pb, UnixFS and Bitswap use it: varints and length-delimited fields. Decoding does not
//! copy and does not recurse. There are no schemas here.

use bytes::{BufMut, Bytes};

/// A field's value on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 2.
    Bytes(Bytes),
    /// Wire types 1 and 5, which no schema here uses; skipped.
    Fixed,
}

/// Bytes that are no Protocol Buffers message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed protobuf")]
pub struct Malformed;

/// Iterator over the fields of a message. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Fields {
    rest: Bytes,
}

impl Fields {
    /// The fields of a message. The values share its memory.
    pub const fn new(message: Bytes) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Result<(u32, Value), Malformed> {
        let tag = take_varint(&mut self.rest)?;
        let number = u32::try_from(tag >> 3).map_err(|_| Malformed)?;
        if number == 0 {
            return Err(Malformed);
        }
        let value = match tag & 7 {
            0 => Value::Varint(take_varint(&mut self.rest)?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = take_varint(&mut self.rest)?;
                Value::Bytes(self.take(usize::try_from(length).map_err(|_| Malformed)?)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(Malformed),
        };
        Ok((number, value))
    }

    fn take(&mut self, length: usize) -> Result<Bytes, Malformed> {
        if length > self.rest.len() {
            return Err(Malformed);
        }
        Ok(self.rest.split_to(length))
    }
}

impl Iterator for Fields {
    type Item = Result<(u32, Value), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = Bytes::new();
        }
        Some(field)
    }
}

/// Takes an unsigned LEB128 integer of at most ten bytes off the front.
///
/// # Errors
/// If the bytes end first or the integer exceeds 64 bits.
pub fn take_varint(bytes: &mut Bytes) -> Result<u64, Malformed> {
    let (value, length) = read_varint(bytes)?.ok_or(Malformed)?;
    drop(bytes.split_to(length));
    Ok(value)
}

/// Reads an unsigned LEB128 integer and its length; `None` if the bytes end first.
///
/// # Errors
/// If the integer exceeds 64 bits.
pub fn read_varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, Malformed> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().enumerate() {
        let part = u64::from(byte & 0x7f);
        let shift = u32::try_from(index).ok().and_then(|index| index.checked_mul(7)).ok_or(Malformed)?;
        let shifted = part.checked_shl(shift).ok_or(Malformed)?;
        if shifted.checked_shr(shift) != Some(part) {
            return Err(Malformed);
        }
        value |= shifted;
        if byte & 0x80 == 0 {
            return Ok(Some((value, index.saturating_add(1))));
        }
    }
    Ok(None)
}

/// Appends an unsigned LEB128 integer.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let byte = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            return out.put_u8(byte);
        }
        out.put_u8(byte | 0x80);
    }
}

/// Appends an integer field.
pub fn put_integer(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

/// Appends tag and length of a length-delimited field. The caller appends its bytes.
pub fn put_header(out: &mut Vec<u8>, number: u32, length: usize) {
    put_varint(out, (u64::from(number) << 3) | 2);
    put_varint(out, length as u64);
}

/// Appends a length-delimited field.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_header(out, number, bytes.len());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varints_round_trip(value: u64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(read_varint(&out), Ok(Some((value, out.len()))));
            prop_assert_eq!(read_varint(&out[..out.len() - 1]), Ok(None));
        }

        #[test]
        fn arbitrary_bytes_end_without_panic(bytes: Vec<u8>) {
            let length = bytes.len();
            prop_assert!(Fields::new(bytes.into()).count() <= length);
        }
    }

    #[test]
    fn overlong_varints_are_refused() {
        assert_eq!(read_varint(&[0xff; 11]), Err(Malformed));
        assert_eq!(
            read_varint(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]),
            Err(Malformed)
        );
    }
}
