//! `hansa member`: the list, the ballots, and the invitation for whoever was admitted.

use hansa_client::Client;
use hansa_node::{Secrecy, write_file};
use hansa_types::{api::Ballot, printable};
use serde_json::json;

use crate::{
    cli::Member,
    output::{Output, table},
    problem::CliError,
};

pub(crate) async fn run(client: &Client, command: &Member, output: Output) -> Result<(), CliError> {
    match command {
        Member::List => list(client, output).await,
        Member::Join { card } => {
            let card = hansa_node::read_card(card)?;
            let ballot = client.open_join_ballot(&card).await?;
            output.result(&ballot, |b| {
                format!("ballot {} is open: {}\nvote with `hansa member vote {} yes`", b.id, line(b), b.id)
            });
            Ok(())
        }
        Member::Vote { ballot, support } => {
            let ballot = client.vote(*ballot, *support).await?;
            output.result(&ballot, |b| format!("voted; ballot {}: {}", b.id, line(b)));
            Ok(())
        }
        Member::Ballots => {
            let ballots = client.ballots().await?;
            output.result(&json!({ "ballots": ballots }), |_| {
                let rows: Vec<[String; 2]> = ballots.iter().map(|b| [b.id.to_string(), line(b)]).collect();
                table(&["ballot", "standing"], &rows)
            });
            Ok(())
        }
        Member::Invitation { member, output: file } => {
            let invitation = client.invitation(*member).await?;
            let text = serde_json::to_vec_pretty(&invitation).unwrap_or_default();
            write_file(file, &text, Secrecy::Private)?;
            output.result(&json!({ "file": file }), |_| {
                format!("give {} to member {member}; only its keys open it", file.display())
            });
            Ok(())
        }
    }
}

async fn list(client: &Client, output: Output) -> Result<(), CliError> {
    let members = client.members().await?;
    output.result(&json!({ "members": members }), |_| {
        let rows: Vec<[String; 6]> = members
            .iter()
            .map(|m| {
                [
                    m.dc_id.to_string(),
                    m.card.name.clone(),
                    format!("{:?}", m.role).to_lowercase(),
                    format!("{:?}", m.status).to_lowercase(),
                    m.card.account.to_string(),
                    m.card.consensus_endpoint.clone(),
                ]
            })
            .collect();
        table(&["dcId", "name", "role", "status", "account", "consensus"], &rows)
    });
    Ok(())
}

fn line(ballot: &Ballot) -> String {
    let tally = &ballot.tally;
    format!(
        "{} {}: {:?}, {} in favour, {} against, {} of {} needed, until {}",
        ballot.subject,
        printable(&ballot.candidate),
        ballot.state,
        tally.in_favour,
        tally.against,
        tally.electorate / 2 + 1,
        tally.electorate,
        ballot.closes_at
    )
}
