//! Runs every test of the repository and adds up what the runners report.

use crate::{
    Outcome, contracts, faults, fuzz, shell, story,
    tally::{Tally, counted},
    tidy,
};

const PARTS: [&str; 6] = ["tidy", "contracts", "rust", "story", "faults", "rpc"];

pub(crate) fn run(chosen: &[&str]) -> Outcome {
    if let Some(unknown) = chosen.iter().find(|part| !PARTS.contains(part)) {
        return Err(format!("there is no part '{unknown}' of the tests; parts: {}", PARTS.join(", ")));
    }
    shell::require("cc", "install a C compiler (Debian: apt-get install build-essential)")?;
    shell::require("node", "install Node.js 20 or newer; the Solidity compiler runs on it")?;
    shell::require("npm", "install npm; it brings the Solidity tools")?;
    let mut total = Tally::default();
    for part in PARTS.iter().filter(|part| chosen.is_empty() || chosen.contains(part)) {
        println!("── {part}");
        let tally = match *part {
            "tidy" => checked(tidy_all()),
            "contracts" => contracts::test(),
            "rust" => rust(),
            "story" => story::test(),
            "faults" => faults::test(),
            _ => story::rpc_test(),
        };
        let tally = tally.unwrap_or_else(|problem| {
            println!("{part}: {problem}");
            Tally { passed: 0, failed: 1 }
        });
        println!("── {part}: {} passed, {} failed", tally.passed, tally.failed);
        total.add(&tally);
    }
    println!();
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed == 0 && total.passed > 0 { Ok(()) } else { Err("the suite failed".into()) }
}

/// Formatting, lints, fuzz targets, proofs in the browser, licences. Slower than it is useful on every test run: clippy needs artefacts
/// of its own.
pub(crate) fn lint() -> Outcome {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    shell::run(shell::cargo().args([
        "clippy",
        "--release",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    fuzz::check()?;
    proofs_in_the_browser()?;
    if shell::require("cargo-deny", "").is_err() {
        return Err("`cargo-deny` is missing: cargo install --locked cargo-deny".into());
    }
    shell::run(shell::cargo().args(["deny", "--locked", "check", "bans", "licenses", "sources"]))
}

/// Checks that outsiders can verify proofs in WebAssembly.
fn proofs_in_the_browser() -> Outcome {
    const TARGET: &str = "wasm32-unknown-unknown";
    let check = ["check", "--release", "--locked", "--package", "hansa-proof", "--target", TARGET];
    shell::run(shell::cargo().args(check))
        .map_err(|problem| format!("{problem}; is the target there? `rustup target add {TARGET}`"))
}

fn tidy_all() -> Outcome {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    tidy::run()
}

fn checked(outcome: Outcome) -> Outcome<Tally> {
    if let Err(problem) = &outcome {
        println!("{problem}");
    }
    Ok(Tally::one(&outcome))
}

/// All Rust tests in the one profile; two test threads, because the network tests bring many of their own.
fn rust() -> Outcome<Tally> {
    counted(
        shell::cargo().args(["test", "--release", "--locked", "--workspace", "--no-fail-fast", "--quiet"]),
        cargo_counts,
    )
}

/// Reads `test result: ok. 3 passed; 0 failed; …`.
fn cargo_counts(line: &str) -> Option<(u64, u64)> {
    let rest = line.strip_prefix("test result: ")?;
    let number = |word: &str| {
        let before = rest.split(word).next()?;
        before.split_whitespace().last()?.parse().ok()
    };
    Some((number(" passed")?, number(" failed")?))
}

#[cfg(test)]
mod tests {
    use super::cargo_counts;

    #[test]
    fn cargos_summary_line_is_read() {
        let line = "test result: FAILED. 31 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.5s";
        assert_eq!(cargo_counts(line), Some((31, 2)));
        assert_eq!(cargo_counts("running 3 tests"), None);
    }
}
