//! Silent fallbacks: a default value in place of a failed conversion.
//!
//! A conversion that cannot fail is `expect("invariant: …")`; one that can is `?`. The rule looks at the call right before
//! `unwrap_or_default()`. It does not judge `saturating_*` or `unwrap_or(…)`, which are often the meaning.

use super::source::{Source, in_name, line_of};

/// Calls whose failure a default would hide: encodings and conversions.
const CONVERSIONS: &[&str] = &[
    "decode",
    "decode_to_slice",
    "encode",
    "from_bigint",
    "from_slice",
    "from_str",
    "parse",
    "serialize",
    "to_string_pretty",
    "to_vec",
    "to_vec_pretty",
    "try_from",
    "try_into",
    "wrap",
];

/// Files with such places, how many, and why they may stay for the time being. Entries go, none comes.
const EXCEPTIONS: &[(&str, usize, &str)] = &[
    ("crates/hansa-bench/src/rpc.rs", 1, "a line that is no JSON is no head"),
    ("crates/hansa-content/src/block.rs", 1, "32 bytes fit a multihash; the crate denies expect"),
    ("crates/hansa-ecdsa/src/multiples.rs", 1, "coordinates of a parsed key are below the field's modulus"),
    ("crates/hansa-ecdsa/src/verify.rs", 1, "reduced in the line before"),
    ("crates/hansa-envelope/src/root.rs", 1, "32 bytes fit a multihash; the crate denies expect"),
    ("crates/hansa-gateway/src/rest/download.rs", 1, "padding is shorter than a block of the archive"),
    ("crates/hansa-gateway/src/rest/stream.rs", 1, "a struct of plain fields"),
    ("crates/hansa-node/src/identity.rs", 1, "a struct of plain fields"),
    ("crates/hansa-pool/src/queues.rs", 2, "positions in a queue that is in memory"),
    ("crates/hansa-sharing/src/content.rs", 1, "a capacity, measured before"),
    ("crates/hansa-sharing/src/message.rs", 1, "the receiver refuses an empty message"),
    ("crates/hansa-sharing/src/repair.rs", 1, "roots have digests of 32 bytes; the crate denies expect"),
    (
        "crates/hansa-sharing/src/replicate/upkeep.rs",
        1,
        "roots have digests of 32 bytes; the crate denies expect",
    ),
    ("crates/hansa-sharing/src/sharing.rs", 1, "roots have digests of 32 bytes; the crate denies expect"),
    ("crates/hansa-types/src/genesis.rs", 2, "a struct of plain fields; the crate denies expect"),
    ("crates/hansa/src/keys.rs", 1, "a struct of plain fields"),
    ("crates/hansa/src/member.rs", 1, "a struct of plain fields"),
    ("crates/hansa/src/up.rs", 1, "a struct of plain fields"),
    ("xtask/src/network.rs", 1, "a command that printed no JSON has no result"),
];

pub(crate) fn check(sources: &[Source]) -> Vec<String> {
    check_with(sources, EXCEPTIONS)
}

fn check_with(sources: &[Source], exceptions: &[(&str, usize, &str)]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources {
        let production = source.production();
        let places: Vec<usize> = fallbacks(&production).collect();
        let known =
            exceptions.iter().find(|(name, ..)| *name == source.name).map_or(0, |(_, count, _)| *count);
        if places.len() > known {
            for place in &places {
                let line = line_of(&production, *place);
                problems.push(format!(
                    "{}:{line} hides a failed conversion: use `?` or expect(\"invariant: …\")",
                    source.name
                ));
            }
        }
        if places.len() < known {
            problems.push(format!("{} has fewer fallbacks than its entry in tidy/fallbacks.rs", source.name));
        }
    }
    let gone = exceptions.iter().filter(|(name, ..)| !sources.iter().any(|source| source.name == *name));
    problems.extend(gone.map(|(name, ..)| format!("{name} of tidy/fallbacks.rs does not exist")));
    problems
}

/// Places of `unwrap_or_default()` behind a conversion, also with `.ok()` between them.
fn fallbacks(code: &str) -> impl Iterator<Item = usize> {
    code.match_indices(".unwrap_or_default()").map(|(place, _)| place).filter(|place| {
        let receiver = code[..*place].trim_end();
        let receiver = receiver.strip_suffix(".ok()").unwrap_or(receiver).trim_end();
        called(receiver).is_some_and(|name| CONVERSIONS.contains(&name))
    })
}

/// The name of the call that an expression ends with.
fn called(expression: &str) -> Option<&str> {
    let mut depth = 0_usize;
    let open = expression.char_indices().rev().find_map(|(place, letter)| {
        match letter {
            ')' | ']' | '}' => depth += 1,
            '(' | '[' | '{' => depth = depth.saturating_sub(1),
            _ => {}
        }
        (depth == 0).then_some(place)
    })?;
    let before = expression.get(..open)?.trim_end();
    let start = before.rfind(|letter| !in_name(letter)).map_or(0, |place| place + 1);
    before.get(start..)
}

#[cfg(test)]
mod tests {
    use super::{Source, check_with};

    #[test]
    fn a_default_for_a_failed_conversion_is_found() {
        let samples = [
            ("serde_json::to_vec(&blank).unwrap_or_default()", 1),
            ("u32::try_from(drawn).ok().unwrap_or_default()", 1),
            ("digest(&[a(1)]).try_into()\n        .unwrap_or_default()", 1),
            ("self.left.get(key).copied().unwrap_or_default()", 0),
            ("lines.next().unwrap_or_default()", 0),
            ("\"to_vec(a).unwrap_or_default()\"", 0),
        ];
        for (code, count) in samples {
            let text = format!("fn a() {{\n    {code}\n}}\n");
            let problems = check_with(&[Source::new("crates/x/src/a.rs", text)], &[]);
            assert_eq!(problems.len(), count, "{code}");
        }
    }

    #[test]
    fn an_exception_that_is_not_needed_is_a_finding() {
        let source = [Source::new("a.rs", "fn a() { to_vec(b).unwrap_or_default(); }\n")];
        assert_eq!(check_with(&source, &[("a.rs", 1, "")]).len(), 0);
        assert_eq!(check_with(&source, &[("a.rs", 2, "")]).len(), 1);
    }
}
