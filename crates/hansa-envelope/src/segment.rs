//! Stream encryption in segments. A segment is one leaf of the stored file.
//!
//! STREAM (Hoang, Reyhanitabar, Rogaway, Vizár, CRYPTO 2015) over AES-256-GCM. Segment `i` has 1,048,560 bytes of padded plaintext and a
//! tag of 16 bytes, which is exactly a leaf of 1 MiB; the last may be shorter. Its nonce is
//! `000000 ‖ i (8 bytes, big-endian) ‖ 01 if last else 00`. A changed, moved, missing, additional or shortened segment fails its tag or
//! the layout. Nonces are equal for all streams, so a key must seal one stream only: a [`SealingKey`] cannot be copied, is consumed by
//! its stream, and [`crate::VersionKeys`] never derives one twice.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use bytes::{Bytes, BytesMut};

use crate::{EnvelopeError, padded_length};

/// Length of an authentication tag in bytes.
pub const TAG_BYTES: usize = 16;
/// Length of a full sealed segment in bytes: one leaf of the stored file.
pub const LEAF_BYTES: usize = 1 << 20;
/// Length of a full segment's plaintext in bytes.
pub const SEGMENT_BYTES: usize = LEAF_BYTES - TAG_BYTES;

/// Initial size of a stream's buffer in bytes.
const FIRST_BYTES: usize = 32 * 1024;
const SEGMENT: u64 = SEGMENT_BYTES as u64;
const LEAF: u64 = LEAF_BYTES as u64;
const TAG: u64 = TAG_BYTES as u64;

/// Lengths and offsets of a sealed stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    padded: u64,
}

impl Layout {
    /// The layout for `length` bytes of plaintext, which is padded.
    pub fn of_plaintext(length: u64) -> Self {
        Self { padded: padded_length(length) }
    }

    /// The layout of a sealed stream of `length` bytes.
    ///
    /// # Errors
    /// If no stream has this length.
    pub fn of_sealed(length: u64) -> Result<Self, EnvelopeError> {
        let segments = length.div_ceil(LEAF);
        let padded = length.saturating_sub(segments.saturating_mul(TAG));
        let layout = Self { padded };
        if padded == 0 || layout.sealed_length() != length || padded_length(padded) != padded {
            return Err(EnvelopeError::malformed("a sealed stream", format!("no stream has {length} bytes")));
        }
        Ok(layout)
    }

    /// Length of the padded plaintext in bytes, the size class on the chain.
    pub fn padded_length(&self) -> u64 {
        self.padded
    }

    /// Number of segments, at least 1.
    pub fn segments(&self) -> u64 {
        self.padded.div_ceil(SEGMENT)
    }

    /// Length of the sealed stream in bytes.
    pub fn sealed_length(&self) -> u64 {
        self.padded.saturating_add(self.segments().saturating_mul(TAG))
    }

    /// Length of the sealed segment `index` in bytes; 0 beyond the end.
    pub fn sealed_segment_length(&self, index: u64) -> u64 {
        let rest = self.padded.saturating_sub(index.saturating_mul(SEGMENT)).min(SEGMENT);
        if rest == 0 { 0 } else { rest.saturating_add(TAG) }
    }

    /// Whether segment `index` is the last one.
    pub fn is_last(&self, index: u64) -> bool {
        index.saturating_add(1) == self.segments()
    }

    /// The segment of the plaintext byte `offset`, and the offset within it.
    pub fn locate(offset: u64) -> (u64, usize) {
        // The remainder is below 2^20.
        (offset / SEGMENT, (offset % SEGMENT) as usize)
    }
}

/// A key that seals one stream and is consumed by it.
pub struct SealingKey(LessSafeKey);

/// A key that opens one stream.
pub struct OpeningKey {
    key: LessSafeKey,
    what: &'static str,
}

fn aes_key(key: &[u8]) -> Result<LessSafeKey, EnvelopeError> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| EnvelopeError::Key("the stream key"))?;
    Ok(LessSafeKey::new(key))
}

