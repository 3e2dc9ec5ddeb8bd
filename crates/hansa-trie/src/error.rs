//! Errors of the state.

use alloy_primitives::B256;
use hansa_kv::KvError;

/// A failed operation on the state.
#[derive(Debug, thiserror::Error)]
pub enum TrieError {
    /// The key-value store failed.
    #[error("the state's store failed")]
    Store(#[from] KvError),
    /// A stored node is missing or differs from the hash in its parent.
    #[error(
        "the state is damaged at node {node} (nibbles {depth} deep): restore the data folder from a backup, or move it away and let \
         the node catch up"
    )]
    Damaged {
        /// The expected hash.
        node: B256,
        /// Number of nibbles above the node.
        depth: usize,
    },
    /// The view is not a child of the head.
    #[error("the state to be finalised is not a child of the finalised head")]
    NotChild,
    /// The stored nodes and records give another root than recorded.
    #[error(
        "the stored state has root {found} instead of {expected}: restore the data folder from a backup, or move it away and let the node catch up"
    )]
    RootMismatch {
        /// The recorded root.
        expected: B256,
        /// The computed root.
        found: B256,
    },
    /// A change record, its key or the checkpoint is malformed.
    #[error(
        "the state's {0} record is malformed: restore the data folder from a backup, or move it away and let the node catch up"
    )]
    Record(&'static str),
}
