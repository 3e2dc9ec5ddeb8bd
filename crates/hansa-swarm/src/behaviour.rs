//! The composition of all protocols of the node.

use std::time::Duration;

use hansa_content::Cid;
use libp2p::allow_block_list::{self, AllowedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig, RecordStore};
use libp2p::kad::{self, ProviderRecord, RecordKey, StoreInserts};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{Multiaddr, PeerId, StreamProtocol, identify, ping};

use crate::incoming::Incoming;
use crate::key::{self, KeyBehaviour};
use crate::{Limits, bitswap};

const KAD: StreamProtocol = StreamProtocol::new("/ipfs/lan/kad/1.0.0");

#[derive(NetworkBehaviour)]
pub(crate) struct Node {
    // Behaviours that refuse connections come first: the others do not see a refused one.
    pub(crate) members: allow_block_list::Behaviour<AllowedPeers>,
    incoming: Incoming,
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
            .with_max_established_per_peer(Some(limits.connections_per_peer))
            .with_max_pending_incoming(Some(limits.connections_max.min(128)));
        Self {
            members: allow_block_list::Behaviour::default(),
            incoming: Incoming::default(),
            limits: connection_limits::Behaviour::new(connections),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(pings(limits.silence)),
            kad: kademlia(keys),
            bitswap: bitswap::Behaviour::new(limits),
            key: key::behaviour(limits),
        }
    }

    pub(crate) fn add_address(&mut self, peer: &PeerId, address: Multiaddr) {
        self.kad.add_address(peer, address);
    }

    pub(crate) fn remove_address(&mut self, peer: &PeerId, address: &Multiaddr) {
        self.kad.remove_address(peer, address);
    }

    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.kad.remove_peer(peer);
    }

    /// Announces a root.
    pub(crate) fn provide(&mut self, key: RecordKey) {
        if let Err(error) = self.kad.start_providing(key) {
            tracing::debug!(%error, "a root is not announced");
        }
    }

    /// Stores another member's provider record.
    pub(crate) fn store_provider(&mut self, record: ProviderRecord) {
        if let Err(error) = self.kad.store_mut().add_provider(record) {
            tracing::debug!(%error, "a provider record is not stored");
        }
    }

    /// Removes a provider record, this node's or another's.
    pub(crate) fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        self.kad.store_mut().remove_provider(key, provider);
    }
}

/// Ping interval: a live connection is never silent for too long, even if one ping is lost.
fn pings(silence: Duration) -> ping::Config {
    let part = |of: u32| silence.checked_div(of).unwrap_or(silence);
    ping::Config::new().with_interval(part(4)).with_timeout(part(2))
}

/// The key of a block in the hash table: its multihash, as in all of IPFS.
pub(crate) fn record_key(cid: &Cid) -> RecordKey {
    RecordKey::new(&cid.hash().to_bytes())
}

fn kademlia(keys: &Keypair) -> kad::Behaviour<MemoryStore> {
    let peer = keys.public().to_peer_id();
    // The node limits provider records for each member itself. Values of others are not stored.
    let records = MemoryStoreConfig { max_provided_keys: usize::MAX, ..Default::default() };
    let mut config = kad::Config::new(KAD);
    config.set_record_filtering(StoreInserts::FilterBoth);
    let mut kad = kad::Behaviour::with_config(peer, MemoryStore::with_config(peer, records), config);
    kad.set_mode(Some(kad::Mode::Server));
    kad
}
