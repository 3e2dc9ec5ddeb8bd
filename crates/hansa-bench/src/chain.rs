//! `bench chain`: protect transactions from registered accounts through JSON-RPC into four validator processes.
//!
//! The load is closed-loop: a bounded number of transactions is outstanding, so the figure is what the network
//! finalises, not what it can be made to queue. Latency runs from handing a transaction to a node until the `newHeads`
//! subscription of another node has told of the block that holds it.

mod overload;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use alloy_primitives::{B256, keccak256};
use futures::future::try_join_all;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Notify;

use crate::{
    BenchError,
    network::Network,
    process,
    report::{self, Figure, Series, percentile},
    rpc::{Heads, Rpc, batch},
    wallet::{Signed, Supply},
};

/// Validators, each with a node and an account of its own.
pub(crate) const MEMBERS: usize = 4;
/// How many transactions a second are signed ahead for. A network that is faster has to share the processor with the signing of
/// the rest, which the generator's share shows.
const TX_PER_S_EXPECTED: usize = 4_000;

/// Transactions outstanding at full load.
const OUTSTANDING: usize = 4_000;
/// Transactions in one JSON-RPC batch.
const BATCH: usize = 50;

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Seconds of full load in each run
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Runs
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Transactions outstanding at full load, in equal shares for the members
    #[arg(long, default_value_t = OUTSTANDING)]
    outstanding: usize,
    /// Transactions in one JSON-RPC batch
    #[arg(long, default_value_t = BATCH)]
    batch: usize,
    /// Submit a burst of this many transactions instead, and tell the longest gap between two blocks
    #[arg(long)]
    burst: Option<usize>,
    /// After each run offer this many times what it finalised, and tell what is finalised of it
    #[arg(long)]
    overload: Option<f64>,
}

/// Transactions handed over and not yet seen final.
#[derive(Default)]
struct Flight {
    pending: Mutex<Pending>,
    latencies_ms: Mutex<Vec<f64>>,
    heads: Mutex<Vec<Instant>>,
    landed: Notify,
}

/// By hash: when it was handed over, and by which member; and how many there are of each member.
#[derive(Default)]
struct Pending {
    sent: HashMap<B256, (Instant, usize)>,
    of_member: [usize; MEMBERS],
}

impl Flight {
    fn hand_over(&self, member: usize, signed: &[Signed]) {
        let now = Instant::now();
        let mut pending = self.pending.lock();
        pending.of_member[member] += signed.len();
        pending.sent.extend(signed.iter().map(|s| (s.hash, (now, member))));
    }

    fn land(&self, hashes: &[B256], at: Instant) {
        let mut pending = self.pending.lock();
        let sent: Vec<_> = hashes.iter().filter_map(|hash| pending.sent.remove(hash)).collect();
        for (_, member) in &sent {
            pending.of_member[*member] -= 1;
        }
        drop(pending);
        self.latencies_ms.lock().extend(sent.into_iter().map(|(sent, _)| (at - sent).as_secs_f64() * 1e3));
        self.landed.notify_waiters();
    }

    /// Takes back a transaction that was refused.
    fn withdraw(&self, signed: &Signed) {
        let mut pending = self.pending.lock();
        if let Some((_, member)) = pending.sent.remove(&signed.hash) {
            pending.of_member[member] -= 1;
        }
    }

    /// Waits until fewer than `limit` transactions of a member are outstanding. To each its share: the network serves the
    /// senders in turn, so of a common number most would soon be those of one member, in a long queue of its own.
    async fn room(&self, member: usize, limit: usize) {
        self.wait(|pending| pending.of_member[member] < limit).await;
    }

    /// The times between the blocks that have come since the last call.
    fn block_gaps_ms(&self) -> Vec<f64> {
        let mut heads = self.heads.lock();
        let gaps = heads.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3).collect();
        let before_last = heads.len().saturating_sub(1);
        heads.drain(..before_last);
        gaps
    }

    /// Waits until nothing is outstanding.
    async fn rest(&self) {
        self.wait(|pending| pending.sent.is_empty()).await;
    }

    async fn wait(&self, is_so: impl Fn(&Pending) -> bool) {
        loop {
            let landed = self.landed.notified();
            if is_so(&self.pending.lock()) {
                return;
            }
            landed.await;
        }
    }
}

/// The network, its load and its observer.
struct Bench {
    network: Network,
    supplies: Vec<(Rpc, Supply)>,
    flight: Arc<Flight>,
}

/// Parts of a run that are reported by themselves, so that a decline shows.
const SLICES: u32 = 10;

