//! What the consortium knows of a member: its public keys, where its node listens, its standing.

use core::{fmt, str::FromStr};

use alloy_primitives::{Address, B256, Bytes};
use serde::{Deserialize, Serialize};

use crate::{ClusterId, DcId, ParseIdError};

/// A node's ed25519 public key (32 bytes): its identity in consensus and, as a libp2p PeerId, in the swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NetworkKey(pub B256);

impl fmt::Display for NetworkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for NetworkKey {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| ParseIdError::DcId)
    }
}

/// What an organisation publishes about itself when it founds a consortium or asks to join one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberCard {
    /// The organisation's name as people read it, 1 to 64 bytes.
    pub name: String,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Account (secp256k1) that signs its transactions and typed data.
    pub account: Address,
    /// Its node's identity in both peer networks.
    pub network_key: NetworkKey,
    /// X-Wing public key (1,216 bytes) to which secrets are wrapped.
    pub encryption_key: Bytes,
    /// `host:port` of its node in the consensus network. The host is an IP address (an IPv6 one in brackets) or a name, which is
    /// looked up at each dial.
    pub consensus_endpoint: String,
    /// Multiaddr of its node in the swarm, without the `/p2p/…` part: `/ip4/…/tcp/…`, `/ip6/…/tcp/…` or `/dns/NAME/tcp/…`.
    pub swarm_endpoint: String,
}

/// A card with the proof that its keys are the organisation's own: so that nobody registers another's account with a key of its own.
///
/// Account and network key sign the same digest (EIP-712, `hansa_contracts::card_digest`), which covers every field of the card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedCard {
    /// The card.
    #[serde(flatten)]
    pub card: MemberCard,
    /// By the account: 65 bytes `r ‖ s ‖ v`, or whatever the account's contract takes (EIP-1271).
    pub account_signature: Bytes,
    /// By the network key: 64 bytes (RFC 8032).
    pub network_signature: Bytes,
}

/// Where a member's node is reached. Forms as in [`MemberCard`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoints {
    /// `host:port` in the consensus network.
    pub consensus_endpoint: String,
    /// Multiaddr in the swarm.
    pub swarm_endpoint: String,
}

/// What a member's node does in consensus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Follows the chain. On the chain: 1.
    Participant,
    /// Holds a seat. On the chain: 2.
    Validator,
}

/// A member's standing. On the chain: 1 active, 2 suspended, 3 removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberStatus {
    /// May act and connect.
    Active,
    /// May connect, may not act.
    Suspended,
    /// Cut off.
    Removed,
}

/// A member as the registry records it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its identifier for life.
    pub dc_id: DcId,
    /// Its keys and endpoints.
    #[serde(flatten)]
    pub card: MemberCard,
    /// Validator or participant.
    pub role: Role,
    /// Active, suspended or removed.
    pub status: MemberStatus,
    /// Its data-storage contract.
    pub data_store: Address,
    /// Its access-control contract.
    pub access_control: Address,
}
