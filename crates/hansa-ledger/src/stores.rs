//! The ledger's stores on disk: one for blocks, one for the nodes of the state trie.

use std::{path::Path, sync::Arc};

use hansa_kv::{FjallOptions, FjallStore, KvError};
use hansa_trie::{BLOCK_SPACES, NODE_SPACES, StateStores, node_store_options};

use crate::{BLOCKS, CERTIFICATES, HASHES, LOGS, META, RECEIPTS, TRANSACTIONS};

/// Opens the ledger's stores in `folder`, or makes them there.
///
/// # Errors
/// [`KvError::Locked`], [`KvError::Open`].
pub fn open_stores(folder: &Path) -> Result<StateStores, KvError> {
    let own = [BLOCKS, HASHES, RECEIPTS, TRANSACTIONS, LOGS, CERTIFICATES, META];
    let blocks = FjallOptions {
        incompressible: vec![TRANSACTIONS, HASHES, LOGS, CERTIFICATES],
        large_values: vec![BLOCKS, RECEIPTS],
        ..FjallOptions::default()
    };
    Ok(StateStores {
        blocks: Arc::new(FjallStore::open(
            folder.join("blocks"),
            &[&own[..], &BLOCK_SPACES].concat(),
            blocks,
        )?),
        nodes: Arc::new(FjallStore::open(folder.join("state"), &NODE_SPACES, node_store_options())?),
    })
}
