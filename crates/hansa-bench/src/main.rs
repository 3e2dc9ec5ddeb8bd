//! Measures a network from outside.
//!
//! Every figure is the median of several runs of separate processes over real sockets and files. Started by `cargo
//! xtask bench`, which builds the node and passes its path in `HANSA`.

mod chain;
mod ingest;
mod network;
mod path;
mod process;
mod report;
mod rpc;
mod transfer;
mod wallet;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The node's: `ingest` and `transfer` run parts of it in processes of their own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Parser)]
#[command(name = "cargo xtask bench", about = "Measure Hansa")]
struct Cli {
    /// Print one line of JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Finalised protect transactions a second, and their latency
    Chain(chain::Options),
    /// Encrypt and import, durable
    Ingest(ingest::Options),
    /// Fetch, verify and store between two node processes in the private swarm
    Transfer(transfer::Options),
    /// Put, share and get over REST, of small objects and of a large file
    Path(path::Options),
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error("a file or process: {0}")]
    Io(#[from] std::io::Error),
    #[error("`hansa up` did not start a network; it printed: {0}")]
    Network(String),
    #[error("HTTP: {0}")]
    Http(#[from] reqwest::Error),
    #[error("{method} answered {answer}")]
    Rpc { method: String, answer: String },
    #[error("WebSocket: {0}")]
    Socket(String),
    #[error("{count} transactions were refused, the first because of {reason}")]
    Refused { count: usize, reason: String },
    #[error("the signing thread ended")]
    Generator,
    #[error("the storage path: {0}")]
    Storage(String),
    #[error("REST: {0}")]
    Rest(String),
}

impl BenchError {
    fn socket(error: tokio_tungstenite::tungstenite::Error) -> Self {
        Self::Socket(error.to_string())
    }

    fn rest(error: hansa_client::ClientError) -> Self {
        Self::Rest(error.to_string())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.what {
        What::Chain(options) => chain::run(options, cli.json).await,
        What::Ingest(options) => ingest::run(options, cli.json).await,
        What::Transfer(options) => transfer::run(options, cli.json).await,
        What::Path(options) => path::run(options, cli.json).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            let mut source = std::error::Error::source(&problem);
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}
