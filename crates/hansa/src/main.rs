//! Runs a node and speaks to it from the command line.
//!
//! The commands know nothing of chain or swarm: they call the member's own node over its REST interface, with the
//! token from the home folder.

mod cli;
mod keys;
mod member;
mod object;
mod output;
mod problem;
mod status;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use hansa_client::Client;
use hansa_node::Home;

use crate::{
    cli::{Block, Cli, Command, Node},
    output::Output,
    problem::CliError,
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => {
            eprintln!("error: no threads can be started: {problem}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(&cli, output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            output.problem(&problem);
            ExitCode::from(problem.exit_code())
        }
    }
}

async fn run(cli: &Cli, output: Output) -> Result<(), CliError> {
    let home = Home::new(&cli.home);
    match &cli.command {
        Command::Up(options) => {
            stop_with_parent()?;
            up::run(options, &output).await
        }
        Command::Node(Node::Run) => {
            stop_with_parent()?;
            Ok(hansa_node::run(home).await?)
        }
        Command::Node(Node::Join { invitation }) => keys::join(&home, invitation, output),
        Command::Node(Node::Found(options)) => keys::found(options, output),
        Command::Keys(command) => keys::run(&home, command, output),
        Command::Member(command) => member::run(&connect(&home)?, command, output).await,
        Command::Put(options) => object::put(&connect(&home)?, options, output).await,
        Command::Update(options) => object::update(&connect(&home)?, options, output).await,
        Command::Ls => object::list(&connect(&home)?, output).await,
        Command::Get(options) => object::get(&connect(&home)?, options, output).await,
        Command::Share(options) => object::share(&connect(&home)?, options, output).await,
        Command::Revoke(options) => object::revoke(&connect(&home)?, options, output).await,
        Command::Verify(options) => object::verify(&connect(&home)?, options, output).await,
        Command::Repair(options) => object::repair(&connect(&home)?, options, output).await,
        Command::Log { object } => object::log(&connect(&home)?, *object, output).await,
        Command::Status(options) => status::run(&connect(&home)?, options, output).await,
        Command::Block(Block::Gc) => object::collect_garbage(&connect(&home)?, output).await,
        Command::Block(Block::Ls { object }) => object::blocks(&connect(&home)?, *object, output).await,
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "hansa", &mut std::io::stdout());
            Ok(())
        }
    }
}

/// Under `hansa up`, in tests and in benchmarks, a node ends with the process that started it, however that one ends.
fn stop_with_parent() -> Result<(), CliError> {
    if std::env::var_os("HANSA_STOP_WITH_PARENT").is_none() {
        return Ok(());
    }
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
        .map_err(|error| CliError::Signal(error.into()))
}

/// The client of this home's node.
fn connect(home: &Home) -> Result<Client, CliError> {
    let config = home.config()?;
    let token = home.token()?;
    Ok(Client::new(&format!("http://{}", config.rest_listen), &token)?)
}
