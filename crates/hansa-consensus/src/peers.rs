//! Decides who may connect: the members that the registry names, and nobody else.
//!
//! An epoch's committee comes from the finalised epoch artifact, everybody else from the registry at the finalised
//! head, so that a member admitted a moment ago can connect without a restart and a removed one is cut off. Validators
//! are primary peers, which others dial; members without a seat are secondary peers, which dial.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use commonware_consensus::types::Epoch;
use commonware_glue::dkg::network::Manager;
use commonware_p2p::{
    Address, AddressableManager, AddressableTrackedPeers, Ingress, PeerSetSubscription, Provider,
    TrackedPeers,
};
use commonware_utils::{
    Hostname,
    ordered::{Map, Set},
};
use hansa_types::{MEMBERS_MAX, Member, MemberStatus};
use parking_lot::Mutex;

use crate::{
    genesis::public_key,
    types::{Directory, PublicKey},
};

/// Most nodes that may connect at a time, this one included.
pub(crate) const PEERS_MAX: usize = MEMBERS_MAX.saturating_add(1);

/// Reads an endpoint as registered: `IP:port`, or `host:port` with a name that is looked up for each dial. A malformed one
/// becomes an address at which nobody answers: its member can still dial others.
pub(crate) fn address(endpoint: &str) -> Address {
    if let Ok(socket) = endpoint.parse::<SocketAddr>() {
        return Address::Symmetric(socket);
    }
    let unreachable = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let named = endpoint.rsplit_once(':').and_then(|(host, port)| {
        Some(Ingress::Dns { host: Hostname::new(host).ok()?, port: port.parse().ok()? })
    });
    match named {
        Some(ingress) => Address::Asymmetric { ingress, egress: unreachable },
        None => Address::Symmetric(unreachable),
    }
}

/// The peers allowed to connect, kept current in the transport below.
#[derive(Clone, Debug)]
pub(crate) struct MemberPeers<M> {
    transport: M,
    me: PublicKey,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// Grows by one with every set handed to the transport.
    sets: u64,
    primary: BTreeMap<PublicKey, Address>,
    secondary: BTreeMap<PublicKey, Address>,
    members: BTreeMap<PublicKey, Address>,
    removed: BTreeSet<PublicKey>,
}

impl Known {
    /// The set to track. The registry's address wins over the one frozen in the epoch artifact.
    /// Empty where `me` was removed: nobody would answer it.
    fn peers(&self, me: &PublicKey) -> (BTreeMap<PublicKey, Address>, BTreeMap<PublicKey, Address>) {
        if self.removed.contains(me) {
            return (BTreeMap::new(), BTreeMap::new());
        }
        let current = |peers: &BTreeMap<PublicKey, Address>| -> BTreeMap<PublicKey, Address> {
            let allowed = peers.iter().filter(|(key, _)| !self.removed.contains(*key));
            let fresh =
                allowed.map(|(key, frozen)| (key.clone(), self.members.get(key).unwrap_or(frozen).clone()));
            fresh.collect()
        };
        let primary = current(&self.primary);
        let mut secondary = current(&self.secondary);
        secondary.extend(self.members.clone());
        let room = PEERS_MAX.saturating_sub(1).saturating_sub(primary.len());
        let secondary = secondary.into_iter().filter(|(key, _)| !primary.contains_key(key)).take(room);
        let secondary = secondary.collect();
        (primary, secondary)
    }
}

impl<M: AddressableManager<PublicKey = PublicKey>> MemberPeers<M> {
    pub(crate) fn new(transport: M, me: PublicKey) -> Self {
        Self { transport, me, known: Arc::default() }
    }

