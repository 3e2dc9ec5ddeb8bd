//! Counts of passed and failed tests, read from what a runner prints.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use crate::Outcome;

/// What a part of the suite counted.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// One check with one outcome.
    pub(crate) fn one(outcome: &Outcome) -> Self {
        if outcome.is_ok() { Self { passed: 1, failed: 0 } } else { Self { passed: 0, failed: 1 } }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Runs a command, passes its lines on, and adds up the counts that `count` reads from them.
pub(crate) fn counted(command: &mut Command, count: fn(&str) -> Option<(u64, u64)>) -> Outcome<Tally> {
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|e| format!("cannot start: {e}"))?;
    let mut tally = Tally::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.map_err(|e| e.to_string())?;
            println!("{line}");
            if let Some((passed, failed)) = count(&line) {
                tally.passed += passed;
                tally.failed += failed;
            }
        }
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    if !status.success() && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}
