//! `bench transfer`: 1 GiB between two node processes in the private swarm: fetched, verified, stored durably.
//!
//! This process fetches; a second one, started from the same program, serves. Each has its own store and swarm node.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use hansa_envelope::MemberKeys;
use hansa_swarm::{Config, KeyResponder, Swarm, SwarmMember};
use hansa_types::{NetworkKey, SwarmKey};
use serde::{Deserialize, Serialize};

use crate::{
    BenchError,
    ingest::{ingest, megabytes_per_second, open_store, storage, write_random},
    report::{self, Figure, Series},
};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Bytes of the file
    #[arg(long, default_value_t = 1 << 30)]
    bytes: usize,
    /// Runs, each into a fresh store
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Serve a file to the process that started this one
    #[arg(long, hide = true)]
    serve: Option<PathBuf>,
}

/// What the two processes tell each other, a line each.
#[derive(Serialize, Deserialize)]
struct Introduction {
    key: NetworkKey,
    endpoint: String,
    /// 64 hexadecimal digits; a throw-away key of this measurement.
    swarm_key: String,
    root: String,
}

/// Nobody asks for keys here.
struct NoKeys;

#[async_trait::async_trait]
impl KeyResponder for NoKeys {
    async fn respond(&self, _peer: NetworkKey, _request: Bytes) -> Bytes {
        Bytes::new()
    }
}

pub(crate) async fn run(options: &Options, json: bool) -> Result<(), BenchError> {
    match &options.serve {
        Some(folder) => serve(folder, options.bytes).await,
        None => fetch(options, json).await,
    }
}

async fn fetch(options: &Options, json: bool) -> Result<(), BenchError> {
    let folder = tempfile::Builder::new().prefix("hansa-bench-").tempdir()?;
    let mut figures = [Figure::new("mb_per_s", "MB/s")];
    let [figure] = &mut figures;
    for run in 0..options.runs {
        let server_folder = folder.path().join(format!("server-{run}"));
        std::fs::create_dir_all(&server_folder)?;
        let keys = MemberKeys::generate().map_err(storage)?;
        let mut server = Server::start(&server_folder, options.bytes, keys.network_key())?;
        let introduction = server.introduction()?;
        let store = open_store(&folder.path().join(format!("client-{run}")))?;
        let member = SwarmMember { key: introduction.key, endpoint: introduction.endpoint.clone() };
        let swarm = start(&keys, &introduction.swarm_key, vec![member], store).await?;
        let server_key = introduction.key;
        swarm.watch_peers().wait_for(|peers| peers.contains(&server_key)).await.map_err(storage)?;
        let root = introduction.root.parse().map_err(storage)?;
        let start = Instant::now();
        swarm.fetch_dag(root, Arc::new(|_| {})).await.map_err(storage)?;
        figure.push(megabytes_per_second(options.bytes, start));
        swarm.shutdown().await;
        drop(server);
    }
    report::print(&figures, &Series::default(), json);
    Ok(())
}

async fn start(
    keys: &MemberKeys,
    swarm_key: &str,
    members: Vec<SwarmMember>,
    store: hansa_content::BlockStore,
) -> Result<Swarm, BenchError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(swarm_key, &mut bytes).map_err(storage)?;
    Swarm::start(Config {
        secret: *keys.network_secret(),
        swarm_key: SwarmKey::from_bytes(bytes),
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        members,
        store,
        responder: Arc::new(NoKeys),
        limits: Default::default(),
    })
    .await
    .map_err(storage)
}

/// The serving process; it ends when its standard input does.
struct Server(Child);

impl Server {
    fn start(folder: &Path, bytes: usize, client: NetworkKey) -> Result<Self, BenchError> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["transfer", "--bytes", &bytes.to_string(), "--serve"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(input) = child.stdin.as_mut() {
            writeln!(input, "{client}")?;
        }
        Ok(Self(child))
    }

    fn introduction(&mut self) -> Result<Introduction, BenchError> {
        let output = self.0.stdout.take().ok_or(BenchError::Generator)?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        serde_json::from_str(&line).map_err(storage)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[expect(clippy::print_stdout, reason = "the line that the fetching process waits for")]
async fn serve(folder: &Path, bytes: usize) -> Result<(), BenchError> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let client: NetworkKey = line.trim().parse().map_err(storage)?;
    let store = open_store(folder)?;
    let file = folder.join("plain");
    write_random(&file, bytes)?;
    let root = ingest(&store, &file)?;
    let keys = MemberKeys::generate().map_err(storage)?;
    let swarm_key = hex::encode(rand::random::<[u8; 32]>());
    // The client dials; its own address is not needed.
    let member = SwarmMember { key: client, endpoint: "/ip4/127.0.0.1/tcp/1".into() };
    let swarm = start(&keys, &swarm_key, vec![member], store).await?;
    let endpoint =
        swarm.listen_addrs().await.map_err(storage)?.into_iter().next().ok_or(BenchError::Generator)?;
    let introduction = Introduction { key: keys.network_key(), endpoint, swarm_key, root };
    println!("{}", serde_json::to_string(&introduction).map_err(storage)?);
    let mut rest = String::new();
    let ended = tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut rest)).await;
    ended.map_err(|_| BenchError::Generator)??;
    swarm.shutdown().await;
    Ok(())
}
