//! Dial addresses of members: validated endpoints of their cards, and resolution of host names.
//!
//! Members choose their endpoints, so only unicast addresses are dialled. Private and loopback addresses are allowed.

use std::net::IpAddr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Maximum number of addresses of a host name.
const ADDRESSES_MAX: usize = 8;

/// Address family of a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Any,
    V4,
    V6,
}

impl Family {
    const fn admits(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
        }
    }
}

/// A member's endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint(Target);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Address(Multiaddr),
    Host { name: String, port: u16, family: Family },
}

impl Endpoint {
    /// Parses `/ip4|ip6|dns|dns4|dns6/…/tcp/PORT`; the error is a reason for people.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let address: Multiaddr = text.parse().map_err(|_| "not a multiaddr")?;
        let mut parts = address.iter();
        let (host, port) = match (parts.next(), parts.next(), parts.next()) {
            (Some(host), Some(Protocol::Tcp(port)), None) if port != 0 => (host, port),
            _ => return Err("not of the form /ip4/ADDRESS/tcp/PORT or /dns/NAME/tcp/PORT"),
        };
        let (name, family) = match host {
            Protocol::Ip4(ip) if is_node(ip.into()) => return Ok(Self(Target::Address(address))),
            Protocol::Ip6(ip) if is_node(ip.into()) => return Ok(Self(Target::Address(address))),
            Protocol::Ip4(_) | Protocol::Ip6(_) => return Err("no node can have this address"),
            Protocol::Dns(name) => (name, Family::Any),
            Protocol::Dns4(name) => (name, Family::V4),
            Protocol::Dns6(name) => (name, Family::V6),
            _ => return Err("neither an IP address nor a host name"),
        };
        Ok(Self(Target::Host { name: name.into_owned(), port, family }))
    }

    /// The address; `None` for a host name.
    pub(crate) const fn address(&self) -> Option<&Multiaddr> {
        match &self.0 {
            Target::Address(address) => Some(address),
            Target::Host { .. } => None,
        }
    }

    /// The current addresses by the system's resolver; empty for an unknown name.
    pub(crate) async fn resolve(&self) -> Vec<Multiaddr> {
        match &self.0 {
            Target::Address(address) => vec![address.clone()],
            Target::Host { name, port, family } => {
                match tokio::net::lookup_host((name.as_str(), *port)).await {
                    Ok(found) => {
                        let ips = found.map(|socket| socket.ip());
                        let usable = ips.filter(|ip| family.admits(*ip) && is_node(*ip)).take(ADDRESSES_MAX);
                        usable.map(|ip| Multiaddr::from(ip).with(Protocol::Tcp(*port))).collect()
                    }
                    Err(error) => {
                        tracing::debug!(name, %error, "a member's host name could not be resolved");
                        Vec::new()
                    }
                }
            }
        }
    }
}

/// Whether the address is unicast.
fn is_node(ip: IpAddr) -> bool {
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_nodes_address_is_dialled() {
        let fixed = ["/ip4/127.0.0.1/tcp/4001", "/ip4/10.1.2.3/tcp/1", "/ip6/::1/tcp/4001"];
        for text in fixed {
            assert_eq!(Endpoint::parse(text).unwrap().address(), Some(&text.parse().unwrap()));
        }
        for text in ["/dns/node1.acme.example/tcp/4001", "/dns4/a/tcp/1", "/dns6/a/tcp/1"] {
            assert_eq!(Endpoint::parse(text).unwrap().address(), None);
        }
        for text in [
            "",
            "node1.acme.example:4001",
            "/ip4/0.0.0.0/tcp/4001",
            "/ip6/::/tcp/4001",
            "/ip4/224.0.0.1/tcp/4001",
            "/ip6/ff02::1/tcp/4001",
            "/ip4/255.255.255.255/tcp/4001",
            "/ip4/10.1.2.3/tcp/0",
            "/ip4/10.1.2.3/udp/4001",
            "/ip4/10.1.2.3",
            "/ip4/10.1.2.3/tcp/4001/ws",
            "/dnsaddr/acme.example/tcp/4001",
            "/unix/tmp",
        ] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn names_are_looked_up() {
        let endpoint = Endpoint::parse("/dns4/localhost/tcp/4001").unwrap();
        assert_eq!(endpoint.resolve().await, ["/ip4/127.0.0.1/tcp/4001".parse().unwrap()]);
    }
}
