//! `hansa upgrade`: the versions of the system contracts and the ballots that replace them.

use std::path::Path;

use hansa_api::{Motion, SuiteStatus};
use hansa_node::{Home, Secrecy};
use serde_json::json;

use crate::{cli::Upgrade, connect, member::ballot, output::Output, problem::CliError};

pub(crate) async fn run(home: &Home, command: &Upgrade, output: Output) -> Result<(), CliError> {
    match command {
        Upgrade::Add { suite } => add(home, suite, output),
        Upgrade::Status => {
            output.result(&connect(home)?.suite().await?, shown);
            Ok(())
        }
        Upgrade::Open { version, height, dry_run } => {
            let client = connect(home)?;
            let status = client.suite().await?;
            let suite = status.known.iter().find(|suite| suite.version == *version).ok_or_else(|| {
                CliError::Usage(format!(
                    "this node can run no version {version} of the system contracts; `hansa upgrade add FILE` brings one"
                ))
            })?;
            let motion = Motion::Upgrade { version: *version, digest: suite.digest, height: *height };
            ballot(&client, motion, *dry_run, output).await
        }
        Upgrade::Withdraw { dry_run } => {
            ballot(&connect(home)?, Motion::WithdrawUpgrade {}, *dry_run, output).await
        }
    }
}

/// Puts a suite's file into the home folder.
fn add(home: &Home, file: &Path, output: Output) -> Result<(), CliError> {
    let suite = hansa_node::read_suite(file)?;
    let place = home.suites().join(format!("{}.json", suite.version));
    let text = serde_json::to_vec_pretty(&suite).expect("invariant: a suite is JSON");
    hansa_node::write_file(&place, &text, Secrecy::Public)?;
    let digest = suite.digest();
    output.result(&json!({ "file": place, "version": suite.version, "digest": digest }), |_| {
        format!(
            "version {} ({digest}) is in {}; start the node again, then it announces it",
            suite.version,
            place.display()
        )
    });
    Ok(())
}

fn shown(status: &SuiteStatus) -> String {
    let mut lines = vec![format!("version {} of the system contracts is in force", status.version)];
    lines.push(match &status.pending {
        None => "no upgrade is pending".to_owned(),
        Some(pending) => {
            let able = if pending.known {
                "this node can run it"
            } else {
                "THIS NODE CANNOT RUN IT and will stop before"
            };
            format!(
                "version {} ({}) begins with block {}; {able}",
                pending.version, pending.digest, pending.height
            )
        }
    });
    for suite in &status.known {
        let ready: Vec<String> = suite.ready.iter().map(ToString::to_string).collect();
        let ready =
            if ready.is_empty() { "nobody".to_owned() } else { format!("members {}", ready.join(", ")) };
        lines.push(format!(
            "this node can run version {} ({}); announced by {ready}",
            suite.version, suite.digest
        ));
    }
    lines.join("\n")
}
