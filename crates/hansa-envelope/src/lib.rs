//! Seals objects so that only chosen members can open them: segments, manifests, key wrapping, key stores.
//!
//! The key hierarchy, from the recipient to the bytes:
//!
//! ```text
//! member's X-Wing key ─ HPKE ▶ audience key (KEK, one per object and epoch), or the data key of one version
//!        KEK ─ AES-256-GCM ▶ data key (DEK, one per version, random)
//!              DEK + salt ─ HKDF-SHA256 ▶ content key · manifest key · commitment key · key commitment
//! ```
//!
//! The crate has no network or chain I/O, and does not decide about access: the caller checks the chain first. No input causes a panic,
//! and every decoder has a length limit.
//!
//! ```
//! use bytes::Bytes;
//! use hansa_envelope::{DataKey, Opener, Sealer, VersionKeys};
//!
//! let dek = DataKey::generate()?;
//! let (keys, sealing_key) = VersionKeys::create(&dek)?;
//! let mut sealer = Sealer::new(sealing_key);
//! sealer.spare()[..7].copy_from_slice(b"invoice");
//! let mut leaves: Vec<Bytes> = sealer.advance(7)?.into_iter().collect();
//! let rest = sealer.finish();
//! let layout = rest.layout();
//! for leaf in rest {
//!     leaves.push(leaf?);
//! }
//! let opener = Opener::new(keys.content()?, layout);
//! // The length is padded, so that it reveals little.
//! assert_eq!(opener.open(0, leaves[0].clone())?[..7], *b"invoice");
//! # Ok::<(), hansa_envelope::EnvelopeError>(())
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

mod admission;
mod error;
mod keys;
mod keystore;
mod manifest;
mod padding;
mod path;
mod recovery;
mod root;
mod secret;
mod segment;
mod version_keys;
mod wrap;

pub use admission::{new_swarm_key, unwrap_swarm_key, wrap_swarm_key};
pub use error::EnvelopeError;
pub use keys::{MemberKeys, StorageKey, check_card, verify_account_signature};
pub use keystore::{KeyStore, Passphrase, PublicKeys};
pub use manifest::{
    ContentDigest, Entry, EntryHasher, EntryKind, Kind, MANIFEST_BYTES_MAX, Manifest, ManifestAuthor,
    SignedManifest, content_digest,
};
pub use padding::padded_length;
pub use path::{check_name, check_path};
pub use recovery::{Backup, RecoveryKey};
pub use root::{ObjectRoot, ROOT_BYTES_MAX, RootParts, root_cid};
pub use secret::{AudienceKey, DataKey};
pub use segment::{
    LEAF_BYTES, Layout, Opener, OpeningKey, SEGMENT_BYTES, SealedTail, Sealer, SealingKey, TAG_BYTES,
    seal_buffer,
};
pub use version_keys::VersionKeys;
pub use wrap::{
    DekContext, GrantedDekContext, KekContext, MEMBER_WRAPPED_BYTES, WRAPPED_DEK_BYTES, unwrap_dek,
    unwrap_granted_dek, unwrap_kek, unwrap_owner_key, wrap_dek, wrap_granted_dek, wrap_kek, wrap_owner_key,
};
