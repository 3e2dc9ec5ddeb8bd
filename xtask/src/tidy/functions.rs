//! The length of each function.
//!
//! Counted are the lines with code from `fn` to the closing brace. Comments and empty lines are free, closures and functions
//! inside count with what they are in.

use super::source::{Source, closing, in_name, line_of, words};

/// Lines of code that a function may have.
const LINES_MAX: usize = 70;

/// Longer functions, with the lines that each may have for the time being. Entries shrink and go, none comes.
const KNOWN: &[(&str, &str, usize)] = &[
    ("crates/hansa-consensus/src/engine.rs", "start", 169),
    ("crates/hansa-node/src/node.rs", "start", 118),
];

pub(crate) fn check(sources: &[Source]) -> Vec<String> {
    check_with(sources, KNOWN)
}

fn check_with(sources: &[Source], known: &[(&str, &str, usize)]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut left: Vec<_> = known.iter().collect();
    for source in sources {
        let production = source.production();
        for (name, place, lines) in functions(&production).filter(|(.., lines)| *lines > LINES_MAX) {
            let is_entry = |entry: &(&str, &str, usize)| entry.0 == source.name && entry.1 == name;
            let limit = known.iter().find(|entry| is_entry(entry)).map_or(LINES_MAX, |entry| entry.2);
            left.retain(|entry| !is_entry(entry));
            if lines > limit {
                let line = line_of(&production, place);
                problems.push(format!("{}:{line} {name} has {lines} lines; at most {limit}", source.name));
            }
        }
    }
    let needless = |entry: &&(&str, &str, usize)| {
        format!("{} has no long {}: take it off the list in tidy/functions.rs", entry.0, entry.1)
    };
    problems.extend(left.iter().map(needless));
    problems
}

/// Name, place and lines of every function with a body.
fn functions(code: &str) -> impl Iterator<Item = (&str, usize, usize)> {
    words(code, "fn").filter_map(move |place| {
        let after = code[place + 2..].trim_start();
        let name = after.split(|letter| !in_name(letter)).next().filter(|name| !name.is_empty())?;
        let open = body(code, place)?;
        let end = closing(code, open)?;
        let lines = code[place..=end].lines().filter(|line| !line.trim().is_empty()).count();
        Some((name, place, lines))
    })
}

/// The place of the brace that opens the body; `None` for a declaration.
fn body(code: &str, place: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, letter) in code[place..].char_indices() {
        match letter {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.checked_sub(1)?,
            '{' if depth == 0 => return Some(place + at),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{LINES_MAX, Source, check_with};

    fn found(lines: usize, filler: &str, name: &str) -> usize {
        let body = format!("    {filler}\n").repeat(lines);
        let text = format!("fn pointer(_: fn(u8) -> u8);\npub fn long(a: [u8; 2]) -> u8 {{\n{body}}}\n");
        check_with(&[Source::new(name, text)], &[]).len()
    }

    #[test]
    fn only_lines_of_production_code_count() {
        assert_eq!(found(LINES_MAX - 2, "a();", "crates/x/src/a.rs"), 0);
        assert_eq!(found(LINES_MAX - 1, "a();", "crates/x/src/a.rs"), 1);
        assert_eq!(found(LINES_MAX, "// {", "crates/x/src/a.rs"), 0);
        assert_eq!(found(LINES_MAX, "", "crates/x/src/a.rs"), 0);
        assert_eq!(found(LINES_MAX, "a();", "crates/x/src/tests/a.rs"), 0);
    }

    #[test]
    fn a_known_function_may_shrink_and_not_grow() {
        let text = format!("fn long() {{\n{}}}\n", "    a();\n".repeat(LINES_MAX));
        let source = [Source::new("a.rs", text)];
        assert_eq!(check_with(&source, &[("a.rs", "long", LINES_MAX + 2)]).len(), 0);
        assert_eq!(check_with(&source, &[("a.rs", "long", LINES_MAX + 1)]).len(), 1);
        let needless = [("a.rs", "long", LINES_MAX + 2), ("a.rs", "other", LINES_MAX + 2)];
        assert_eq!(check_with(&source, &needless).len(), 1);
    }
}
