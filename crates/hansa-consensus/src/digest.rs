//! The block hash as a digest type of the agreement engine.
//!
//! Nothing is hashed here: keccak-256 of the header is computed when a block is built or decoded.

use core::{fmt, ops::Deref};

use alloy_primitives::B256;
use bytes::BufMut;
use commonware_codec::{Buf, Error, FixedArray, FixedSize, Read, ReadExt as _, Write};
use commonware_cryptography::Digest;
use commonware_math::algebra::Random;
use commonware_utils::{Array, Span};
use rand_core::CryptoRng;

/// keccak-256 of a block's header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FixedArray)]
#[fixed_array(infallible)]
#[repr(transparent)]
pub(crate) struct BlockDigest(pub(crate) [u8; 32]);

impl From<B256> for BlockDigest {
    fn from(hash: B256) -> Self {
        Self(hash.0)
    }
}

impl From<BlockDigest> for B256 {
    fn from(digest: BlockDigest) -> Self {
        Self(digest.0)
    }
}

impl Write for BlockDigest {
    fn write(&self, buf: &mut impl BufMut) {
        self.0.write(buf);
    }
}

impl Read for BlockDigest {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, Error> {
        <[u8; 32]>::read(buf).map(Self)
    }
}

impl FixedSize for BlockDigest {
    const SIZE: usize = 32;
}

impl Span for BlockDigest {}

impl Array for BlockDigest {}

impl AsRef<[u8]> for BlockDigest {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Deref for BlockDigest {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for BlockDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&B256::from(*self), f)
    }
}

impl fmt::Display for BlockDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&B256::from(*self), f)
    }
}

impl Digest for BlockDigest {
    const EMPTY: Self = Self([0; 32]);
}

impl Random for BlockDigest {
    fn random(mut rng: impl CryptoRng) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }
}
