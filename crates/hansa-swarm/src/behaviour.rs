//! All protocols of the node, as libp2p composes them.

use std::time::Duration;

use hansa_content::Cid;
use libp2p::allow_block_list::{self, AllowedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::kad::{self, RecordKey};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{StreamProtocol, identify, ping};

use crate::key::{self, KeyBehaviour};
use crate::{Limits, bitswap};

const KAD: StreamProtocol = StreamProtocol::new("/ipfs/lan/kad/1.0.0");
const CONNECTIONS_PER_PEER: u32 = 4;

#[derive(NetworkBehaviour)]
pub(crate) struct Node {
    // The two that turn peers away stand first: nothing else sees a connection they refuse.
    pub(crate) members: allow_block_list::Behaviour<AllowedPeers>,
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    kad: kad::Behaviour<MemoryStore>,
    pub(crate) bitswap: bitswap::Behaviour,
    pub(crate) key: KeyBehaviour,
}

impl Node {
    pub(crate) fn new(keys: &Keypair, limits: &Limits) -> Self {
        let identify = identify::Config::new("ipfs/0.1.0".into(), keys.public())
            .with_agent_version(concat!("hansa/", env!("CARGO_PKG_VERSION")).into())
            .with_cache_size(0);
        let connections = ConnectionLimits::default()
            .with_max_established(Some(limits.connections_max))
            .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER))
            .with_max_pending_incoming(Some(limits.connections_max.min(128)));
        Self {
            members: allow_block_list::Behaviour::default(),
            limits: connection_limits::Behaviour::new(connections),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new().with_timeout(Duration::from_secs(30))),
            kad: kademlia(keys),
            bitswap: bitswap::Behaviour::new(),
            key: key::behaviour(limits),
        }
    }

    pub(crate) fn add_address(&mut self, peer: &libp2p::PeerId, address: libp2p::Multiaddr) {
        self.kad.add_address(peer, address);
    }

    pub(crate) fn forget(&mut self, peer: &libp2p::PeerId) {
        self.kad.remove_peer(peer);
    }

    /// Announces a block under its multihash, which is how IPFS keys providers.
    pub(crate) fn provide(&mut self, cid: &Cid) -> bool {
        self.kad.start_providing(RecordKey::new(&cid.hash().to_bytes())).is_ok()
    }
}

fn kademlia(keys: &Keypair) -> kad::Behaviour<MemoryStore> {
    let peer = keys.public().to_peer_id();
    // Provider records are what the table is for; values of others are hardly kept.
    let records = MemoryStoreConfig { max_records: 64, max_value_bytes: 1024, ..Default::default() };
    let mut kad =
        kad::Behaviour::with_config(peer, MemoryStore::with_config(peer, records), kad::Config::new(KAD));
    kad.set_mode(Some(kad::Mode::Server));
    kad
}
