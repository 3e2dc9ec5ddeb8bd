//! The node's token: who knows it acts for the member.

use core::fmt;
use std::fmt::Write as _;

use axum::http::{HeaderMap, header::AUTHORIZATION};
use rand::Rng as _;
use subtle::ConstantTimeEq;

/// Bytes of randomness in a token.
const BYTES: usize = 32;

/// A bearer token of 64 hexadecimal digits. Debug output does not show it.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A new token from the system's randomness.
    pub fn random() -> Self {
        let bytes: [u8; BYTES] = rand::rng().random();
        Self(bytes.iter().fold(String::with_capacity(2 * BYTES), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }

    /// Reads a token; `None` unless it is 64 hexadecimal digits, with or without white space around them.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let well_formed = text.len() == 2 * BYTES && text.bytes().all(|b| b.is_ascii_hexdigit());
        well_formed.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The secret itself, for the file in the node's folder.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether a request's headers carry this token. Takes the same time wherever a wrong one differs.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        let Some((scheme, given)) = value.to_str().ok().and_then(|text| text.split_once(' ')) else {
            return false;
        };
        scheme.eq_ignore_ascii_case("bearer") && bool::from(given.trim().as_bytes().ct_eq(self.0.as_bytes()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn only_the_one_exact_token_is_admitted() {
        let token = Token::random();
        let right = format!("Bearer {}", token.reveal());
        assert!(token.admits(&headers(&[&right])));
        assert!(token.admits(&headers(&[&format!("bearer {}", token.reveal())])));
        let other = format!("Bearer {}", Token::random().reveal());
        let short = &right[..right.len() - 1];
        for refused in [
            &[][..],
            &[other.as_str()],
            &[short],
            &[token.reveal()],
            &[&right, &right],
            &["Basic x"],
            &["Bearer "],
        ] {
            assert!(!token.admits(&headers(refused)), "{refused:?}");
        }
    }

    #[test]
    fn tokens_are_read_back_and_not_shown() {
        let token = Token::random();
        assert_eq!(Token::parse(&format!("{}\n", token.reveal())).unwrap().reveal(), token.reveal());
        assert!(Token::parse("abc").is_none());
        assert!(!format!("{token:?}").contains(token.reveal()));
    }
}
