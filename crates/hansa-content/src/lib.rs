//! Turns files into UnixFS blocks and back, and keeps blocks with their pins.
//!
//! A block has at most [`MAX_BLOCK_BYTES`] and a CID with a sha2-256 multihash. The crate does not encrypt: secrets are ciphertext
//! before they get here. It does not fetch blocks, and does not decide what to pin. Blocks come from other nodes, so no bytes of a
//! block cause a panic. All functions are synchronous.
//!
//! # Actors
//!
//! - [`BlockStore`]: the index, small blocks and pins in a key-value store; large blocks in segment files (ADR 0007). Every read is
//!   compared with a checksum or the digest (ADR 0008).
//! - [`Importer`] and [`FileReader`]: UnixFS files (profile `unixfs-v1-2025`) from and to byte streams in constant memory.
//! - [`BlockWriter`]: a stream of blocks, hashed and written on several threads.
//! - [`Hold`]: protects blocks from garbage collection until their root is pinned.
//!
//! # Tasks
//!
//! The crate starts the threads of a [`BlockWriter`] and no others. The caller schedules garbage collection
//! ([`BlockStore::collect_garbage`]) and scrubbing ([`BlockStore::scrub_some`]). Both run beside reads and writes.
//!
//! # States
//!
//! A block is *written* (its bytes are in a segment or a batch), *indexed* (durable and readable), *held* or *pinned* (reachable from
//! a pin), and otherwise *garbage*. Damaged bytes move to the *quarantine*; the block counts as absent until it is put again.
//!
//! # What a crash loses
//!
//! Blocks that were not indexed. A block is indexed after its bytes are durable, so an unreadable indexed block is damage, not a
//! crash. [`BlockStore::commit`] indexes staged blocks, pins their root and makes the caller's changes in one atomic write. Space of
//! unindexed blocks returns with the next collection.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use hansa_content::{BlockStore, FileReader, import};
//! use hansa_kv::MemoryStore;
//!
//! let folder = std::env::temp_dir().join(format!("hansa-content-example-{}", std::process::id()));
//! let store = BlockStore::open(Arc::new(MemoryStore::new()), &folder)?;
//! let file = import(&store, b"bill of lading".as_slice())?;
//! store.pin(&file.root, "example")?;
//! drop(file.hold);
//!
//! let garbage = store.collect_garbage()?;
//! assert_eq!(garbage.blocks, 0);
//! assert_eq!(FileReader::open(&store, &file.root)?.read(1024)?, b"bill of lading");
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod block;
mod buffer;
mod check;
mod compact;
mod dag;
mod error;
mod export;
mod hold;
mod import;
mod pins;
pub mod protobuf;
mod quarantine;
mod segments;
mod store;
#[cfg(test)]
mod tests;
mod visited;
mod writer;

pub use block::{Block, DAG_CBOR, DAG_PB, MAX_BLOCK_BYTES, RAW};
pub use buffer::Buffer;
pub use check::{DagReport, ScrubCursor, ScrubProgress, ScrubReport};
pub use cid::Cid;
pub use dag::{Link, links};
pub use error::ContentError;
pub use export::{FileReader, RangeReader};
pub use hold::Hold;
pub use import::{CHUNK_BYTES, Imported, Importer, LINKS_PER_NODE, import};
pub use pins::{Collected, Pin, PinFault};
pub use store::{BlockFile, BlockStore, INLINE_BYTES_MAX, SPACES, Staged};
pub use visited::{Visit, Visited};
pub use writer::BlockWriter;

/// Entry points of the fuzz targets: nodes of UnixFS files.
#[cfg(fuzzing)]
pub mod fuzzing {
    /// A node of a file.
    pub fn file_node(block: &crate::Block) {
        let _ = crate::dag::FileNode::decode(block.cid(), block.bytes().clone());
    }
}
