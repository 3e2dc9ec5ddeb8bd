//! Releases deposited keys by the consortium's group key (D3).
//!
//! # Scheme
//! A *deposit* is sealed to the group key under a [`ReleaseId`](hansa_types::ReleaseId): identity-based encryption of a random key,
//! and under that key, with the identity as associated data, bytes that are already encrypted to the grantee. The private key of an
//! identity is the group's threshold signature over it. Validators sign an identity only for an opening that is final on their own
//! chain, so nobody opens a deposit without an opening, and no validator or quorum reads one without the grantee's own key. ADR 0013
//! has the alternatives and the limits.
//!
//! # Actors and tasks
//! One task a node, on a channel of its own. It asks the committee for this node's own openings, a [`collection`] each, and answers
//! other nodes at the [`desk`], where the [`ReleaseJudge`](hansa_types::ReleaseJudge) is asked off the executor. The share and the
//! public polynomial are those of the epoch in force ([`term`]). Shares of different epochs do not combine: a collection begins again
//! when an epoch begins.
//!
//! # What is lost in a crash
//! Collections under way. The caller asks again; validators keep nothing about a release and answer as before.
//!
//! # Bounds
//! Collections are limited in number, each peer's questions in number and in time. What exceeds a limit is dropped and asked again.
//! Nothing is stored.

pub(crate) mod actor;
mod collection;
mod desk;
mod error;
mod group;
pub(crate) mod ingress;
pub(crate) mod message;
pub(crate) mod term;

pub use error::ReleaseError;
pub use group::{GroupKey, ReleaseSignature};
pub use ingress::KeyReleases;
