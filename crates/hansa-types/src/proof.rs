//! Proofs of blocks, as the interfaces answer them and files hold them.
//!
//! Shapes only: `hansa-proof` checks them, and nothing in them is to be believed before.

use alloy_primitives::{B256, Bytes};
use serde::{Deserialize, Serialize};

/// A threshold certificate of finality.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Certificate {
    /// Hash of the certified block.
    pub hash: B256,
    /// Epoch of the round in which the block became final.
    pub epoch: u64,
    /// View of that round, counted from 1 within the epoch.
    pub view: u64,
    /// View of the parent in the same epoch; 0 where the parent is the last block of the epoch before.
    pub parent_view: u64,
    /// BLS12-381 threshold signature over the vote, compressed G1 (48 bytes).
    pub vote_signature: Bytes,
    /// BLS12-381 threshold signature over the round, compressed G1 (48 bytes).
    pub seed_signature: Bytes,
}

/// A block with the evidence that it is final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BlockEvidence {
    /// RLP of the block's header and of its successors' up to the first certified one, in the chain's order.
    pub headers: Vec<Bytes>,
    /// The certificate of the last header.
    pub certificate: Certificate,
    /// RLP of the block's consensus data, to which `extraData` of the first header commits.
    pub consensus: Bytes,
}

/// The proof of a block and of its writer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BlockProof {
    /// RLP of the genesis block's header.
    pub genesis: Bytes,
    /// The block.
    pub block: BlockEvidence,
    /// The last block of the epoch before, which names the validators of the block's epoch. Missing in epoch 0, whose
    /// validators are the founders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committee: Option<BlockEvidence>,
}
