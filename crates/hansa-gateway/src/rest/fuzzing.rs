//! Entry points for the fuzz targets of `fuzz/`: everything that is read of a request before the service sees it.
#![allow(
    unreachable_pub,
    clippy::expect_used,
    reason = "public and compiled for the fuzz targets and tests alone"
)]

use std::io::Read;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use hansa_api::{GrantRequest, Motion, VerifyRequest, VisibilityRequest, VoteRequest, header};

use super::{
    promise::Promise,
    tar::{Archive, header_of},
    upload,
};

/// Reads a tar archive to its end, and what was read again after it was written.
///
/// # Panics
/// When an entry does not survive being written.
pub fn tar(data: &[u8]) {
    let mut archive = Archive::new(data);
    let mut buffer = [0; 512];
    while let Ok(Some(entry)) = archive.next_entry() {
        let written = header_of(&entry);
        let again = Archive::new(written.as_slice()).next_entry();
        assert_eq!(again.expect("a header that was written is read").as_ref(), Some(&entry));
        while archive.read(&mut buffer).is_ok_and(|read| read > 0) {}
    }
}

/// Reads the JSON bodies, and an upload: its metadata, a digest and the content, each a line.
pub fn request(data: &[u8]) {
    let _ = serde_json::from_slice::<GrantRequest>(data);
    let _ = serde_json::from_slice::<Motion>(data);
    let _ = serde_json::from_slice::<VerifyRequest>(data);
    let _ = serde_json::from_slice::<VisibilityRequest>(data);
    let _ = serde_json::from_slice::<VoteRequest>(data);
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let (meta, digest) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let (Ok(meta), Ok(digest)) = (HeaderValue::from_bytes(meta), HeaderValue::from_bytes(digest)) else {
        return;
    };
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static(header::META), meta);
    headers.insert(HeaderName::from_static("content-digest"), digest);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let _ = upload::meta(&headers, 0);
    if let Ok(promise) = Promise::read(&headers) {
        let mut content = Vec::new();
        let _ = promise.keep(lines.next().unwrap_or_default()).read_to_end(&mut content);
    }
}

#[cfg(test)]
mod tests {
    use hansa_api::ContentEntry;

    use super::*;
    use crate::rest::tar::{BLOCK, END};

    /// The next number that follows from a seed (xorshift64).
    fn next(state: &mut u64) -> usize {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state as usize
    }

    /// Makes a header's checksum right, so that what else is wrong with it is reached.
    fn seal(header: &mut [u8]) {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }

    #[test]
    fn mutated_archives_and_requests_are_read_or_refused() {
        let entry = |path: &str, size| ContentEntry {
            path: path.to_owned(),
            directory: false,
            executable: size % 2 == 1,
            size: Some(size),
        };
        let mut archive = header_of(&entry("a/b.txt", 3));
        archive.extend([7; BLOCK]);
        archive.extend(header_of(&entry(&"deep/".repeat(50).replace("p/", "p/x"), 0)));
        archive.extend(END);
        let line = b"%7B%22name%22%3A%22x%22%2C%22kind%22%3A%22file%22%7D\nsha-256=:AAAA:\n{\"to\":[1]}";
        let mut state = 0x9e37_79b9_7f4a_7c15;
        for _ in 0..20_000 {
            let mut bytes = archive.clone();
            for _ in 0..=next(&mut state) % 8 {
                let at = next(&mut state) % bytes.len();
                bytes[at] = next(&mut state) as u8;
            }
            for header in bytes.chunks_exact_mut(BLOCK).step_by(2) {
                seal(header);
            }
            bytes.truncate(next(&mut state) % (2 * bytes.len()));
            tar(&bytes);
            let mut bytes = line.to_vec();
            let at = next(&mut state) % bytes.len();
            bytes[at] = next(&mut state) as u8;
            request(&bytes);
        }
    }
}
