//! `hansa status`: how the node stands.

use hansa_api::{BlockSummary, Complaint, Health, NodeStatus, Standing};
use hansa_client::Client;
use hansa_types::{printable, utc};
use serde::Serialize;

use crate::{cli::Status, output::Output, problem::CliError};

/// The standing, the health, and a block where one was asked for.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    node: NodeStatus,
    health: Health,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<BlockSummary>,
}

pub(crate) async fn run(client: &Client, options: &Status, output: Output) -> Result<(), CliError> {
    let (node, health) = (client.status().await?, client.health().await?);
    let block = match options.block {
        Some(number) => Some(client.block(number).await?),
        None => None,
    };
    output.result(&Answer { node, health, block }, |standing| {
        let mut lines = text(&standing.node, standing.block.as_ref());
        lines.extend(complaints(&standing.health));
        lines.join("\n")
    });
    Ok(())
}

fn text(node: &NodeStatus, block: Option<&BlockSummary>) -> Vec<String> {
    let who = match (node.dc_id, node.role) {
        (Some(dc), Some(role)) => {
            format!("{} – member {dc}, {}", printable(&node.name), format!("{role:?}").to_lowercase())
        }
        _ => format!("{} – not a member yet", printable(&node.name)),
    };
    let finality = node.consensus.finality_ms.map_or("–".to_owned(), |ms| format!("{ms:.1} ms"));
    let mut lines = vec![
        who,
        format!("chain      {} (genesis {})", node.chain_id, node.genesis),
        format!(
            "head       {} {} state root {}, {}",
            node.head.number,
            node.head.hash,
            node.head.state_root,
            utc(node.head.timestamp)
        ),
        format!(
            "consensus  epoch {}, view {}, {} validators, {} peers, block to final {finality}",
            node.consensus.epoch, node.consensus.view, node.consensus.validators, node.consensus.peers
        ),
        format!(
            "swarm      {} with {} peers, {} connections turned away",
            node.swarm.peer_id, node.swarm.peers, node.swarm.refused
        ),
        format!("pool       {} pending, {} queued", node.pool.pending, node.pool.queued),
        format!("up         {} s, version {}", node.uptime_seconds, node.version),
    ];
    if let Some(rejoins) = node.consensus.rejoins {
        let time = rejoins.seconds.map_or(String::new(), |seconds| format!(", in about {seconds} s"));
        let why = "this node has a seat, but lost its share of the group key, as with its data folder";
        lines.insert(
            4,
            format!(
                "           {why}; it votes again from block {} (epoch {}{time})",
                rejoins.height, rejoins.epoch
            ),
        );
    }
    if let Some(block) = block {
        lines.push(format!(
            "block      {} {} state root {}, {} transactions, {} gas",
            block.number, block.hash, block.state_root, block.transactions, block.gas_used
        ));
    }
    lines
}

/// What is wrong with the node and what to do about it, the worst first.
fn complaints(health: &Health) -> Vec<String> {
    let all = health.complaints();
    if all.is_empty() {
        return vec!["health     ok".to_owned()];
    }
    let line = |complaint: &Complaint<'_>| {
        let word = if complaint.status == Standing::Failed { "FAILED" } else { "warning" };
        let next = if complaint.next.is_empty() {
            String::new()
        } else {
            format!("\n           → {}", complaint.next)
        };
        format!("health     {word}, {}: {}{next}", complaint.check, complaint.reason)
    };
    all.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use hansa_api::{Check, Checks, ConsensusFigures, SwarmFigures};

    use super::*;

    #[test]
    fn what_is_wrong_is_shown_with_what_to_do() {
        assert_eq!(complaints(&Health::default()), ["health     ok"]);
        let stalled = "the chain stands still for 12 s; missing: riga";
        let checks = Checks {
            swarm: Check::not_ok(Standing::Warning, "few peers", "", SwarmFigures::default()),
            consensus: Check::not_ok(Standing::Failed, stalled, "start riga", ConsensusFigures::default()),
            ..Checks::default()
        };
        assert_eq!(
            complaints(&Health::of("1", checks)),
            [
                format!("health     FAILED, consensus: {stalled}\n           → start riga"),
                "health     warning, swarm: few peers".to_owned(),
            ]
        );
    }
}
