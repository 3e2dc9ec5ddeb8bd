//! Does what members do with data: protect, share, open, verify, recover.
//!
//! Every decision about access is read from the finalised chain, never from local state. The crate reaches chain, swarm and the keeper
//! of deposited keys through the ports of `hansa-ports` alone. It does not speak HTTP, and does not encrypt by itself
//! (`hansa-envelope` does).
//!
//! # Actors
//!
//! - [`Sharing`]: the operations of a member's own people: put, update, open, grant, revoke, verify, repair.
//! - [`Responder`]: answers other members' nodes: key requests, replicas held, checks of replicas, requests to keep a replica.
//! - Replication: keeps the replicas that the chain allocates to this node.
//! - The scrubber: detects damaged blocks and repairs them from replicas.
//!
//! # Tasks
//!
//! The caller starts replication ([`Sharing::start_replication`]), scrubbing ([`Sharing::start_scrubbing`]), garbage collection
//! ([`Sharing::start_collecting`]) and the recording of releases ([`Responder::start_recording`]); aborting the task ends it. Operations
//! run in their caller's task. Reading, hashing and encrypting run on blocking threads.
//!
//! # States
//!
//! - A version of this member is *stored* (blocks, pin and key in one durable write), *recorded* (final on the chain) and *replicated*;
//!   a version that is never recorded is unpinned after a while.
//! - Another member's version is *pending* (allocated, not fetched), *kept*, or *given up* (malformed or oversized).
//! - An opening is *noted* (durable, before its transaction), *final*, *released* (the owner's node has sent the key) and *spent* (the
//!   grantee has the content). A release is noted durably before its key leaves the node, and recorded on the chain afterwards.
//!
//! # What a crash loses
//!
//! Transfers in progress; fetches resume. A put or update leaves the old version or the new one, and an opening is used again after a
//! restart. Noted releases are recorded after a restart (ADR 0011). Progress, statistics and the queue of replicas are in memory; the
//! queue is restored from the chain.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use hansa_sharing::{OpenMode, Sharing, SharingError};
//! use hansa_api::{Content, GrantRequest, PutMeta};
//! use hansa_types::DcId;
//!
//! /// Protects content, grants it to a member, and opens it again.
//! async fn round(
//!     sharing: &Sharing,
//!     meta: PutMeta,
//!     source: Box<dyn Content>,
//!     grantee: DcId,
//! ) -> Result<(), SharingError> {
//!     let receipt = sharing.put(meta, source, Arc::new(|_progress| {})).await?;
//!     let grant = GrantRequest { to: vec![grantee], expires_at: None, max_openings: None, deposit: false };
//!     sharing.share(receipt.id, grant).await?;
//!     let opened = sharing.open(receipt.id, None, OpenMode::Ordinary).await?;
//!     drop(opened.content());
//!     Ok(())
//! }
//! ```
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod allocation;
mod audience;
mod awaiting;
mod collect;
mod config;
mod content;
mod contracts;
mod deposits;
mod effect;
mod error;
mod fetches;
mod flights;
mod grants;
mod handler;
mod history;
mod holdings;
mod ingest;
mod key_check;
mod keyring;
mod message;
mod notices;
mod numbers;
mod open;
mod openings;
mod protect;
mod refusals;
mod releases;
mod repair;
mod replicate;
mod responder;
mod rewrap;
mod scrub;
mod sharing;
mod terms;
#[cfg(test)]
mod tests;
mod turns;
mod verify;

pub use allocation::{REPLICAS_OTHER, allocate};
pub use config::{CollectionSettings, ReplicationSettings, ScrubSettings, SharingSettings};
pub use error::SharingError;
pub use keyring::{Description, spaces};
pub use open::{OpenMode, OpenedObject};
pub use replicate::{DiskSpace, SpaceFn, disk_space};
pub use responder::Responder;
pub use sharing::{Parts, Sharing, StoreFigures};

/// Entry points of the fuzz targets: messages between nodes.
#[cfg(fuzzing)]
pub mod fuzzing {
    use crate::message::{Answer, Request, decode};

    /// What one node asks another, and what it is answered.
    pub fn message(bytes: &[u8]) {
        let _ = decode::<Request>(bytes);
        let _ = decode::<Answer>(bytes);
    }
}
