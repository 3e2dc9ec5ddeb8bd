//! `bench kubo`: Kubo and Hansa in turns on the same machine, so that their ratio and not the machine decides.
//!
//! Kubo is built from its Go module, pinned. It adds 1 GiB (unencrypted), and a second node fetches and
//! pins it over a private swarm on loopback. Both are whole processes with folders of their own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use serde_json::Value;

use crate::{Outcome, shell};

const VERSION: &str = "v0.41.0";
const BYTES: u64 = 1 << 30;
const RUNS: usize = 3;

/// What Kubo needs for a private swarm on loopback; without the last three it answers no Bitswap there.
const SETTINGS: [(&str, &str); 13] = [
    ("Routing.Type", "\"dht\""),
    ("AutoTLS.Enabled", "false"),
    ("AutoConf.Enabled", "false"),
    ("Bootstrap", "[]"),
    ("Routing.DelegatedRouters", "[]"),
    ("Ipns.DelegatedPublishers", "[]"),
    ("DNS.Resolvers", "{}"),
    ("Addresses.Swarm", "[\"/ip4/127.0.0.1/tcp/0\"]"),
    ("Addresses.API", "\"/ip4/127.0.0.1/tcp/0\""),
    ("Addresses.Gateway", "[]"),
    ("Discovery.MDNS.Enabled", "false"),
    ("Swarm.Transports.Network.Websocket", "false"),
    ("Internal.Bitswap.BroadcastControl.Enable", "false"),
];

/// `hansa-bench` and Kubo in turns; prints a table, megabytes a second.
pub(crate) fn run(bench: &Path) -> Outcome {
    let program = build()?;
    println!(
        "{:>4}  {:>10}  {:>12}  {:>12}  {:>10}  {:>14}",
        "run", "kubo add", "with sync", "hansa ingest", "kubo fetch", "hansa transfer"
    );
    let mut ratios = Vec::new();
    for run in 1..=RUNS {
        let kubo = Kubo::new(&program)?;
        let (add, synced, cid) = kubo.add()?;
        let ingest = measured(bench, "ingest")?;
        let fetch = kubo.fetch(&cid)?;
        drop(kubo);
        let transfer = measured(bench, "transfer")?;
        println!("{run:>4}  {add:>10.0}  {synced:>12.0}  {ingest:>12.0}  {fetch:>10.0}  {transfer:>14.0}");
        ratios.push((ingest / synced, transfer / fetch));
    }
    let median = |mut list: Vec<f64>| {
        list.sort_by(f64::total_cmp);
        list.get(list.len() / 2).copied().unwrap_or_default()
    };
    let (ingest, transfer): (Vec<f64>, Vec<f64>) = ratios.into_iter().unzip();
    println!(
        "hansa to kubo, medians: ingest {:.2} (durable both), transfer {:.2}",
        median(ingest),
        median(transfer)
    );
    Ok(())
}

/// Builds Kubo in the target directory, unless it is there.
fn build() -> Outcome<PathBuf> {
    let folder = shell::target_directory()?.join(format!("kubo-{VERSION}"));
    let program = folder.join("ipfs");
    if program.exists() {
        return Ok(program);
    }
    shell::require("go", "install Go 1.25 or later")?;
    println!("building Kubo {VERSION}; this takes minutes");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    // `go install …@version` finds no list of versions on some proxies; a module that requires it needs none.
    let module = format!(
        "module kubo\n\ngo 1.25\n\ntool github.com/ipfs/kubo/cmd/ipfs\n\nrequire github.com/ipfs/kubo {VERSION}\n"
    );
    write(&folder.join("go.mod"), &module)?;
    shell::run(Command::new("go").args(["mod", "tidy"]).current_dir(&folder).stderr(Stdio::null()))?;
    let build = ["build", "-o", "ipfs", "github.com/ipfs/kubo/cmd/ipfs"];
    shell::run(Command::new("go").args(build).current_dir(&folder))?;
    Ok(program)
}

