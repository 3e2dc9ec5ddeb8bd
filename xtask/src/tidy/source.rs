//! A Rust file as the rules read it: its code and its comments apart, line by line.
//!
//! The split knows comments, strings and characters, and nothing else of the language. Macros are read like any other code.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::Outcome;

/// One file. `text`, `code` and `comments` have the same lines.
pub(crate) struct Source {
    /// Path below the repository's root, with `/` between its parts.
    pub(crate) name: String,
    pub(crate) text: String,
    /// The text with blanks in place of comments, strings and characters.
    pub(crate) code: String,
    /// The text with blanks in place of everything but comments.
    pub(crate) comments: String,
}

impl Source {
    pub(crate) fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let (code, comments) = split(&text);
        Self { name: name.into(), text, code, comments }
    }

    /// Whether the whole file is compiled for tests, measurements or examples only.
    pub(crate) fn is_test(&self) -> bool {
        let folders = ["/tests/", "/examples/", "/benches/"];
        self.name.ends_with("tests.rs") || folders.iter().any(|folder| self.name.contains(folder))
    }

    pub(crate) fn is_generated(&self) -> bool {
        self.text.starts_with("// @generated")
    }

    /// The code without the items that are compiled for tests only; empty for a test file.
    pub(crate) fn production(&self) -> String {
        if self.is_test() || self.is_generated() { String::new() } else { without_tests(&self.code) }
    }
}

/// All Rust files below these folders of the repository, ordered by name.
pub(crate) fn read_all(root: &Path, folders: &[&str]) -> Outcome<Vec<Source>> {
    let mut paths = Vec::new();
    for folder in folders {
        collect(&root.join(folder), &mut paths)?;
    }
    paths.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
        Ok(Source::new(name, text))
    };
    paths.iter().map(read).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Outcome {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// The line, counted from 1, of a place in a text.
pub(crate) fn line_of(text: &str, place: usize) -> usize {
    text[..place].matches('\n').count() + 1
}

/// The place of the bracket that closes the one at `open`.
pub(crate) fn closing(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (place, letter) in code[open..].char_indices() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(open + place);
        }
    }
    None
}

/// Whether a letter can be part of a name.
pub(crate) fn in_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Places at which `word` stands as a whole name.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(place, _)| place).filter(move |place| {
        let before = code[..*place].chars().next_back().is_some_and(in_name);
        let after = code[*place + word.len()..].chars().next().is_some_and(in_name);
        !before && !after
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Code,
    Comment,
    Quoted,
}

fn split(text: &str) -> (String, String) {
    let (mut code, mut comments) = (String::new(), String::new());
    let mut rest = text;
    let mut before = ' ';
    while !rest.is_empty() {
        let (kind, length) = piece(rest, before);
        let (taken, left) = rest.split_at(length);
        for letter in taken.chars() {
            let keep = |wanted| if letter == '\n' || kind == wanted { letter } else { ' ' };
            code.push(keep(Kind::Code));
            comments.push(keep(Kind::Comment));
            before = letter;
        }
        rest = left;
    }
    (code, comments)
}

/// Kind and length in bytes of what a text begins with; `before` is the letter in front of it.
fn piece(rest: &str, before: char) -> (Kind, usize) {
    if rest.starts_with("//") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, block_comment(rest));
    }
    if rest.starts_with('"') {
        return (Kind::Quoted, quoted(rest, '"'));
    }
    if !in_name(before)
        && let Some(length) = raw_string(rest)
    {
        return (Kind::Quoted, length);
    }
    let first = rest.chars().next().map_or(rest.len(), char::len_utf8);
    let mut after = rest.chars().skip(1);
    if rest.starts_with('\'') {
        // Everything else that begins so is a lifetime.
        match (after.next(), after.next()) {
            (Some('\\'), _) | (Some(_), Some('\'')) => return (Kind::Quoted, quoted(rest, '\'')),
            _ => {}
        }
    }
    (Kind::Code, first)
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest[at..];
        if here.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with("*/") {
            depth = depth.saturating_sub(1);
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut letters = rest.char_indices().skip(1);
    while let Some((place, letter)) = letters.next() {
        if letter == '\\' {
            letters.next();
        } else if letter == quote {
            return place + 1;
        }
    }
    rest.len()
}

/// Length of a raw string, which has as many `#` behind it as in front.
fn raw_string(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let inside = body.trim_start_matches('#');
    let hashes = body.len() - inside.len();
    if !inside.starts_with('"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let start = rest.len() - inside.len() + 1;
    Some(rest[start..].find(&end).map_or(rest.len(), |place| start + place + end.len()))
}

/// Blanks every item under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut left = code.to_owned();
    while let Some(start) = left.find("#[cfg(test)]") {
        let end = item_end(&left, start);
        let blank: String = left[start..end].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
        left.replace_range(start..end, &blank);
    }
    left
}

/// Where the item that begins with an attribute ends: behind its `;` or its body.
fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (place, letter) in code[start..].char_indices() {
        let end = start + place + letter.len_utf8();
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => return start + place,
            ')' | ']' => depth -= 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return end;
                }
            }
            ';' if depth == 0 => return end,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn comments_strings_and_characters_are_no_code() {
        let source = Source::new(
            "a.rs",
            "let a = \"// no \\\" comment\"; // one\nlet b = 'x'; /* two /* nested */ */ let c: &'a str = r#\"{\"#;\n",
        );
        assert_eq!(
            source.code.split_whitespace().collect::<Vec<_>>().join(" "),
            "let a = ; let b = ; let c: &'a str = ;"
        );
        assert_eq!(source.comments.lines().next().map(str::trim), Some("// one"));
        assert!(source.comments.contains("/* two /* nested */ */"));
        assert_eq!(source.code.lines().count(), source.text.lines().count());
    }

    #[test]
    fn items_for_tests_are_no_production_code() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\nfn b() { c(); }\nfn d() {}\n";
        let production = Source::new("crates/x/src/a.rs", text).production();
        assert!(production.contains("fn a") && production.contains("fn d"));
        assert!(!production.contains("mod tests") && !production.contains("fn b"));
        assert_eq!(Source::new("crates/x/src/tests/a.rs", text).production(), "");
    }
}
