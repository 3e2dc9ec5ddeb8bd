//! Errors of blocks, UnixFS files and the block store.

use std::io;
use std::path::{Path, PathBuf};

use cid::Cid;
use hansa_kv::KvError;

/// A failed operation on content.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// Bytes longer than a block may be.
    #[error("a block of {0} bytes is longer than the limit of {limit}", limit = crate::MAX_BLOCK_BYTES)]
    TooLong(usize),
    /// The CID's multihash is not a sha2-256 of 32 bytes.
    #[error("{0} is not addressed by sha2-256, the only hash this network uses")]
    UnsupportedHash(Cid),
    /// Bytes that do not hash to the given CID.
    #[error("the bytes given do not hash to {0}")]
    WrongBytes(Cid),
    /// A stored block no longer hashes to its CID. Its bytes are in quarantine; [`crate::BlockStore::repair`] replaces them.
    #[error("the stored block {0} is damaged; fetch it again from another member")]
    Damaged(Cid),
    /// A required block is not in the store.
    #[error("the block {0} is not in the store")]
    Missing(Cid),
    /// A block that does not decode under its codec.
    #[error("the block {cid} is malformed: {reason}")]
    Malformed {
        /// The block.
        cid: Cid,
        /// The violated rule.
        reason: &'static str,
    },
    /// A leaf of another length than the chunk length that is not the last.
    #[error("leaf {index} of the file has {length} bytes; all but the last must have {chunk}", chunk = crate::CHUNK_BYTES)]
    LeafLength {
        /// The leaf's index from 0.
        index: u64,
        /// Its length in bytes.
        length: usize,
    },
    /// A file is longer than its reader allows.
    #[error("the file {cid} has {size} bytes, more than the {limit} that it may have")]
    FileTooLong {
        /// The file.
        cid: Cid,
        /// Its length in bytes.
        size: u64,
        /// The reader's limit in bytes.
        limit: u64,
    },
    /// The source of an import could not be read.
    #[error("cannot read the source of the import")]
    Source(#[source] io::Error),
    /// The key-value store of the index failed.
    #[error("the block index failed")]
    Index(#[from] KvError),
    /// A segment or quarantine file could not be read or written.
    #[error("cannot {action} {path}", path = path.display())]
    File {
        /// The attempted action, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// An earlier write to a segment file failed. The process must stop.
    #[error(
        "the block store takes no more blocks after a failed write; make room if the disk is full, and restart the node"
    )]
    Stopped,
    /// A writing thread has panicked. The process must stop.
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
