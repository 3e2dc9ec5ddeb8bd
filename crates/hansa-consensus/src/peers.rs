//! Admission of peers: only registered members can connect.
//!
//! An epoch's committee comes from the finalised epoch artifact, all other members from the registry at the finalised head, so a new
//! member can connect without a restart. Validators are primary peers, which others dial; members without a seat are secondary peers,
//! which dial.
//!
//! A removed member is disconnected when its last seat ends, so that removals never cost a committee its quorum, and at once if it has
//! no seat. A replaced key is disconnected at once.

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

/// Maximum number of nodes, including this one.
pub(crate) const PEERS_MAX: usize = MEMBERS_MAX.saturating_add(1);

/// Parses a registered endpoint: `IP:port`, or `host:port` with a name that is resolved before each dial. A malformed one becomes an
/// unreachable address: its member can still dial others.
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

/// The admitted peers, tracked in the transport.
#[derive(Clone, Debug)]
pub(crate) struct MemberPeers<M> {
    transport: M,
    me: PublicKey,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// Number of sets passed to the transport.
    sets: u64,
    primary: BTreeMap<PublicKey, Address>,
    secondary: BTreeMap<PublicKey, Address>,
    /// Members that are not removed.
    members: BTreeMap<PublicKey, Address>,
    removed: BTreeSet<PublicKey>,
    /// Whether the registry has been read.
    read: bool,
}

impl Known {
    /// Whether a key with a seat may connect: it is a member's current key, or was at the member's removal.
    fn is_listed(&self, key: &PublicKey) -> bool {
        !self.read || self.members.contains_key(key) || self.removed.contains(key)
    }

    /// Whether a key has a seat in this epoch's committee or the next.
    fn has_seat(&self, key: &PublicKey) -> bool {
        self.primary.contains_key(key) || self.secondary.contains_key(key)
    }

    /// The set to track. The registry's address takes precedence over the one in the epoch artifact. Empty if `me` is refused by all
    /// others: it was removed and has no seat, or its key was replaced.
    fn peers(&self, me: &PublicKey) -> (BTreeMap<PublicKey, Address>, BTreeMap<PublicKey, Address>) {
        let is_out = self.removed.contains(me) && !self.has_seat(me);
        if is_out || (self.has_seat(me) && !self.is_listed(me)) {
            return (BTreeMap::new(), BTreeMap::new());
        }
        let current = |peers: &BTreeMap<PublicKey, Address>| -> BTreeMap<PublicKey, Address> {
            let allowed = peers.iter().filter(|(key, _)| self.is_listed(key));
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

    /// Updates the members from the registry at the finalised head.
    pub(crate) fn update(&mut self, members: &[Member]) {
        let mut known = self.known.lock();
        let before = known.peers(&self.me);
        known.members.clear();
        known.removed.clear();
        known.read = true;
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
        let changed = known.sets > 0 && known.peers(&self.me) != before;
        drop(known);
        if changed {
            self.publish();
        }
    }

    /// The validators of the current epoch.
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
        known.primary.insert(validator.clone(), address("127.0.0.1:1"));
        known.members.insert(validator, address("127.0.0.1:1"));
        known.members.insert(member.clone(), address("127.0.0.1:2"));
        known.removed.insert(key(4));
        known.read = true;
        let (primary, secondary) = known.peers(&me);
        assert_eq!((primary.len(), secondary.len()), (1, 1));
        known.removed.insert(me.clone());
        assert_eq!(known.peers(&me), (BTreeMap::new(), BTreeMap::new()));
        assert_eq!(known.peers(&member).0.len(), 1, "the others go on");
    }

    /// S4: two removals of four founders must not take the committee in force its quorum. A replaced key goes at once.
    #[test]
    fn a_seat_outlasts_removal_and_ends_with_its_key() {
        use commonware_cryptography::{Signer as _, ed25519::PrivateKey};
        let key = |seed| PrivateKey::from_seed(seed).public_key();
        let (seated, next, lone) = (key(1), key(2), key(3));
        let mut known = Known { read: true, ..Known::default() };
        known.primary.insert(seated.clone(), address("127.0.0.1:1"));
        known.secondary.insert(next.clone(), address("127.0.0.1:2"));
        known.removed.extend([seated.clone(), next.clone(), lone.clone()]);
        let (primary, secondary) = known.peers(&key(9));
        assert!(primary.contains_key(&seated) && secondary.contains_key(&next));
        assert!(!secondary.contains_key(&lone), "without a seat it is cut off at once");
        assert_eq!(known.peers(&seated).1.len(), 1, "it works on until its seat ends");

        known.removed.remove(&seated);
        assert_eq!(known.peers(&key(9)).0.len(), 0, "the registry lists another key for its member");
        assert_eq!(known.peers(&seated), (BTreeMap::new(), BTreeMap::new()));
    }
}
