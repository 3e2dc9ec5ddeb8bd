//! Is the one menu for building, testing, measuring and running Hansa.
//!
//! It links nothing of Hansa: it builds the binaries and drives them as a user would, through their command line.
#![expect(clippy::print_stdout, reason = "a command-line tool prints")]

mod bench;
mod contracts;
mod faults;
mod files;
mod fuzz;
mod kubo;
mod layout;
mod network;
mod shell;
mod story;
mod suite;
mod tally;
mod tidy;

use std::process::ExitCode;

/// What went wrong, in words for the person at the keyboard.
pub(crate) type Outcome<T = ()> = Result<T, String>;

const MENU: &str = "\
cargo xtask COMMAND

  up [--dir DIR] [--members N] [--json]   start a local consortium, stay until Ctrl-C
  up --story [PATH…]                      tell the whole story on the given files (default: examples/)
  test [rust|contracts|story|faults|rpc|tidy]…
                                          run the tests (default: all of them)
  bench chain|ingest|transfer|path [--json] [--against BINARY]
                                          measure, also in turns with another version; see docs/performance.md
  bench kubo                              ingest and transfer beside Kubo's, in turns (builds it with Go)
  fuzz [TARGET]… [--seconds N] [--keep]   throw bytes at the decoders (default: all of them, 60 s each); --keep
                                          adds inputs that reach more code to fuzz/seeds
  codegen [--check|--breaking]            rebuild api/ and the reference of the settings; --breaking
                                          where storage need not continue
  lint                                    rustfmt, clippy, fuzz targets, cargo deny
  tidy                                    house rules: rows, circles, lengths, widths, fallbacks, requirements
";

/// How `codegen` treats the generated files.
fn mode(words: &[&str]) -> Outcome<contracts::Mode> {
    match words {
        [] => Ok(contracts::Mode::Write),
        ["--check"] => Ok(contracts::Mode::Check),
        ["--breaking"] => Ok(contracts::Mode::WriteBreaking),
        other => Err(format!("codegen has no options {}", other.join(" "))),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.split_first() {
        Some((&"up", rest)) => up(rest),
        Some((&"test", rest)) => suite::run(rest),
        Some((&faults::INSIDE, rest)) => faults::inside(rest),
        Some((&"bench", rest)) => bench::run(rest),
        Some((&"fuzz", rest)) => fuzz::run(rest),
        Some((&"codegen", rest)) => mode(rest).and_then(contracts::codegen),
        Some((&"lint", _)) => suite::lint(),
        Some((&"tidy", _)) => tidy::run(),
        Some((&("help" | "--help" | "-h"), _)) | None => {
            print!("{MENU}");
            Ok(())
        }
        Some((other, _)) => Err(format!("there is no command '{other}'\n\n{MENU}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn up(rest: &[&str]) -> Outcome {
    let hansa = shell::build_binary("hansa")?;
    match rest.iter().position(|word| *word == "--story") {
        Some(_) => {
            let options = story::Options::parse(rest)?;
            story::tell(&hansa, &options)
        }
        // Whoever kills this program without a terminal must not leave the consortium behind.
        None => shell::run(shell::command(&hansa).arg("up").args(rest).env("HANSA_STOP_WITH_PARENT", "1")),
    }
}
