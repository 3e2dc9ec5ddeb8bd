//! Turns files into UnixFS blocks and back, and keeps blocks with their pins.
//!
//! A block is at most [`MAX_BLOCK_BYTES`] long and named by a CID with a sha2-256 multihash. [`BlockStore`] keeps blocks
//! and checks each one whenever it is read; [`Importer`] and [`FileReader`] convert between byte streams and UnixFS files
//! in constant memory. Everything here is synchronous and encrypts nothing: what must stay secret is ciphertext already.
//! Blocks come from other nodes, so nothing in this crate panics on their bytes.
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
