//! Why an operation on an object failed: what happened, to what, and what to do next.

use std::io;

use cid::Cid;
use hansa_api::{Code, Problem};
use hansa_content::ContentError;
use hansa_contracts::RefusalReason;
use hansa_envelope::EnvelopeError;
use hansa_feed::FeedError;
use hansa_kv::KvError;
use hansa_ports::{ChainError, DepositFault, SwarmFault};
use hansa_types::{DcId, ObjectId, Version};

/// The crate's error.
#[derive(Debug, thiserror::Error)]
pub enum SharingError {
    /// This node's account belongs to no active member.
    #[error(
        "this node's account is not that of an active member; ask a member to open a join ballot for its card"
    )]
    NotMember,
    /// The chain knows no such object.
    #[error("object {0} does not exist; `hansa ls` lists what does")]
    UnknownObject(ObjectId),
    /// Unknown version of a known object.
    #[error("object {0} has no version {1}; `hansa log {0}` lists its versions")]
    UnknownVersion(ObjectId, Version),
    /// No member of this number, or it is not active.
    #[error("there is no active member {0}; `hansa member list` shows all")]
    UnknownMember(DcId),
    /// Only the owner may do this.
    #[error("object {0} belongs to member {owner}; only its owner may do this", owner = .0.owner)]
    NotOwner(ObjectId),
    /// There is no grant to take back.
    #[error("member {1} has no grant for object {0}; `hansa log {0}` shows the grants")]
    UnknownGrant(ObjectId, DcId),
    /// The chain refused the opening; the refusal is recorded.
    #[error("opening {object} was refused on the chain: {}", .reason.explanation())]
    RefusedByChain {
        /// The object.
        object: ObjectId,
        /// Why.
        reason: RefusalReason,
    },
    /// The owner's node refused the key; it records its refusals.
    #[error("the owner's node refused the key of {object}: {}", .reason.explanation())]
    RefusedByOwner {
        /// The object.
        object: ObjectId,
        /// Why.
        reason: RefusalReason,
    },
    /// The key is with the owner, who does not answer.
    #[error(
        "the node of owner {owner} does not answer ({why}); the opening of {object} stays valid: try again later, or ask the owner to deposit the key with the grant"
    )]
    OwnerUnreachable {
        /// The object.
        object: ObjectId,
        /// Its owner.
        owner: DcId,
        /// What was heard.
        why: String,
    },
    /// This node does not have the key of an own object.
    #[error(
        "this node holds no key of epoch {epoch} for {object}, which this member owns; restore its data folder from the backup"
    )]
    KeyMissing {
        /// The object.
        object: ObjectId,
        /// The epoch.
        epoch: u32,
    },
    /// Blocks of the object are nowhere to be had.
    #[error(
        "the content of {object} cannot be fetched ({source}); `hansa verify {object}` says which replicas are missing"
    )]
    Unavailable {
        /// The object.
        object: ObjectId,
        /// What the swarm says.
        #[source]
        source: SwarmFault,
    },
    /// What was fetched or stored is not what the chain recorded.
    #[error("the content of {object} does not match the chain: {what}; run `hansa repair {object}`")]
    Damaged {
        /// The object.
        object: ObjectId,
        /// What does not match.
        what: String,
    },
    /// Somebody else changed the object at the same time.
    #[error("{0} was changed by somebody else at the same time; try again")]
    Conflict(ObjectId),
    /// The owner recorded an object under the highest number there is.
    #[error(
        "member {0} has an object of the highest number there is, so none is left for this node to give; record objects under lower numbers of your own choice"
    )]
    NumbersUsedUp(DcId),
    /// Content would fill the disk.
    #[error("there is no room for this content: the node's disk has {} MiB left, of which {} stay free for the chain", .free >> 20, .reserve >> 20)]
    NoRoom {
        /// Bytes left.
        free: u64,
        /// Bytes that stay free.
        reserve: u64,
    },
    /// The content to protect could not be read.
    #[error("the content cannot be read")]
    Source(#[source] io::Error),
    /// The content to protect breaks a rule, or the ciphertext a promise.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The chain did not take or answer something.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The feed of final events delivers nothing.
    #[error(transparent)]
    Feed(FeedError),
    /// The block store failed.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The local key and catalogue store failed.
    #[error("the node's key store failed")]
    Store(#[from] KvError),
    /// The swarm node failed.
    #[error(transparent)]
    Swarm(#[from] SwarmFault),
    /// A key could not be deposited, or a deposited one not be had.
    #[error("the consortium's deposit of a key failed")]
    Deposit(#[from] DepositFault),
    /// A worker thread ended early.
    #[error("a worker of this node ended early; the node's log says more")]
    Worker,
}

impl From<FeedError> for SharingError {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Chain(error) => Self::Chain(error),
            FeedError::Store(error) => Self::Store(error),
            other => Self::Feed(other),
        }
    }
}

impl SharingError {
    pub(crate) fn damaged(object: ObjectId, what: impl std::fmt::Display) -> Self {
        Self::Damaged { object, what: what.to_string() }
    }

    /// A block that was to be read from the own store for `object`.
    pub(crate) fn reading(object: ObjectId, error: ContentError) -> Self {
        match error {
            ContentError::Damaged(cid) | ContentError::Malformed { cid, .. } => {
                Self::damaged(object, block(cid))
            }
            ContentError::Missing(cid) => Self::Unavailable { object, source: SwarmFault::NotFound(cid) },
            other => Self::Content(other),
        }
    }

    /// An authentication failure while opening `object`.
    pub(crate) fn opening(object: ObjectId, error: EnvelopeError) -> Self {
        match error {
            EnvelopeError::Crypto(_) => Self::Envelope(error),
            other => Self::damaged(object, other),
        }
    }

    /// The public code.
    pub fn code(&self) -> Code {
        match self {
            Self::NotMember => Code::NotMember,
            Self::UnknownObject(_) => Code::UnknownObject,
            Self::UnknownVersion(..) => Code::UnknownVersion,
            Self::UnknownMember(_) => Code::UnknownMember,
            Self::NotOwner(_) => Code::NotOwner,
            Self::UnknownGrant(..) => Code::UnknownGrant,
            Self::RefusedByChain { reason, .. } => match reason {
                RefusalReason::UnknownObject => Code::UnknownObject,
                RefusalReason::UnknownVersion => Code::UnknownVersion,
                RefusalReason::NoLongerValid => Code::Expired,
                _ => Code::AccessRefused,
            },
            Self::RefusedByOwner { .. } => Code::KeyRefused,
            Self::OwnerUnreachable { .. } => Code::OwnerUnreachable,
            Self::KeyMissing { .. } => Code::KeyMissing,
            Self::Unavailable { .. } => Code::ContentUnavailable,
            Self::Damaged { .. } => Code::ContentDamaged,
            Self::Conflict(_) | Self::NumbersUsedUp(_) => Code::TransactionFailed,
            Self::Source(error) if error.kind() == io::ErrorKind::InvalidData => Code::UnsafePath,
            Self::Source(_) => Code::UploadInterrupted,
            Self::Envelope(EnvelopeError::Path { .. }) => Code::UnsafePath,
            Self::Envelope(EnvelopeError::Malformed { .. }) => Code::Malformed,
            Self::Chain(ChainError::Reverted { .. }) => Code::TransactionFailed,
            Self::Chain(ChainError::Refused(_)) => Code::TransactionRefused,
            Self::Chain(ChainError::Busy(_)) => Code::ChainBusy,
            Self::Chain(ChainError::NotFinal { .. }) => Code::NotFinal,
            Self::NoRoom { .. } => Code::DiskFull,
            Self::Content(_) | Self::Store(_) if self.is_storage_full() => Code::DiskFull,
            Self::Chain(ChainError::Unavailable(_))
            | Self::Feed(_)
            | Self::Envelope(_)
            | Self::Content(_)
            | Self::Store(_)
            | Self::Swarm(_)
            | Self::Deposit(_)
            | Self::Worker => Code::Internal,
        }
    }

    /// Whether a write failed for lack of room.
    fn is_storage_full(&self) -> bool {
        let causes = std::iter::successors(std::error::Error::source(self), |error| error.source());
        causes
            .filter_map(|error| error.downcast_ref::<io::Error>())
            .any(|error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// As the REST interface answers it.
    pub fn problem(&self) -> Problem {
        let mut message = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !message.contains(&cause_text) {
                message.push_str(": ");
                message.push_str(&cause_text);
            }
            source = cause.source();
        }
        let problem = Problem::new(self.code(), message);
        match self {
            Self::KeyMissing { .. } => problem.with_hint(
                "The keys of own objects exist in the node's data folder alone: stop the node and restore data/objects from the newest backup.",
            ),
            _ => problem,
        }
    }
}

fn block(cid: Cid) -> String {
    format!("block {cid} is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_a_code_of_its_own() {
        let write = |kind: io::ErrorKind| {
            let (action, path) = ("write", "/srv/hansa/data/blocks/1".into());
            SharingError::from(ContentError::File { action, path, source: kind.into() }).problem()
        };
        let full = write(io::ErrorKind::StorageFull);
        assert_eq!(full.code, Code::DiskFull);
        assert!(full.message.contains("/srv/hansa/data/blocks/1"), "{full:?}");
        assert_eq!(write(io::ErrorKind::PermissionDenied).code, Code::Internal);
    }
}
