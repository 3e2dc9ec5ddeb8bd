//! `bench … --against BINARY`: this version and another in turns on the same machine, so that their ratio and not the
//! machine decides.
//!
//! `path` drives either binary from outside with this version's load generator. `chain` makes calls of its version's contracts, and
//! `ingest` and `transfer` run parts of a node inside `hansa-bench`, so they need the other version's `hansa-bench` beside BINARY.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use crate::{Outcome, shell};

const ROUNDS: usize = 3;

/// The values of each figure, one for each round.
type Runs = BTreeMap<String, Vec<f64>>;

/// Runs the bench named in `words` in turns with the binary that follows the word at `at`.
pub(crate) fn run(hansa: &Path, bench: &Path, words: &[&str], at: usize) -> Outcome {
    let other: PathBuf = words.get(at + 1).map(PathBuf::from).ok_or("--against names no binary")?;
    if !other.is_file() {
        return Err(format!("--against {}: there is no such file", other.display()));
    }
    let is_json = words.contains(&"--json");
    let kept = words.iter().enumerate().filter(|(index, _)| *index != at && *index != at + 1);
    let words: Vec<&str> = kept.map(|(_, word)| *word).filter(|word| *word != "--json").collect();
    let other_bench = match words.first() {
        Some(&("chain" | "ingest" | "transfer")) => other.with_file_name("hansa-bench"),
        _ => bench.to_path_buf(),
    };
    if !other_bench.is_file() {
        return Err(format!("{} is missing: build it beside the other binary", other_bench.display()));
    }
    let (mut ours, mut theirs) = (Runs::new(), Runs::new());
    let mut failed = 0;
    for round in 1..=ROUNDS {
        // Each version goes first in turn: the one that goes second finds a warmer or a fuller machine.
        let mut turns = [(bench, hansa, &mut ours), (&*other_bench, &*other, &mut theirs)];
        if round % 2 == 0 {
            turns.reverse();
        }
        for (bench, hansa, runs) in turns {
            // A failed run must not cost the figures of the others.
            if let Err(error) = measure(bench, hansa, &words, runs) {
                eprintln!("round {round}, {}: {error}", hansa.display());
                failed += 1;
            }
        }
        eprintln!("round {round} of {ROUNDS}");
    }
    if is_json {
        println!("{}", line(&ours, &theirs));
    } else {
        table(&ours, &theirs);
    }
    match failed {
        0 => Ok(()),
        _ => Err(format!("{failed} of {} runs failed; the figures are of the others", 2 * ROUNDS)),
    }
}

fn table(ours: &Runs, theirs: &Runs) {
    println!("{:<28} {:>12} {:>12} {:>8}   rounds", "figure", "this", "other", "ratio");
    for (name, values) in ours {
        let before = theirs.get(name).map(|values| median(values));
        let ratio = before.filter(|before| *before != 0.0).map(|before| median(values) / before);
        let text = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
        let rounds: Vec<String> = values.iter().map(|value| format!("{value:.1}")).collect();
        let (before, ratio) = (text(before), text(ratio));
        println!("{name:<28} {:>12.2} {before:>12} {ratio:>8}   {}", median(values), rounds.join(" "));
    }
}

/// One run; its figures are added to `runs`.
fn measure(bench: &Path, hansa: &Path, words: &[&str], runs: &mut Runs) -> Outcome {
    let mut command = shell::command(bench);
    command.args(words).args(["--runs", "1", "--json"]).env("HANSA", hansa);
    let text = shell::capture(&mut command)?;
    let figures: Map<String, Value> =
        serde_json::from_str(&text).map_err(|e| format!("{} printed no figures: {e}", bench.display()))?;
    for (name, value) in figures {
        if let Some(value) = value.as_f64() {
            runs.entry(name).or_default().push(value);
        }
    }
    Ok(())
}

/// One line of JSON: each figure's median, the same of the other version under `other`, the ratios under `ratio`.
fn line(ours: &Runs, theirs: &Runs) -> Value {
    let medians = |runs: &Runs| -> Map<String, Value> {
        runs.iter().map(|(name, values)| (name.clone(), json!(median(values)))).collect()
    };
    let ratio = |(name, values): (&String, &Vec<f64>)| {
        let before = median(theirs.get(name)?);
        (before != 0.0).then(|| (name.clone(), json!(median(values) / before)))
    };
    let ratios: Map<String, Value> = ours.iter().filter_map(ratio).collect();
    let mut line = medians(ours);
    line.insert("other".into(), Value::Object(medians(theirs)));
    line.insert("ratio".into(), Value::Object(ratios));
    line.insert("runs".into(), json!({ "this": ours, "other": theirs }));
    Value::Object(line)
}

/// The middle one; the lower of the two where their number is even.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}
