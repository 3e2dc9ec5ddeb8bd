//! Commands that change a home folder get SIGKILL at each of their steps: the home is the old one or the new one then, and the same command
//! goes on from there (C7, A3).
//!
//! A step is a system call that changes files. `strace` kills the process as it makes the n-th of one kind, for each kind, and for each n until
//! the command ends by itself.

use std::{
    fs,
    io::Write as _,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Stage, step};
use crate::{
    Outcome,
    network::{Call, shown, text},
    shell,
    story::Step,
};

/// The calls that change files.
const CHANGES: [&str; 16] = [
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "ftruncate",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "chmod",
    "fchmod",
];
/// No command makes more of one kind.
const CALLS_MAX: u32 = 200;

pub(super) fn play(stage: &mut Stage) -> Vec<Step> {
    vec![
        step("a command is killed at each step: keys new", || new_home(stage)),
        step("a command is killed at each step: keys passphrase", || passphrase(stage)),
        step("a command is killed at each step: keys renew and adopt", || renewal(stage)),
        step("a command is killed at each step: node recover", || recovery(stage)),
    ]
}

/// A command line that is killed again and again, each time in a copy of the same home.
struct Trial<'a> {
    stage: &'a Stage,
    /// The home before the command; not there where the command makes it.
    before: PathBuf,
    arguments: Vec<String>,
    /// A line on standard input.
    line: String,
}

impl Trial<'_> {
    /// Kills the command at each step. `judge` is told the home after the kill, before anybody repairs it; then the command must succeed, or
    /// `done` say that the home is complete.
    fn run(&self, judge: impl Fn(&Path) -> Outcome, done: impl Fn(&Path) -> Outcome) -> Outcome<String> {
        let mut kills = 0;
        for call in CHANGES {
            let mut at = 1;
            while self.round(call, at, &judge, &done).map_err(|e| format!("killed at {call} {at}: {e}"))? {
                (kills, at) = (kills + 1, at + 1);
                if at > CALLS_MAX {
                    return Err(format!("the command calls {call} more than {CALLS_MAX} times"));
                }
            }
        }
        println!("   {kills} kills, old or new after each");
        Ok(format!("{kills} kills"))
    }

    /// One run; false when the command ended by itself.
    fn round(
        &self,
        call: &str,
        at: u32,
        judge: impl Fn(&Path) -> Outcome,
        done: impl Fn(&Path) -> Outcome,
    ) -> Outcome<bool> {
        let home = self.stage.file("killed-home");
        self.lay_out(&home)?;
        let killed = self.killed(&home, call, at)?;
        judge(&home)?;
        if killed {
            let again = self.stage.network.caller().call_with(&home, &self.arguments(), &self.line)?;
            if again.code != 0 {
                // What is complete is not made a second time.
                judge(&home).and_then(|()| done(&home)).map_err(|e| {
                    let (command, problem) = (self.arguments.join(" "), again.error);
                    format!("`hansa {command}` ended with {}: {problem}; {e}", again.code)
                })?;
            }
        }
        done(&home)?;
        Ok(killed)
    }

    fn arguments(&self) -> Vec<&str> {
        self.arguments.iter().map(String::as_str).collect()
    }

    fn lay_out(&self, home: &Path) -> Outcome {
        if home.exists() {
            fs::remove_dir_all(home).map_err(|e| format!("{}: {e}", home.display()))?;
        }
        match self.before.exists() {
            true => shell::run(Command::new("cp").arg("-a").arg(&self.before).arg(home)),
            false => Ok(()),
        }
    }

    /// Runs the command, which is killed at its n-th call of a kind; false when it ended by itself before.
    fn killed(&self, home: &Path, call: &str, at: u32) -> Outcome<bool> {
        let (traced, inject) = (format!("trace={call}"), format!("--inject={call}:signal=SIGKILL:when={at}"));
        let mut child = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &traced, &inject])
            .args([self.stage.network.binary(), Path::new("--home"), home, Path::new("--json")])
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("strace: {e}"))?;
        let mut input = child.stdin.take().ok_or("the command has no standard input")?;
        // It may be killed before it reads.
        let _ = writeln!(input, "{}", self.line);
        drop(input);
        let output = child.wait_with_output().map_err(|e| e.to_string())?;
        match (output.status.signal(), output.status.code()) {
            (Some(9), _) => Ok(true),
            (None, Some(0)) => Ok(false),
            _ => Err(format!("undisturbed, it ended with {}: {}", output.status, Call::of(&output).error)),
        }
    }
}

