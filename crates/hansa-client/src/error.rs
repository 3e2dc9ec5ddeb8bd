//! Why a request failed.

use std::{io, path::PathBuf};

use hansa_api::{Code, Problem};

use crate::LeftOut;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The node's own answer.
    #[error("{0}")]
    Node(Box<Problem>),
    /// The node does not answer.
    #[error("the node at {base} cannot be reached")]
    Unreachable {
        /// Its URL.
        base: String,
        /// What the connection said.
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke in the middle.
    #[error("the connection to the node broke off")]
    Broken(#[source] io::Error),
    /// The answer is not what this interface answers.
    #[error("the node's answer cannot be read: {0}")]
    Protocol(String),
    /// The URL or token cannot be used.
    #[error("{0}")]
    Address(String),
    /// A local file or folder.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Content that is being sent cannot be read to its end.
    #[error("the content cannot be read")]
    Source(#[source] io::Error),
    /// The destination is taken.
    #[error("{} exists already", path.display())]
    Exists {
        /// The destination.
        path: PathBuf,
    },
    /// The destination is a device, a pipe or a socket.
    #[error("{} is neither a file nor a folder and is not replaced", path.display())]
    Special {
        /// The destination.
        path: PathBuf,
    },
    /// The destination of a command's own file is a folder, a device, a pipe or a socket.
    #[error("{} is no file and is not replaced", path.display())]
    NotAFile {
        /// The destination.
        path: PathBuf,
    },
    /// The folder of the destination does not exist or takes no new file.
    #[error("no file can be made in the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The file system of the destination has too little room.
    #[error("{} has room for {free} bytes, and the content has at least {needed}", path.display())]
    NoRoom {
        /// The folder.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that the content has at least.
        needed: u64,
    },
    /// The destination was taken while the content came. It is complete under another name.
    #[error("{} is taken; the content is in {}", wanted.display(), kept.display())]
    Kept {
        /// The destination.
        wanted: PathBuf,
        /// Where the content is.
        kept: PathBuf,
    },
    /// The source holds something that cannot be stored.
    #[error("{0} cannot be stored")]
    Unpackable(LeftOut),
    /// The source is a device or a socket, or changed into something else meanwhile.
    #[error("{} is neither a file, a folder nor a pipe", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
    },
    /// A new object has no name, or the file's name is no text.
    #[error("{} gives the object no name", path.display())]
    Unnamed {
        /// Where the content comes from.
        path: PathBuf,
    },
    /// An archive from the node names a path outside its folder.
    #[error("the archive holds {0:?}, which is not allowed")]
    UnsafePath(String),
}

impl ClientError {
    /// The public code, when the error is the node's own answer.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Node(problem) => Some(problem.code),
            _ => None,
        }
    }

    /// One word for programs, where the error is not the node's own answer.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Node(_) => "node",
            Self::Unreachable { .. } => "unreachable",
            Self::Broken(_) => "broken-off",
            Self::Protocol(_) => "protocol",
            Self::Address(_) => "address",
            Self::File { .. } | Self::Source(_) => "file",
            Self::Exists { .. } => "exists",
            Self::Special { .. } | Self::NotAFile { .. } => "special-file",
            Self::Folder { .. } => "folder",
            Self::NoRoom { .. } => "no-room",
            Self::Kept { .. } => "kept-elsewhere",
            Self::Unpackable(_) | Self::Unreadable { .. } => "cannot-be-stored",
            Self::Unnamed { .. } => "unnamed",
            Self::UnsafePath(_) => "unsafe-path",
        }
    }

    /// Whether the node did not answer, or stopped in the middle.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Broken(_))
    }

    /// What to do next, where there is something to say.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Node(problem) => Some(&problem.hint),
            Self::Unreachable { .. } => Some("Start it with `hansa node run`."),
            Self::Broken(_) => Some("See the node's log, then try again."),
            Self::Exists { .. } => Some("Choose another destination, or overwrite it with --force."),
            Self::Special { .. } => Some("Send the content there with `-o -` and a redirection."),
            Self::NotAFile { .. } => Some("Choose another destination with -o."),
            Self::Folder { .. } => Some("Make the folder, or choose another destination with -o."),
            Self::NoRoom { .. } => {
                Some("Choose a destination with more room with -o; nothing was opened yet.")
            }
            Self::Kept { .. } => Some("Move it to where it should be."),
            Self::Unpackable(_) => Some("Leave all of it out with --skip-special, or move it away first."),
            Self::Unreadable { .. } => {
                Some("Send what it gives through standard input: `… | hansa put - --name NAME`.")
            }
            Self::Unnamed { .. } => Some("Give it one with --name."),
            Self::Protocol(_) => Some("Are client and node of the same version?"),
            Self::Address(_) | Self::File { .. } | Self::Source(_) | Self::UnsafePath(_) => None,
        }
    }

    /// Everything that the error is about, where it is about several things.
    pub fn details(&self) -> Vec<String> {
        match self {
            Self::Unpackable(left_out) => left_out.lines(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

impl From<Problem> for ClientError {
    fn from(problem: Problem) -> Self {
        Self::Node(Box::new(problem))
    }
}
