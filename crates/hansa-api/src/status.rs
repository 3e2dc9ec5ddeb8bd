//! How a node stands, over the REST interface.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use hansa_types::{DcId, Role};

/// The last finalised block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Height.
    pub number: u64,
    /// Block hash.
    pub hash: B256,
    /// State root.
    pub state_root: B256,
    /// The block's time.
    pub timestamp: u64,
}

/// Agreement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsensusStatus {
    /// Epoch.
    pub epoch: u64,
    /// View within the epoch.
    pub view: u64,
    /// Whether this node votes in it.
    pub validating: bool,
    /// When this node votes again, if it has a seat and lost its share of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejoins: Option<Rejoin>,
    /// Validators of the epoch.
    pub validators: u32,
    /// Members' nodes connected.
    pub peers: u32,
    /// Median milliseconds from proposal to finality over the last blocks, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finality_ms: Option<f64>,
}

/// When a validator that lost its share of the key votes again, at the earliest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejoin {
    /// The epoch.
    pub epoch: u64,
    /// Its first block.
    pub height: u64,
    /// Seconds until then if blocks go on coming as they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// The private IPFS node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SwarmStatus {
    /// libp2p peer id.
    pub peer_id: String,
    /// Nodes connected.
    pub peers: u32,
    /// Connections refused since the start, because their key is not registered.
    #[serde(default)]
    pub refused: u64,
}

/// Pending transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolStatus {
    /// Ready for a block.
    pub pending: u64,
    /// Waiting for an earlier nonce.
    pub queued: u64,
}

/// A node's whole standing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// The program's version.
    pub version: String,
    /// The organisation's name.
    pub name: String,
    /// Its id, once a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dc_id: Option<DcId>,
    /// Its role, once a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Its account.
    pub account: Address,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Hash of the genesis block.
    pub genesis: B256,
    /// The last finalised block.
    pub head: Head,
    /// Members of the consortium.
    pub members: u32,
    /// Agreement.
    pub consensus: ConsensusStatus,
    /// The swarm.
    pub swarm: SwarmStatus,
    /// The pool.
    pub pool: PoolStatus,
    /// Seconds since the node started.
    pub uptime_seconds: u64,
}

/// One block as a list shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockSummary {
    /// Height.
    pub number: u64,
    /// Hash.
    pub hash: B256,
    /// Hash of its predecessor.
    pub parent: B256,
    /// State root.
    pub state_root: B256,
    /// Time.
    pub timestamp: u64,
    /// Number of transactions.
    pub transactions: u32,
    /// Gas used.
    pub gas_used: u64,
    /// Account of the member that proposed it.
    pub proposer: Address,
}
