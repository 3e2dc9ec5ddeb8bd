//! The channels between nodes, their quotas, and the authenticated network.
//!
//! Connections are encrypted and mutually authenticated by registered keys. Admission is decided in `peers`.

use core::num::{NonZeroU32, NonZeroUsize};
use std::{net::SocketAddr, time::Duration};

use commonware_consensus::marshal;
use commonware_cryptography::ChaCha20Poly1305;
use commonware_glue::dkg::{self, orchestrator};
use commonware_p2p::{
    Receiver, Sender,
    authenticated::lookup::{self, Network},
    max_message_size,
};
use commonware_runtime::Quota;
use commonware_stream::{
    cups::{self, Cups},
    sake::{self, Sake},
};
use commonware_utils::{NZU32, NZUsize};

use crate::{
    block::BlockRules,
    digest::BlockDigest,
    gossip,
    handshake::{HANDSHAKE_AGE_MAX_MS, Handshakes, Watched},
    peers::PEERS_MAX,
    types::{Broadcast, PARTICIPANTS_MAX, PrivateKey, PublicKey, Scheme, Variant},
};

/// A sender and a receiver for each purpose.
pub(crate) struct Channels<S, R> {
    pub(crate) vote: (S, R),
    pub(crate) certificate: (S, R),
    pub(crate) resolver: (S, R),
    pub(crate) backfill: (S, R),
    pub(crate) broadcast: (S, R),
    pub(crate) dkg: (S, R),
    pub(crate) gossip: (S, R),
    pub(crate) release: (S, R),
}

/// Messages a second, and at once, for each of the channels in order. Memory is set aside for the bursts of all peers.
pub(crate) const QUOTAS: [(NonZeroU32, NonZeroU32); 8] = [
    (NZU32!(2048), NZU32!(64)),
    (NZU32!(2048), NZU32!(64)),
    (NZU32!(512), NZU32!(16)),
    (NZU32!(1024), NZU32!(64)),
    (NZU32!(512), NZU32!(16)),
    (NZU32!(512), NZU32!(16)),
    (NZU32!(512), NZU32!(32)),
    (NZU32!(512), NZU32!(64)),
];

impl<S, R> Channels<S, R>
where
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
{
    /// Registers all channels with a network.
    pub(crate) fn register(mut register: impl FnMut(u64, Quota) -> (S, R)) -> Self {
        let mut quotas = (0..).zip(QUOTAS);
        let mut next = || {
            let (channel, (rate, burst)) = quotas.next().unwrap_or((u64::MAX, (NZU32!(1), NZU32!(1))));
            register(channel, Quota::per_second(rate).allow_burst(burst))
        };
        Self {
            vote: next(),
            certificate: next(),
            resolver: next(),
            backfill: next(),
            broadcast: next(),
            dkg: next(),
            gossip: next(),
            release: next(),
        }
    }
}

/// Maximum length of an engine's message in bytes.
pub(crate) fn message_bytes_max(rules: &BlockRules) -> u32 {
    let participants = PARTICIPANTS_MAX.get();
    max_message_size(&[
        orchestrator::max_payload_size::<Scheme, BlockDigest>(participants),
        marshal::max_payload_size::<Broadcast, Scheme>(participants, rules),
        dkg::max_payload_size::<Variant, PublicKey>(PARTICIPANTS_MAX),
        gossip::MESSAGE_BYTES_MAX,
    ])
}

/// Interval of pings on an idle connection.
const PING: Duration = Duration::from_secs(4);
/// Time without received or sent bytes after which a connection is closed: a little more than three pings.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(14);

/// Mutual authentication and encryption of connections.
pub(crate) type Handshake = Cups<Watched, ChaCha20Poly1305>;

/// The network over TCP.
pub(crate) type TcpNetwork<E> = Network<E, Handshake>;

/// The settings of the network over TCP.
pub(crate) fn tcp_config(
    signer: PrivateKey,
    namespace: &[u8],
    listen: SocketAddr,
    message_bytes_max: u32,
    notes: Handshakes,
) -> lookup::Config<Handshake> {
    let inner = Sake {
        signer,
        synchrony_bound: Duration::from_secs(10),
        max_handshake_age: Duration::from_millis(HANDSHAKE_AGE_MAX_MS),
        version: sake::Version::V1,
    };
    let handshake = Cups::new(Watched { inner, notes }, cups::Version::V1);
    lookup::Config {
        handshake,
        namespace: namespace.to_vec(),
        listen,
        // Members are in private networks or behind address translation; their keys identify them.
        allow_private_ips: true,
        allow_dns: true,
        bypass_ip_check: true,
        max_message_size: message_bytes_max,
        max_peers_per_set: NonZeroUsize::new(PEERS_MAX).unwrap_or(NonZeroUsize::MIN),
        mailbox_size: NZUsize!(1024),
        send_batch_size: NZUsize!(16),
        handshake_timeout: Duration::from_secs(5),
        dial_timeout: Duration::from_secs(10),
        peer_connection_cooldown: Duration::from_secs(1),
        // A single address can occupy less than a third of the slots: its rate times the timeout.
        max_concurrent_handshakes: NZU32!(512),
        allowed_handshake_rate_per_ip: Quota::per_second(NZU32!(32)),
        // Refused attempts of an address count against its subnet too, so a limit there would let it lock out its neighbours.
        allowed_handshake_rate_per_subnet: Quota::per_second(NZU32!(1_000_000)),
        ping_frequency: PING,
        dial_frequency: Duration::from_millis(100),
        // Every set contains all members, so an older set would only keep removed ones connected.
        tracked_peer_sets: NZUsize!(1),
        // A node restored from an older copy briefly contradicts itself and must not be blocked for an epoch. A hostile node gains one
        // handshake and message a minute.
        block_duration: Duration::from_mins(1),
    }
}
