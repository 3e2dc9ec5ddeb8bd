//! `hansa up`: a whole consortium on this machine, one process a member.
//!
//! For trying out and for tests. It writes development keys in plain text; a real consortium never runs `up`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use hansa_client::Client;
use hansa_node::{FolderLock, Home, NewHome, NodeError, Secrecy, draft_genesis, write_file};
use hansa_types::{Limits, MemberCard};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::{cli::Up, output::Output, problem::CliError};

/// The members' names, in the order of their dcIds.
const NAMES: [&str; 16] = [
    "luebeck",
    "gdansk",
    "riga",
    "visby",
    "bergen",
    "brugge",
    "tallinn",
    "hamburg",
    "stralsund",
    "turku",
    "kampen",
    "novgorod",
    "london",
    "rostock",
    "wismar",
    "deventer",
];

/// What `network.json` says of a member.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    name: String,
    dc_id: u32,
    role: &'static str,
    home: PathBuf,
    rest: String,
    rpc: String,
    ws: String,
    peer_id: String,
    account: String,
    account_key_file: PathBuf,
    log: PathBuf,
    pid: u32,
}

/// `network.json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Network {
    chain_id: u64,
    members: Vec<Described>,
}

/// A member's process.
struct Running {
    home: Home,
    card: MemberCard,
    child: Child,
}

pub(crate) async fn run(options: &Up, output: &Output) -> Result<(), CliError> {
    let (dir, temporary) = match &options.dir {
        Some(dir) => (absolute(dir)?, None),
        None => {
            let folder =
                tempfile::Builder::new().prefix("hansa-up-").tempdir().map_err(CliError::folder("/tmp"))?;
            (folder.path().to_owned(), Some(folder))
        }
    };
    let _lock = FolderLock::take(&dir).map_err(|error| match error {
        NodeError::InUse { path, pid } => CliError::Running { dir: path, pid },
        other => other.into(),
    })?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::Signal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::Signal)?;
    let mut nodes = start_all(&dir, usize::from(options.members), output)?;
    let outcome = tokio::select! {
        outcome = serve(&dir, &mut nodes, output) => outcome,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    stop_all(nodes).await;
    drop(temporary);
    outcome
}

/// Waits for the first blocks, describes the network, then watches the processes. Returns only on a failure.
async fn serve(dir: &Path, nodes: &mut [Running], output: &Output) -> Result<(), CliError> {
    for node in nodes.iter_mut() {
        wait_for_blocks(node).await?;
    }
    let network = describe(dir, nodes).await?;
    output.network(&network.members.iter().map(row).collect::<Vec<_>>(), &network, dir);
    watch(nodes, output).await
}

fn row(member: &Described) -> [String; 6] {
    [
        format!("{} {}", member.dc_id, member.name),
        member.role.to_owned(),
        member.rest.clone(),
        member.rpc.clone(),
        member.peer_id.clone(),
        member.home.display().to_string(),
    ]
}

