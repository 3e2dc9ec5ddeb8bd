//! `hansa status`: how the node stands.

use hansa_client::Client;
use hansa_types::api::{BlockSummary, NodeStatus};
use serde::Serialize;

use crate::{cli::Status, output::Output, problem::CliError};

/// The standing, and a block where one was asked for.
#[derive(Serialize)]
struct Standing {
    #[serde(flatten)]
    node: NodeStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<BlockSummary>,
}

pub(crate) async fn run(client: &Client, options: &Status, output: Output) -> Result<(), CliError> {
    let node = client.status().await?;
    let block = match options.block {
        Some(number) => Some(client.block(number).await?),
        None => None,
    };
    output.result(&Standing { node, block }, |standing| text(&standing.node, standing.block.as_ref()));
    Ok(())
}

fn text(node: &NodeStatus, block: Option<&BlockSummary>) -> String {
    let who = match (node.dc_id, node.role) {
        (Some(dc), Some(role)) => {
            format!("{} – member {dc}, {}", node.name, format!("{role:?}").to_lowercase())
        }
        _ => format!("{} – not a member yet", node.name),
    };
    let finality = node.consensus.finality_ms.map_or("–".to_owned(), |ms| format!("{ms:.1} ms"));
    let mut lines = vec![
        who,
        format!("chain      {} (genesis {})", node.chain_id, node.genesis),
        format!("head       {} {} state root {}", node.head.number, node.head.hash, node.head.state_root),
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
    if let Some(block) = block {
        lines.push(format!(
            "block      {} {} state root {}, {} transactions, {} gas",
            block.number, block.hash, block.state_root, block.transactions, block.gas_used
        ));
    }
    lines.join("\n")
}
