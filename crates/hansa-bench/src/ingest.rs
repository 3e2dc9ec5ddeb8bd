//! `bench ingest`: encrypt a file and import the ciphertext, durable, as `hansa put` does it, without chain and swarm.

use std::{
    io::{Read as _, Write as _},
    path::Path,
    sync::Arc,
    time::Instant,
};

use aws_lc_rs::digest;
use hansa_content::{BlockStore, Importer, SPACES};
use hansa_envelope::{DataKey, Sealer, VersionKeys};
use hansa_kv::{FjallOptions, FjallStore};

use crate::{
    BenchError,
    report::{self, Figure, Series},
};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Bytes of the file
    #[arg(long, default_value_t = 1 << 30)]
    pub(crate) bytes: usize,
    /// Runs, each into a fresh store
    #[arg(long, default_value_t = 3)]
    pub(crate) runs: usize,
}

pub(crate) async fn run(options: &Options, json: bool) -> Result<(), BenchError> {
    let options = options.clone();
    let measured = tokio::task::spawn_blocking(move || measure(&options)).await;
    let figures = measured.map_err(|_| BenchError::Generator)??;
    report::print(&figures, &Series::default(), json);
    Ok(())
}

fn measure(options: &Options) -> Result<[Figure; 2], BenchError> {
    // Everything stays until the end: ext4 passes over inodes that were freed in the last minutes one by one, so that files
    // made after thousands have been deleted cost a multiple.
    let folder = tempfile::Builder::new().prefix("hansa-bench-").tempdir()?;
    let file = folder.path().join("plain");
    write_random(&file, options.bytes)?;
    let mut figures = [Figure::new("mb_per_s", "MB/s"), Figure::new("sha256_mb_per_s", "MB/s")];
    for run in 0..options.runs {
        let store = open_store(&folder.path().join(format!("store-{run}")))?;
        let start = Instant::now();
        ingest(&store, &file)?;
        let ingested = megabytes_per_second(options.bytes, start);
        let start = Instant::now();
        hash(&file)?;
        for (figure, value) in figures.iter_mut().zip([ingested, megabytes_per_second(options.bytes, start)])
        {
            figure.push(value);
        }
    }
    Ok(figures)
}

/// A block store of its own in this folder.
pub(crate) fn open_store(folder: &Path) -> Result<BlockStore, BenchError> {
    let kv = FjallStore::open(folder.join("kv"), &SPACES, FjallOptions::default()).map_err(storage)?;
    BlockStore::open(Arc::new(kv), &folder.join("blocks")).map_err(storage)
}

/// Encrypts and imports the file under a fresh key; durable when it returns. Returns the root CID's text.
pub(crate) fn ingest(store: &BlockStore, file: &Path) -> Result<String, BenchError> {
    let (_, key) = VersionKeys::create(&DataKey::generate().map_err(storage)?).map_err(storage)?;
    let mut sealer = Sealer::new(key);
    let mut importer = Importer::new(store);
    let mut input = std::fs::File::open(file)?;
    loop {
        let count = input.read(sealer.spare())?;
        if count == 0 {
            break;
        }
        if let Some(leaf) = sealer.advance(count).map_err(storage)? {
            importer.push_leaf(leaf).map_err(storage)?;
        }
    }
    for leaf in sealer.finish() {
        importer.push_leaf(leaf.map_err(storage)?).map_err(storage)?;
    }
    let imported = importer.finish().map_err(storage)?;
    Ok(imported.root.to_string())
}

/// The yardstick: reading the file and hashing it once on one core.
fn hash(file: &Path) -> Result<(), BenchError> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut input = std::fs::File::open(file)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = input.read(&mut buffer)?;
        if count == 0 {
            std::hint::black_box(context.finish());
            return Ok(());
        }
        context.update(buffer.get(..count).unwrap_or_default());
    }
}

pub(crate) fn write_random(file: &Path, bytes: usize) -> Result<(), BenchError> {
    let mut output = std::fs::File::create(file)?;
    let mut block = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        rand::fill(block.as_mut_slice());
        let take = left.min(block.len());
        output.write_all(block.get(..take).unwrap_or_default())?;
        left -= take;
    }
    output.sync_all()?;
    Ok(())
}

pub(crate) fn megabytes_per_second(bytes: usize, since: Instant) -> f64 {
    bytes as f64 / 1e6 / since.elapsed().as_secs_f64()
}

pub(crate) fn storage(error: impl std::fmt::Display) -> BenchError {
    BenchError::Storage(error.to_string())
}
