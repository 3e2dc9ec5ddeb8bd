//! What can go wrong at the command line, and the exit code that says which kind it was.

use std::{path::PathBuf, process::ExitStatus};

use hansa_api::Code;
use hansa_client::ClientError;
use hansa_node::{FolderLock, Home, NodeError};
use hansa_types::ObjectId;
use serde_json::{Value, json};

/// Exit codes, stable for scripts; 0 is done. `docs/command-line.md` lists them.
pub(crate) mod exit {
    /// The command could not be done.
    pub(crate) const FAILED: u8 = 1;
    /// The command line makes no sense.
    pub(crate) const MISUSED: u8 = 2;
    /// The chain or an owner refused.
    pub(crate) const REFUSED: u8 = 3;
    /// The object, version, member, ballot or block does not exist.
    pub(crate) const NOT_FOUND: u8 = 4;
    /// A node or member cannot be reached.
    pub(crate) const UNREACHABLE: u8 = 5;
    /// Data is damaged: verify found a fault.
    pub(crate) const ABNORMAL: u8 = 6;
    /// Done, but fewer members keep a replica than were asked to.
    pub(crate) const FEW_REPLICAS: u8 = 7;
    /// Added to the number of the signal that ended the command, as shells do.
    pub(crate) const SIGNAL: u8 = 128;
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
    /// The node's process is there and does not answer yet.
    #[error("the node (process {pid}) runs and does not answer yet: {doing}")]
    NotYet {
        /// The node's process id.
        pid: String,
        /// What it says that it is doing.
        doing: String,
    },
    /// Another `hansa up` works in the folder.
    #[error("a network runs in {} already (process {pid}); `hansa --home {}/members/NAME status` speaks to it", dir.display(), dir.display())]
    Running {
        /// The folder.
        dir: PathBuf,
        /// The process id.
        pid: String,
    },
    /// A file or folder.
    #[error("{what}: {source}")]
    Folder {
        /// The path, or what it is.
        what: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The command line cannot be understood.
    #[error("{0}")]
    Usage(String),
    /// A signal ended the command.
    #[error("ended by {name} before it was done")]
    Interrupted {
        /// The signal.
        name: &'static str,
        /// Its number.
        number: u8,
    },
    /// The process cannot start its threads.
    #[error("no threads can be started: {0}")]
    Threads(std::io::Error),
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
    /// A version was recorded, and too few members keep it.
    #[error(
        "{id} is recorded, but only {kept} of the {asked} other members asked for keep it yet; those that are away fetch it when they return, `hansa verify {id}` shows where it is",
        kept = asked.saturating_sub(*short)
    )]
    FewReplicas {
        /// The object.
        id: ObjectId,
        /// How many members were to keep it.
        asked: u32,
        /// How many of them do not.
        short: u32,
    },
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

    /// Names the node's own reason where its process is there and does not answer.
    pub(crate) fn of(self, home: &Home) -> Self {
        match FolderLock::holder(&home.data()) {
            Some(holder) if matches!(self, Self::Client(ClientError::Unreachable { .. })) => {
                let doing = if holder.doing.is_empty() { "it starts".to_owned() } else { holder.doing };
                Self::NotYet { pid: holder.pid, doing }
            }
            _ => self,
        }
    }

    /// What to do next, where the node said it.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::Client(error) => error.hint(),
            Self::Usage(_) => Some("See `hansa --help` and `hansa COMMAND --help`."),
            _ => None,
        }
    }

    /// Everything that the error is about, where it is about several things.
    pub(crate) fn details(&self) -> Vec<String> {
        match self {
            Self::Client(error) => error.details(),
            Self::Node(NodeError::Settings { problems, .. }) => problems.clone(),
            _ => Vec::new(),
        }
    }

    /// For programs: `E` and the interface's number, or a word.
    fn code(&self) -> String {
        match self {
            Self::Client(error) => {
                error.code().map_or_else(|| error.word().to_owned(), |code| code.to_string())
            }
            Self::Usage(_) => "usage".to_owned(),
            Self::Interrupted { .. } => "interrupted".to_owned(),
            Self::Folder { .. } | Self::BadFile { .. } => "file".to_owned(),
            Self::Abnormal(_) => "abnormal".to_owned(),
            Self::FewReplicas { .. } => "few-replicas".to_owned(),
            Self::NotANetwork { .. } => "not-a-network".to_owned(),
            Self::NodeEnded { .. } => "node-ended".to_owned(),
            Self::NotYet { .. } => "not-yet".to_owned(),
            Self::Running { .. } => "already-running".to_owned(),
            Self::Node(_) => "node".to_owned(),
            Self::Signal(_) | Self::Threads(_) => "system".to_owned(),
        }
    }

    /// The error as one object: `code`, `message` with its causes, `hint` and `details` where there are some, `exit`.
    pub(crate) fn json(&self) -> Value {
        let mut message = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            message.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        let mut object = json!({ "code": self.code(), "message": message, "exit": self.exit_code() });
        if let Some(hint) = self.hint() {
            object["hint"] = json!(hint);
        }
        let details = self.details();
        if !details.is_empty() {
            object["details"] = json!(details);
        }
        object
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Abnormal(_) => exit::ABNORMAL,
            Self::Usage(_) => exit::MISUSED,
            Self::Interrupted { number, .. } => exit::SIGNAL.saturating_add(*number),
            Self::FewReplicas { .. } => exit::FEW_REPLICAS,
            Self::Client(error) => client_code(error),
            Self::NotYet { .. } => exit::UNREACHABLE,
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
        | Code::NotCertified
        | Code::UnknownGrant => exit::NOT_FOUND,
        Code::OwnerUnreachable | Code::ContentUnavailable | Code::NotReady => exit::UNREACHABLE,
        Code::ContentDamaged => exit::ABNORMAL,
        _ => exit::FAILED,
    }
}

#[cfg(test)]
mod tests {
    use hansa_api::Problem;

    use super::*;

    #[test]
    fn errors_for_programs_are_pinned() {
        let refused = Problem::new(Code::AccessRefused, "no grant");
        let source = std::io::Error::other("disk full");
        for (problem, expected) in [
            (
                CliError::Client(refused.into()),
                r#"{"code":"E2004","exit":3,"hint":"Ask the owner to share the object with you.","message":"no grant (E2004)"}"#,
            ),
            (
                CliError::Client(ClientError::File { path: "x".into(), source }),
                r#"{"code":"file","exit":1,"message":"x: disk full"}"#,
            ),
            (
                CliError::Interrupted { name: "Ctrl-C", number: 2 },
                r#"{"code":"interrupted","exit":130,"message":"ended by Ctrl-C before it was done"}"#,
            ),
        ] {
            assert_eq!(problem.json().to_string(), expected);
        }
    }
}
