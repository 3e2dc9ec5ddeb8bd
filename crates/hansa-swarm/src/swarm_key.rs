//! The pre-shared key of a private swarm, in Kubo's file format.

use std::fmt;
use std::str::FromStr;

use zeroize::{Zeroize, ZeroizeOnDrop};

const HEADER: &str = "/key/swarm/psk/1.0.0/";

/// The 32-byte pre-shared key of a swarm. A connection needs it, and a registered network key too.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SwarmKey([u8; 32]);

/// Text that is no swarm key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a swarm key: it has three lines, {HEADER} then /base16/ then 64 hexadecimal digits")]
pub struct SwarmKeyError;

impl SwarmKey {
    /// A fresh random key.
    pub fn generate() -> Self {
        Self(rand::random())
    }

    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The text of a `swarm.key` file: three lines.
    pub fn to_file(&self) -> String {
        format!("{HEADER}\n/base16/\n{}\n", hex::encode(self.0))
    }
}

impl FromStr for SwarmKey {
    type Err = SwarmKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut lines = text.lines().map(str::trim_end);
        let (header, encoding, key) = (lines.next(), lines.next(), lines.next());
        if header != Some(HEADER) || encoding != Some("/base16/") {
            return Err(SwarmKeyError);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(key.unwrap_or_default(), &mut bytes).map_err(|_| SwarmKeyError)?;
        Ok(Self(bytes))
    }
}

impl fmt::Debug for SwarmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SwarmKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_their_file_and_nothing_else_is_one() {
        let key = SwarmKey::generate();
        let text = key.to_file();
        assert_eq!(text.parse(), Ok(key.clone()));
        assert_eq!(text.replace('\n', "\r\n").parse(), Ok(key));
        for bad in ["", "a\nb\nc", &text[..text.len() - 2], &text.replace("base16", "base64")] {
            assert_eq!(bad.parse::<SwarmKey>(), Err(SwarmKeyError), "{bad}");
        }
    }
}