fn nonce(index: u64, last: bool) -> Nonce {
    let [a, b, c, d, e, f, g, h] = index.to_be_bytes();
    Nonce::assume_unique_for_key([0, 0, 0, a, b, c, d, e, f, g, h, u8::from(last)])
}

impl SealingKey {
    /// The caller must use these bytes for one sealing key only.
    pub(crate) fn new(key: &[u8]) -> Result<Self, EnvelopeError> {
        aes_key(key).map(Self)
    }

    /// Seals `segment` in place and appends the tag. There is no copy if 16 bytes of capacity are left.
    fn seal(&self, index: u64, last: bool, segment: &mut BytesMut) -> Result<(), EnvelopeError> {
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(index, last), Aad::empty(), segment)
            .map_err(|_| EnvelopeError::Crypto("sealing a segment"))?;
        segment.extend_from_slice(tag.as_ref());
        Ok(())
    }
}

impl OpeningKey {
    pub(crate) fn new(key: &[u8], what: &'static str) -> Result<Self, EnvelopeError> {
        Ok(Self { key: aes_key(key)?, what })
    }

    fn open(&self, index: u64, last: bool, leaf: &mut BytesMut) -> Result<(), EnvelopeError> {
        let length = self
            .key
            .open_in_place(nonce(index, last), Aad::empty(), leaf)
            .map_err(|_| EnvelopeError::Tampered(self.what))?
            .len();
        leaf.truncate(length);
        Ok(())
    }
}

/// Seals a stream of unknown length with at most two segments in memory.
///
/// Fill [`Sealer::spare`] and commit the bytes with [`Sealer::advance`], which returns each leaf that cannot be the last one.
/// [`Sealer::finish`] pads the stream and returns the rest.
pub struct Sealer {
    key: SealingKey,
    index: u64,
    length: u64,
    /// A full segment that may be the last.
    held: Option<BytesMut>,
    /// The current segment, fully initialised, with `filled` bytes used. The first segment grows on demand, so that a short object
    /// takes little memory.
    current: BytesMut,
    filled: usize,
}

impl Sealer {
    /// A new stream.
    pub fn new(key: SealingKey) -> Self {
        Self { key, index: 0, length: 0, held: None, current: BytesMut::new(), filled: 0 }
    }

    /// Length of the plaintext so far in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The buffer for the next plaintext bytes; never empty.
    pub fn spare(&mut self) -> &mut [u8] {
        if self.filled == self.current.len() {
            let length = match self.length < SEGMENT {
                true => self.filled.saturating_mul(4).clamp(FIRST_BYTES, SEGMENT_BYTES),
                false => SEGMENT_BYTES,
            };
            let mut grown = BytesMut::with_capacity(length.saturating_add(TAG_BYTES));
            grown.extend_from_slice(&self.current);
            grown.resize(length, 0);
            self.current = grown;
        }
        self.current.get_mut(self.filled..).unwrap_or_default()
    }

    /// Commits the first `count` bytes of [`Sealer::spare`] as plaintext; returns a sealed leaf if one is complete.
    ///
    /// # Errors
    /// If `count` exceeds the buffer, or the cryptographic library fails.
    pub fn advance(&mut self, count: usize) -> Result<Option<Bytes>, EnvelopeError> {
        if count == 0 {
            return Ok(None);
        }
        let filled = self.filled.saturating_add(count);
        if filled > self.current.len() {
            return Err(EnvelopeError::Length {
                what: "a segment",
                expected: u64::try_from(self.current.len()).unwrap_or(u64::MAX),
                found: u64::try_from(filled).unwrap_or(u64::MAX),
            });
        }
        self.filled = filled;
        self.length = self.length.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        let leaf = self.held.take().map(|segment| self.seal(segment, false)).transpose()?;
        if filled == SEGMENT_BYTES {
            self.held = Some(core::mem::take(&mut self.current));
            self.filled = 0;
        }
        Ok(leaf)
    }