/// The account of the keys that the home's configuration and passphrase open.
fn account(stage: &Stage, home: &Path) -> Outcome<String> {
    let file = stage.file("account");
    stage.network.expect(home, &["keys", "export-account", "--force", "-o", shown(&file)])?;
    fs::read_to_string(&file).map_err(|e| e.to_string())
}

fn card(stage: &Stage, home: &Path) -> Outcome<String> {
    Ok(text(&stage.network.expect(home, &["keys", "show"])?["card"], "account"))
}

fn same(what: &str, found: &str, expected: &[&str]) -> Outcome {
    match expected.contains(&found) {
        true => Ok(()),
        // Never the text itself: it may be a secret.
        false => Err(format!("{what} is neither the old one nor the new one")),
    }
}

fn strings(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).collect()
}

const NEW: [&str; 7] = ["keys", "new", "--name", "acme", "--rest-port", "0", "--rpc-port=0"];

fn home_of(stage: &Stage, name: &str) -> Outcome<PathBuf> {
    let home = stage.file(name);
    stage.network.expect(&home, &NEW)?;
    Ok(home)
}

fn new_home(stage: &Stage) -> Outcome<String> {
    let trial = Trial { stage, before: stage.file("nothing"), arguments: strings(&NEW), line: String::new() };
    trial.run(|_| Ok(()), |home| account(stage, home).and_then(|_| card(stage, home)).map(drop))
}

fn passphrase(stage: &Stage) -> Outcome<String> {
    let before = home_of(stage, "passphrase-home")?;
    let new = stage.file("new-passphrase");
    fs::write(&new, "correct horse battery staple\n").map_err(|e| e.to_string())?;
    let present = account(stage, &before)?;
    let arguments = strings(&["keys", "passphrase", "--new-file", shown(&new)]);
    let trial = Trial { stage, before, arguments, line: String::new() };
    let opens = |home: &Path| same("the account", &account(stage, home)?, &[&present]);
    trial.run(opens, |home| {
        let config = fs::read_to_string(home.join("hansa.toml")).map_err(|e| e.to_string())?;
        match config.contains("new-passphrase") {
            true => opens(home),
            false => Err("the configuration names the former passphrase's file".into()),
        }
    })
}

fn renewal(stage: &Stage) -> Outcome<String> {
    let before = home_of(stage, "renewed-home")?;
    let (old, old_card) = (account(stage, &before)?, card(stage, &before)?);
    let renew =
        Trial { stage, before: before.clone(), arguments: strings(&["keys", "renew"]), line: String::new() };
    let untouched = |home: &Path| {
        same("the account", &account(stage, home)?, &[&old])?;
        same("the card", &card(stage, home)?, &[&old_card])
    };
    let first = renew.run(untouched, |home| match home.join("card-next.json").exists() {
        true => untouched(home),
        false => Err("there is no new card".into()),
    })?;
    let next = text(&stage.network.expect(&before, &["keys", "renew"])?["card"], "account");
    let adopt = Trial { stage, before, arguments: strings(&["keys", "adopt"]), line: String::new() };
    let second = adopt.run(
        |home| {
            account(stage, home)?;
            same("the card", &card(stage, home)?, &[&old_card, &next])
        },
        |home| {
            if account(stage, home)? == old {
                return Err("the former keys are still in use".into());
            }
            same("the card", &card(stage, home)?, &[&next])
        },
    )?;
    Ok(format!("{first}, {second}"))
}

fn recovery(stage: &Stage) -> Outcome<String> {
    let member = stage.network.member(4)?;
    let made = stage.network.expect(&member.home, &["keys", "recovery"])?;
    let backup = stage.file("backup");
    stage.network.expect(&member.home, &["get", &text(&made, "backup"), "-o", shown(&backup)])?;
    let present = account(stage, &member.home)?;
    let trial = Trial {
        stage,
        before: stage.file("nothing"),
        arguments: strings(&["node", "recover", shown(&backup), "--rest-port", "0", "--rpc-port", "0"]),
        line: text(&made, "recoveryKey"),
    };
    trial.run(
        |_| Ok(()),
        |home| {
            same("the account", &account(stage, home)?, &[&present])?;
            match home.join("genesis.json").exists() && home.join("swarm.key").exists() {
                true => Ok(()),
                false => Err("a file of the network is missing".into()),
            }
        },
    )
}
