//! A running local consortium as the story's user sees it: homes, processes, and the command line.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::Outcome;

/// One member's node.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) dc: u64,
    pub(crate) home: PathBuf,
    pid: u32,
}

/// `hansa up` and the nodes that the story started beside it.
pub(crate) struct Network {
    hansa: PathBuf,
    pub(crate) dir: PathBuf,
    up: Child,
    own: Vec<(PathBuf, Child)>,
    pub(crate) members: Vec<Member>,
}

/// What a command line call ended with.
pub(crate) struct Call {
    pub(crate) code: i32,
    pub(crate) json: Value,
    pub(crate) error: String,
}

impl Network {
    /// Starts four founding members in `dir` and waits until `hansa up` says that they agree on blocks.
    pub(crate) fn start(hansa: &Path, dir: &Path) -> Outcome<Self> {
        let mut up = Command::new(hansa)
            .args(["up", "--json", "--members", "4", "--dir"])
            .arg(dir)
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .map_err(|e| format!("hansa up cannot be started: {e}"))?;
        let output = up.stdout.take().ok_or("hansa up has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).map_err(|e| e.to_string())?;
        let mut network =
            Self { hansa: hansa.into(), dir: dir.into(), up, own: Vec::new(), members: Vec::new() };
        let json: Value =
            serde_json::from_str(&line).map_err(|_| format!("hansa up did not start a network: {line}"))?;
        for member in json["members"].as_array().into_iter().flatten() {
            network.members.push(Member {
                name: text(member, "name"),
                dc: member["dcId"].as_u64().unwrap_or_default(),
                home: text(member, "home").into(),
                pid: member["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default(),
            });
        }
        if network.members.len() < 4 {
            return Err(format!("hansa up named {} members instead of four", network.members.len()));
        }
        Ok(network)
    }

    /// The file that any Ethereum tool can start from.
    pub(crate) fn description(&self) -> PathBuf {
        self.dir.join("network.json")
    }

    /// Runs the command line for one member's home with `--json`.
    pub(crate) fn call(&self, home: &Path, arguments: &[&str]) -> Outcome<Call> {
        let output = self.command(home, arguments).output().map_err(|e| format!("hansa: {e}"))?;
        Ok(Call::of(&output))
    }

    /// Like [`Network::call`], and the command must succeed.
    pub(crate) fn expect(&self, home: &Path, arguments: &[&str]) -> Outcome<Value> {
        let call = self.call(home, arguments)?;
        if call.code == 0 {
            return Ok(call.json);
        }
        Err(format!("`hansa {}` ended with {}: {}", arguments.join(" "), call.code, call.error.trim()))
    }

    /// Starts a command without waiting for it.
    pub(crate) fn spawn(&self, home: &Path, arguments: &[&str]) -> Outcome<Child> {
        self.command(home, arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| e.to_string())
    }

    fn command(&self, home: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.hansa);
        command.arg("--home").arg(home).arg("--json").args(arguments).stdin(Stdio::null());
        command
    }

    /// Asks until `ready` is content with the answer, at most for two minutes.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        mut ready: impl FnMut(&Self) -> Outcome<Option<T>>,
    ) -> Outcome<T> {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            if let Some(value) = ready(self)? {
                return Ok(value);
            }
            if Instant::now() > deadline {
                return Err(format!("two minutes passed without this: {what}"));
            }
            pause();
        }
    }

    /// Runs a node from this home as a process of its own.
    pub(crate) fn run_node(&mut self, home: &Path) -> Outcome {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(home.join("node.log"))
            .map_err(|e| format!("{}: {e}", home.display()))?;
        let errors = log.try_clone().map_err(|e| e.to_string())?;
        let child = Command::new(&self.hansa)
            .arg("--home")
            .arg(home)
            .args(["node", "run"])
            .env("HANSA_STOP_WITH_PARENT", "1")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|e| format!("hansa node run: {e}"))?;
        self.own.push((home.into(), child));
        Ok(())
    }

    /// Stops a member's node: `TERM` in an orderly way, `KILL` at once. Returns when the process is gone.
    pub(crate) fn stop_node(&mut self, home: &Path, signal: &str) -> Outcome {
        if let Some(position) = self.own.iter().position(|(at, _)| at == home) {
            let (_, mut child) = self.own.remove(position);
            send(child.id(), signal)?;
            child.wait().map_err(|e| e.to_string())?;
            return Ok(());
        }
        let member = self.members.iter().find(|m| m.home == home).ok_or("no such member")?;
        send(member.pid, signal)?;
        let process = PathBuf::from(format!("/proc/{}", member.pid));
        self.until("the node's process ends", |_| Ok((!alive(&process)).then_some(())))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for (_, child) in &mut self.own {
            let _ = send(child.id(), "TERM");
        }
        let _ = send(self.up.id(), "TERM");
        for (_, child) in &mut self.own {
            let _ = child.wait();
        }
        let _ = self.up.wait();
    }
}

impl Call {
    /// Reads a finished command's JSON and error text.
    pub(crate) fn of(output: &Output) -> Self {
        let printed = String::from_utf8_lossy(&output.stdout);
        let last = printed.lines().last().unwrap_or_default();
        let told = String::from_utf8_lossy(&output.stderr);
        let problem: Value =
            told.lines().last().and_then(|l| serde_json::from_str(l).ok()).unwrap_or_default();
        Self {
            code: output.status.code().unwrap_or(-1),
            json: serde_json::from_str(last).unwrap_or_default(),
            error: problem["message"].as_str().map_or_else(|| told.into_owned(), str::to_owned),
        }
    }
}

/// A field's text, empty when it is none.
pub(crate) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

fn send(pid: u32, signal: &str) -> Outcome {
    let status = Command::new("kill")
        .arg(format!("-{signal}"))
        .arg(pid.to_string())
        .stderr(Stdio::null())
        .status()
        .map_err(|e| format!("kill: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("process {pid} is not there")) }
}

/// A zombie counts as gone: its parent has yet to read its exit code.
fn alive(process: &Path) -> bool {
    fs::read_to_string(process.join("stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

#[expect(clippy::disallowed_methods, reason = "polls another process, which offers no event to wait for")]
fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}

impl Member {
    /// A member whose node the story itself runs.
    pub(crate) fn own(name: &str, dc: u64, home: &Path) -> Self {
        Self { name: name.into(), dc, home: home.into(), pid: 0 }
    }
}
