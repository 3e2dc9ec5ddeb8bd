//! What can go wrong with the state.

use alloy_primitives::B256;
use hansa_kv::KvError;

/// Why the state could not be read, changed or kept.
#[derive(Debug, thiserror::Error)]
pub enum TrieError {
    /// The store below failed.
    #[error("the state's store failed")]
    Store(#[from] KvError),
    /// The store does not hold a node as its parent names it: the store is damaged.
    #[error(
        "the state is damaged at node {node} (nibbles {depth} deep): restore the data folder from a backup, or move it away and let \
         the node catch up"
    )]
    Damaged {
        /// The node's hash as named by its parent.
        node: B256,
        /// How many nibbles lie above the node.
        depth: usize,
    },
    /// Only a direct child of the head can become the head.
    #[error("the state to be finalised is not a direct child of the finalised head")]
    NotChild,
    /// What is stored does not lead to the root it claims.
    #[error(
        "the stored state has root {found} instead of {expected}: restore the data folder from a backup, or move it away and let the node catch up"
    )]
    RootMismatch {
        /// The root that was recorded.
        expected: B256,
        /// The root that was found.
        found: B256,
    },
    /// A record of the state's own bookkeeping cannot be read.
    #[error(
        "the state's {0} record is malformed: restore the data folder from a backup, or move it away and let the node catch up"
    )]
    Record(&'static str),
}