/// A part of a run at full load.
struct Slice {
    seconds: f64,
    latencies_ms: Vec<f64>,
    block_gaps_ms: Vec<f64>,
    /// What a hash took, again and again: how fast the machine was.
    hash_ns: Vec<f64>,
    nodes_cpu: f64,
    own_cpu: f64,
    resident_mb: f64,
    disk: u64,
}

impl Slice {
    fn per_second(&self) -> f64 {
        self.latencies_ms.len() as f64 / self.seconds
    }

    /// The load generator's share of the processor time that it and the nodes took.
    fn generator_share(&self) -> f64 {
        self.own_cpu / (self.own_cpu + self.nodes_cpu)
    }

    /// Transactions for each second of the nodes' processor time.
    fn per_cpu_second(&self) -> f64 {
        self.latencies_ms.len() as f64 / self.nodes_cpu
    }

    fn disk_per_tx(&self) -> f64 {
        self.disk as f64 / (self.latencies_ms.len() as f64).max(1.0)
    }

    /// The run that consists of these parts; memory is what it was at the end.
    fn join(slices: &[Self]) -> Self {
        Self {
            seconds: slices.iter().map(|slice| slice.seconds).sum(),
            latencies_ms: slices.iter().flat_map(|slice| slice.latencies_ms.iter().copied()).collect(),
            block_gaps_ms: slices.iter().flat_map(|slice| slice.block_gaps_ms.iter().copied()).collect(),
            hash_ns: slices.iter().flat_map(|slice| slice.hash_ns.iter().copied()).collect(),
            nodes_cpu: slices.iter().map(|slice| slice.nodes_cpu).sum(),
            own_cpu: slices.iter().map(|slice| slice.own_cpu).sum(),
            resident_mb: slices.last().map(|slice| slice.resident_mb).unwrap_or_default(),
            disk: slices.iter().map(|slice| slice.disk).sum(),
        }
    }
}

pub(crate) async fn run(options: &Options, json: bool) -> Result<(), BenchError> {
    let mut bench = Bench::start(options).await?;
    if let Some(count) = options.burst {
        return bench.burst(count, options, json).await;
    }
    if let Some(factor) = options.overload {
        return bench.overload(factor, options, json).await;
    }
    let mut figures = [
        Figure::new("finalised_tx_per_s", "1/s"),
        Figure::new("p50_ms", "ms"),
        Figure::new("p99_ms", "ms"),
        Figure::new("light_p50_ms", "ms"),
        Figure::new("light_p99_ms", "ms"),
        Figure::new("generator_cpu_share", "of CPU"),
        Figure::new("hash_ns", "ns"),
        Figure::new("node_rss_mb", "MB"),
        Figure::new("disk_bytes_per_tx", "B"),
    ];
    let mut series = Vec::new();
    for _ in 0..options.runs {
        bench.stock().await?;
        let light = bench.light().await?;
        let slices = bench.full(options).await?;
        let full = Slice::join(&slices);
        let values = [
            full.per_second(),
            percentile(&full.latencies_ms, 50.0),
            percentile(&full.latencies_ms, 99.0),
            percentile(&light, 50.0),
            percentile(&light, 99.0),
            full.generator_share(),
            undisturbed_mean(&full.hash_ns),
            full.resident_mb,
            full.disk_per_tx(),
        ];
        series.extend(slices);
        for (figure, value) in figures.iter_mut().zip(values) {
            figure.push(value);
        }
    }
    report::print(&figures, &course(&series), json);
    Ok(())
}

/// Finalised transactions a second under full load, in one run on a network of its own.
pub(crate) async fn full_load(seconds: u64) -> Result<f64, BenchError> {
    let options =
        Options { seconds, runs: 1, outstanding: OUTSTANDING, batch: BATCH, burst: None, overload: None };
    let mut bench = Bench::start(&options).await?;
    bench.stock().await?;
    Ok(Slice::join(&bench.full(&options).await?).per_second())
}

/// How the load went on over time: a row for each part of each run.
fn course(series: &[Slice]) -> Series {
    let mut course = Series::new(&[
        "seconds",
        "tx_per_s",
        "p50_ms",
        "p99_ms",
        "block_gap_max_ms",
        "generator_cpu_share",
        "hash_ns",
        "node_rss_mb",
        "disk_bytes_per_tx",
    ]);
    for slice in series {
        course.push(vec![
            slice.seconds,
            slice.per_second(),
            percentile(&slice.latencies_ms, 50.0),
            percentile(&slice.latencies_ms, 99.0),
            percentile(&slice.block_gaps_ms, 100.0),
            slice.generator_share(),
            undisturbed_mean(&slice.hash_ns),
            slice.resident_mb,
            slice.disk_per_tx(),
        ]);
    }
    course
}

