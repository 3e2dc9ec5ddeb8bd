//! Why a request failed.

use std::{io, path::PathBuf};

use hansa_types::api::{Code, Problem};

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
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The destination is taken.
    #[error("{} exists already", path.display())]
    Exists {
        /// The destination.
        path: PathBuf,
    },
    /// A folder to be put holds something that is neither file nor folder, or a name that cannot travel.
    #[error("{} {problem}", path.display())]
    Unpackable {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
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
            Self::Unpackable { .. } => Some("Leave it out, or put what it points to."),
            Self::Protocol(_) => Some("Are client and node of the same version?"),
            Self::Address(_) | Self::File { .. } | Self::UnsafePath(_) => None,
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