/// Tells about a node that ended; the others go on, as members of a real consortium would.
async fn watch(nodes: &mut [Running], output: &Output) -> Result<(), CliError> {
    let mut gone = vec![false; nodes.len()];
    loop {
        for (node, gone) in nodes.iter_mut().zip(&mut gone) {
            if let (false, Ok(Some(status))) = (*gone, node.child.try_wait()) {
                *gone = true;
                output.note(&format!(
                    "{}'s node ended ({status}); its log: {}",
                    node.card.name,
                    log(&node.home).display()
                ));
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn start_all(dir: &Path, members: usize, output: &Output) -> Result<Vec<Running>, CliError> {
    let members_dir = dir.join("members");
    let homes: Vec<Home> = if members_dir.exists() {
        output.note(&format!("going on with the network in {}", dir.display()));
        existing(&members_dir, dir)?
    } else {
        found(&members_dir, members)?
    };
    homes.into_iter().map(start).collect()
}

/// The founders of a network that `up` made earlier, in the order of their dcIds.
fn existing(members_dir: &Path, dir: &Path) -> Result<Vec<Home>, CliError> {
    let homes: Vec<Home> = NAMES
        .iter()
        .map(|name| Home::new(members_dir.join(name)))
        .filter(|h| h.config_file().exists())
        .collect();
    if homes.len() < 4 {
        return Err(CliError::NotANetwork { dir: dir.to_owned() });
    }
    Ok(homes)
}

/// Makes the founders' homes, the genesis draft that all of them share, and the swarm's key.
fn found(members_dir: &Path, members: usize) -> Result<Vec<Home>, CliError> {
    let mut homes = Vec::new();
    let mut cards = Vec::new();
    for name in NAMES.iter().take(members) {
        let home = Home::new(members_dir.join(name));
        cards.push(hansa_node::create_home(&home, &NewHome::local(name))?.card);
        let key = hansa_node::account_key(&home)?;
        write_file(&home.path().join("account.key"), key.as_bytes(), Secrecy::Private)?;
        homes.push(home);
    }
    let chain_id = 1_000_000 + u64::from(rand::random::<u32>() >> 8);
    let genesis = draft_genesis(chain_id, hansa_node::unix_seconds(), Limits::default(), cards);
    let swarm_key = hansa_node::new_swarm_key()?.to_text();
    for home in &homes {
        write_file(&home.genesis_file(), genesis.to_json().as_bytes(), Secrecy::Public)?;
        write_file(&home.swarm_key_file(), swarm_key.as_bytes(), Secrecy::Private)?;
    }
    Ok(homes)
}

fn start(home: Home) -> Result<Running, CliError> {
    let log_file = log(&home);
    let open = || fs::OpenOptions::new().create(true).append(true).open(&log_file);
    let streams = open().and_then(|out| Ok((out, open()?)));
    let (out, errors) = streams.map_err(CliError::folder(&log_file.display().to_string()))?;
    let program = std::env::current_exe().map_err(CliError::folder("the program's own path"))?;
    let child = Command::new(program)
        .arg("--home")
        .arg(home.path())
        .args(["node", "run"])
        .env("HANSA_STOP_WITH_PARENT", "1")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(errors)
        .spawn()
        .map_err(CliError::folder("a node's process"))?;
    let card = hansa_node::read_card(&home.card_file())?.card;
    Ok(Running { home, card, child })
}

/// Asks the node until it has finalised a block, as long as its process lives.
async fn wait_for_blocks(node: &mut Running) -> Result<(), CliError> {
    loop {
        if let Ok(Some(status)) = node.child.try_wait() {
            return Err(CliError::NodeEnded { name: node.card.name.clone(), status, log: log(&node.home) });
        }
        if let Ok(client) = crate::connect(&node.home)
            && height(&client).await.is_some_and(|height| height > 0)
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn height(client: &Client) -> Option<u64> {
    Some(client.status().await.ok()?.head.number)
}

async fn describe(dir: &Path, nodes: &[Running]) -> Result<Network, CliError> {
    let mut members = Vec::new();
    let mut chain_id = 0;
    for (dc_id, node) in (1..).zip(nodes) {
        let config = node.home.config()?;
        let genesis = hansa_node::read_genesis(&node.home)?;
        chain_id = genesis.chain_id;
        members.push(Described {
            name: node.card.name.clone(),
            dc_id,
            role: "validator",
            home: node.home.path().to_owned(),
            rest: format!("http://{}", config.rest_listen),
            rpc: format!("http://{}", config.rpc_listen),
            ws: format!("ws://{}", config.rpc_listen),
            peer_id: crate::connect(&node.home)?.status().await?.swarm.peer_id,
            account: node.card.account.to_string(),
            account_key_file: node.home.path().join("account.key"),
            log: log(&node.home),
            pid: node.child.id(),
        });
    }
    let network = Network { chain_id, members };
    let text = serde_json::to_vec_pretty(&network).unwrap_or_default();
    write_file(&dir.join("network.json"), &text, Secrecy::Public)?;
    Ok(network)
}

/// Asks every process to stop, then waits for each; one that does not within ten seconds is killed.
async fn stop_all(mut nodes: Vec<Running>) {
    for node in &nodes {
        if let Some(pid) = rustix::process::Pid::from_raw(node.child.id().cast_signed()) {
            // A process that has already ended needs no signal.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    for node in &mut nodes {
        while matches!(node.child.try_wait(), Ok(None)) {
            if tokio::time::Instant::now() > deadline {
                let _ = node.child.kill();
                let _ = node.child.wait();
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn log(home: &Home) -> PathBuf {
    home.path().join("node.log")
}

fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(CliError::folder(&path.display().to_string()))
}
