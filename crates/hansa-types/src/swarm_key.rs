//! The pre-shared key of the private swarm and its text file, which Kubo reads too (libp2p specification "Pre-shared Key Based Private
//! Networks", version 1).
//!
//! The key hides the protocols from strangers. It admits nobody: the registry decides who is a member.

use std::{fmt, str::FromStr};

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const HEADER: &str = "/key/swarm/psk/1.0.0/";
const ENCODING: &str = "/base16/";

/// The 32-byte pre-shared key of a swarm. Zeroised on drop and never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SwarmKey([u8; 32]);

/// A defect of a `swarm.key` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SwarmKeyError {
    /// The first two lines name another format.
    #[error("this is no swarm key: it does not begin with the lines {HEADER} and {ENCODING}")]
    Header,
    /// The third line is not 64 hexadecimal digits.
    #[error("this is no swarm key: its third line is not 64 hexadecimal digits")]
    Key,
    /// Text after the key.
    #[error("this is no swarm key: something follows its third line")]
    Trailing,
}

impl SwarmKey {
    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's 32 bytes, which are secret.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The text of a `swarm.key` file, which is secret: two lines of header and the key in base 16.
    pub fn to_text(&self) -> Zeroizing<String> {
        let digits = Zeroizing::new(hex::encode(self.0));
        Zeroizing::new(format!("{HEADER}\n{ENCODING}\n{}\n", digits.as_str()))
    }
}

impl FromStr for SwarmKey {
    type Err = SwarmKeyError;

    /// Parses the text of a `swarm.key` file. Line ends may be those of Windows, and blank lines may follow.
    fn from_str(text: &str) -> Result<Self, SwarmKeyError> {
        let mut lines = text.lines().map(str::trim_end);
        if lines.next() != Some(HEADER) || lines.next() != Some(ENCODING) {
            return Err(SwarmKeyError::Header);
        }
        let mut key = Self([0; 32]);
        hex::decode_to_slice(lines.next().unwrap_or_default(), &mut key.0).map_err(|_| SwarmKeyError::Key)?;
        if lines.all(str::is_empty) { Ok(key) } else { Err(SwarmKeyError::Trailing) }
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
    fn keys_survive_their_file_and_other_text_is_refused() {
        let key = SwarmKey::from_bytes([0xab; 32]);
        let text = format!("/key/swarm/psk/1.0.0/\n/base16/\n{}\n", "ab".repeat(32));
        assert_eq!(key.to_text().as_str(), text);
        assert!(!format!("{key:?}").contains("ab"));
        for good in [text.clone(), text.replace('\n', "\r\n"), format!("{text}\n\n"), text.trim_end().into()]
        {
            assert_eq!(good.parse(), Ok(key.clone()), "{good}");
        }
        let bad = |text: &str| text.parse::<SwarmKey>().unwrap_err();
        for other in ["", "x", "a\nb\nc", &text[..25], &text.replace("base16", "base64")] {
            assert_eq!(bad(other), SwarmKeyError::Header, "{other}");
        }
        for other in [&text[..31], &text[..60], &text[..text.len() - 3], &text.replace("ab\n", "ag\n")] {
            assert_eq!(bad(other), SwarmKeyError::Key, "{other}");
        }
        assert_eq!(bad(&format!("{text}more")), SwarmKeyError::Trailing);
    }
}
