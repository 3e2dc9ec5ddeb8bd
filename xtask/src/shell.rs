//! Runs other programs: cargo, npm, the binaries under test.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::Outcome;

/// The root of the checkout that this program was started in. Checkouts that share a target directory share the program
/// too, so it asks the cargo that started it and not the one that compiled it.
pub(crate) fn root() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).parent().unwrap_or(Path::new(".")).to_path_buf()
}

/// A command that runs in the repository's root.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// The cargo that started this program.
pub(crate) fn cargo() -> Command {
    command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command to its end with the terminal's streams.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let name = describe(command);
    let status = command.status().map_err(|e| missing(&name, &e))?;
    if status.success() { Ok(()) } else { Err(format!("`{name}` failed ({status})")) }
}

/// Runs a command to its end and returns its standard output; errors still go to the terminal.
pub(crate) fn capture(command: &mut Command) -> Outcome<String> {
    let name = describe(command);
    let output = command.stderr(Stdio::inherit()).output().map_err(|e| missing(&name, &e))?;
    if !output.status.success() {
        return Err(format!("`{name}` failed ({})", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("`{name}` printed something that is not UTF-8"))
}

/// Builds one binary in the one profile and returns its path. The whole workspace is selected, so that the libraries'
/// features are the same as in every other build and nothing is compiled twice.
pub(crate) fn build_binary(name: &str) -> Outcome<PathBuf> {
    run(cargo().args(["build", "--release", "--locked", "--quiet", "--workspace", "--bin", name]))?;
    Ok(target_directory()?.join("release").join(name))
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> Outcome<PathBuf> {
    let text = capture(cargo().args(["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| format!("cargo metadata: {e}"))?;
    match metadata["target_directory"].as_str() {
        Some(path) => Ok(path.into()),
        None => Err("cargo metadata names no target directory".into()),
    }
}

/// Checks that a program can be started at all.
pub(crate) fn require(program: &str, why: &str) -> Outcome {
    match Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("`{program}` is missing: {why}")),
    }
}

fn describe(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    words.join(" ")
}

fn missing(name: &str, error: &std::io::Error) -> String {
    format!("`{name}` cannot be started: {error}")
}
