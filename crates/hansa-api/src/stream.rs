//! Long operations answer `application/x-ndjson`: progress lines, then one result or one error.

use serde::{Deserialize, Serialize};

use super::Problem;

/// Names of the interface's own headers.
pub mod header {
    /// [`super::super::PutMeta`] as percent-encoded JSON; on uploads.
    pub const META: &str = "hansa-meta";
    /// The version that is sent; on downloads.
    pub const VERSION: &str = "hansa-version";
    /// Percent-encoded name; on downloads.
    pub const NAME: &str = "hansa-name";
    /// `file` or `directory`; on downloads.
    pub const KIND: &str = "hansa-kind";
    /// `true` for a single file that can be run as a program; on downloads.
    pub const EXECUTABLE: &str = "hansa-executable";
    /// Plaintext bytes of all files; on downloads.
    pub const SIZE: &str = "hansa-size";
    /// Number of files; on downloads.
    pub const FILES: &str = "hansa-files";
}

/// What a long operation is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Sending or receiving content between client and node.
    Transfer,
    /// Encrypting and storing blocks.
    Encrypt,
    /// Waiting for the transaction to be final.
    Record,
    /// Waiting for replicas.
    Replicate,
    /// Fetching blocks from other members.
    Fetch,
    /// Comparing blocks with the chain.
    Verify,
    /// Replacing damaged blocks.
    Repair,
}

/// How far a stage has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The stage.
    pub stage: Stage,
    /// Done so far: bytes, except where `unit` says otherwise.
    pub done: u64,
    /// The whole, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// `bytes`, `blocks`, `replicas`.
    pub unit: String,
}

impl Progress {
    /// Progress counted in bytes.
    pub fn bytes(stage: Stage, done: u64, total: Option<u64>) -> Self {
        Self { stage, done, total, unit: "bytes".to_owned() }
    }
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line<T> {
    /// The work goes on.
    Progress(Progress),
    /// The last line of work that succeeded.
    Result(T),
    /// The last line of work that failed.
    Error(Problem),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_pinned() {
        let line: Line<u32> = Line::Progress(Progress::bytes(Stage::Encrypt, 1, Some(2)));
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            r#"{"progress":{"stage":"encrypt","done":1,"total":2,"unit":"bytes"}}"#
        );
        assert_eq!(serde_json::to_string(&Line::Result(7)).unwrap(), r#"{"result":7}"#);
    }
}