/// What `hansa-bench` measures in one run.
fn measured(bench: &Path, what: &str) -> Outcome<f64> {
    let line = shell::capture(Command::new(bench).args([what, "--runs", "1", "--json"]))?;
    let json: Value = serde_json::from_str(&line).map_err(|e| format!("hansa-bench {what}: {e}"))?;
    json["mb_per_s"].as_f64().ok_or_else(|| format!("hansa-bench {what} printed no mb_per_s"))
}

/// Two Kubo repositories with the same swarm key, and a file.
struct Kubo {
    program: PathBuf,
    folder: PathBuf,
}

impl Kubo {
    fn new(program: &Path) -> Outcome<Self> {
        let folder = std::env::temp_dir().join(format!("hansa-kubo-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let kubo = Self { program: program.into(), folder };
        let mut random = fs::File::open("/dev/urandom").map_err(|e| e.to_string())?.take(BYTES);
        let mut plain = fs::File::create(kubo.folder.join("plain")).map_err(|e| e.to_string())?;
        std::io::copy(&mut random, &mut plain).map_err(|e| e.to_string())?;
        plain.sync_all().map_err(|e| e.to_string())?;
        let mut secret = [0; 32];
        random.set_limit(32);
        random.read_exact(&mut secret).map_err(|e| e.to_string())?;
        let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        for node in ["owner", "reader"] {
            shell::capture(kubo.ipfs(node).args(["init", "--profile", "unixfs-v1-2025"]))?;
            for (name, value) in SETTINGS {
                shell::capture(kubo.ipfs(node).args(["config", "--json", name, value]))?;
            }
            let key = format!("/key/swarm/psk/1.0.0/\n/base16/\n{digits}\n");
            write(&kubo.folder.join(node).join("swarm.key"), &key)?;
        }
        Ok(kubo)
    }

    fn ipfs(&self, node: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env("IPFS_PATH", self.folder.join(node)).env("LIBP2P_TCP_MUX", "false");
        command
    }

    /// Megabytes a second without and with the file system's synchronisation, and the root.
    fn add(&self) -> Outcome<(f64, f64, String)> {
        let start = Instant::now();
        let cid = shell::capture(
            self.ipfs("owner").args(["add", "-Q", "--progress=false"]).arg(self.folder.join("plain")),
        )?;
        let added = rate(start);
        shell::run(Command::new("sync").arg("-f").arg(&self.folder))?;
        Ok((added, rate(start), cid.trim().to_owned()))
    }

    /// The owner's file, pinned by the reader.
    fn fetch(&self, cid: &str) -> Outcome<f64> {
        let _daemons = [self.daemon("owner")?, self.daemon("reader")?];
        let identity = shell::capture(self.ipfs("owner").arg("id"))?;
        let identity: Value = serde_json::from_str(&identity).map_err(|e| format!("ipfs id: {e}"))?;
        let address = identity["Addresses"][0].as_str().ok_or("Kubo listens nowhere")?;
        // Only now: a peer that is dialled while the daemon starts is never noticed by its Bitswap.
        shell::capture(self.ipfs("reader").args(["swarm", "connect", address]))?;
        let start = Instant::now();
        shell::capture(self.ipfs("reader").args(["pin", "add", "--timeout=3m", "--progress=false", cid]))?;
        Ok(rate(start))
    }

    fn daemon(&self, node: &str) -> Outcome<Daemon> {
        let mut child = self
            .ipfs(node)
            .arg("daemon")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("ipfs daemon cannot be started: {e}"))?;
        let output = child.stdout.take();
        let daemon = Daemon(child);
        let lines = BufReader::new(output.ok_or("ipfs daemon has no output")?).lines();
        match lines.map_while(Result::ok).any(|line| line.contains("Daemon is ready")) {
            true => Ok(daemon),
            false => Err("ipfs daemon ended before it was ready".into()),
        }
    }
}

impl Drop for Kubo {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Killed when it is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn rate(since: Instant) -> f64 {
    BYTES as f64 / 1e6 / since.elapsed().as_secs_f64()
}

fn write(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}
