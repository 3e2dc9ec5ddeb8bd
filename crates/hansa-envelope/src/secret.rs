//! Symmetric keys as types: a key is never printed, compared in variable time or confused with another kind.
//!
//! Memory is zeroised on drop. It is not locked against swapping.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::EnvelopeError;

/// Length of every symmetric key in bytes.
pub(crate) const KEY_BYTES: usize = 32;

/// Fills an array from the operating system's generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], EnvelopeError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| EnvelopeError::Crypto("the random generator"))?;
    Ok(bytes)
}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; KEY_BYTES]);

        impl $name {
            /// A fresh random key.
            ///
            /// # Errors
            /// If the operating system's random generator fails.
            pub fn generate() -> Result<Self, EnvelopeError> {
                Ok(Self(*Zeroizing::new(random()?)))
            }

            /// The key with these bytes.
            pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
                Self(bytes)
            }

            /// The key in `bytes`.
            ///
            /// # Errors
            /// If the length is not 32.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, EnvelopeError> {
                bytes.try_into().map(Self).map_err(|_| EnvelopeError::Key(stringify!($name)))
            }

            /// The key's 32 bytes, which are secret.
            pub fn expose(&self) -> &[u8; KEY_BYTES] {
                &self.0
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(&other.0).into()
            }
        }

        impl Eq for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

key!(
    /// A data key (DEK): seals one version of one object.
    DataKey
);
key!(
    /// An audience key (KEK): wraps the data keys of an object's versions within one key epoch.
    AudienceKey
);
