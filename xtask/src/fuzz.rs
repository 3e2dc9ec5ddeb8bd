//! Runs the fuzz targets of `fuzz/` with cargo-fuzz and a nightly compiler, one after the other.

use std::{fs, path::Path};

use crate::{Outcome, shell};

/// How long each target runs unless told otherwise.
const SECONDS: u64 = 60;
/// Longest input, in bytes: what a decoder does with more it does with this.
const LENGTH_MAX: usize = 65_536;
/// A decoder that takes more memory than this for such an input fails.
const MEMORY_MB_MAX: usize = 1_024;

/// `[TARGET]… [--seconds N]`.
pub(crate) fn run(rest: &[&str]) -> Outcome {
    shell::require("cargo-fuzz", "install it with `cargo install cargo-fuzz --locked`")?;
    let seconds = rest.iter().position(|word| *word == "--seconds");
    let limit = match seconds {
        Some(at) => rest.get(at + 1).and_then(|word| word.parse().ok()).ok_or("--seconds needs a number")?,
        None => SECONDS,
    };
    let named: Vec<&str> = match seconds {
        Some(at) => {
            rest.iter().enumerate().filter(|(i, _)| *i != at && *i != at + 1).map(|(_, w)| *w).collect()
        }
        None => rest.to_vec(),
    };
    let all = targets(&shell::root().join("fuzz/fuzz_targets"))?;
    if let Some(unknown) = named.iter().find(|name| !all.iter().any(|target| target == *name)) {
        return Err(format!("there is no fuzz target '{unknown}'; there are {}", all.join(", ")));
    }
    let chosen = all.iter().filter(|target| named.is_empty() || named.contains(&target.as_str()));
    for target in chosen {
        println!("── fuzz {target}");
        shell::run(
            shell::command("rustup")
                .args(["run", "nightly", "cargo", "fuzz", "run", target, "--"])
                .arg(format!("-max_total_time={limit}"))
                .arg(format!("-max_len={LENGTH_MAX}"))
                .arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"))
                .args(["-timeout=10", "-print_final_stats=1", "-verbosity=0"]),
        )?;
    }
    Ok(())
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