impl Bench {
    async fn start(options: &Options) -> Result<Self, BenchError> {
        let network = Network::start()?;
        let wanted = options.burst.unwrap_or(TX_PER_S_EXPECTED * (options.seconds as usize * 6 / 5 + 2));
        let mut supplies = Vec::new();
        for member in &network.members {
            let rpc = Rpc::new(&member.rpc);
            supplies
                .push((rpc.clone(), Supply::open(member, network.chain_id, &rpc, wanted / MEMBERS).await?));
        }
        let flight = Arc::new(Flight::default());
        if let Some(member) = network.members.last() {
            let heads = Heads::subscribe(&member.ws).await?;
            tokio::spawn(observe(heads, Rpc::new(&member.rpc), flight.clone()));
        }
        Ok(Self { network, supplies, flight })
    }

    /// Signs what the next measurement needs.
    async fn stock(&mut self) -> Result<(), BenchError> {
        try_join_all(self.supplies.iter_mut().map(|(_, supply)| supply.stock())).await.map(drop)
    }

    /// Twenty transactions a second for ten seconds, one at a time, round the members. Returns latencies in ms.
    async fn light(&mut self) -> Result<Vec<f64>, BenchError> {
        self.flight.latencies_ms.lock().clear();
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        for turn in 0..200 {
            ticks.tick().await;
            let member = turn % self.supplies.len();
            if let Some((rpc, supply)) = self.supplies.get_mut(member) {
                send(member, rpc, &supply.take(1).await?, &self.flight).await?;
            }
        }
        self.flight.rest().await;
        Ok(std::mem::take(&mut *self.flight.latencies_ms.lock()))
    }

    /// Full load for the given time, after a warm-up.
    async fn full(&mut self, options: &Options) -> Result<Vec<Slice>, BenchError> {
        let warm = Instant::now() + Duration::from_secs(options.seconds / 5 + 1);
        let end = warm + Duration::from_secs(options.seconds);
        let (flight, network) = (self.flight.clone(), &self.network);
        let gauge = Gauge::start();
        let load = try_join_all(
            self.supplies
                .iter_mut()
                .enumerate()
                .map(|(member, (rpc, supply))| drive(member, rpc, supply, &flight, options, end)),
        );
        let measure = async {
            tokio::time::sleep_until(warm.into()).await;
            flight.latencies_ms.lock().clear();
            flight.block_gaps_ms();
            gauge.read();
            let mut before = Costs::read(network);
            let mut slices = Vec::new();
            for part in 1..=SLICES {
                tokio::time::sleep_until((warm + (end - warm) * part / SLICES).into()).await;
                let latencies_ms = std::mem::take(&mut *flight.latencies_ms.lock());
                let after = Costs::read(network);
                let block_gaps_ms = flight.block_gaps_ms();
                let resident_bytes = network.resident_bytes();
                slices.push(Slice {
                    hash_ns: gauge.read(),
                    ..after.since(&before, latencies_ms, block_gaps_ms, resident_bytes)
                });
                before = after;
            }
            Ok::<_, BenchError>(slices)
        };
        let (_, slices) = tokio::try_join!(load, measure)?;
        self.flight.rest().await;
        Ok(slices)
    }

    /// A burst all at once: does agreement go on while the pool is full?
    async fn burst(&mut self, count: usize, options: &Options, json: bool) -> Result<(), BenchError> {
        let share = count / self.supplies.len();
        self.stock().await?;
        let mut prepared = Vec::new();
        for (rpc, supply) in &mut self.supplies {
            prepared.push((rpc.clone(), supply.take(share).await?));
        }
        self.flight.heads.lock().clear();
        let start = Instant::now();
        try_join_all(prepared.iter().enumerate().map(async |(member, (rpc, signed))| {
            for part in signed.chunks(options.batch) {
                send(member, rpc, part, &self.flight).await?;
            }
            Ok::<_, BenchError>(())
        }))
        .await?;
        let submitted = start.elapsed().as_secs_f64();
        self.flight.rest().await;
        let seconds = start.elapsed().as_secs_f64();
        let gaps = self.flight.block_gaps_ms();
        let mut figures = [
            Figure::new("burst_submitted_s", "s"),
            Figure::new("burst_final_s", "s"),
            Figure::new("burst_tx_per_s", "1/s"),
            Figure::new("block_gap_p50_ms", "ms"),
            Figure::new("block_gap_p99_ms", "ms"),
            Figure::new("block_gap_max_ms", "ms"),
            Figure::new("node_rss_mb", "MB"),
        ];
        let values = [
            submitted,
            seconds,
            (share * self.supplies.len()) as f64 / seconds,
            percentile(&gaps, 50.0),
            percentile(&gaps, 99.0),
            percentile(&gaps, 100.0),
            self.network.resident_bytes() as f64 / 1e6,
        ];
        for (figure, value) in figures.iter_mut().zip(values) {
            figure.push(value);
        }
        report::print(&figures, &Series::default(), json);
        Ok(())
    }
}

