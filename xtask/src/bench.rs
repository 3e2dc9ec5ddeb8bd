//! Builds the binaries and hands over to `hansa-bench`, which does the measuring; with Kubo beside it, to [`kubo`], with another
//! version of Hansa beside it, to [`against`].

mod against;

use crate::{Outcome, kubo, shell};

pub(crate) fn run(rest: &[&str]) -> Outcome {
    let bench = shell::build_binary("hansa-bench")?;
    if rest.iter().any(|word| ["-h", "--help"].contains(word)) {
        return shell::run(shell::command(bench).args(rest));
    }
    let hansa = shell::build_binary("hansa")?;
    match rest {
        ["kubo"] => kubo::run(&bench),
        ["kubo", ..] => Err("`bench kubo` takes no options".into()),
        _ => match rest.iter().position(|word| *word == "--against") {
            Some(at) => against::run(&hansa, &bench, rest, at),
            None => shell::run(shell::command(bench).args(rest).env("HANSA", hansa)),
        },
    }
}