    /// Ends the stream; returns the remaining leaves with the padding.
    pub fn finish(self) -> SealedTail {
        let layout = Layout::of_plaintext(self.length);
        SealedTail { sealer: self, layout }
    }

    fn seal(&mut self, mut segment: BytesMut, last: bool) -> Result<Bytes, EnvelopeError> {
        self.key.seal(self.index, last, &mut segment)?;
        self.index = self.index.saturating_add(1);
        Ok(segment.freeze())
    }
}

/// Iterator over the last leaves of a stream; see [`Sealer::finish`].
pub struct SealedTail {
    sealer: Sealer,
    layout: Layout,
}

impl SealedTail {
    /// The layout of the whole stream.
    pub fn layout(&self) -> Layout {
        self.layout
    }
}

impl Iterator for SealedTail {
    type Item = Result<Bytes, EnvelopeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.sealer.index;
        if index >= self.layout.segments() {
            return None;
        }
        let last = self.layout.is_last(index);
        let segment = match self.sealer.held.take() {
            Some(full) => full,
            None => {
                let length = self.layout.sealed_segment_length(index).saturating_sub(TAG);
                let length = usize::try_from(length).unwrap_or(SEGMENT_BYTES);
                let mut segment = core::mem::take(&mut self.sealer.current);
                segment.truncate(self.sealer.filled);
                segment.reserve(length.saturating_add(TAG_BYTES).saturating_sub(segment.len()));
                segment.resize(length, 0);
                self.sealer.filled = 0;
                segment
            }
        };
        Some(self.sealer.seal(segment, last))
    }
}

/// Opens segments of a stream, in any order.
pub struct Opener {
    key: OpeningKey,
    layout: Layout,
}

impl Opener {
    /// An opener of a stream with this layout.
    pub fn new(key: OpeningKey, layout: Layout) -> Self {
        Self { key, layout }
    }

    /// The stream's layout.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Opens segment `index`; in place if `leaf` is the only reference to its bytes. The result includes padding.
    ///
    /// # Errors
    /// [`EnvelopeError::Length`] if the leaf's length differs from the layout, [`EnvelopeError::Tampered`] if its tag is wrong.
    pub fn open(&self, index: u64, leaf: Bytes) -> Result<Bytes, EnvelopeError> {
        let expected = self.layout.sealed_segment_length(index);
        let found = u64::try_from(leaf.len()).unwrap_or(u64::MAX);
        if expected == 0 || expected != found {
            return Err(EnvelopeError::Length { what: "a sealed segment", expected, found });
        }
        let mut leaf = leaf.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
        self.key.open(index, self.layout.is_last(index), &mut leaf)?;
        Ok(leaf.freeze())
    }
}

/// Seals a short plaintext with its length as prefix as one stream; returns the leaves.
///
/// # Errors
/// Only when the cryptographic library fails.
pub fn seal_buffer(key: SealingKey, plaintext: &[u8]) -> Result<Vec<Bytes>, EnvelopeError> {
    let mut sealer = Sealer::new(key);
    let mut leaves = Vec::new();
    let length = u64::try_from(plaintext.len()).unwrap_or(u64::MAX).to_be_bytes();
    for mut rest in [length.as_slice(), plaintext] {
        while !rest.is_empty() {
            let spare = sealer.spare();
            let count = spare.len().min(rest.len());
            let (now, later) = rest.split_at(count);
            if let Some(target) = spare.get_mut(..count) {
                target.copy_from_slice(now);
            }
            leaves.extend(sealer.advance(count)?);
            rest = later;
        }
    }
    for leaf in sealer.finish() {
        leaves.push(leaf?);
    }
    Ok(leaves)
}

