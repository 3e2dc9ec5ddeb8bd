//! What a caller says about an upload's bytes beforehand: size and digests. Content that turns out otherwise is never
//! recorded.
//!
//! Digests are those of `Content-Digest` and `Repr-Digest` (RFC 9530) and of the older `Digest` (RFC 3230), as SHA-256 or
//! SHA-512. What would change the meaning of the bytes and is not understood here is refused: parts of content
//! (`Content-Range`), encodings (`Content-Encoding`) and digests by other functions alone.

use std::io::{self, Read};

use aws_lc_rs::digest::{Algorithm, Context, SHA256, SHA512};
use axum::http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_RANGE},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hansa_api::Code;

use super::problem::Refusal;

/// The headers with digests.
const DIGESTS: [&str; 3] = ["content-digest", "repr-digest", "digest"];
/// Most digests in one request.
const DIGESTS_MAX: usize = 8;

/// Why content is not what was announced. Travels inside an [`io::Error`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BrokenPromise {
    /// More or fewer bytes.
    #[error("{announced} bytes were announced and {came} came")]
    Size {
        /// Stated beforehand.
        announced: u64,
        /// Counted; where there were too many, up to there.
        came: u64,
    },
    /// Other bytes.
    #[error("the content's {0} is not the one that was announced")]
    Digest(&'static str),
}

impl From<BrokenPromise> for io::Error {
    fn from(error: BrokenPromise) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// What the body must be.
pub(crate) struct Promise(Vec<Announced>);

struct Announced {
    name: &'static str,
    context: Context,
    expected: Vec<u8>,
}

impl Promise {
    /// Reads the headers.
    ///
    /// # Errors
    /// When they say something that is not understood, or that would make a part stand for the whole.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let malformed = |problem: String| Refusal::new(Code::Malformed, problem);
        if headers.contains_key(CONTENT_RANGE) {
            return Err(malformed(
                "a part of the content (Content-Range) is not taken; send all of it".into(),
            ));
        }
        if headers.contains_key("content-md5") {
            return Err(malformed("Content-MD5 is not checked; send `Content-Digest: sha-256=:…:`".into()));
        }
        let is_encoded =
            |value: &axum::http::HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
        if headers.get_all(CONTENT_ENCODING).iter().any(is_encoded) {
            let problem =
                "encoded content (Content-Encoding) is not taken; send the bytes that are to be kept";
            return Err(Refusal::new(Code::UnsupportedMedia, problem));
        }
        let mut announced = Vec::new();
        for name in DIGESTS {
            let before = announced.len();
            for value in headers.get_all(name) {
                let text = value.to_str().map_err(|_| malformed(format!("header {name} is not ASCII")))?;
                for member in text.split(',') {
                    announced
                        .extend(digest(member).map_err(|what| malformed(format!("header {name}: {what}")))?);
                }
            }
            if headers.contains_key(name) && announced.len() == before {
                return Err(malformed(format!("header {name} has neither sha-256 nor sha-512")));
            }
        }
        if announced.len() > DIGESTS_MAX {
            return Err(malformed(format!("more than {DIGESTS_MAX} digests")));
        }
        Ok(Self(announced))
    }

    /// Whether only the whole body can tell if the promise is kept.
    pub(crate) fn has_digests(&self) -> bool {
        !self.0.is_empty()
    }

    /// The body, which fails at its end where it is not what was announced.
    pub(crate) fn keep<R: Read>(self, body: R) -> Kept<R> {
        Kept { body, digests: self.0 }
    }
}

/// Reads `sha-256=:BASE64:` or `SHA-256=BASE64`; `None` for other functions, which a caller may add.
fn digest(member: &str) -> Result<Option<Announced>, String> {
    let (name, value) = member.trim().split_once('=').ok_or("a digest is `sha-256=:BASE64:`")?;
    let (name, algorithm): (_, &'static Algorithm) = match name.to_ascii_lowercase().as_str() {
        "sha-256" => ("SHA-256", &SHA256),
        "sha-512" => ("SHA-512", &SHA512),
        _ => return Ok(None),
    };
    let value = value.strip_prefix(':').and_then(|value| value.strip_suffix(':')).unwrap_or(value);
    let expected = BASE64.decode(value).map_err(|_| format!("{value:?} is not base64"))?;
    if expected.len() != algorithm.output_len() {
        return Err(format!("a {name} has {} bytes", algorithm.output_len()));
    }
    Ok(Some(Announced { name, context: Context::new(algorithm), expected }))
}

/// A body that is compared with what was announced while it is read.
pub(crate) struct Kept<R> {
    body: R,
    digests: Vec<Announced>,
}

impl<R: Read> Read for Kept<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(buffer)?;
        if read > 0 || buffer.is_empty() {
            for announced in &mut self.digests {
                announced.context.update(buffer.get(..read).unwrap_or_default());
            }
            return Ok(read);
        }
        for announced in self.digests.drain(..) {
            if announced.context.finish().as_ref() != announced.expected {
                return Err(BrokenPromise::Digest(announced.name).into());
            }
        }
        Ok(0)
    }
}

/// Counts bytes against a size stated beforehand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    announced: Option<u64>,
    came: u64,
}

impl Count {
    pub(crate) fn new(announced: Option<u64>) -> Self {
        Self { announced, came: 0 }
    }

    /// # Errors
    /// When there are more than announced.
    pub(crate) fn add(&mut self, bytes: u64) -> Result<(), BrokenPromise> {
        self.came = self.came.saturating_add(bytes);
        match self.announced {
            Some(announced) if self.came > announced => {
                Err(BrokenPromise::Size { announced, came: self.came })
            }
            _ => Ok(()),
        }
    }

    /// # Errors
    /// When there are fewer than announced.
    pub(crate) fn end(&self) -> Result<(), BrokenPromise> {
        match self.announced {
            Some(announced) if self.came != announced => {
                Err(BrokenPromise::Size { announced, came: self.came })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// SHA-256 of `abc` (FIPS 180-4).
    const ABC: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";

    fn check(name: &'static str, value: &str, body: &[u8]) -> Option<io::Result<u64>> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        let promise = Promise::read(&headers).ok()?;
        Some(io::copy(&mut promise.keep(body), &mut io::sink()))
    }

    #[test]
    fn digests_are_compared_in_all_forms() {
        for (name, value) in [
            ("content-digest", format!("sha-256=:{ABC}:")),
            ("repr-digest", format!("md5=:AAAA:, sha-256=:{ABC}:")),
            ("digest", format!("SHA-256={ABC}")),
        ] {
            assert_eq!(check(name, &value, b"abc").unwrap().unwrap(), 3, "{name}");
            let error = check(name, &value, b"abd").unwrap().unwrap_err();
            assert!(error.get_ref().unwrap().is::<BrokenPromise>(), "{name}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (name, value) in [
            ("content-digest", "md5=:AAAA:"),
            ("content-digest", "sha-256"),
            ("content-digest", "sha-256=:AAAA:"),
            ("digest", "SHA-256=%%"),
            ("content-md5", "AAAA"),
            ("content-range", "bytes 0-1/4"),
            ("content-encoding", "gzip"),
        ] {
            assert!(check(name, value, b"").is_none(), "{name}: {value}");
        }
    }
}
