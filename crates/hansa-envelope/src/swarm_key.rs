//! The pre-shared key of the private swarm and its text file, which Kubo reads too.
//!
//! The key keeps strangers from the protocols. Admission is decided by the registry.

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{EnvelopeError, secret::random};

const HEADER: &str = "/key/swarm/psk/1.0.0/";
const ENCODING: &str = "/base16/";

/// A libp2p pre-shared key (spec "Pre-shared Key Based Private Networks", v1).
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SwarmKey([u8; 32]);

impl std::fmt::Debug for SwarmKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SwarmKey(…)")
    }
}

impl SwarmKey {
    /// A fresh random key.
    ///
    /// # Errors
    /// When the random generator fails.
    pub fn generate() -> Result<Self, EnvelopeError> {
        random().map(Self)
    }

    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's 32 bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The text of a `swarm.key` file.
    pub fn to_text(&self) -> String {
        format!("{HEADER}\n{ENCODING}\n{}\n", hex::encode(self.0))
    }

    /// Parses the text of a `swarm.key` file.
    ///
    /// # Errors
    /// [`EnvelopeError::Malformed`] if it is no key in base 16.
    pub fn from_text(text: &str) -> Result<Self, EnvelopeError> {
        let malformed = |why: &str| EnvelopeError::malformed("the swarm key file", why);
        let mut lines = text.lines().map(str::trim_end);
        if lines.next() != Some(HEADER) || lines.next() != Some(ENCODING) {
            return Err(malformed("it does not begin with /key/swarm/psk/1.0.0/ and /base16/"));
        }
        let mut key = [0; 32];
        hex::decode_to_slice(lines.next().unwrap_or_default(), &mut key)
            .map_err(|_| malformed("its third line is not 64 hexadecimal digits"))?;
        match lines.find(|line| !line.is_empty()) {
            None => Ok(Self(key)),
            Some(_) => Err(malformed("something follows the key")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_foreign_files_are_refused() {
        let key = SwarmKey([0xab; 32]);
        let text = format!("/key/swarm/psk/1.0.0/\n/base16/\n{}\n", "ab".repeat(32));
        assert_eq!(key.to_text(), text);
        assert_eq!(SwarmKey::from_text(&text).unwrap(), key);
        assert_eq!(SwarmKey::from_text(&text.replace('\n', "\r\n")).unwrap(), key);
        for bad in ["", "x", &text[..60], &format!("{text}more"), &text.replace("16", "64")] {
            assert!(matches!(SwarmKey::from_text(bad), Err(EnvelopeError::Malformed { .. })), "{bad}");
        }
    }
}
