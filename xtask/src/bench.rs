//! Builds the binaries and hands over to `hansa-bench`, which does the measuring.

use crate::{Outcome, shell};

pub(crate) fn run(rest: &[&str]) -> Outcome {
    let hansa = shell::build_binary("hansa")?;
    let bench = shell::build_binary("hansa-bench")?;
    shell::run(shell::command(bench).args(rest).env("HANSA", hansa))
}