/// Measures how fast the machine is while the network is under load, by what a keccak-256 takes: over minutes that changes by more
/// than the network does where the machine is shared.
struct Gauge(Arc<Mutex<Vec<f64>>>);

impl Gauge {
    /// Measures until the gauge is dropped.
    fn start() -> Self {
        const PAUSE: Duration = Duration::from_millis(200);
        let measured = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::downgrade(&measured);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(PAUSE);
            while let Some(measured) = to.upgrade() {
                // So short that the scheduler seldom takes the processor away.
                let samples: [f64; 10] = std::array::from_fn(|_| hash_ns());
                measured.lock().extend(samples);
                drop(measured);
                ticks.tick().await;
            }
        });
        Self(measured)
    }

    /// What has been measured since the last call.
    fn read(&self) -> Vec<f64> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// What a keccak-256 takes, the mean of so many that the clock's resolution does not matter.
fn hash_ns() -> f64 {
    const HASHES: u32 = 100;
    let begun = Instant::now();
    let last = (0..HASHES).fold(B256::ZERO, |hash, _| keccak256(hash));
    std::hint::black_box(last);
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(HASHES)
}

/// The mean without the few during which the processor was taken away. Not the median: a neighbour on the same core slows part of
/// them down, and the network with them.
fn undisturbed_mean(values: &[f64]) -> f64 {
    let most = 3.0 * percentile(values, 50.0);
    let undisturbed: Vec<f64> = values.iter().copied().filter(|value| *value <= most).collect();
    undisturbed.iter().sum::<f64>() / (undisturbed.len() as f64).max(1.0)
}

/// What has been spent up to a moment.
struct Costs {
    at: Instant,
    nodes_cpu: f64,
    own_cpu: f64,
    disk: u64,
}

impl Costs {
    fn read(network: &Network) -> Self {
        Self {
            at: Instant::now(),
            nodes_cpu: network.cpu_seconds(),
            own_cpu: process::cpu_seconds(std::process::id()),
            disk: network.disk_bytes(),
        }
    }

    /// What was spent between two moments, and what was measured meanwhile.
    fn since(
        &self,
        before: &Self,
        latencies_ms: Vec<f64>,
        block_gaps_ms: Vec<f64>,
        resident_bytes: u64,
    ) -> Slice {
        Slice {
            seconds: (self.at - before.at).as_secs_f64(),
            latencies_ms,
            block_gaps_ms,
            hash_ns: Vec::new(),
            nodes_cpu: self.nodes_cpu - before.nodes_cpu,
            own_cpu: self.own_cpu - before.own_cpu,
            resident_mb: resident_bytes as f64 / 1e6,
            disk: self.disk.saturating_sub(before.disk),
        }
    }
}

/// Keeps one node supplied until `end`, never more than its share outstanding in all.
async fn drive(
    member: usize,
    rpc: &Rpc,
    supply: &mut Supply,
    flight: &Flight,
    options: &Options,
    end: Instant,
) -> Result<(), BenchError> {
    while Instant::now() < end {
        flight.room(member, options.outstanding.div_ceil(MEMBERS)).await;
        send(member, rpc, &supply.take(options.batch).await?, flight).await?;
    }
    Ok(())
}

async fn send(member: usize, rpc: &Rpc, signed: &[Signed], flight: &Flight) -> Result<(), BenchError> {
    let body = batch(signed.iter().map(|s| &*s.raw));
    flight.hand_over(member, signed);
    let refused: Vec<String> = rpc.submit(body).await?.into_iter().flatten().collect();
    match refused.first() {
        None => Ok(()),
        Some(reason) => Err(BenchError::Refused { count: refused.len(), reason: reason.clone() }),
    }
}

/// Follows a node's heads and marks the transactions in them as final.
async fn observe(mut heads: Heads, rpc: Rpc, flight: Arc<Flight>) {
    while let Ok(hash) = heads.next().await {
        let now = Instant::now();
        flight.heads.lock().push(now);
        let Ok(block) = rpc.call("eth_getBlockByHash", json!([hash, false])).await else { continue };
        let hashes = block["transactions"].as_array().into_iter().flatten();
        let hashes: Vec<B256> = hashes.filter_map(|hash| hash.as_str()?.parse().ok()).collect();
        flight.land(&hashes, now);
    }
}
