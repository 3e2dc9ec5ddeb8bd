//! A PostgreSQL server of a test's own: its data in a temporary folder, reached by a socket there, ended with the test.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

/// The account `nobody`: the server refuses to run as root.
const NOBODY: u32 = 65_534;

pub(super) struct Postgres {
    folder: TempDir,
    server: Option<Child>,
}

/// A program of PostgreSQL, run by an account that it accepts, and killed with the thread that starts it.
fn program(name: &str) -> Command {
    let folders = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = debian.map(|version| version.path().join("bin"));
    let found: Option<PathBuf> =
        debian.chain(folders).map(|folder| folder.join(name)).find(|file| file.exists());
    let found =
        found.unwrap_or_else(|| panic!("no {name}: install PostgreSQL, `apt-get install postgresql`"));
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if geteuid().is_root() {
        command.args(["--reuid", &NOBODY.to_string(), "--regid", &NOBODY.to_string(), "--clear-groups"]);
    }
    command.arg(found).stdin(Stdio::null());
    command
}

impl Postgres {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        if geteuid().is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let made = program("initdb")
            .args(["--no-sync", "--auth=trust", "--username=hansa", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(folder.path().join("data"))
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut server = Self { folder, server: None };
        server.resume();
        server
    }

    /// Starts the server again.
    pub(super) fn resume(&mut self) {
        let mut child = program("postgres")
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"])
            .arg(self.folder.path())
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut said = Vec::new();
        let is_ready = lines.by_ref().any(|line| {
            said.push(line.clone());
            line.contains("ready to accept connections")
        });
        assert!(is_ready, "{said:?}");
        // The server would block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        self.server = Some(child);
    }

    /// Stops the server; its clients' connections end.
    pub(super) fn stop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        kill_process(Pid::from_child(&server), Signal::INT).unwrap();
        server.wait().unwrap();
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://hansa@localhost/postgres?host={}", self.folder.path().display())
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}
