//! `hansa member`: the list, the ballots, and the invitation for whoever was admitted.

use hansa_api::{Ballot, BallotPreview, BallotState, Limit, Motion, QuotaStatus, Tally, ValidatorSet};
use hansa_client::{Client, Destination};
use hansa_node::Home;
use hansa_types::{Endpoints, MemberStatus, Role, printable, utc};
use serde_json::json;

use crate::{
    cli::{Member, Subject},
    output::{Output, table},
    problem::CliError,
};

pub(crate) async fn run(
    home: &Home,
    client: &Client,
    command: &Member,
    output: Output,
) -> Result<(), CliError> {
    match command {
        Member::List => list(client, output).await,
        Member::Join { card } => {
            let card = hansa_node::read_card(card)?;
            open(client, Motion::Join { card }, output).await
        }
        Member::Reset { subject, card } => {
            let card = hansa_node::read_card(card)?;
            let motion = Motion::Reset { member: subject.member, card };
            ballot(client, motion, subject.dry_run, output).await
        }
        Member::Seat { subject, role } => {
            ballot(client, Motion::Seat { member: subject.member, role: *role }, subject.dry_run, output)
                .await
        }
        Member::BallotTime { seconds, dry_run } => {
            let motion = Motion::Limit { limit: Limit::BallotSeconds, value: *seconds };
            ballot(client, motion, *dry_run, output).await
        }
        Member::Quota { bytes_per_second, slots_per_second, dry_run } => {
            let bytes = bytes_per_second.map(|value| (Limit::MemberBytesPerSecond, value));
            let slots = slots_per_second.map(|value| (Limit::MemberSlotsPerSecond, value));
            quota(client, bytes.or(slots), *dry_run, output).await
        }
        Member::Address { consensus, swarm } => {
            let endpoints =
                Endpoints { consensus_endpoint: consensus.clone(), swarm_endpoint: swarm.clone() };
            let recorded = client.set_endpoints(&endpoints).await?;
            hansa_node::move_card(home, &endpoints)?;
            output.result(&recorded, |recorded| {
                format!("the others dial {consensus} and {swarm} from block {} on", recorded.block)
            });
            Ok(())
        }
        Member::Suspend(subject) => standing(client, subject, MemberStatus::Suspended, output).await,
        Member::Reinstate(subject) => standing(client, subject, MemberStatus::Active, output).await,
        Member::Remove(subject) => standing(client, subject, MemberStatus::Removed, output).await,
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

async fn standing(
    client: &Client,
    subject: &Subject,
    standing: MemberStatus,
    output: Output,
) -> Result<(), CliError> {
    let motion = Motion::Standing { member: subject.member, standing };
    ballot(client, motion, subject.dry_run, output).await
}

/// Opens a ballot, or shows its consequences.
pub(crate) async fn ballot(
    client: &Client,
    motion: Motion,
    dry_run: bool,
    output: Output,
) -> Result<(), CliError> {
    if !dry_run {
        return open(client, motion, output).await;
    }
    let preview = client.preview_ballot(&motion).await?;
    output.result(&preview, consequences);
    match preview.refused {
        None => Ok(()),
        Some(reason) => Err(CliError::Abnormal(format!("no such ballot can be opened: {reason}"))),
    }
}

async fn open(client: &Client, motion: Motion, output: Output) -> Result<(), CliError> {
    let ballot = client.open_ballot(&motion).await?;
    output.result(&ballot, |b| {
        format!("ballot {} is open: {}\nvote with `hansa member vote {} yes`", b.id, line(b), b.id)
    });
    Ok(())
}

/// The consequences of a ballot.
fn consequences(preview: &BallotPreview) -> String {
    let BallotPreview { before, after, committee, .. } = preview;
    let set = |set: &ValidatorSet| format!("{}, of whom a block needs {}", set.names.len(), set.quorum);
    let names: Vec<String> = after.names.iter().map(|name| printable(name)).collect();
    let spare = names.len().saturating_sub(after.quorum as usize);
    let left = match spare {
        0 => "all of these must stay up".to_owned(),
        spare => format!("{spare} of these may be down at a time"),
    };
    [
        format!(
            "would open: {}, carried by {} of {} votes",
            subject(&preview.motion, &preview.name),
            preview.needed,
            preview.electorate
        ),
        format!("validators before: {}", set(before)),
        format!("validators after:  {}", set(after)),
        format!("committee in force: {}", set(committee)),
        format!("{left}: {}", names.join(", ")),
    ]
    .join("\n")
}

/// What is voted on.
fn subject(motion: &Motion, name: &str) -> String {
    let name = printable(name);
    match motion {
        Motion::Join { .. } => format!("admit {name}"),
        Motion::Standing { member, standing } => {
            let verb = match standing {
                MemberStatus::Active => "reinstate",
                MemberStatus::Suspended => "suspend",
                MemberStatus::Removed => "remove",
            };
            format!("{verb} member {member} ({name})")
        }
        Motion::Reset { member, card } => {
            format!("new keys for member {member} ({name}): account {}", card.card.account)
        }
        Motion::Seat { member, role: Role::Validator } => format!("a seat for member {member} ({name})"),
        Motion::Seat { member, role: Role::Participant } => format!("no seat for member {member} ({name})"),
        Motion::Limit { limit: Limit::BallotSeconds, value } => {
            format!("ballots stay open for {value} seconds")
        }
        Motion::Limit { limit: Limit::MemberBytesPerSecond, value } => rate(*value, "bytes"),
        Motion::Limit { limit: Limit::MemberSlotsPerSecond, value } => rate(*value, "storage slots"),
        Motion::Upgrade { version, digest, height } => {
            format!("system contracts of version {version} ({digest}) from block {height} on")
        }
        Motion::WithdrawUpgrade {} => "take back the pending upgrade".to_owned(),
    }
}

fn rate(value: u64, of: &str) -> String {
    match value {
        0 => format!("each member may store as many {of} as it likes"),
        value => format!("each member may store {value} {of} a second"),
    }
}

/// Opens a ballot on a limit, or shows what is left of it.
async fn quota(
    client: &Client,
    limit: Option<(Limit, u64)>,
    dry_run: bool,
    output: Output,
) -> Result<(), CliError> {
    if let Some((limit, value)) = limit {
        return ballot(client, Motion::Limit { limit, value }, dry_run, output).await;
    }
    output.result(&client.quota().await?, left);
    Ok(())
}

fn left(status: &QuotaStatus) -> String {
    let rates = [(status.bytes_per_second, "bytes"), (status.slots_per_second, "storage slots")];
    let mut lines: Vec<String> = rates.iter().map(|(value, of)| rate(*value, of)).collect();
    let rows: Vec<[String; 4]> = status
        .members
        .iter()
        .map(|allowance| {
            let left = |left: Option<u64>| left.map_or("no limit".to_owned(), |left| left.to_string());
            let free = allowance.free_at.map_or("now".to_owned(), utc);
            [allowance.member.to_string(), left(allowance.bytes_left), left(allowance.slots_left), free]
        })
        .collect();
    lines.push(table(&["MEMBER", "BYTES LEFT", "SLOTS LEFT", "MAY SEND"], &rows));
    lines.join("\n")
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
            let admitted = ballot.admitted.map(|dc| format!(" as member {dc}")).unwrap_or_default();
            format!("executed{admitted}: {in_favour} of {electorate} in favour, {needed} were needed")
        }
        BallotState::Rejected => format!(
            "rejected: {against} of {electorate} against, so that the {needed} needed in favour can no longer be reached"
        ),
        BallotState::Expired => {
            format!("expired at {deadline}: {in_favour} of the {needed} needed in favour, {against} against")
        }
    };
    format!("{}: {standing}", subject(&ballot.motion, &ballot.name))
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
                motion: Motion::Standing { member: DcId::new(5).unwrap(), standing: MemberStatus::Suspended },
                name: "acme".into(),
                opened_by: DcId::new(1).unwrap(),
                opened_at: 1_699_000_000,
                closes_at: 1_700_000_000,
                state,
                tally: Tally { in_favour, against, electorate: 4 },
                voted: Vec::new(),
                admitted: None,
            })
        };
        let open = line(BallotState::Open, 1, 1);
        assert!(open.contains("open until 2023-11-14") && open.contains("3 of 4 needed"), "{open}");
        assert_eq!(
            line(BallotState::Executed, 3, 0),
            "suspend member 5 (acme): executed: 3 of 4 in favour, 3 were needed"
        );
        let rejected = line(BallotState::Rejected, 1, 2);
        assert!(
            rejected.contains("2 of 4 against") && rejected.contains("no longer be reached"),
            "{rejected}"
        );
        assert!(line(BallotState::Expired, 1, 0).contains("expired at 2023-11-14"));
    }
}
