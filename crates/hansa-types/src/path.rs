//! Which paths and names an object may hold: relative, UTF-8, and within the limits of POSIX file systems.
//!
//! Client, gateway and envelope apply the same rule, so whatever is stored can be written back. Control characters and
//! backslashes are allowed, because file systems hold such names; a reader that prints a name escapes it first. Names
//! that only Windows refuses (`CON`, trailing dots) are allowed too.

/// Longest path in bytes.
pub const PATH_BYTES_MAX: usize = 4096;
/// Longest component of a path, and longest name of an object, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Deepest nesting: components of a path.
pub const PATH_COMPONENTS_MAX: usize = 64;

/// Why a `/`-separated relative path cannot be stored, as the end of a sentence about it; `None` when it can.
pub fn path_problem(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("is empty");
    }
    if path.len() > PATH_BYTES_MAX {
        return Some("is longer than 4,096 bytes");
    }
    if path.starts_with('/') {
        return Some("is absolute");
    }
    if path.contains('\0') {
        return Some("holds a zero character");
    }
    if path.split('/').count() > PATH_COMPONENTS_MAX {
        return Some("is nested deeper than 64 folders");
    }
    path.split('/').find_map(|component| match component {
        "" => Some("has an empty component"),
        "." | ".." => Some("has a `.` or `..` component"),
        long if long.len() > NAME_BYTES_MAX => Some("has a component longer than 255 bytes"),
        _ => None,
    })
}

/// Why an object cannot have this name: [`path_problem`] for a path of one component.
pub fn name_problem(name: &str) -> Option<&'static str> {
    if name.contains('/') { Some("holds a slash") } else { path_problem(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_stay_below_their_folder_pass() {
        for good in
            ["a", "a/b c/ü.json", "...", "a..b", ".hidden", "a:b", "-rf", "Icon\r", "a\\b", "a\nb\u{7f}"]
        {
            assert_eq!(path_problem(good), None, "{good:?}");
        }
        let long = "x".repeat(256);
        let deep = ["d"; 65].join("/");
        let endless = ["abcdefg"; 600].join("/");
        let climbing = ["/", "/etc/passwd", "..", "a/..", "../a", "a/../b", ".", "a/./b", "a//b", "a/"];
        for bad in climbing.into_iter().chain(["", "a\0b", &long, &deep, &endless]) {
            assert!(path_problem(bad).is_some(), "{bad:?}");
        }
        assert!(name_problem("a/b").is_some() && name_problem(&"n".repeat(255)).is_none());
    }
}
