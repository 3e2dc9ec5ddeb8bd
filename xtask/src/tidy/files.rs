//! Each file: its header, its length, the width of its comments.

use super::source::Source;

/// Production lines a source file may have, everything before its tests.
const LINES_MAX: usize = 600;
/// Letters that a line with a comment may have. `rustfmt` breaks code, not comments.
const COMMENT_WIDTH_MAX: usize = 144;

pub(crate) fn check(sources: &[Source]) -> Vec<String> {
    sources.iter().filter(|source| !source.is_generated()).flat_map(check_one).collect()
}

fn check_one(source: &Source) -> Vec<String> {
    let name = &source.name;
    let mut problems = Vec::new();
    if !source.text.starts_with("//!") {
        problems.push(format!("{name} does not open with //! and what it is for"));
    }
    let production = source.text.split("#[cfg(test)]").next().map_or(0, |text| text.lines().count());
    if production > LINES_MAX && !source.is_test() {
        problems.push(format!("{name} has {production} lines before its tests; at most {LINES_MAX}"));
    }
    for (number, (line, comment)) in source.text.lines().zip(source.comments.lines()).enumerate() {
        let width = line.chars().count();
        if width > COMMENT_WIDTH_MAX && !comment.trim().is_empty() {
            problems.push(format!(
                "{name}:{} has a comment {width} letters wide; at most {COMMENT_WIDTH_MAX}",
                number + 1
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::{COMMENT_WIDTH_MAX, LINES_MAX, Source, check};

    #[test]
    fn headers_lengths_and_widths_are_checked() {
        let wide = format!("//! {}\n", "a".repeat(COMMENT_WIDTH_MAX));
        let long =
            format!("//! Long.\n{}#[cfg(test)]\nmod tests {{}}\n", "const A: u8 = 1;\n".repeat(LINES_MAX));
        let samples = [
            ("bare.rs", "fn a() {}\n", true),
            ("wide.rs", wide.as_str(), true),
            ("long.rs", long.as_str(), true),
            ("tests.rs", long.as_str(), false),
            ("good.rs", "//! Good.\n", false),
            ("generated.rs", "// @generated\n", false),
        ];
        for (name, text, is_bad) in samples {
            assert_eq!(!check(&[Source::new(name, text)]).is_empty(), is_bad, "{name}");
        }
    }
}
