//! A running local consortium as a user sees it: homes, processes, and the command line.

use std::{
    fs,
    io::{BufRead, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

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
    /// The whole error, where it was one.
    pub(crate) problem: Value,
}

impl Network {
    /// Starts four founding members in `dir` and waits until `hansa up` says that they agree on blocks.
    pub(crate) fn start(hansa: &Path, dir: &Path) -> Outcome<Self> {
        let mut up = Command::new(hansa)
            .args(["up", "--json", "--members", "4", "--dir"])
            .arg(dir)
            .env("HANSA_STOP_WITH_PARENT", "1")
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

    /// The program under test.
    pub(crate) fn binary(&self) -> &Path {
        &self.hansa
    }

    /// The command line alone, for other threads.
    pub(crate) fn caller(&self) -> Caller {
        Caller(self.hansa.clone())
    }

    /// Runs the command line for one member's home with `--json`.
    pub(crate) fn call(&self, home: &Path, arguments: &[&str]) -> Outcome<Call> {
        self.caller().call(home, arguments)
    }

    /// Asks a member's node by JSON-RPC.
    pub(crate) fn rpc(&self, member: &Member, method: &str, params: &Value) -> Outcome<Value> {
        let config = fs::read_to_string(member.home.join("hansa.toml")).map_err(|e| e.to_string())?;
        let line = config.lines().find_map(|line| line.strip_prefix("rpc_listen = "));
        let address = line.ok_or("the configuration names no rpc_listen")?.trim_matches('"');
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let answer = post(address, &body).map_err(|e| format!("{method} at {address}: {e}"))?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("the node's answer has no body")?;
        let answer: Value = serde_json::from_str(body).map_err(|e| format!("{method}: {e}: {body}"))?;
        match &answer["error"] {
            Value::Null => Ok(answer["result"].clone()),
            error => Err(format!("{method}: {error}")),
        }
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
        self.caller()
            .command(home, arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| e.to_string())
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

    /// The member with this dcId.
    pub(crate) fn member(&self, dc: u64) -> Outcome<Member> {
        self.members.iter().find(|m| m.dc == dc).cloned().ok_or(format!("there is no member {dc}"))
    }

    /// Runs a node from this home as a process of its own.
    pub(crate) fn run_node(&mut self, home: &Path) -> Outcome {
        self.run_node_with(home, &[])
    }

    /// Like [`Network::run_node`], with variables of the environment.
    pub(crate) fn run_node_with(&mut self, home: &Path, variables: &[(&str, &Path)]) -> Outcome {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log_file(home))
            .map_err(|e| format!("{}: {e}", home.display()))?;
        let errors = log.try_clone().map_err(|e| e.to_string())?;
        let child = Command::new(&self.hansa)
            .arg("--home")
            .arg(home)
            .args(["node", "run"])
            .env("HANSA_STOP_WITH_PARENT", "1")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|e| format!("hansa node run: {e}"))?;
        self.own.push((home.into(), child));
        Ok(())
    }

    /// Waits until a node ends by itself, and returns its exit code.
    pub(crate) fn ended_node(&mut self, home: &Path) -> Outcome<i32> {
        let position = self.own.iter().position(|(at, _)| at == home).ok_or("no such node")?;
        let (_, mut child) = self.own.remove(position);
        let status = self.until("the node ends", |_| child.try_wait().map_err(|e| e.to_string()));
        if status.is_err() {
            self.own.push((home.into(), child));
        }
        Ok(status?.code().unwrap_or(-1))
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

/// Runs the command line.
pub(crate) struct Caller(PathBuf);

impl Caller {
    /// As [`Network::call`].
    pub(crate) fn call(&self, home: &Path, arguments: &[&str]) -> Outcome<Call> {
        let output = self.command(home, arguments).output().map_err(|e| format!("hansa: {e}"))?;
        Ok(Call::of(&output))
    }

    /// As [`Caller::call`], with a line on standard input.
    pub(crate) fn call_with(&self, home: &Path, arguments: &[&str], line: &str) -> Outcome<Call> {
        let failed = |e| format!("hansa: {e}");
        let mut command = self.command(home, arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let mut input = child.stdin.take().ok_or("hansa has no standard input")?;
        writeln!(input, "{line}").map_err(failed)?;
        drop(input);
        Ok(Call::of(&child.wait_with_output().map_err(failed)?))
    }

    fn command(&self, home: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.0);
        command.arg("--home").arg(home).arg("--json").args(arguments).stdin(Stdio::null());
        command
    }
}

/// Posts JSON, and reads the whole answer.
fn post(address: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    let length = body.len();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
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
            problem,
        }
    }
}

/// What a node that was not started by `hansa up` says: beside its home, which may be on a disk that is full.
pub(crate) fn log_file(home: &Path) -> PathBuf {
    home.with_extension("log")
}

/// A field's text, empty when it is none.
pub(crate) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

/// Waits until the member's node answers.
pub(crate) fn awake(network: &Network, member: &Member) -> Outcome {
    network.until("the restarted node answers", |n| {
        Ok((n.call(&member.home, &["status"])?.code == 0).then_some(()))
    })
}

/// Waits until the member's node has executed the block that a report names.
pub(crate) fn caught_up(network: &Network, member: &Member, report: &Value) -> Outcome {
    let block = report["block"].as_u64().ok_or("the report names no block")?;
    network.until("another member's node has the block", |n| {
        let height = n.expect(&member.home, &["status"])?["head"]["number"].as_u64();
        Ok(height.filter(|height| *height >= block).map(|_| ()))
    })
}

/// The heights of these members' nodes.
pub(crate) fn heights(network: &Network, members: &[Member]) -> Outcome<Vec<u64>> {
    members
        .iter()
        .map(|m| Ok(network.expect(&m.home, &["status"])?["head"]["number"].as_u64().unwrap_or_default()))
        .collect()
}

/// The hash and state root at this height, which must be equal on all of these nodes.
pub(crate) fn same_block(network: &Network, members: &[Member], height: u64) -> Outcome<(String, String)> {
    let mut seen: Option<(String, String)> = None;
    for member in members {
        let number = height.to_string();
        let block = network.until("the node has the block", |n| {
            let call = n.call(&member.home, &["status", "--block", &number])?;
            Ok((call.code == 0).then_some(call.json))
        })?;
        let found = (text(&block["block"], "hash"), text(&block["block"], "stateRoot"));
        if seen.as_ref().is_some_and(|first| *first != found) || found.0.is_empty() {
            return Err(format!("{} has {found:?} at height {height}, others {seen:?}", member.name));
        }
        seen = Some(found);
    }
    seen.ok_or("no members".into())
}

/// A path as an argument.
pub(crate) fn shown(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
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

fn pause() {
    wait(Duration::from_millis(50));
}

/// Waits a while. Proves nothing by itself.
#[expect(clippy::disallowed_methods, reason = "polls other processes, which offer no event to wait for")]
pub(crate) fn wait(time: Duration) {
    std::thread::sleep(time);
}

impl Member {
    /// A member whose node the story itself runs.
    pub(crate) fn own(name: &str, dc: u64, home: &Path) -> Self {
        Self { name: name.into(), dc, home: home.into(), pid: 0 }
    }
}
