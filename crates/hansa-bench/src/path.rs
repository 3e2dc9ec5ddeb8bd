//! `bench path`: what people do with objects, over REST between two members of four: put, share, get.
//!
//! Closed loop: each client starts its next operation when the last one is answered. Every object is put with the
//! default number of replicas and read once, so that no cache answers. Does not check contents; the story does.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use hansa_api::GrantRequest;
use hansa_client::{Client, OpenOptions, PutOptions, Source};
use hansa_types::{DcId, ObjectId};
use parking_lot::Mutex;

use crate::{
    BenchError, chain,
    ingest::{megabytes_per_second, write_random},
    network::{Member, Network},
    report::{self, Figure, Series, percentile},
};

/// Numbers of concurrent clients.
const CLIENTS: [usize; 3] = [1, 8, 32];
/// Bytes of a small object.
const OBJECT_BYTES: usize = 2_048;

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Longest time of each phase in seconds
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Concurrent clients; 1, 8 and 32 after one another unless told
    #[arg(long, value_parser = number_of_clients)]
    clients: Option<usize>,
    /// Runs, each on a fresh network
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Bytes of the large file; 0 leaves it out
    #[arg(long, default_value_t = 1 << 30)]
    file_bytes: usize,
    /// Seconds of `bench chain`'s full load; 0 leaves it out
    #[arg(long, default_value_t = 15)]
    chain_seconds: u64,
}

fn number_of_clients(word: &str) -> Result<usize, String> {
    let known = CLIENTS.iter().find(|clients| clients.to_string() == word);
    known.copied().ok_or_else(|| format!("one of {CLIENTS:?}"))
}

