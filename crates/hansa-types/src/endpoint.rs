//! Where a member's node can be reached: checks of what a card says.
//!
//! Names are not looked up here, and nothing is dialled.

use core::net::IpAddr;

use crate::{Endpoints, MemberCard, is_misleading};

/// The longest name of a member, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// The longest host name, in bytes (RFC 1035).
const HOST_BYTES_MAX: usize = 253;
/// The longest part of a host name between two dots, in bytes.
const LABEL_BYTES_MAX: usize = 63;

/// What is wrong with a card.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// The name is unusable.
    #[error(
        "the name is empty, longer than 64 bytes, or has spaces at an end or characters that cannot be seen: give the organisation's name"
    )]
    Name,
    /// Not an address or a name at which others can reach a node.
    #[error("{0:?} is neither an IP address nor a host name that other members can reach")]
    Host(String),
    /// The consensus endpoint is unusable.
    #[error(
        "the consensus endpoint {0:?} is not HOST:PORT with an address or a name that other members can reach"
    )]
    Consensus(String),
    /// The swarm endpoint is unusable.
    #[error(
        "the swarm endpoint {0:?} is not /ip4/ADDRESS/tcp/PORT, /ip6/ADDRESS/tcp/PORT or /dns/NAME/tcp/PORT with an address or a name that other members can reach"
    )]
    Swarm(String),
}

impl MemberCard {
    /// Checks name and endpoints as a person wrote them, before others rely on them.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), CardError> {
        Self::check_facts(&self.name, &self.consensus_endpoint, &self.swarm_endpoint)
    }

    /// As [`MemberCard::check`], before there are keys for a card.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check_facts(name: &str, consensus_endpoint: &str, swarm_endpoint: &str) -> Result<(), CardError> {
        if name.is_empty()
            || name.len() > NAME_BYTES_MAX
            || name.trim() != name
            || name.chars().any(is_misleading)
        {
            return Err(CardError::Name);
        }
        check_endpoints(consensus_endpoint, swarm_endpoint)
    }
}

impl Endpoints {
    /// Checks both endpoints before others rely on them.
    ///
    /// # Errors
    /// The first one that is wrong.
    pub fn check(&self) -> Result<(), CardError> {
        check_endpoints(&self.consensus_endpoint, &self.swarm_endpoint)
    }
}

fn check_endpoints(consensus: &str, swarm: &str) -> Result<(), CardError> {
    if !is_consensus_endpoint(consensus) {
        return Err(CardError::Consensus(consensus.to_owned()));
    }
    if !is_swarm_endpoint(swarm) {
        return Err(CardError::Swarm(swarm.to_owned()));
    }
    Ok(())
}

/// Where a node can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// A name to look up.
    Name(String),
}

impl core::str::FromStr for Host {
    type Err = CardError;

    fn from_str(text: &str) -> Result<Self, CardError> {
        Self::parse(text).ok_or_else(|| CardError::Host(text.to_owned()))
    }
}

impl Host {
    /// Where a node listens that is reached here: at the address itself, and for a name at all of the machine's addresses.
    pub const fn listens_at(&self) -> IpAddr {
        match self {
            Self::Address(address) => *address,
            Self::Name(_) => IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
        }
    }

    /// Reads an address or a name; `None` for what nobody could reach.
    pub fn parse(text: &str) -> Option<Self> {
        match text.parse::<IpAddr>() {
            Ok(address) => is_reachable(address).then_some(Self::Address(address)),
            Err(_) => is_host_name(text).then(|| Self::Name(text.to_owned())),
        }
    }

    /// `host:port` of the consensus network.
    pub fn consensus_endpoint(&self, port: u16) -> String {
        match self {
            Self::Address(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            Self::Address(address) => format!("{address}:{port}"),
            Self::Name(name) => format!("{name}:{port}"),
        }
    }

    /// The multiaddr of the swarm.
    pub fn swarm_endpoint(&self, port: u16) -> String {
        match self {
            Self::Address(IpAddr::V4(address)) => format!("/ip4/{address}/tcp/{port}"),
            Self::Address(IpAddr::V6(address)) => format!("/ip6/{address}/tcp/{port}"),
            Self::Name(name) => format!("/dns/{name}/tcp/{port}"),
        }
    }
}

fn is_reachable(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast()
}

/// Letters, digits and hyphens between dots; the last part is no number, so that a mistyped address is no name.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= HOST_BYTES_MAX
        && name.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port != 0)
}

fn is_consensus_endpoint(endpoint: &str) -> bool {
    let Some((host, port)) = endpoint.rsplit_once(':') else { return false };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bracketed {
        Some(address) => address.parse().is_ok_and(|address| is_reachable(IpAddr::V6(address))),
        None => !host.contains(':') && Host::parse(host).is_some(),
    };
    host && is_port(port)
}

fn is_swarm_endpoint(endpoint: &str) -> bool {
    let parts: Vec<_> = endpoint.split('/').collect();
    let ["", kind, host, "tcp", port] = parts.as_slice() else { return false };
    let host = match (*kind, Host::parse(host)) {
        ("ip4", Some(Host::Address(address))) => address.is_ipv4(),
        ("ip6", Some(Host::Address(address))) => address.is_ipv6(),
        ("dns" | "dns4" | "dns6", Some(Host::Name(_))) => true,
        _ => false,
    };
    host && is_port(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_name_what_can_be_reached() {
        for good in
            ["10.0.0.1:4000", "[::1]:4000", "[2001:db8::1]:65535", "node1.acme.example:4000", "localhost:1"]
        {
            assert!(is_consensus_endpoint(good), "{good}");
        }
        for bad in [
            "",
            ":4000",
            "node1",
            "node1:",
            "node1:0",
            "node1:65536",
            "node1:+1",
            "0.0.0.0:4000",
            "[::]:4000",
            "2001:db8::1:4000",
            "224.0.0.1:4000",
            "10.0.0.256:4000",
            "-a.example:1",
            "a..example:1",
            "a_b:1",
            "no de:1",
        ] {
            assert!(!is_consensus_endpoint(bad), "{bad}");
        }
        for good in ["/ip4/10.0.0.1/tcp/4001", "/ip6/::1/tcp/4001", "/dns/node1.acme.example/tcp/4001"] {
            assert!(is_swarm_endpoint(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "/ip4/0.0.0.0/tcp/4001",
            "/ip6/::/tcp/1",
            "/ip4/::1/tcp/1",
            "/dns/10.0.0.1/tcp/1",
            "/dns//tcp/1",
            "/ip4/10.0.0.1/udp/1",
            "/ip4/10.0.0.1/tcp/0",
            "/ip4/10.0.0.1/tcp/1/p2p/x",
            "node1:4001",
        ] {
            assert!(!is_swarm_endpoint(bad), "{bad}");
        }
        assert!(!is_host_name(&"a".repeat(64)) && !is_host_name(&"a.".repeat(127)));
    }

    #[test]
    fn a_host_gives_the_endpoints_that_are_accepted() {
        for text in ["10.0.0.1", "2001:db8::1", "node1.acme.example"] {
            let host = Host::parse(text).unwrap();
            assert!(is_consensus_endpoint(&host.consensus_endpoint(4_000)), "{text}");
            assert!(is_swarm_endpoint(&host.swarm_endpoint(4_001)), "{text}");
        }
        assert_eq!(Host::parse("0.0.0.0"), None);
        assert!(Host::parse("node1.acme.example").unwrap().listens_at().is_unspecified());
    }
}