/// The inverse of [`seal_buffer`]; `sealed` are the concatenated leaves.
pub(crate) fn open_buffer(key: OpeningKey, sealed: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let malformed = |why: &str| EnvelopeError::malformed("a sealed buffer", why);
    let opener = Opener::new(key, Layout::of_sealed(u64::try_from(sealed.len()).unwrap_or(u64::MAX))?);
    let mut plaintext = Vec::with_capacity(sealed.len());
    for (index, leaf) in (0_u64..).zip(sealed.chunks(LEAF_BYTES)) {
        plaintext.extend_from_slice(&opener.open(index, Bytes::copy_from_slice(leaf))?);
    }
    let (length, _) = plaintext.split_first_chunk::<8>().ok_or_else(|| malformed("no length"))?;
    let length = usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX);
    let end = length.checked_add(8).filter(|&end| end <= plaintext.len());
    let end = end.ok_or_else(|| malformed("its length is beyond its end"))?;
    if Layout::of_plaintext(u64::try_from(end).unwrap_or(u64::MAX)) != opener.layout() {
        return Err(malformed("its padding is not the one its length asks for"));
    }
    plaintext.truncate(end);
    plaintext.drain(..8);
    Ok(plaintext)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealing_key() -> SealingKey {
        SealingKey::new(&[7; 32]).unwrap()
    }

    fn key() -> OpeningKey {
        OpeningKey::new(&[7; 32], "the content").unwrap()
    }

    fn plaintext(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
    }

    /// Feeds `plain` in pieces of `step` bytes.
    fn seal(plain: &[u8], step: usize) -> Vec<Bytes> {
        let mut sealer = Sealer::new(sealing_key());
        let mut leaves = Vec::new();
        let mut rest = plain;
        while !rest.is_empty() {
            let spare = sealer.spare();
            let count = spare.len().min(rest.len()).min(step);
            spare[..count].copy_from_slice(&rest[..count]);
            leaves.extend(sealer.advance(count).unwrap());
            rest = &rest[count..];
        }
        assert_eq!(sealer.length(), plain.len() as u64);
        leaves.extend(sealer.finish().map(Result::unwrap));
        leaves
    }

    fn open(leaves: &[Bytes], length: u64) -> Result<Vec<u8>, EnvelopeError> {
        let opener = Opener::new(key(), Layout::of_plaintext(length));
        let count = opener.layout().segments() as usize;
        if leaves.len() != count {
            return Err(EnvelopeError::Length {
                what: "test",
                expected: count as u64,
                found: leaves.len() as u64,
            });
        }
        let mut out = Vec::new();
        for (i, leaf) in leaves.iter().enumerate() {
            out.extend_from_slice(&opener.open(i as u64, leaf.clone())?);
        }
        out.truncate(length as usize);
        Ok(out)
    }

    #[test]
    fn nist_gcm_test_case_14() {
        // McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)", test case 14: zero key, zero nonce, zero block.
        let key = SealingKey::new(&[0; 32]).unwrap();
        let mut segment = BytesMut::zeroed(16);
        key.seal(0, false, &mut segment).unwrap();
        assert_eq!(hex::encode(&segment), "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
    }

    #[test]
    fn a_stream_is_pinned() {
        let leaves = seal(b"hansa", 5);
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &leaves[0]);
        assert_eq!((leaves.len(), leaves[0].len()), (1, 4112));
        assert_eq!(hex::encode(sum), "dca79e50d89efb271031ffe40191552dac3739b4cd7c155e3afed14dd49d2a55");
    }

    #[test]
    fn every_boundary_round_trips_whatever_the_pieces() {
        let s = SEGMENT_BYTES;
        for length in [0, 1, 4095, 4096, 4097, s - 1, s, s + 1, 2 * s - 1, 2 * s, 2 * s + 1, 3 * s + 5] {
            let plain = plaintext(length);
            let layout = Layout::of_plaintext(length as u64);
            for step in [s, 65_537] {
                let leaves = seal(&plain, step);
                let lengths: Vec<_> = leaves.iter().map(|l| l.len() as u64).collect();
                let expected: Vec<_> =
                    (0..layout.segments()).map(|i| layout.sealed_segment_length(i)).collect();
                assert_eq!(lengths, expected, "{length}");
                assert_eq!(lengths.iter().sum::<u64>(), layout.sealed_length());
                assert_eq!(Layout::of_sealed(layout.sealed_length()).unwrap(), layout);
                assert!(leaves.iter().rev().skip(1).all(|l| l.len() == LEAF_BYTES));
                assert!(open(&leaves, length as u64).unwrap() == plain, "{length} in steps of {step}");
            }
        }
    }

    #[test]
    fn order_truncation_extension_and_foreign_keys_are_detected() {
        let length = (2 * SEGMENT_BYTES + 100) as u64;
        let leaves = seal(&plaintext(length as usize), SEGMENT_BYTES);
        assert_eq!(leaves.len(), 3);
        let tampered = |leaves: &[Bytes]| matches!(open(leaves, length), Err(EnvelopeError::Tampered(_)));
        assert!(tampered(&[leaves[1].clone(), leaves[0].clone(), leaves[2].clone()]));
        assert!(tampered(&[leaves[0].clone(), leaves[0].clone(), leaves[2].clone()]));
        assert!(open(&leaves[..2], length).is_err());
        assert!(open(&[leaves.clone(), vec![leaves[2].clone()]].concat(), length).is_err());
        // A stream truncated at a segment boundary, with a forged length that matches.
        let two = Opener::new(key(), Layout { padded: 2 * SEGMENT });
        assert!(two.open(0, leaves[0].clone()).is_ok());
        assert!(matches!(two.open(1, leaves[1].clone()), Err(EnvelopeError::Tampered(_))));
        let other =
            Opener::new(OpeningKey::new(&[8; 32], "the content").unwrap(), Layout::of_plaintext(length));
        assert!(matches!(other.open(0, leaves[0].clone()), Err(EnvelopeError::Tampered(_))));
        assert!(matches!(other.open(3, leaves[0].clone()), Err(EnvelopeError::Length { .. })));
        let short = leaves[0].slice(..LEAF_BYTES - 1);
        assert!(matches!(other.open(0, short), Err(EnvelopeError::Length { .. })));
    }

    #[test]
    fn every_byte_of_a_small_stream_counts() {
        let leaf = seal(b"hansa", 5).remove(0);
        for at in 0..leaf.len() {
            let mut bad = BytesMut::from(leaf.as_ref());
            bad[at] ^= 0x40;
            assert!(matches!(open(&[bad.freeze()], 5), Err(EnvelopeError::Tampered(_))), "{at}");
        }
    }

    #[test]
    fn impossible_sealed_lengths_are_refused() {
        for length in [0, 1, 16, 17, 4096, 4111, 4113, LEAF + 1, LEAF + 16, u64::MAX] {
            assert!(Layout::of_sealed(length).is_err(), "{length}");
        }
    }

    #[test]
    fn buffers_round_trip_and_refuse_every_cut() {
        for length in [0, 1, 4087, 4088, 4089, 5000] {
            let plain = plaintext(length);
            let sealed = seal_buffer(sealing_key(), &plain).unwrap().concat();
            assert_eq!(open_buffer(key(), &sealed).unwrap(), plain);
            for end in (0..sealed.len()).step_by(97) {
                assert!(open_buffer(key(), &sealed[..end]).is_err(), "{end}");
            }
            assert!(open_buffer(key(), &[sealed.as_slice(), &[0]].concat()).is_err());
        }
        let long = plaintext(3 * SEGMENT_BYTES);
        let leaves = seal_buffer(sealing_key(), &long).unwrap();
        assert!(leaves.len() > 3);
        assert!(open_buffer(key(), &leaves.concat()).unwrap() == long);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn any_single_change_is_detected(length in 0usize..2_200_000, segment in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut leaves = seal(&plaintext(length), SEGMENT_BYTES);
            let segment = segment.index(leaves.len());
            let mut bad = BytesMut::from(leaves[segment].as_ref());
            let at = byte.index(bad.len());
            bad[at] ^= 1 << bit;
            leaves[segment] = bad.freeze();
            prop_assert!(matches!(open(&leaves, length as u64), Err(EnvelopeError::Tampered(_))));
        }
    }
}
