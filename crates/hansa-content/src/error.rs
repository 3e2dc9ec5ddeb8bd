//! What can go wrong with blocks, files made of them, and their store.

use std::io;
use std::path::{Path, PathBuf};

use cid::Cid;
use hansa_kv::KvError;

/// Why an operation on content failed.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// More bytes than a block may have.
    #[error("a block of {0} bytes is longer than the limit of {limit}", limit = crate::MAX_BLOCK_BYTES)]
    TooLong(usize),
    /// The CID's multihash is not a sha2-256 of 32 bytes.
    #[error("{0} is not addressed by sha2-256, the only hash this network uses")]
    UnsupportedHash(Cid),
    /// Bytes that were given as a block's are not.
    #[error("the bytes given do not hash to {0}")]
    WrongBytes(Cid),
    /// A stored block's bytes do not hash to its CID any more. They are in quarantine; [`crate::BlockStore::repair`]
    /// replaces them.
    #[error("the stored block {0} is damaged; fetch it again from another member")]
    Damaged(Cid),
    /// A block that was needed is not in the store.
    #[error("the block {0} is not in the store")]
    Missing(Cid),
    /// A block with a codec that has links is not what its codec says.
    #[error("the block {cid} is malformed: {reason}")]
    Malformed {
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A leaf that is neither of the chunk length nor the last one.
    #[error("leaf {index} of the file has {length} bytes; all but the last must have {chunk}", chunk = crate::CHUNK_BYTES)]
    LeafLength {
        /// Which leaf, from 0.
        index: u64,
        /// Its length in bytes.
        length: usize,
    },
    /// A file is longer than what its reader takes into memory.
    #[error("the file {cid} has {size} bytes, more than the {limit} that it may have")]
    FileTooLong {
        /// The file.
        cid: Cid,
        /// Its length in bytes.
        size: u64,
        /// What its reader takes.
        limit: u64,
    },
    /// The source of an import could not be read.
    #[error("cannot read what is to be imported")]
    Source(#[source] io::Error),
    /// The index of the store failed.
    #[error("the block index failed")]
    Index(#[from] KvError),
    /// A block file could not be read or written.
    #[error("cannot {action} {path}", path = path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// An earlier write to a segment file failed; the process must stop.
    #[error(
        "the block store takes no more blocks since a write to it failed; make room if the disk is full, and restart the node"
    )]
    Stopped,
    /// A writing thread ended before its work was done; the process must stop.
    #[error("a thread that writes blocks ended early; restart the node")]
    WriterLost,
}

impl ContentError {
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { action, path: path.to_path_buf(), source }
    }

    pub(crate) const fn malformed(cid: Cid, reason: &'static str) -> Self {
        Self::Malformed { cid, reason }
    }
}
