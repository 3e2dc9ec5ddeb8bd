//! Why a node cannot be prepared, started or kept running.

use std::{io, path::PathBuf};

use hansa_types::GenesisError;

use crate::config::DATA_LAYOUT;

/// Why a node cannot be prepared, started or kept running.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// There is no configuration where the home folder should be.
    #[error("{} is no home folder: it has no hansa.toml; make one with `hansa --home {} keys new`", path.display(), path.display())]
    NoHome {
        /// The folder.
        path: PathBuf,
    },
    /// A home folder is not overwritten.
    #[error("{} is a home folder already; choose another", path.display())]
    HomeExists {
        /// The folder.
        path: PathBuf,
    },
    /// A file's content is not what it should be.
    #[error("{}: {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The databases and blocks are in a layout that this version does not know.
    #[error(
        "{} is in layout {layout}, this version of hansa knows layout {DATA_LAYOUT} only; start the node with the version that wrote it", path.display()
    )]
    DataLayout {
        /// The folder.
        path: PathBuf,
        /// What its file `version` says.
        layout: String,
    },
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No free port, or the address belongs to somebody else.
    #[error("{address} cannot be listened on")]
    Listen {
        /// The address.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The genesis file.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// Keys, key store or swarm key.
    #[error(transparent)]
    Envelope(#[from] hansa_envelope::EnvelopeError),
    /// The databases.
    #[error("a database cannot be opened")]
    Store(#[from] hansa_kv::KvError),
    /// The ledger.
    #[error("the ledger cannot be opened")]
    Ledger(#[from] hansa_ledger::LedgerError),
    /// The block store.
    #[error("the block store cannot be opened")]
    Content(#[from] hansa_content::ContentError),
    /// Consensus.
    #[error("consensus stopped")]
    Consensus(#[from] hansa_consensus::ConsensusError),
    /// The swarm.
    #[error("the swarm cannot be started")]
    Swarm(#[from] hansa_swarm::SwarmError),
    /// What members do with data.
    #[error("the sharing service cannot be started")]
    Sharing(#[from] hansa_sharing::SharingError),
    /// The operating system does not deliver signals.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// A part ended without a word.
    #[error("a part of the node ended unexpectedly; its log says more")]
    Interrupted,
    /// Nobody can be invited who is not an active member.
    #[error("there is no active member {0}; `hansa member list` shows who there is")]
    NotAMember(hansa_types::DcId),
    /// The invitation names another member's keys.
    #[error("this invitation is for another member: its secrets do not open with the keys in {}", home.display())]
    ForeignInvitation {
        /// The home folder.
        home: PathBuf,
    },
}
