//! The words of a node's REST interface: requests, answers, progress, errors.
//!
//! The gateway serves them and the client reads them, so they stand here once. JSON in camelCase; times are Unix
//! seconds, sizes bytes, hashes `0x…` hex, CIDs their usual text. HTTP status codes are not here: the gateway alone
//! chooses them.

mod code;
mod governance;
mod health;
mod object;
mod proof;
mod status;
mod stream;

pub use code::{Code, Problem};
pub use governance::{
    Allowance, Ballot, BallotPreview, BallotState, Invitation, KnownSuite, Limit, Motion, PendingUpgrade,
    QuotaStatus, SuiteStatus, Tally, ValidatorSet, VoteRequest,
};
pub use health::{
    Check, Checks, ClockFigures, Complaint, ConsensusFigures, DiskFigures, Health, KeysFigures,
    MembershipFigures, Standing, SwarmFigures, SyncFigures,
};
pub use object::{
    BlockFile, Collected, Fault, FaultLayer, Fetching, GivenUp, GrantRequest, GrantSummary, LogEntry,
    LogKind, ObjectKind, ObjectList, ObjectSummary, PutMeta, PutReceipt, Recorded, RepairReport,
    ReplicationStatus, ScrubStatus, StoredBlock, VerifyReport, VerifyRequest, VerifyScope, VisibilityRequest,
};
pub use proof::{BlockEvidence, BlockProof, Certificate};
pub use status::{BlockSummary, ConsensusStatus, Head, NodeStatus, PoolStatus, Rejoin, SwarmStatus};
pub use stream::{Line, Progress, Stage, header};