/// Names of the figures of one operation, for one, eight and 32 clients.
struct Names {
    per_s: [&'static str; 3],
    p50_ms: [&'static str; 3],
    cpu_ms: [&'static str; 3],
}

const PUT: Names = Names {
    per_s: ["put_per_s_1", "put_per_s_8", "put_per_s_32"],
    p50_ms: ["put_p50_ms_1", "put_p50_ms_8", "put_p50_ms_32"],
    cpu_ms: ["put_node_cpu_ms_1", "put_node_cpu_ms_8", "put_node_cpu_ms_32"],
};
const SHARE: Names = Names {
    per_s: ["share_per_s_1", "share_per_s_8", "share_per_s_32"],
    p50_ms: ["share_p50_ms_1", "share_p50_ms_8", "share_p50_ms_32"],
    cpu_ms: ["share_node_cpu_ms_1", "share_node_cpu_ms_8", "share_node_cpu_ms_32"],
};
const GET: Names = Names {
    per_s: ["get_per_s_1", "get_per_s_8", "get_per_s_32"],
    p50_ms: ["get_p50_ms_1", "get_p50_ms_8", "get_p50_ms_32"],
    cpu_ms: ["get_node_cpu_ms_1", "get_node_cpu_ms_8", "get_node_cpu_ms_32"],
};
const PATH: Names = Names {
    per_s: ["path_per_s_1", "path_per_s_8", "path_per_s_32"],
    p50_ms: ["path_p50_ms_1", "path_p50_ms_8", "path_p50_ms_32"],
    cpu_ms: ["path_node_cpu_ms_1", "path_node_cpu_ms_8", "path_node_cpu_ms_32"],
};

/// Values of one run, under their figures' names.
type Values = Vec<(Figure, f64)>;

pub(crate) async fn run(options: &Options, json: bool) -> Result<(), BenchError> {
    let mut figures: Vec<Figure> = Vec::new();
    for _ in 0..options.runs {
        let mut values = Bench::start()?.measure(options).await?;
        if options.chain_seconds > 0 {
            let per_second = chain::full_load(options.chain_seconds).await?;
            values.push((Figure::new("chain_tx_per_s", "1/s"), per_second));
        }
        if figures.is_empty() {
            figures = values.iter().map(|(figure, _)| figure.clone()).collect();
        }
        for (figure, (_, value)) in figures.iter_mut().zip(values) {
            figure.push(value);
        }
    }
    report::print(&figures, &Series::default(), json);
    Ok(())
}

/// One network with an owner and a reader.
struct Bench {
    network: Network,
    owner: Client,
    reader: Client,
    reader_dc: DcId,
}

/// One phase: what each operation took, and what all of them cost.
struct Phase {
    seconds: f64,
    latencies_ms: Vec<f64>,
    /// Processor time of one node, the mean of all.
    node_cpu_seconds: f64,
}

impl Phase {
    fn values(&self, names: &Names, clients: usize) -> Values {
        let done = self.latencies_ms.len() as f64;
        vec![
            (Figure::new(names.per_s[clients], "1/s"), done / self.seconds),
            (Figure::new(names.p50_ms[clients], "ms"), percentile(&self.latencies_ms, 50.0)),
            (Figure::new(names.cpu_ms[clients], "ms"), self.node_cpu_seconds * 1e3 / done.max(1.0)),
        ]
    }
}

impl Bench {
    fn start() -> Result<Self, BenchError> {
        let network = Network::start()?;
        let member = |index: usize| network.members.get(index).ok_or(BenchError::Generator);
        let (owner, reader) = (client(member(0)?)?, client(member(1)?)?);
        let reader_dc = DcId::new(member(1)?.dc_id).ok_or(BenchError::Generator)?;
        Ok(Self { owner, reader, reader_dc, network })
    }

    async fn measure(&self, options: &Options) -> Result<Values, BenchError> {
        let limit = Duration::from_secs(options.seconds);
        let chosen = || {
            let all = CLIENTS.into_iter().enumerate();
            all.filter(|(_, clients)| options.clients.is_none_or(|only| only == *clients))
        };
        let mut values = Vec::new();
        let mut stock = Vec::new();
        // Connections, caches and the first blocks.
        self.phase(8, Duration::from_secs(1), (0..).map(|_| ()), |()| self.put()).await?;
        for (index, clients) in chosen() {
            let (phase, ids) = self.phase(clients, limit, (0..).map(|_| ()), |()| self.put()).await?;
            values.extend(phase.values(&PUT, index));
            stock.extend(ids);
        }
        let mut shared = Vec::new();
        for ((index, clients), items) in chosen().zip(portions(stock, chosen().count())) {
            let (phase, ids) = self.phase(clients, limit, items.into_iter(), |id| self.share(id)).await?;
            values.extend(phase.values(&SHARE, index));
            shared.extend(ids);
        }
        for ((index, clients), items) in chosen().zip(portions(shared, chosen().count())) {
            let (phase, _) = self.phase(clients, limit, items.into_iter(), |id| self.get(id)).await?;
            values.extend(phase.values(&GET, index));
        }
        for (index, clients) in chosen() {
            let whole = async |()| self.get(self.share(self.put().await?).await?).await;
            let (phase, _) = self.phase(clients, limit, (0..).map(|_| ()), whole).await?;
            values.extend(phase.values(&PATH, index));
        }
        if options.file_bytes > 0 {
            values.extend(self.large_file(options.file_bytes)?);
        }
        let resident = self.network.resident_bytes() as f64 / 1e6;
        values.push((Figure::new("node_rss_mb", "MB"), resident));
        Ok(values)
    }

    /// Runs `operation` on each item from so many clients at a time, until the items or the time are used up.
    async fn phase<I, T>(
        &self,
        clients: usize,
        limit: Duration,
        items: impl Iterator<Item = I>,
        operation: impl AsyncFn(I) -> Result<T, BenchError>,
    ) -> Result<(Phase, Vec<T>), BenchError> {
        let items = Mutex::new(items);
        let cpu = self.network.cpu_seconds();
        let start = Instant::now();
        let work = async |_client| {
            let mut done = Vec::new();
            while start.elapsed() < limit {
                let Some(item) = items.lock().next() else { break };
                let begun = Instant::now();
                let outcome = operation(item).await?;
                done.push((begun.elapsed().as_secs_f64() * 1e3, outcome));
            }
            Ok::<_, BenchError>(done)
        };
        let done = try_join_all((0..clients).map(work)).await?;
        let seconds = start.elapsed().as_secs_f64();
        let nodes = self.network.members.len() as f64;
        let node_cpu_seconds = (self.network.cpu_seconds() - cpu) / nodes;
        let (latencies_ms, outcomes) = done.into_iter().flatten().unzip();
        Ok((Phase { seconds, latencies_ms, node_cpu_seconds }, outcomes))
    }

    async fn put(&self) -> Result<ObjectId, BenchError> {
        let mut content = vec![0; OBJECT_BYTES];
        rand::fill(content.as_mut_slice());
        let source = Source::reader("order.json", std::io::Cursor::new(content));
        let receipt =
            self.owner.put(source, &PutOptions::default(), |_| {}).await.map_err(BenchError::rest)?;
        Ok(receipt.id)
    }

    async fn share(&self, object: ObjectId) -> Result<ObjectId, BenchError> {
        let grant =
            GrantRequest { to: vec![self.reader_dc], expires_at: None, max_openings: None, deposit: false };
        self.owner.share(object, &grant).await.map_err(BenchError::rest)?;
        Ok(object)
    }

    async fn get(&self, object: ObjectId) -> Result<(), BenchError> {
        let opened = self.reader.open(object, OpenOptions::default()).await.map_err(BenchError::rest)?;
        let mut sink = tokio::io::sink();
        opened.write_to(&mut sink, |_| {}).await.map(drop).map_err(BenchError::rest)
    }

    /// `hansa put` of a large file in wall-clock time, with two replicas and without waiting for any.
    fn large_file(&self, bytes: usize) -> Result<Values, BenchError> {
        let folder = tempfile::Builder::new().prefix("hansa-bench-").tempdir()?;
        let mut values = Vec::new();
        for (name, replicas) in [("put_1gib_mb_per_s", "2"), ("put_1gib_alone_mb_per_s", "0")] {
            let file = folder.path().join(name);
            write_random(&file, bytes)?;
            let cpu = self.network.cpu_seconds();
            let start = Instant::now();
            self.command(&["put", "--replicas", replicas], &file)?;
            values.push((Figure::new(name, "MB/s"), megabytes_per_second(bytes, start)));
            if replicas == "2" {
                let figure = Figure::new("put_1gib_cpu_s", "s");
                values.push((figure, self.network.cpu_seconds() - cpu));
            }
        }
        Ok(values)
    }

    fn command(&self, words: &[&str], file: &Path) -> Result<(), BenchError> {
        let home = self.network.members.first().map(|member| member.home.clone()).unwrap_or_default();
        let mut command = Command::new(crate::network::binary());
        command.arg("--home").arg(home).args(words).arg(file);
        match command.stdout(Stdio::null()).stderr(Stdio::null()).status()? {
            status if status.success() => Ok(()),
            status => Err(BenchError::Rest(format!("`hansa {}` ended with {status}", words.join(" ")))),
        }
    }
}

/// Items for one phase, or for the phases with one, eight and 32 clients.
fn portions<T>(mut items: Vec<T>, phases: usize) -> Vec<Vec<T>> {
    if phases == 1 {
        return vec![items];
    }
    let few = items.split_off(items.len() * 9 / 10);
    let some = items.split_off(items.len() * 7 / 10);
    vec![few, some, items]
}

/// A client of a member's node, with the token in the member's home folder.
fn client(member: &Member) -> Result<Client, BenchError> {
    let token: PathBuf = member.home.join("rest.token");
    Client::new(&member.rest, std::fs::read_to_string(token)?.trim()).map_err(BenchError::rest)
}
