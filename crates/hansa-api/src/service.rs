//! The operations that a node offers to its interfaces. The composition root implements them; the gateway serves them.

use std::{io, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use hansa_types::{DcId, Endpoints, ObjectId, Version, Visibility};

use crate::{
    Ballot, BallotPreview, Collected, Fetching, GrantRequest, Health, IndexStatus, Invitation, LogEntry,
    Motion, NodeStatus, ObjectKind, ObjectPage, ObjectSummary, ObjectsRequest, Problem, Progress, PutMeta,
    PutReceipt, QuotaStatus, Recorded, RepairReport, StoredBlock, SuiteStatus, VerifyReport, VerifyRequest,
};

/// Takes progress reports. Calling it costs little and never blocks; reports that nobody reads in time are dropped.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// How many REST requests to one endpoint were answered with one status since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestCount {
    /// The endpoint's path with its parameters' names; `other` for paths that are no endpoint.
    pub endpoint: String,
    /// HTTP status.
    pub status: u16,
    /// The requests.
    pub count: u64,
}

/// A file or directory within content that travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentEntry {
    /// Relative, segments separated by `/`, none of them empty, `.` or `..`; each path once. For a single file: its
    /// name.
    pub path: String,
    /// A directory; it has no bytes.
    pub directory: bool,
    /// A file that can be run as a program.
    pub executable: bool,
    /// Its bytes, where known beforehand: always on the way out, and on the way in for directories' files.
    pub size: Option<u64>,
}

/// Content on its way in, pulled from a blocking thread: first an entry, then its bytes to their end, then the next.
pub trait Content: Send {
    /// The next entry; `None` at the end. Bytes of the current one that were not read are skipped.
    ///
    /// # Errors
    /// When the upload breaks off, or holds what is not allowed.
    fn next_entry(&mut self) -> io::Result<Option<ContentEntry>>;

    /// Reads bytes of the current entry; 0 at its end.
    ///
    /// # Errors
    /// When the upload breaks off.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
}

/// Content on its way out, authorised, with its manifest read.
pub struct Download {
    /// The object.
    pub id: ObjectId,
    /// Which version.
    pub version: Version,
    /// The name from the encrypted manifest.
    pub name: String,
    /// File or directory.
    pub kind: ObjectKind,
    /// What it holds, in the order of `content`; sizes are known.
    pub entries: Vec<ContentEntry>,
    /// The bytes of all files back to back, each piece already authenticated. An error ends it.
    pub content: BoxStream<'static, Result<Bytes, Problem>>,
}

/// The node's operations for its own member. Errors carry public codes; their HTTP status is not the service's concern.
///
/// Every method may be dropped at an await point, when the caller goes away, except those that take a
/// [`ProgressSink`] and write (`put`, `update`, `repair`): the gateway drives them to their end.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// How the node stands.
    async fn status(&self) -> Result<NodeStatus, Problem>;
    /// Whether the node can do its work. Costs little and waits for nothing.
    fn health(&self) -> Health;
    /// The node's figures in the OpenMetrics text format, with the interface's own requests among them. Holds no secret.
    fn metrics(&self, requests: &[RequestCount]) -> String;

    /// What an admitted member's node needs to start.
    async fn invitation(&self, member: DcId) -> Result<Invitation, Problem>;
    /// Opens a ballot, and waits until it is final.
    async fn open_ballot(&self, motion: Motion) -> Result<Ballot, Problem>;
    /// Versions of the system contracts: in force, decided, and known to this node.
    async fn suite(&self) -> Result<SuiteStatus, Problem>;
    /// The quotas of all members.
    async fn quota(&self) -> Result<QuotaStatus, Problem>;
    /// Changes where this member's node is reached; final when it answers.
    async fn set_endpoints(&self, endpoints: Endpoints) -> Result<Recorded, Problem>;
    /// Previews the consequences of a ballot. Sends nothing to the chain.
    async fn preview_ballot(&self, motion: Motion) -> Result<BallotPreview, Problem>;
    /// All ballots, the latest first.
    async fn ballots(&self) -> Result<Vec<Ballot>, Problem>;
    /// Casts this member's vote, and waits until it is final.
    async fn vote(&self, ballot: u64, support: bool) -> Result<Ballot, Problem>;

    /// A page of the objects, from the index.
    async fn objects(&self, request: ObjectsRequest) -> Result<ObjectPage, Problem>;
    /// How the index stands.
    async fn index(&self) -> Result<IndexStatus, Problem>;
    /// Empties the index and reads the chain again from its genesis block. Does not wait for the end.
    async fn rebuild_index(&self) -> Result<IndexStatus, Problem>;
    /// One object as a list shows it, without an opening.
    async fn summary(&self, object: ObjectId) -> Result<ObjectSummary, Problem>;
    /// Protects content as a new object.
    async fn put(
        &self,
        meta: PutMeta,
        content: Box<dyn Content>,
        progress: ProgressSink,
    ) -> Result<PutReceipt, Problem>;
    /// Protects content as the next version of an object.
    async fn update(
        &self,
        object: ObjectId,
        meta: PutMeta,
        content: Box<dyn Content>,
        progress: ProgressSink,
    ) -> Result<PutReceipt, Problem>;
    /// Opens an object: the latest version where `version` is `None`. With `ask_owner` the opening on the chain is
    /// skipped and the owner's node decides alone.
    async fn open(
        &self,
        object: ObjectId,
        version: Option<Version>,
        ask_owner: bool,
    ) -> Result<Download, Problem>;
    /// The versions whose blocks are on their way here: what an opening waits for.
    async fn fetching(&self) -> Result<Vec<Fetching>, Problem>;
    /// An object's history, oldest first.
    async fn log(&self, object: ObjectId) -> Result<Vec<LogEntry>, Problem>;
    /// The blocks of the latest version that this node keeps.
    async fn stored_blocks(&self, object: ObjectId) -> Result<Vec<StoredBlock>, Problem>;
    /// Grants, and waits until it is final.
    async fn share(&self, object: ObjectId, grants: GrantRequest) -> Result<Recorded, Problem>;
    /// Takes a grant back, and waits until it is final.
    async fn revoke(&self, object: ObjectId, from: DcId) -> Result<Recorded, Problem>;
    /// Sets who may open, and waits until it is final.
    async fn set_visibility(&self, object: ObjectId, visibility: Visibility) -> Result<Recorded, Problem>;
    /// Compares replicas with the chain; all that this node keeps where `object` is `None`.
    async fn verify(
        &self,
        object: Option<ObjectId>,
        request: VerifyRequest,
        progress: ProgressSink,
    ) -> Result<VerifyReport, Problem>;
    /// Replaces this node's damaged and missing blocks; of everything where `object` is `None`.
    async fn repair(&self, object: Option<ObjectId>, progress: ProgressSink)
    -> Result<RepairReport, Problem>;
    /// Removes this node's blocks that no version needs.
    async fn collect_garbage(&self) -> Result<Collected, Problem>;
}
