//! Names the words and operations of a node's interface: requests, answers, progress, error codes.
//!
//! The node offers the operations as [`Service`], the gateway serves them over HTTP, and the client calls them: all three share
//! these types. JSON in camelCase; times are Unix seconds, sizes bytes, hashes `0x…` hex, CIDs in their usual text form.
//!
//! The crate does no I/O and does not choose HTTP status codes; the gateway does.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod code;
mod governance;
mod health;
mod index;
mod object;
mod service;
mod status;
mod stream;

pub use code::{Code, Problem};
pub use governance::{
    Allowance, Ballot, BallotPreview, BallotState, Invitation, KnownSuite, Limit, Motion, PendingUpgrade,
    QuotaStatus, SuiteStatus, Tally, ValidatorSet, VoteRequest,
};
pub use health::{
    Check, Checks, ClockFigures, Complaint, ConsensusFigures, DiskFigures, Health, IndexFigures, KeysFigures,
    MembershipFigures, Standing, SwarmFigures, SyncFigures,
};
pub use index::{IndexStatus, ObjectPage, ObjectSort, ObjectsRequest};
pub use object::{
    BlockFile, Collected, Fault, FaultLayer, Fetching, GivenUp, GrantRequest, GrantSummary, LogEntry,
    LogKind, ObjectKind, ObjectSummary, PutMeta, PutReceipt, Recorded, RepairReport, ReplicationStatus,
    ScrubStatus, StoredBlock, VerifyReport, VerifyRequest, VerifyScope, VisibilityRequest,
};
pub use service::{Content, ContentEntry, Download, ProgressSink, RequestCount, Service};
pub use status::{BlockSummary, ConsensusStatus, Head, NodeStatus, PoolStatus, Rejoin, SwarmStatus};
pub use stream::{Line, Progress, Stage, header};
