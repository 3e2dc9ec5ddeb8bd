//! What can go wrong at the command line, and the exit code that says which kind it was.

use std::{path::PathBuf, process::ExitStatus};

use hansa_client::ClientError;
use hansa_node::NodeError;
use hansa_types::api::Code;

/// Exit codes, stable for scripts: 0 done, 1 failed, 2 misused.
pub(crate) mod exit {
    /// The command could not be done.
    pub(crate) const FAILED: u8 = 1;
    /// The chain or an owner refused.
    pub(crate) const REFUSED: u8 = 3;
    /// The object, version, member, ballot or block does not exist.
    pub(crate) const NOT_FOUND: u8 = 4;
    /// A node or member cannot be reached.
    pub(crate) const UNREACHABLE: u8 = 5;
    /// Data is damaged: verify found a fault.
    pub(crate) const ABNORMAL: u8 = 6;
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The node answered with an error, or did not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The home folder or the node itself.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A file or folder.
    #[error("{what}: {source}")]
    Folder {
        /// The path, or what it is.
        what: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Signals cannot be waited for.
    #[error("cannot wait for Ctrl-C: {0}")]
    Signal(std::io::Error),
    /// A folder that `up` did not make.
    #[error("{} holds members but no local network of at least four; choose another folder with --dir", dir.display())]
    NotANetwork {
        /// The folder.
        dir: PathBuf,
    },
    /// A node of the local network ended before it was ready.
    #[error("{name}'s node ended before it was ready ({status}); its log: {}", log.display())]
    NodeEnded {
        /// The member.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// Its log file.
        log: PathBuf,
    },
    /// Verification found faults; they have been printed.
    #[error("{0}")]
    Abnormal(String),
    /// A file that should hold a card or an invitation.
    #[error("{} is not {expected}: {problem}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
        /// The reader's words.
        problem: String,
    },
}

impl CliError {
    /// Names the file or folder that an I/O error is about.
    pub(crate) fn folder(what: &str) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.to_owned();
        move |source| Self::Folder { what, source }
    }

    /// What to do next, where the node said it.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::Client(error) => error.hint(),
            _ => None,
        }
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Abnormal(_) => exit::ABNORMAL,
            Self::Client(error) => client_code(error),
            _ => exit::FAILED,
        }
    }
}

fn client_code(error: &ClientError) -> u8 {
    let Some(code) = error.code() else {
        return if matches!(error, ClientError::Unreachable { .. }) {
            exit::UNREACHABLE
        } else {
            exit::FAILED
        };
    };
    match code {
        Code::AccessRefused | Code::KeyRefused | Code::NotOwner | Code::NotMember => exit::REFUSED,
        Code::UnknownObject
        | Code::UnknownVersion
        | Code::UnknownBallot
        | Code::UnknownMember
        | Code::UnknownBlock
        | Code::UnknownGrant => exit::NOT_FOUND,
        Code::OwnerUnreachable | Code::ContentUnavailable | Code::NotReady => exit::UNREACHABLE,
        Code::ContentDamaged => exit::ABNORMAL,
        _ => exit::FAILED,
    }
}
