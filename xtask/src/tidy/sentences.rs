//! Sentences of comments that stand in three places or more: what they say belongs to one of them.
//!
//! Left out are tests, and what repeats by design: sections such as `# Errors`, and the help texts of the command line.

use std::collections::BTreeMap;

use super::source::Source;

/// Places in which a sentence may stand.
const PLACES_MAX: usize = 2;
/// Its comments are help texts.
const HELP: &str = "crates/hansa/src/cli.rs";
/// Shorter sentences are captions, which may be equal by chance.
const WORDS_MIN: usize = 6;

pub(crate) fn check(sources: &[Source]) -> Vec<String> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in
        sources.iter().filter(|source| !source.is_generated() && !source.is_test() && source.name != HELP)
    {
        for (line, sentence) in sentences(&source.comments) {
            places.entry(sentence).or_default().push(format!("{}:{line}", source.name));
        }
    }
    places.retain(|_, places| places.len() > PLACES_MAX);
    places
        .iter()
        .map(|(sentence, places)| {
            format!("\"{sentence}\" stands in {} places: {}", places.len(), places.join(", "))
        })
        .collect()
}

/// The sentences of all comments with the line on which their paragraph begins.
fn sentences(comments: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut paragraph = (1, String::new());
    for (number, line) in comments.lines().enumerate() {
        let text = line.trim().trim_start_matches(['/', '!', '*']).trim();
        if text.is_empty() {
            found.append(&mut split(&paragraph));
            paragraph = (number + 2, String::new());
        } else {
            paragraph.1.push_str(text);
            paragraph.1.push(' ');
        }
    }
    found.append(&mut split(&paragraph));
    found
}

fn split((line, paragraph): &(usize, String)) -> Vec<(usize, String)> {
    if paragraph.starts_with("# ") {
        return Vec::new();
    }
    let sentences = paragraph.split(". ").map(|sentence| sentence.trim().trim_end_matches('.'));
    sentences
        .filter(|sentence| sentence.split_whitespace().count() >= WORDS_MIN)
        .map(|sentence| (*line, sentence.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Source, check};

    #[test]
    fn a_sentence_in_three_places_is_found_however_it_is_broken() {
        let files = |texts: &[&str]| -> Vec<Source> {
            let named = texts.iter().enumerate();
            named.map(|(number, text)| Source::new(format!("{number}.rs"), *text)).collect()
        };
        let one = "//! Keys are ordered by their bytes alone. More.\n";
        let broken = "/// Keys are ordered\n/// by their bytes alone.\nfn a() {}\n";
        let code = "fn b() { say(\"Keys are ordered by their bytes alone.\") }\n";
        assert_eq!(check(&files(&[one, broken, one])).len(), 1);
        assert_eq!(check(&files(&[one, broken, code])).len(), 0);
        let errors = "/// # Errors\n/// Only when the store on the disk cannot be read.\n";
        assert_eq!(check(&files(&[errors, errors, errors])).len(), 0);
        let caption = "/// Its height.\n";
        assert_eq!(check(&files(&[caption, caption, caption])).len(), 0);
    }
}
