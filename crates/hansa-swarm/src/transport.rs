//! How two nodes connect: TCP, the pre-shared key, Noise, yamux.

use std::time::Duration;

use libp2p::core::Transport;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise, tcp};

use crate::{SwarmError, SwarmKey, muxer, psk};

/// How long a connection may take to be ready. A node with another swarm key never gets there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn build(
    keys: &Keypair,
    swarm_key: &SwarmKey,
    muxer: muxer::Upgrade,
    silence: Duration,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, SwarmError> {
    let noise = noise::Config::new(keys).map_err(|error| SwarmError::Config(error.to_string()))?;
    let key = swarm_key.clone();
    Ok(tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .and_then(move |socket, _| psk::handshake(socket, key, silence))
        .upgrade(Version::V1)
        .authenticate(noise)
        .multiplex(muxer)
        .timeout(CONNECT_TIMEOUT)
        .boxed())
}
