//! What must hold when things fail: a node that is killed in the midst of its work, a full disk, a clock that is off. On real
//! processes, through the command line.
//!
//! The part runs in a mount namespace of its own, so that the small volume it needs is gone with it, however it ends.

mod clock;
mod commands;
mod disk;
mod killed;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use crate::{
    Outcome,
    network::Network,
    shell,
    story::{Step, scratch, summary},
    tally::{self, Tally},
};

/// The command by which this program runs the part in the namespace; followed by the binary under test.
pub(crate) const INSIDE: &str = "faults-inside";

/// What every scene works with.
pub(crate) struct Stage {
    network: Network,
    /// For files beside the members' homes.
    folder: PathBuf,
}

impl Stage {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

type Play = fn(&mut Stage) -> Vec<Step>;

/// Each scene has a network of its own, so that what one leaves behind disturbs no other.
const SCENES: [(&str, Play); 4] =
    [("disk", disk::play), ("killed", killed::play), ("commands", commands::play), ("clock", clock::play)];

/// Runs one step and takes its time.
fn step(title: &'static str, act: impl FnOnce() -> Outcome<String>) -> Step {
    println!("\n   {title}");
    let start = Instant::now();
    let outcome = act();
    if let Err(problem) = &outcome {
        println!("   FAILED: {problem}");
    }
    Step { title, seconds: start.elapsed().as_secs_f64(), outcome }
}

/// The part as a test.
pub(crate) fn test() -> Outcome<Tally> {
    let hansa = shell::build_binary("hansa")?;
    shell::require("strace", "install it (Debian: apt-get install strace)")?;
    let this = std::env::current_exe().map_err(|e| e.to_string())?;
    let Some(namespace) = namespace() else {
        let problem = "no volume can be mounted here: run it as root, or allow user namespaces (`unshare -rm true` must work)";
        if std::env::var_os("CI").is_some() {
            return Err(problem.into());
        }
        println!("faults: not run, and in CI a failure: {problem}");
        return Ok(Tally::default());
    };
    tally::counted(shell::command("unshare").args(namespace).arg(this).arg(INSIDE).arg(hansa), counts)
}

/// How a mount namespace can be had: as root, or as root of a user namespace.
fn namespace() -> Option<&'static [&'static str]> {
    [&["-m"][..], &["-r", "-m"]].into_iter().find(|options| {
        let tried =
            Command::new("unshare").args(*options).args(["mount", "-t", "tmpfs", "none", "/mnt"]).output();
        tried.is_ok_and(|tried| tried.status.success())
    })
}

/// Reads the closing line of [`inside`].
fn counts(line: &str) -> Option<(u64, u64)> {
    let mut words = line.strip_prefix("faults: ")?.split(' ');
    let passed = words.next()?.parse().ok()?;
    let failed = words.nth(1)?.parse().ok()?;
    Some((passed, failed))
}

/// Plays the scenes, or those that are named, in the namespace.
pub(crate) fn inside(words: &[&str]) -> Outcome {
    let (hansa, chosen) = words.split_first().ok_or("the binary under test is not named")?;
    let folder = scratch()?;
    let mut steps = Vec::new();
    for (name, play) in SCENES.iter().filter(|(name, _)| chosen.is_empty() || chosen.contains(name)) {
        let folder = folder.join(name);
        let network = Network::start(Path::new(hansa), &folder.join("network"))?;
        steps.extend(play(&mut Stage { network, folder }));
    }
    summary(&steps);
    let failed = steps.iter().filter(|step| step.outcome.is_err()).count();
    if failed == 0 {
        std::fs::remove_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    } else {
        println!("logs: {}", folder.display());
    }
    println!("faults: {} passed, {failed} failed", steps.len() - failed);
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of {} steps failed", steps.len())) }
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn the_closing_line_is_read() {
        assert_eq!(counts("faults: 8 passed, 1 failed"), Some((8, 1)));
        assert_eq!(counts("faults: not run"), None);
    }
}
