//! Conversion of network keys to PeerIds.

use hansa_types::NetworkKey;
use libp2p::PeerId;
use libp2p::identity::{PublicKey, ed25519};

use crate::SwarmError;

/// The PeerId of a member's network key.
///
/// # Errors
/// [`SwarmError::Config`] if the 32 bytes are no point of the curve.
pub(crate) fn peer_id(key: &NetworkKey) -> Result<PeerId, SwarmError> {
    let public = ed25519::PublicKey::try_from_bytes(key.0.as_slice())
        .map_err(|_| SwarmError::Config(format!("{key} is not an ed25519 public key")))?;
    Ok(PublicKey::from(public).to_peer_id())
}
