//! Measures a transfer between two node processes in a private swarm on loopback: fetched, verified, stored durably.
//!
//! `cargo run --release -p hansa-swarm --example transfer [MIB [RUNS]]`. The process starts itself a second time as the provider. It
//! prints one line a run and the median. It measures this crate, not a whole node.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use hansa_content::{BlockStore, CHUNK_BYTES, Cid, Importer, SPACES};
use hansa_kv::{FjallOptions, FjallStore};
use hansa_swarm::{Config, KeyResponder, Limits, Swarm, SwarmMember};
use hansa_types::{NetworkKey, SwarmKey};

struct Mute;

#[async_trait]
impl KeyResponder for Mute {
    async fn respond(&self, _: NetworkKey, _: Bytes) -> Bytes {
        Bytes::new()
    }
}

type Outcome<T> = Result<T, Box<dyn Error>>;

fn store(dir: &Path) -> Outcome<BlockStore> {
    let kv = FjallStore::open(dir.join("kv"), &SPACES, FjallOptions::default())?;
    Ok(BlockStore::open(Arc::new(kv), &dir.join("blocks"))?)
}

async fn node(secret: u8, store: &BlockStore) -> Outcome<Swarm> {
    Ok(Swarm::start(Config {
        secret: [secret; 32],
        swarm_key: SwarmKey::from_bytes([7; 32]),
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        members: Vec::new(),
        store: store.clone(),
        responder: Arc::new(Mute),
        limits: Limits::default(),
    })
    .await?)
}

/// Incompressible bytes.
fn leaf(index: u64) -> Bytes {
    let mut state = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(CHUNK_BYTES);
    while bytes.len() < CHUNK_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.into()
}

/// The provider: imports, prints its address, and runs until its standard input ends.
async fn provide(mib: u64, reader: NetworkKey) -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let store = store(dir.path())?;
    let leaves: Vec<Bytes> = (0..mib.min(64)).map(leaf).collect();
    let mut importer = Importer::new(&store);
    let start = Instant::now();
    for index in 0..mib {
        match leaves.get(usize::try_from(index)?) {
            Some(leaf) => importer.push_leaf(leaf.clone())?,
            None => importer.push_leaf(leaf(index))?,
        }
    }
    let file = importer.finish()?;
    let seconds = start.elapsed().as_secs_f64();
    let swarm = node(1, &store).await?;
    let endpoint = swarm.listen_addrs().await?.remove(0);
    swarm.set_members(vec![SwarmMember { key: reader, endpoint: endpoint.clone() }]).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{} {} {} {seconds}", swarm.network_key(), endpoint, file.root)?;
    out.flush()?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    Ok(())
}

/// Fetches from a new provider into a new store; returns MiB per second of the import and of the transfer.
async fn run(mib: u64) -> Outcome<(f64, f64)> {
    let dir = tempfile::tempdir()?;
    let store = store(dir.path())?;
    let swarm = node(2, &store).await?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["provide", &mib.to_string(), &swarm.network_key().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let [key, endpoint, root, seconds] = words[..] else { return Err("the provider failed".into()) };
    let provider = SwarmMember { key: key.parse()?, endpoint: endpoint.into() };
    swarm.set_members(vec![provider]).await?;
    swarm.watch_peers().wait_for(|peers| !peers.is_empty()).await?;
    let root: Cid = root.parse()?;
    let start = Instant::now();
    let fetched = swarm.fetch_dag(root, Arc::new(|_| {})).await?;
    let rate = fetched.bytes as f64 / 1e6 / start.elapsed().as_secs_f64();
    drop(child.stdin.take());
    child.wait()?;
    Ok((mib as f64 * CHUNK_BYTES as f64 / 1e6 / seconds.parse::<f64>()?, rate))
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, mib, reader] = &arguments[..]
        && mode == "provide"
    {
        return provide(mib.parse()?, reader.parse()?).await;
    }
    let mib = arguments.first().map_or(Ok(1024), |mib| mib.parse())?;
    let runs = arguments.get(1).map_or(Ok(3), |runs| runs.parse::<usize>())?;
    let mut out = std::io::stdout();
    let mut rates = Vec::new();
    for _ in 0..runs.max(1) {
        let (import, transfer) = run(mib).await?;
        writeln!(out, "{mib} MiB: import {import:.0} MB/s, transfer {transfer:.0} MB/s")?;
        rates.push(transfer);
    }
    rates.sort_by(f64::total_cmp);
    writeln!(out, "median transfer {:.0} MB/s", rates.get(rates.len() / 2).copied().unwrap_or_default())?;
    Ok(())
}
