//! A pool of buffers for large blocks in huge pages. Reuse saves mapping and clearing of fresh memory. Contiguous physical memory saves
//! disk requests, each of which takes a few hundred fragments. The pool is a cache: an exhausted pool allocates.

use std::ops::{Deref, DerefMut, Range};
use std::sync::LazyLock;

use bytes::Bytes;
use memmap2::{Advice, MmapMut};
use parking_lot::Mutex;

use crate::segments::SECTOR_BYTES;

/// Length of a pooled piece: a leaf, and room for alignment or the message around it.
const PIECE_BYTES: usize = 1024 * 1024 + 64 * 1024;
/// Shorter contents are allocated, so that they do not occupy a piece.
const SHORTEST_BYTES: usize = PIECE_BYTES / 2;
/// Number of pieces, a whole number of huge pages. Pages that were never used take no memory. Further buffers are allocated.
const PIECES: usize = 64;
const HUGE_PAGE_BYTES: usize = 2 * 1024 * 1024;

/// Free pieces, last in, first out.
static FREE: LazyLock<Mutex<Vec<&'static mut [u8]>>> = LazyLock::new(|| {
    let pieces =
        map_pieces().inspect_err(|error| tracing::warn!(%error, "no memory for the pool of block buffers"));
    Mutex::new(pieces.unwrap_or_default())
});

/// Maps the pieces for the life of the process.
fn map_pieces() -> std::io::Result<Vec<&'static mut [u8]>> {
    let length = PIECES.saturating_mul(PIECE_BYTES);
    let map = Box::leak(Box::new(MmapMut::map_anon(length.saturating_add(HUGE_PAGE_BYTES))?));
    if let Err(error) = map.advise(Advice::HugePage) {
        tracing::debug!(%error, "no huge pages");
    }
    let start = map.as_ptr().align_offset(HUGE_PAGE_BYTES);
    let aligned = map.get_mut(start..start.saturating_add(length)).unwrap_or_default();
    Ok(aligned.chunks_exact_mut(PIECE_BYTES).rev().collect())
}

#[derive(Debug)]
enum Memory {
    /// Returned to the pool on drop.
    Piece(&'static mut [u8]),
    Own(Vec<u8>),
}

/// A buffer with arbitrary initial content.
#[derive(Debug)]
pub struct Buffer {
    memory: Memory,
    used: Range<usize>,
}

impl Buffer {
    /// A buffer that ends at a sector boundary, so that a block at the end of a message is aligned for direct I/O.
    pub fn new(length: usize) -> Self {
        Self::with_boundary(length, length)
    }

    /// A buffer that starts at a sector boundary.
    pub(crate) fn for_sectors(length: usize) -> Self {
        Self::with_boundary(length, 0)
    }

    /// A buffer with a sector boundary at offset `boundary`.
    fn with_boundary(length: usize, boundary: usize) -> Self {
        let needed = length.saturating_add(SECTOR_BYTES);
        let piece = match needed {
            SHORTEST_BYTES..=PIECE_BYTES => FREE.lock().pop(),
            _ => None,
        };
        let memory = piece.map_or_else(|| Memory::Own(vec![0; needed]), Memory::Piece);
        let address = memory.bytes().as_ptr().addr().wrapping_add(boundary);
        let start = address.wrapping_neg() % SECTOR_BYTES;
        Self { memory, used: start..start.saturating_add(length) }
    }

    /// Shortens the buffer.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.used.end = self.used.end.min(self.used.start.saturating_add(length));
    }

    /// The content without a copy. The memory returns to the pool with the last handle.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Piece(piece) => piece,
            Self::Own(bytes) => bytes,
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.bytes().get(self.used.clone()).unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let bytes = match &mut self.memory {
            Memory::Piece(piece) => &mut **piece,
            Memory::Own(bytes) => bytes,
        };
        bytes.get_mut(self.used.clone()).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Memory::Piece(piece) = &mut self.memory {
            FREE.lock().push(std::mem::take(piece));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_as_long_and_aligned_as_asked_for() {
        for length in [0, 1, 4096, SHORTEST_BYTES, 1 << 20, PIECE_BYTES, 2 << 20] {
            for (mut buffer, boundary) in [(Buffer::for_sectors(length), 0), (Buffer::new(length), length)] {
                assert_eq!((buffer.len(), (buffer.as_ptr() as usize + boundary) % 4096), (length, 0));
                buffer.fill(7);
                buffer.truncate(length / 2);
                assert_eq!(buffer.freeze(), vec![7; length / 2]);
            }
        }
    }

    #[test]
    fn memory_is_used_again_only_after_its_last_handle_is_gone() {
        let mut buffer = Buffer::new(1 << 20);
        buffer.fill(1);
        let bytes = buffer.freeze();
        let part = bytes.slice(5..10);
        drop(bytes);
        let others: Vec<Bytes> = (0..2 * PIECES)
            .map(|_| {
                let mut other = Buffer::new(1 << 20);
                other.fill(2);
                other.freeze()
            })
            .collect();
        assert_eq!(part, [1; 5].as_slice());
        drop((part, others));
        assert!(FREE.lock().len() <= PIECES);
    }
}
