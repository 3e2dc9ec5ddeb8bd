//! Runs the fuzz targets of `fuzz/` with cargo-fuzz and a nightly compiler, one after the other.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Outcome, shell};

/// How long each target runs unless told otherwise.
const SECONDS: u64 = 60;
/// Longest input, in bytes: what a decoder does with more it does with this.
const LENGTH_MAX: usize = 65_536;
/// A decoder that takes more memory than this for such an input fails.
const MEMORY_MB_MAX: usize = 1_024;

/// Longest input that is kept among the seeds.
const SEED_LENGTH_MAX: usize = 2_048;

/// `[TARGET]… [--seconds N] [--keep]`.
pub(crate) fn run(rest: &[&str]) -> Outcome {
    shell::require("cargo-fuzz", "install it with `cargo install cargo-fuzz --locked`")?;
    let (mut limit, mut keep, mut named) = (SECONDS, false, Vec::new());
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        match *word {
            "--seconds" => {
                let number = words.next().and_then(|word| word.parse().ok());
                limit = number.ok_or("--seconds needs a number")?;
            }
            "--keep" => keep = true,
            name => named.push(name),
        }
    }
    let all = targets(&shell::root().join("fuzz/fuzz_targets"))?;
    if let Some(unknown) = named.iter().find(|name| !all.iter().any(|target| target == *name)) {
        return Err(format!("there is no fuzz target '{unknown}'; there are {}", all.join(", ")));
    }
    let chosen = all.iter().filter(|target| named.is_empty() || named.contains(&target.as_str()));
    for target in chosen {
        println!("── fuzz {target}");
        one(target, limit)?;
        if keep {
            keep_seeds(target)?;
        }
    }
    Ok(())
}

/// Runs a target, beginning with the committed seeds and what earlier runs here have found.
fn one(target: &str, seconds: u64) -> Outcome {
    let [seeds, corpus] = inputs(target)?;
    shell::run(
        fuzzer(target)
            .args([corpus, seeds])
            .arg("--")
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={LENGTH_MAX}"))
            .arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"))
            .args(["-timeout=10", "-print_final_stats=1", "-verbosity=0"]),
    )
}

/// Adds to the committed seeds those short inputs that reach what the seeds do not.
fn keep_seeds(target: &str) -> Outcome {
    shell::run(
        fuzzer(target)
            .args(inputs(target)?)
            .args(["--", "-set_cover_merge=1", "-verbosity=0"])
            .arg(format!("-max_len={SEED_LENGTH_MAX}")),
    )
}

fn fuzzer(target: &str) -> Command {
    let mut command = shell::command("rustup");
    command.args(["run", "nightly", "cargo", "fuzz", "run", target]);
    command
}

/// The folders with a target's committed seeds, and with what runs here have found.
fn inputs(target: &str) -> Outcome<[PathBuf; 2]> {
    let folders = ["seeds", "corpus"].map(|name| shell::root().join("fuzz").join(name).join(target));
    for folder in &folders {
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    Ok(folders)
}

/// Checks that the targets still fit what they throw bytes at. Their workspace is none of ours, so nothing else compiles them.
pub(crate) fn check() -> Outcome {
    let folder = shell::root().join("fuzz");
    let target = shell::target_directory()?.join("fuzz-check");
    shell::run(
        shell::cargo()
            .args(["check", "--locked", "--manifest-path"])
            .arg(folder.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(target)
            .env("RUSTFLAGS", "--cfg fuzzing"),
    )
}

/// The targets' names, sorted.
fn targets(folder: &Path) -> Outcome<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}
