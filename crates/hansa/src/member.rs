//! `hansa member`: the list, the ballots, and the invitation for whoever was admitted.

use hansa_client::{Client, Destination};
use hansa_types::{
    api::{Ballot, BallotState, Tally},
    printable, utc,
};
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
        Member::Invitation { member, output: file, force } => {
            let destination = Destination::of_secret(file, *force)?;
            let invitation = client.invitation(*member).await?;
            let text = serde_json::to_vec_pretty(&invitation).unwrap_or_default();
            destination.write(&text)?;
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
                    printable(&m.card.name),
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

/// How a ballot stands, and why it ended as it did.
fn line(ballot: &Ballot) -> String {
    let Tally { in_favour, against, electorate } = ballot.tally;
    let needed = electorate / 2 + 1;
    let deadline = utc(ballot.closes_at);
    let standing = match ballot.state {
        BallotState::Open => format!(
            "open until {deadline}, {in_favour} in favour, {against} against, {needed} of {electorate} needed"
        ),
        BallotState::Executed => {
            let admitted = ballot.admitted.map(|dc| format!(", member {dc}")).unwrap_or_default();
            format!("executed{admitted}: {in_favour} of {electorate} in favour, {needed} were needed")
        }
        BallotState::Rejected => format!(
            "rejected: {against} of {electorate} against, so that the {needed} needed in favour can no longer be reached"
        ),
        BallotState::Expired => {
            format!("expired at {deadline}: {in_favour} of the {needed} needed in favour, {against} against")
        }
    };
    format!("{} {}: {standing}", ballot.subject, printable(&ballot.candidate))
}

#[cfg(test)]
mod tests {
    use hansa_types::DcId;

    use super::*;

    #[test]
    fn a_ballot_says_when_it_ends_and_why_it_ended() {
        let line = |state, in_favour, against| {
            line(&Ballot {
                id: 1,
                subject: "join".into(),
                candidate: "acme".into(),
                card: None,
                opened_by: DcId::new(1).unwrap(),
                closes_at: 1_700_000_000,
                state,
                tally: Tally { in_favour, against, electorate: 4 },
                admitted: (state == BallotState::Executed).then(|| DcId::new(5).unwrap()),
            })
        };
        let open = line(BallotState::Open, 1, 1);
        assert!(open.contains("open until 2023-11-14") && open.contains("3 of 4 needed"), "{open}");
        assert_eq!(
            line(BallotState::Executed, 3, 0),
            "join acme: executed, member 5: 3 of 4 in favour, 3 were needed"
        );
        let rejected = line(BallotState::Rejected, 1, 2);
        assert!(
            rejected.contains("2 of 4 against") && rejected.contains("no longer be reached"),
            "{rejected}"
        );
        assert!(line(BallotState::Expired, 1, 0).contains("expired at 2023-11-14"));
    }
}
