//! Which paths a manifest may name: relative, plain, and harmless to write below a chosen folder.
//!
//! The rules are those of POSIX file systems. Names that only Windows refuses (`CON`, trailing dots) are allowed.

use crate::EnvelopeError;

/// Longest path in bytes.
pub const PATH_BYTES_MAX: usize = 4096;
/// Longest component in bytes.
const COMPONENT_BYTES_MAX: usize = 255;
/// Deepest nesting.
const COMPONENTS_MAX: usize = 64;

/// Checks a `/`-separated relative path.
///
/// # Errors
/// [`EnvelopeError::Path`] for an empty, absolute or overlong path, an empty, `.` or `..` component, a backslash or a
/// control character.
pub fn check_path(path: &str) -> Result<(), EnvelopeError> {
    match violation(path) {
        None => Ok(()),
        Some(why) => Err(refused(path, why)),
    }
}

pub(crate) fn refused(path: &str, why: &'static str) -> EnvelopeError {
    EnvelopeError::Path { path: path.chars().take(200).collect(), why }
}

fn violation(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("it is empty");
    }
    if path.len() > PATH_BYTES_MAX {
        return Some("it is longer than 4,096 bytes");
    }
    if path.starts_with('/') {
        return Some("it is absolute");
    }
    if path.contains(|c: char| c == '\\' || c.is_control()) {
        return Some("it contains a backslash or a control character");
    }
    if path.split('/').count() > COMPONENTS_MAX {
        return Some("it is nested deeper than 64 folders");
    }
    path.split('/').find_map(|component| match component {
        "" => Some("it has an empty component"),
        "." | ".." => Some("it has a `.` or `..` component"),
        long if long.len() > COMPONENT_BYTES_MAX => Some("a component is longer than 255 bytes"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_paths_pass() {
        for good in ["a", "a/b c/ü.json", "...", "a..b", ".hidden", "a:b", "-rf"] {
            assert!(check_path(good).is_ok(), "{good}");
        }
        let long = "x".repeat(256);
        let deep = vec!["d"; 65].join("/");
        let endless = vec!["abcdefg"; 600].join("/");
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "a/..",
            "../a",
            "a/../b",
            ".",
            "a/./b",
            "a//b",
            "a/",
            "a\\b",
            "a\0b",
            "a\nb",
            "a\u{7f}",
            &long,
            &deep,
            &endless,
        ] {
            assert!(matches!(check_path(bad), Err(EnvelopeError::Path { .. })), "{bad:?}");
        }
    }
}
