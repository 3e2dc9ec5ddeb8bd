//! `docs/requirements.md`: every requirement once, with references that exist.
//!
//! A row is `| identifier | requirement | shown by |`. The last column names files (`path`), tests (`path::name`) and commands
//! (`cargo xtask …`, `hansa …`) between backticks, or says *not yet*. The check does not judge whether a test shows what its
//! row says.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::source::{Source, in_name};
use crate::Outcome;

const PAGE: &str = "docs/requirements.md";
/// How many requirements each section has, from number 1 on.
const SECTIONS: &[(char, u8)] =
    &[('A', 6), ('B', 12), ('C', 7), ('D', 10), ('E', 6), ('F', 4), ('G', 4), ('H', 7)];

pub(crate) fn check(root: &Path, sources: &[Source]) -> Outcome<Vec<String>> {
    let text = fs::read_to_string(root.join(PAGE)).map_err(|e| format!("{PAGE}: {e}"))?;
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    let exists = |path: &str| root.join(path).exists();
    let mut problems = check_page(&text, exists, read);
    problems.extend(check_citations(sources));
    Ok(problems)
}

fn check_page(
    text: &str,
    exists: impl Fn(&str) -> bool,
    read: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut problems = Vec::new();
    let mut listed: BTreeMap<&str, usize> = BTreeMap::new();
    for row in text.lines().filter_map(Row::read) {
        *listed.entry(row.identifier).or_default() += 1;
        if !identifiers().contains(row.identifier) {
            problems.push(format!("{PAGE} lists {}, which is no requirement", row.identifier));
        }
        let references: Vec<&str> = row.shown_by.split('`').skip(1).step_by(2).collect();
        if references.is_empty() && !row.shown_by.contains("not yet") {
            problems.push(format!(
                "{PAGE}: {} names nothing that shows it, and does not say 'not yet'",
                row.identifier
            ));
        }
        let missing = references.iter().filter(|reference| !is_there(reference, &exists, &read));
        problems.extend(missing.map(|reference| {
            format!("{PAGE}: {} names `{reference}`, which does not exist", row.identifier)
        }));
    }
    for identifier in identifiers() {
        let count = listed.get(identifier.as_str()).copied().unwrap_or(0);
        if count != 1 {
            problems.push(format!("{PAGE} lists {identifier} {count} times, not once"));
        }
    }
    problems
}

struct Row<'a> {
    identifier: &'a str,
    shown_by: &'a str,
}

impl<'a> Row<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut cells = line.trim().strip_prefix('|')?.split('|').map(str::trim);
        let identifier = cells.next().filter(|cell| is_identifier(cell))?;
        let shown_by = cells.nth(1).unwrap_or("");
        Some(Self { identifier, shown_by })
    }
}

fn identifiers() -> BTreeSet<String> {
    SECTIONS
        .iter()
        .flat_map(|(section, last)| (1..=*last).map(move |number| format!("{section}{number}")))
        .collect()
}

/// A letter from A to H and a number of one or two digits.
fn is_identifier(word: &str) -> bool {
    let digits = word.strip_prefix(|letter| ('A'..='H').contains(&letter)).unwrap_or("");
    matches!(digits.len(), 1 | 2)
        && !digits.starts_with('0')
        && digits.chars().all(|digit| digit.is_ascii_digit())
}

fn is_there(reference: &str, exists: impl Fn(&str) -> bool, read: impl Fn(&str) -> Option<String>) -> bool {
    if let Some(command) = reference.strip_prefix("cargo xtask ") {
        let word = command.split_whitespace().next().unwrap_or("");
        return read("xtask/src/main.rs").is_some_and(|menu| menu.contains(&format!("Some((&\"{word}\"")));
    }
    if reference.starts_with("hansa ") {
        return true;
    }
    match reference.split_once("::") {
        Some((path, test)) => read(path).is_some_and(|text| has_function(&text, test)),
        None => exists(reference),
    }
}

fn has_function(text: &str, name: &str) -> bool {
    ["fn ", "function "].iter().any(|word| {
        text.match_indices(&format!("{word}{name}"))
            .any(|(place, found)| !text[place + found.len()..].chars().next().is_some_and(in_name))
    })
}

/// Identifiers in comments that are no requirements.
fn check_citations(sources: &[Source]) -> Vec<String> {
    let known = identifiers();
    let mut problems = Vec::new();
    for source in sources {
        for (number, line) in source.comments.lines().enumerate() {
            let cited = line.split(|letter| !in_name(letter)).filter(|word| is_identifier(word));
            for unknown in cited.filter(|word| !known.contains(*word)) {
                problems.push(format!(
                    "{}:{} cites {unknown}, which {PAGE} does not list",
                    source.name,
                    number + 1
                ));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::{Source, check_citations, check_page, identifiers};

    fn problems(changed: &str, by: &str) -> Vec<String> {
        let row = |identifier: &str| match identifier == changed {
            true => by.to_owned(),
            false => format!("| {identifier} | something | not yet |\n"),
        };
        let text: String = identifiers().iter().map(|identifier| row(identifier)).collect();
        let read = |path: &str| {
            (path == "a.rs").then(|| "fn works() {}".to_owned()).or_else(|| {
                (path == "xtask/src/main.rs").then(|| "Some((&\"up\", rest)) => up(rest)".to_owned())
            })
        };
        check_page(&text, |path| path == "a.rs", read)
    }

    #[test]
    fn references_that_do_not_exist_are_found() {
        let samples = [
            ("`a.rs`", 0),
            ("`a.rs::works`; `cargo xtask up --story`", 0),
            ("`b.rs`", 1),
            ("`a.rs::work`", 1),
            ("`a.rs::works`, `b.rs::works`", 1),
            ("`cargo xtask fly`", 1),
            ("everybody knows", 1),
        ];
        for (shown_by, count) in samples {
            let found = problems("B2", &format!("| B2 | random | {shown_by} |\n"));
            assert_eq!(found.len(), count, "{shown_by}: {found:?}");
        }
    }

    #[test]
    fn every_identifier_is_listed_once() {
        assert_eq!(problems("D10", "").len(), 1);
        let row = "| D10 | answers | not yet |\n";
        assert_eq!(problems("D10", &row.repeat(2)).len(), 1);
        assert_eq!(problems("", "").len(), 0);
        assert_eq!(problems("D10", &format!("{row}| D11 | more | not yet |\n")).len(), 1);
    }

    #[test]
    fn identifiers_in_comments_are_those_of_the_page() {
        let cited = |text: &str| check_citations(&[Source::new("a.rs", text)]).len();
        assert_eq!(cited("// As C2 and D10 say; not the controls C0 or code E2004.\nlet a = B64;\n"), 0);
        assert_eq!(cited("/// Nobody knows F9.\n"), 1);
    }
}