    /// Takes over the registry at the finalised head.
    pub(crate) fn update(&mut self, members: &[Member]) {
        let mut known = self.known.lock();
        let before = known.peers(&self.me);
        known.members.clear();
        known.removed.clear();
        for member in members {
            let Some(key) = public_key(member.card.network_key) else { continue };
            match member.status {
                MemberStatus::Removed => {
                    known.removed.insert(key);
                }
                MemberStatus::Active | MemberStatus::Suspended => {
                    known.members.insert(key, address(&member.card.consensus_endpoint));
                }
            }
        }
        // A key that went from a removed member to an active one (or was reset) counts as the active one's.
        let Known { members, removed, .. } = &mut *known;
        removed.retain(|key| !members.contains_key(key));
        let changed = known.sets > 0 && known.peers(&self.me) != before;
        drop(known);
        if changed {
            self.publish();
        }
    }

    /// Those with a seat in the current epoch.
    pub(crate) fn validators(&self) -> Vec<PublicKey> {
        self.known.lock().primary.keys().cloned().collect()
    }

    /// Whether `key` has a seat in the current epoch.
    pub(crate) fn is_validator(&self, key: &PublicKey) -> bool {
        self.known.lock().primary.contains_key(key)
    }

    fn publish(&mut self) {
        let mut known = self.known.lock();
        let (primary, secondary) = known.peers(&self.me);
        let id = known.sets;
        known.sets = id.saturating_add(1);
        drop(known);
        tracing::info!(
            set = id,
            validators = primary.len(),
            others = secondary.len(),
            "peers allowed to connect"
        );
        let peers =
            AddressableTrackedPeers::new(Map::from_iter_dedup(primary), Map::from_iter_dedup(secondary));
        let _ = self.transport.track(id, peers);
    }
}

impl<M: AddressableManager<PublicKey = PublicKey>> Provider for MemberPeers<M> {
    type PublicKey = PublicKey;

    async fn peer_set(&mut self, id: u64) -> Option<TrackedPeers<PublicKey>> {
        self.transport.peer_set(id).await
    }

    async fn subscribe(&mut self) -> PeerSetSubscription<PublicKey> {
        self.transport.subscribe().await
    }
}

impl<M: AddressableManager<PublicKey = PublicKey>> Manager for MemberPeers<M> {
    type Directory = Directory;
    type Error = Infallible;

    fn track(
        &mut self,
        _: Epoch,
        peers: TrackedPeers<PublicKey>,
        directory: &Directory,
    ) -> Result<(), Infallible> {
        let located = |keys: &Set<PublicKey>| -> BTreeMap<PublicKey, Address> {
            let located = keys.iter().filter_map(|key| Some((key.clone(), directory.get(key)?.clone())));
            located.collect()
        };
        let mut known = self.known.lock();
        known.primary = located(&peers.primary);
        known.secondary = located(&peers.secondary);
        drop(known);
        self.publish();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_bad_ones_lead_nowhere() {
        assert_eq!(address("127.0.0.1:7000"), Address::Symmetric("127.0.0.1:7000".parse().unwrap()));
        assert!(matches!(
            address("node-1.example:7000"),
            Address::Asymmetric { ingress: Ingress::Dns { port: 7000, .. }, .. }
        ));
        for bad in ["", "node", "node:port", "no de:1", "1.2.3.4:99999"] {
            assert_eq!(address(bad), Address::Symmetric("0.0.0.0:0".parse().unwrap()), "{bad}");
        }
    }

    #[test]
    fn a_node_that_was_removed_dials_nobody() {
        use commonware_cryptography::{Signer as _, ed25519::PrivateKey};
        let key = |seed| PrivateKey::from_seed(seed).public_key();
        let (me, validator, member) = (key(1), key(2), key(3));
        let mut known = Known::default();
        known.primary.insert(validator, address("127.0.0.1:1"));
        known.members.insert(member.clone(), address("127.0.0.1:2"));
        known.removed.insert(key(4));
        let (primary, secondary) = known.peers(&me);
        assert_eq!((primary.len(), secondary.len()), (1, 1));
        known.removed.insert(me.clone());
        assert_eq!(known.peers(&me), (BTreeMap::new(), BTreeMap::new()));
        assert_eq!(known.peers(&member).0.len(), 1, "the others go on");
    }
}
