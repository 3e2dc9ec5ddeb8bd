//! A local consortium under measurement: `hansa up` as a child process.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde::Deserialize;

use crate::{BenchError, chain::MEMBERS};

/// A member of the network under measurement.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Member {
    pub(crate) dc_id: u32,
    pub(crate) home: PathBuf,
    pub(crate) rest: String,
    pub(crate) rpc: String,
    pub(crate) ws: String,
    pub(crate) account_key_file: PathBuf,
    pub(crate) pid: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    chain_id: u64,
    members: Vec<Member>,
}

/// A running network; dropping it stops every process and deletes its data.
pub(crate) struct Network {
    up: Child,
    pub(crate) chain_id: u64,
    pub(crate) members: Vec<Member>,
    _dir: tempfile::TempDir,
}

impl Network {
    /// Starts four validators in a fresh folder.
    pub(crate) fn start() -> Result<Self, BenchError> {
        let dir = tempfile::Builder::new().prefix("hansa-bench-").tempdir()?;
        let mut up = spawn(&binary(), &dir.path().join("network"))?;
        let mut line = String::new();
        if let Some(output) = up.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let description: Description =
            serde_json::from_str(&line).map_err(|_| BenchError::Network(line.trim().to_owned()))?;
        Ok(Self { up, chain_id: description.chain_id, members: description.members, _dir: dir })
    }

    /// CPU seconds of all nodes so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.members.iter().map(|m| crate::process::cpu_seconds(m.pid)).sum()
    }

    /// Resident bytes of the largest node.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.members.iter().map(|m| crate::process::resident_bytes(m.pid)).max().unwrap_or_default()
    }

    /// Bytes on one node's disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.members.first().map(|m| crate::process::disk_bytes(&m.home.join("data"))).unwrap_or_default()
    }
}

/// The binary under measurement.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("HANSA").map_or_else(|| PathBuf::from("hansa"), PathBuf::from)
}

fn spawn(hansa: &Path, dir: &Path) -> Result<Child, BenchError> {
    let child = Command::new(hansa)
        .args(["--json", "up", "--members", &MEMBERS.to_string(), "--dir"])
        .arg(dir)
        .env("HANSA_STOP_WITH_PARENT", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    Ok(child)
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.up.id().cast_signed()) {
            // If it has already ended there is nothing left to stop.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.up.wait();
    }
}
