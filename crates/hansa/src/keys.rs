//! `hansa keys`, `hansa node join` and `hansa node found`: what is done to a home folder while its node is off.

use std::path::Path;

use hansa_api::Invitation;
use hansa_client::{Client, Destination, PutOptions, Source, Special};
use hansa_node::{Home, NewHome, RecoveryKey, draft_genesis};
use hansa_types::{ClusterId, Limits, Visibility};
use serde_json::json;

use crate::{
    cli::{Found, Keys, NewKeys},
    output::Output,
    problem::CliError,
};

pub(crate) fn run(home: &Home, command: &Keys, output: Output) -> Result<(), CliError> {
    match command {
        Keys::New(options) => new(home, options, output),
        Keys::Show => {
            let card = hansa_node::read_card(&home.card_file())?;
            output.result(&card, |card| serde_json::to_string_pretty(card).unwrap_or_default());
            Ok(())
        }
        Keys::Renew => {
            let card = hansa_node::renew_keys(home)?;
            output.result(&card, |card| {
                format!(
                    "New keys are in {}; account {}.\nHave any member open the ballot: `hansa member reset DCID {}`. Once it is carried, stop the node and run `hansa keys adopt`.",
                    home.next_keys_file().display(),
                    card.card.account,
                    home.next_card_file().display()
                )
            });
            Ok(())
        }
        Keys::Recovery => Err(CliError::Usage("`hansa keys recovery` needs the node".to_owned())),
        Keys::Adopt => {
            let card = hansa_node::adopt_keys(home)?;
            output.result(&card, |card| {
                format!(
                    "the node starts with account {} and network key {}",
                    card.card.account, card.card.network_key
                )
            });
            Ok(())
        }
        Keys::Passphrase { new_file } => {
            hansa_node::change_passphrase(home, new_file)?;
            output.result(&json!({ "passphraseFile": new_file }), |_| {
                format!("the passphrase in {} opens the keys", new_file.display())
            });
            Ok(())
        }
        Keys::ExportAccount { output: file, force } => {
            let destination = Destination::of_secret(file, *force)?;
            destination.write(hansa_node::account_key(home)?.as_bytes())?;
            output.result(&json!({ "file": file }), |_| {
                format!(
                    "{} holds the account's secret key: whoever reads it acts as this member",
                    file.display()
                )
            });
            Ok(())
        }
    }
}

/// Puts the backup into the swarm as a public object. The recovery key is printed last, once everything else is done.
pub(crate) async fn recovery(home: &Home, client: &Client, output: Output) -> Result<(), CliError> {
    let (key, sealed) = hansa_node::make_backup(home)?;
    let file = tempfile::NamedTempFile::new().map_err(CliError::folder("a temporary file"))?;
    std::fs::write(file.path(), &sealed).map_err(CliError::folder("a temporary file"))?;
    let source = Source::path(file.path(), Special::Refuse).await?;
    let options = PutOptions {
        name: Some("recovery backup".to_owned()),
        visibility: Some(Visibility::Public),
        ..PutOptions::default()
    };
    let receipt = client.put(source, &options, |_| ()).await?;
    let text = key.to_text();
    output.result(&json!({ "recoveryKey": *text, "backup": receipt.id }), |_| {
        format!(
            "Write both down and keep them apart from this machine; the key is shown only here.\n\nrecovery key  {}\nbackup        object {}",
            *text, receipt.id
        )
    });
    Ok(())
}

/// Makes the home folder anew. The recovery key comes by standard input, so that it is in no file and no list of processes.
pub(crate) fn recover(
    home: &Home,
    backup: &Path,
    (rest_port, rpc_port): (u16, u16),
    passphrase_file: &Path,
    output: Output,
) -> Result<(), CliError> {
    let sealed = std::fs::read(backup).map_err(CliError::folder(&backup.display().to_string()))?;
    let mut text = zeroize::Zeroizing::new(String::new());
    std::io::stdin().read_line(&mut text).map_err(CliError::folder("standard input"))?;
    let key: RecoveryKey = text.parse().map_err(hansa_node::NodeError::from)?;
    let options =
        NewHome { rest_port, rpc_port, passphrase_file: passphrase_file.to_owned(), ..NewHome::local("") };
    let card = hansa_node::recover_home(home, &sealed, &key, options)?;
    output.result(&card, |card| {
        format!(
            "{} is the home of {} again; start with `hansa --home {} node run`",
            home.path().display(),
            hansa_types::printable(&card.card.name),
            home.path().display()
        )
    });
    Ok(())
}

fn new(home: &Home, options: &NewKeys, output: Output) -> Result<(), CliError> {
    let card = hansa_node::create_home(
        home,
        &NewHome {
            name: options.name.clone(),
            cluster: ClusterId(options.cluster),
            host: options.host.clone(),
            consensus_port: options.consensus_port,
            swarm_port: options.swarm_port,
            rest_port: options.rest_port,
            rpc_port: options.rpc_port,
            passphrase_file: options.passphrase_file.clone(),
        },
    )?;
    output.result(&card, |card| {
        format!(
            "{} is ready. Account {}, network key {}.\nGive {} to the consortium: `hansa member join card.json` on any member's node opens the ballot.",
            home.path().display(),
            card.card.account,
            card.card.network_key,
            home.card_file().display()
        )
    });
    Ok(())
}

pub(crate) fn join(home: &Home, file: &Path, output: Output) -> Result<(), CliError> {
    let text = hansa_node::read_text(file)?;
    let invitation: Invitation = serde_json::from_str(&text).map_err(|e| CliError::BadFile {
        path: file.to_owned(),
        expected: "an invitation as `hansa member invitation` writes it",
        problem: e.to_string(),
    })?;
    hansa_node::accept_invitation(home, &invitation)?;
    output.result(&json!({ "chainId": invitation.genesis.chain_id, "home": home.path() }), |_| {
        format!(
            "joined chain {}; start with `hansa --home {} node run`",
            invitation.genesis.chain_id,
            home.path().display()
        )
    });
    Ok(())
}

pub(crate) fn found(options: &Found, output: Output) -> Result<(), CliError> {
    let swarm_key = options.output.with_file_name("swarm.key");
    if swarm_key == options.output {
        return Err(CliError::Usage(
            "the swarm key gets the name swarm.key; give the genesis draft another".to_owned(),
        ));
    }
    // Both before either is written: a genesis draft without its swarm key would be of no use.
    let genesis_file = Destination::of_file(&options.output, options.force)?;
    let swarm_key_file = Destination::of_secret(&swarm_key, options.force)?;
    let founders = options
        .cards
        .iter()
        .map(|card| Ok(hansa_node::read_card(card)?.card))
        .collect::<Result<Vec<_>, CliError>>()?;
    let genesis = draft_genesis(options.chain_id, hansa_node::unix_seconds(), Limits::default(), founders);
    genesis.check().map_err(hansa_node::NodeError::from)?;
    let key = hansa_node::new_swarm_key()?.to_text();
    genesis_file.write(genesis.to_json().as_bytes())?;
    swarm_key_file.write(key.as_bytes())?;
    output.result(&json!({ "genesis": options.output, "swarmKey": swarm_key }), |_| {
        format!(
            "Each founder puts {} and {} into its home folder and runs `hansa node run`; the nodes make the group key together.",
            options.output.display(),
            swarm_key.display()
        )
    });
    Ok(())
}
