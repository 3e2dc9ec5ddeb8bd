//! Byte codec of change records and pages: fixed arrays, and integers as a length byte and big-endian bytes.

/// Appends the length and the big-endian bytes of an integer, without leading zeros.
pub(crate) fn put_uint(value: &[u8], out: &mut Vec<u8>) {
    let trimmed = trim(value);
    out.push(trimmed.len() as u8);
    out.extend_from_slice(trimmed);
}

/// Takes an integer of at most `N` bytes.
pub(crate) fn take_uint<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let [len] = take_array(from)?;
    let digits = take(from, usize::from(len))?;
    let mut value = [0; N];
    value.get_mut(N.checked_sub(digits.len())?..)?.copy_from_slice(digits);
    Some(value)
}

/// Takes exactly `N` bytes.
pub(crate) fn take_array<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    take(from, N)?.try_into().ok()
}

/// Takes exactly `len` bytes.
pub(crate) fn take<'a>(from: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(head)
}

/// Big-endian bytes without leading zeros.
pub(crate) fn trim(value: &[u8]) -> &[u8] {
    let zeros = value.iter().take_while(|&&byte| byte == 0).count();
    &value[zeros..]
}

/// `N` bytes of `from` at offset `at`. Panics if they exceed it.
pub(crate) fn array<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&from[at..at + N]);
    array
}
