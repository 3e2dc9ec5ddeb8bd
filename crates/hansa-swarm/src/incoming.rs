//! Limits unauthenticated inbound connections for each address. All addresses share a global limit, and a stranger's connection
//! counts until it times out. Established connections are not limited here.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::ListenFailure;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

/// Simultaneous handshakes from one address. Several members can be behind it, and a handshake takes milliseconds.
const PENDING_PER_ADDRESS_MAX: usize = 16;

/// An address has reached its limit.
#[derive(Debug, thiserror::Error)]
#[error("{PENDING_PER_ADDRESS_MAX} connections from {0} are being set up")]
struct TooMany(IpAddr);

/// Unauthenticated inbound connections.
#[derive(Default)]
pub(crate) struct Incoming {
    pending: HashMap<ConnectionId, IpAddr>,
}

/// The source address for the limit: an IPv4 address, or an IPv6 /64 network, which a single host can own.
fn source(remote: &Multiaddr) -> Option<IpAddr> {
    let ip = remote.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    })?;
    Some(match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) >> 64 << 64).into(),
        v4 => v4,
    })
}

impl NetworkBehaviour for Incoming {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let Some(source) = source(remote) else { return Ok(()) };
        if self.pending.values().filter(|other| **other == source).count() >= PENDING_PER_ADDRESS_MAX {
            return Err(ConnectionDenied::new(TooMany(source)));
        }
        self.pending.insert(id, source);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending.remove(&id);
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) = event {
            self.pending.remove(&connection_id);
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_takes_its_places_and_no_more() {
        let here: Multiaddr = "/ip4/127.0.0.1/tcp/4001".parse().unwrap();
        let mut incoming = Incoming::default();
        let mut ids = 0..;
        let mut knocks = |incoming: &mut Incoming, from: &str| {
            let id = ConnectionId::new_unchecked(ids.next().unwrap());
            incoming.handle_pending_inbound_connection(id, &here, &from.parse().unwrap()).map(|()| id)
        };
        let floods = [
            ["/ip4/10.0.0.2/tcp/4001", "/ip4/10.0.0.2/tcp/4002", "/ip4/10.0.0.3/tcp/4001"],
            ["/ip6/2001:db8::1/tcp/1", "/ip6/2001:db8::2/tcp/1", "/ip6/2001:db8:0:1::1/tcp/1"],
        ];
        for [flooder, again, neighbour] in floods {
            let mut admitted = Vec::new();
            for _ in 0..PENDING_PER_ADDRESS_MAX {
                admitted.push(knocks(&mut incoming, flooder).unwrap());
            }
            assert!(knocks(&mut incoming, again).is_err());
            admitted.push(knocks(&mut incoming, neighbour).unwrap());
            // One of them authenticates as a member.
            let member = PeerId::random();
            let remote = flooder.parse().unwrap();
            incoming.handle_established_inbound_connection(admitted[0], member, &here, &remote).unwrap();
            admitted.push(knocks(&mut incoming, again).unwrap());
            for id in admitted {
                incoming.pending.remove(&id);
            }
        }
        assert!(incoming.pending.is_empty());
    }
}
