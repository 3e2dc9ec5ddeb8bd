//! The transport between two nodes: TCP, the pre-shared key, Noise, yamux.
//!
//! Measured with `bench transfer` and no faster: TLS instead of Noise, frames of 256 KiB, several streams with small windows, twice
//! the blocks in flight.

use hansa_types::SwarmKey;
use libp2p::core::Transport;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise, tcp};
use socket2::SockRef;

use crate::{Limits, SwarmError, muxer, psk};

pub(crate) fn build(
    keys: &Keypair,
    swarm_key: &SwarmKey,
    muxer: muxer::Upgrade,
    limits: &Limits,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, SwarmError> {
    let noise = noise::Config::new(keys).map_err(|error| SwarmError::Config(error.to_string()))?;
    let (key, silence) = (swarm_key.clone(), limits.silence);
    Ok(tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .and_then(move |socket, _| {
            choose_congestion_control(&socket.0);
            psk::handshake(socket, key, silence)
        })
        .upgrade(Version::V1)
        .authenticate(noise)
        .multiplex(muxer)
        .timeout(limits.connect_timeout)
        .boxed())
}

/// Uses Cubic between nodes of one machine, whatever the system's default is. With BBR a put of 1 GiB with two replicas took
/// 16 to 31 s on a machine with a load of 15 to 20, and 7 to 8 s with Cubic; the nodes were idle most of that time. BBR derives
/// its window from the shortest round trip, which is microseconds on loopback, while a busy machine's scheduling takes
/// milliseconds.
fn choose_congestion_control(socket: &tokio::net::TcpStream) {
    if !socket.peer_addr().is_ok_and(|peer| peer.ip().is_loopback()) {
        return;
    }
    if let Err(error) = SockRef::from(socket).set_tcp_congestion(b"cubic") {
        tracing::debug!(%error, "the system's congestion control stays");
    }
}
