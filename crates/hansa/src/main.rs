//! Runs a node and speaks to it from the command line.
//!
//! The commands know nothing of chain or swarm: they call the member's own node over its REST interface, with the
//! token from the home folder.

mod attend;
mod catalogue;
mod cli;
mod config;
mod explain;
mod keys;
mod member;
mod object;
mod output;
mod problem;
mod proof;
mod status;
mod up;
mod upgrade;
mod values;

use std::{process::ExitCode, time::Duration};

use clap::{CommandFactory as _, Parser as _};
use hansa_client::Client;
use hansa_node::{Home, NodeError};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    cli::{Block, Cli, Command, Keys, Node, Upgrade},
    output::Output,
    problem::CliError,
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long what an ended command has begun to write may take to be removed.
const CLEANING: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    let output = Output::new(cli.json);
    match finish(&cli, output) {
        Ok(()) if Output::complete() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(problem) => {
            output.problem(&problem);
            ExitCode::from(problem.exit_code())
        }
    }
}

/// Runs the command on a runtime of its own, and waits until its threads have removed what an interrupted command leaves.
fn finish(cli: &Cli, output: Output) -> Result<(), CliError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Threads)?;
    let outcome = runtime.block_on(async {
        // These two end in their own way when a signal comes.
        if matches!(cli.command, Command::Up(_) | Command::Node(Node::Run)) {
            return run(cli, output).await;
        }
        let (mut interrupt, mut terminate) =
            (ending(SignalKind::interrupt())?, ending(SignalKind::terminate())?);
        tokio::select! {
            biased;
            outcome = run_attended(cli, output) => outcome,
            _ = interrupt.recv() => Err(CliError::Interrupted { name: "Ctrl-C", number: 2 }),
            _ = terminate.recv() => Err(CliError::Interrupted { name: "SIGTERM", number: 15 }),
        }
    });
    match &cli.command {
        // A node's own threads are waited for.
        Command::Up(_) | Command::Node(Node::Run) => drop(runtime),
        Command::Get(options) if !options.to_stdout() => runtime.shutdown_timeout(CLEANING),
        // Nothing is left to do for a thread that waits for a pipe.
        _ => runtime.shutdown_background(),
    }
    outcome
}

fn ending(kind: SignalKind) -> Result<Signal, CliError> {
    signal(kind).map_err(CliError::Signal)
}

/// Help and version as they are asked for; a command line that makes no sense as an error, in JSON where it says so.
fn misused(error: &clap::Error) -> ExitCode {
    let json =
        std::env::args_os().take_while(|argument| argument != "--").any(|argument| argument == "--json");
    let output = Output::new(json);
    if !error.use_stderr() {
        output.raw(error.render().to_string().as_bytes());
        return if Output::complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let problem = CliError::Usage(usage_problem(error));
    match json {
        true => output.problem(&problem),
        // Its own words are of several lines, coloured on a terminal.
        false => drop(error.print()),
    }
    ExitCode::from(problem.exit_code())
}

/// What is wrong, in a line: without the usage that `clap` writes below it.
fn usage_problem(error: &clap::Error) -> String {
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing".to_owned();
    }
    let text = error.render().to_string();
    let what = text.split("\n\nUsage:").next().unwrap_or_default().trim_start_matches("error: ");
    what.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Runs the command. While one of those that ask the node waits, it says what keeps the node from its work.
async fn run_attended(cli: &Cli, output: Output) -> Result<(), CliError> {
    let home = Home::new(&cli.home);
    let alone = matches!(
        cli.command,
        Command::Up(_)
            | Command::Node(_)
            | Command::Keys(_)
            | Command::Config(_)
            | Command::Upgrade(Upgrade::Add { .. })
            | Command::Completions { .. }
            | Command::Explain { .. }
            | Command::Status(_)
            | Command::Block(Block::Verify { .. })
    );
    let outcome = match connect(&home) {
        Ok(client) if !alone => attend::attended(&client, output, run(cli, output)).await,
        _ => run(cli, output).await,
    };
    outcome.map_err(|problem| problem.of(&home))
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
            match hansa_node::run(home).await {
                Err(NodeError::ClockSetBack { .. }) => Err(start_anew()),
                outcome => Ok(outcome?),
            }
        }
        Command::Node(Node::Join { invitation }) => keys::join(&home, invitation, output),
        Command::Node(Node::Found(options)) => keys::found(options, output),
        Command::Node(Node::Recover { backup, rest_port, rpc_port, passphrase_file }) => {
            let ports = (*rest_port, *rpc_port);
            keys::recover(&home, backup, ports, passphrase_file, output)
        }
        Command::Keys(Keys::Recovery) => keys::recovery(&home, &connect(&home)?, output).await,
        Command::Keys(command) => keys::run(&home, command, output),
        Command::Config(command) => config::run(&home, command, output),
        Command::Explain { code } => explain::run(code, output),
        Command::Member(command) => member::run(&home, &connect(&home)?, command, output).await,
        Command::Upgrade(command) => upgrade::run(&home, command, output).await,
        Command::Put(options) => object::put(&connect(&home)?, options, output).await,
        Command::Update(options) => object::update(&connect(&home)?, options, output).await,
        Command::Ls(options) => catalogue::list(&connect(&home)?, options, output).await,
        Command::Index(command) => catalogue::index(&connect(&home)?, command, output).await,
        Command::Get(options) => object::get(&connect(&home)?, options, output).await,
        Command::Share(options) => object::share(&connect(&home)?, options, output).await,
        Command::Revoke(options) => object::revoke(&connect(&home)?, options, output).await,
        Command::Verify(options) => object::verify(&connect(&home)?, options, output).await,
        Command::Repair(options) => object::repair(&connect(&home)?, options, output).await,
        Command::Log { object } => object::log(&connect(&home)?, *object, output).await,
        Command::Status(options) => status::run(&connect(&home)?, options, output).await,
        Command::Block(Block::Gc) => object::collect_garbage(&connect(&home)?, output).await,
        Command::Block(Block::Ls { object }) => object::blocks(&connect(&home)?, *object, output).await,
        Command::Block(Block::Proof(options)) => proof::fetch(&connect(&home)?, &home, options, output).await,
        Command::Block(Block::Verify { file, genesis }) => {
            let own = home.genesis_file();
            proof::verify(file, genesis.as_deref().unwrap_or(&own), output)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "hansa", &mut script);
            output.raw(&script);
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

/// Runs this program anew in this process, with the same arguments and streams. Returns only if that fails.
fn start_anew() -> CliError {
    use std::os::unix::process::CommandExt as _;
    let program = std::env::current_exe();
    let failed =
        program.map(|program| std::process::Command::new(program).args(std::env::args_os().skip(1)).exec());
    CliError::folder("the program's own path")(failed.unwrap_or_else(|error| error))
}

/// The client of this home's node.
fn connect(home: &Home) -> Result<Client, CliError> {
    let config = home.config()?;
    let token = home.token()?;
    Ok(Client::new(&format!("http://{}", config.rest_listen), &token)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misused_command_line_is_told_in_a_line() {
        for (arguments, told) in [
            (vec!["hansa"], "a command is missing"),
            (vec!["hansa", "node"], "a command is missing"),
            (vec!["hansa", "get"], "the following required arguments were not provided: <OBJECT>"),
            (vec!["hansa", "log", "x"], "invalid value 'x' for '<OBJECT>': "),
        ] {
            let problem = usage_problem(&Cli::try_parse_from(&arguments).unwrap_err());
            assert!(problem.starts_with(told), "{arguments:?}: {problem}");
        }
    }
}
