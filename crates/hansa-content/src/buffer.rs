//! Memory for large blocks that is used again: fresh memory has to be mapped and cleared before it is overwritten.

use std::ops::{Deref, DerefMut, Range};

use bytes::Bytes;
use parking_lot::Mutex;

/// Length of the buffers that are kept: a leaf, and room for alignment or for a message around it.
const KEPT_BYTES: usize = 1024 * 1024 + 64 * 1024;
/// Shorter contents get memory of their own, so that they do not hold much more than they need.
const SHORTEST_BYTES: usize = KEPT_BYTES / 2;
/// Buffers that are kept while nobody uses them.
const KEPT: usize = 32;

static FREE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Bytes to be overwritten: what they are at first is arbitrary.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    used: Range<usize>,
}

impl Buffer {
    /// A buffer of this length.
    pub fn new(length: usize) -> Self {
        Self::aligned(length, 1)
    }

    /// A buffer of this length at an address that is a multiple of `alignment`, a power of two.
    pub(crate) fn aligned(length: usize, alignment: usize) -> Self {
        let needed = length.saturating_add(alignment.saturating_sub(1));
        let bytes = match needed {
            SHORTEST_BYTES..=KEPT_BYTES => FREE.lock().pop().unwrap_or_else(|| vec![0; KEPT_BYTES]),
            _ => vec![0; needed],
        };
        let start = bytes.as_ptr().align_offset(alignment);
        Self { bytes, used: start..start.saturating_add(length) }
    }

    /// Shortens what is used of it.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.used.end = self.used.end.min(self.used.start.saturating_add(length));
    }

    /// The content, without copying it. The memory is used again when the last handle on it is gone.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.used.clone()).unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.used.clone()).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() == KEPT_BYTES {
            let mut free = FREE.lock();
            if free.len() < KEPT {
                free.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_as_long_and_aligned_as_asked_for() {
        for length in [0, 1, 4096, SHORTEST_BYTES, 1 << 20, KEPT_BYTES, 2 << 20] {
            for alignment in [1, 4096] {
                let mut buffer = Buffer::aligned(length, alignment);
                assert_eq!((buffer.len(), buffer.as_ptr() as usize % alignment), (length, 0));
                buffer.fill(7);
                buffer.truncate(length / 2);
                assert_eq!(buffer.freeze(), vec![7; length / 2]);
            }
        }
    }

    #[test]
    fn a_buffer_is_used_again_only_after_its_last_handle_is_gone() {
        let mut buffer = Buffer::new(1 << 20);
        buffer.fill(1);
        let bytes = buffer.freeze();
        let part = bytes.slice(5..10);
        drop(bytes);
        let others: Vec<Bytes> = (0..2 * KEPT)
            .map(|_| {
                let mut other = Buffer::new(1 << 20);
                other.fill(2);
                other.freeze()
            })
            .collect();
        assert_eq!(part, [1; 5].as_slice());
        drop((part, others));
        assert!(FREE.lock().len() <= KEPT);
    }
}
