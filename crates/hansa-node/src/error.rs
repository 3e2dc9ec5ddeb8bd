//! Why a node cannot be prepared, started or kept running.

use std::{
    io,
    path::{Path, PathBuf},
};

use hansa_types::GenesisError;

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
    /// Settings are wrong. Each problem names the setting.
    #[error("{} and the environment give settings that cannot be used ({} in all)", path.display(), problems.len())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problems: Vec<String>,
    },
    /// The databases and blocks are in a layout that this version does not know.
    #[error(
        "{} is in layout {layout}, this version of hansa knows layout {known} only; start the node with the version that wrote it", path.display()
    )]
    DataLayout {
        /// The folder.
        path: PathBuf,
        /// What its file `version` says.
        layout: String,
        /// The layout of this version.
        known: &'static str,
    },
    /// The index cannot be set up.
    #[error("the index cannot be set up")]
    Index(#[from] hansa_index::IndexError),
    /// The chain's events cannot be read.
    #[error("the chain's events cannot be read")]
    Feed(#[from] hansa_feed::FeedError),
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
    #[error("{address} cannot be listened on; stop what uses it, or change {setting} in hansa.toml")]
    Listen {
        /// The setting that names it.
        setting: &'static str,
        /// The address.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Another process works in the folder.
    #[error("{} is in use by process {pid}; stop that one, or choose another folder", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The holder's process id.
        pid: String,
    },
    /// A write to one of the stores failed while the node ran.
    #[error(
        "a write to {} failed; see to the disk, then start the node again: nothing that was acknowledged is lost", path.display()
    )]
    WriteFailed {
        /// The data folder.
        path: PathBuf,
        /// The failure and its cause.
        source: io::Error,
    },
    /// A write failed for lack of room.
    #[error(
        "the disk is full: {} has {free_mib} MiB left; free space in its file system, then start the node again", path.display()
    )]
    DiskFull {
        /// The data folder.
        path: PathBuf,
        /// What is left, in MiB.
        free_mib: u64,
        /// What could not be written.
        source: Box<NodeError>,
    },
    /// A card that nobody could use.
    #[error("this card cannot be used")]
    BadCard(#[from] hansa_types::CardError),
    /// There are no new keys to take into use.
    #[error("{} holds no new keys: make them with `hansa keys renew`", path.display())]
    NoNextKeys {
        /// The home folder.
        path: PathBuf,
    },
    /// The home belongs to another chain.
    #[error(
        "{} is another chain's genesis file; take the invitation into a home of its own", path.display()
    )]
    OtherGenesis {
        /// The home's genesis file.
        path: PathBuf,
    },
    /// The genesis file.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The next block begins a suite that this node cannot run.
    #[error(transparent)]
    Outdated(hansa_ledger::LedgerError),
    /// The draft of a genesis file names other system contracts.
    #[error(transparent)]
    ForeignSuite(#[from] hansa_contracts::ForeignSuite),
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
    /// The clock was set back while the node ran.
    #[error(
        "the clock was set back by {seconds} s; start the node again: what waits for a time would wait as long"
    )]
    ClockSetBack {
        /// By how much.
        seconds: u64,
    },
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

impl NodeError {
    /// Names a full disk as the cause where an error came from one: the parts that fail then say only that a write failed.
    #[must_use]
    pub fn explained(self, data: &Path, free_bytes: Option<u64>) -> Self {
        // With more room than that it was a quota, or a volume of its own: the error itself says more.
        let told_full = is_storage_full(&self) && free_bytes.is_none_or(|free| free < ROOM_BYTES_PLENTY);
        if told_full || free_bytes.is_some_and(|free| free < ROOM_BYTES_MIN) {
            let free_mib = free_bytes.unwrap_or_default() >> 20;
            return Self::DiskFull { path: data.to_owned(), free_mib, source: Box::new(self) };
        }
        self
    }
}

/// With less room than this a node cannot write.
const ROOM_BYTES_MIN: u64 = 4 << 20;
/// With more room than this no write of a node fails for lack of it.
const ROOM_BYTES_PLENTY: u64 = 256 << 20;

/// Whether an error came from a full disk.
pub(crate) fn is_storage_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_whatever_failed() {
        let data = Path::new("/srv/hansa/data");
        let stopped = || NodeError::Consensus(hansa_consensus::ConsensusError::Stopped("WriteFailed".into()));
        let words = |error: NodeError| error.to_string();
        let full = "the disk is full: /srv/hansa/data has 0 MiB left; free space in its file system, then start the node again";
        assert_eq!(words(stopped().explained(data, Some(0))), full);
        let write = NodeError::Write { path: data.into(), source: io::ErrorKind::StorageFull.into() };
        assert_eq!(words(write.explained(data, None)), full);
        let elsewhere =
            || NodeError::Write { path: data.into(), source: io::ErrorKind::QuotaExceeded.into() };
        assert_eq!(words(elsewhere().explained(data, Some(1 << 40))), words(elsewhere()));
        assert!(matches!(
            elsewhere().explained(data, Some(8 << 20)),
            NodeError::DiskFull { free_mib: 8, .. }
        ));
        assert_eq!(words(stopped().explained(data, Some(1 << 30))), words(stopped()));
    }
}
