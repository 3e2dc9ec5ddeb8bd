//! Makes and reads a member's home folder: keys, card, configuration, invitation.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use alloy_primitives::Bytes;
use hansa_api::Invitation;
use hansa_envelope::{
    EnvelopeError, KeyStore, MemberKeys, Passphrase, check_card, unwrap_swarm_key, wrap_swarm_key,
};
use hansa_types::{
    ClusterId, Genesis, Host, Member, MemberCard, MemberStatus, SignedCard, SwarmKey, SwarmKeyError,
};
use zeroize::Zeroizing;

use crate::{
    Home, NodeConfig, NodeError, Secrecy,
    config::{read_text, write_file},
};

/// What a new home folder is made from. A port of 0 means: any that is free now.
#[derive(Clone, Debug)]
pub struct NewHome {
    /// The organisation's name.
    pub name: String,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Address or name at which the other members reach the node.
    pub host: Host,
    /// Port of the consensus network.
    pub consensus_port: u16,
    /// Port of the swarm.
    pub swarm_port: u16,
    /// Port of the REST interface, on loopback.
    pub rest_port: u16,
    /// Port of the JSON-RPC interface, on loopback.
    pub rpc_port: u16,
    /// File with the passphrase, relative to the home folder; made with a random passphrase if it is not there.
    pub passphrase_file: PathBuf,
}

impl NewHome {
    /// A home for a node on this machine.
    pub fn local(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            cluster: ClusterId(1),
            host: Host::Address(Ipv4Addr::LOCALHOST.into()),
            consensus_port: 0,
            swarm_port: 0,
            rest_port: 0,
            rpc_port: 0,
            passphrase_file: "passphrase".into(),
        }
    }
}

/// Makes a home folder with new keys, and returns the card that others register.
///
/// # Errors
/// When it is a home already, or a file cannot be written.
pub fn create_home(home: &Home, new: &NewHome) -> Result<SignedCard, NodeError> {
    create_home_with(home, new, None, |_| Ok(()))
}

/// As [`create_home`], with keys that exist, if there are any, and with what `add` writes. The configuration comes last: a home without it is
/// incomplete, and the next call goes on with it.
pub(crate) fn create_home_with(
    home: &Home,
    new: &NewHome,
    keys: Option<MemberKeys>,
    add: impl FnOnce(&Home) -> Result<(), NodeError>,
) -> Result<SignedCard, NodeError> {
    if home.config_file().exists() {
        return Err(NodeError::HomeExists { path: home.path().to_owned() });
    }
    // Before anything is made; ports of 0 are chosen later.
    let (consensus, swarm) = (new.consensus_port.max(1), new.swarm_port.max(1));
    let (consensus, swarm) = (new.host.consensus_endpoint(consensus), new.host.swarm_endpoint(swarm));
    MemberCard::check_facts(&new.name, &consensus, &swarm)?;
    home.create()?;
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    let [consensus, swarm, rest, rpc] =
        free_ports([new.consensus_port, new.swarm_port, new.rest_port, new.rpc_port])?;
    let config = NodeConfig::new(
        new.name.clone(),
        (SocketAddr::new(new.host.listens_at(), consensus), multiaddr(new.host.listens_at(), swarm)),
        (SocketAddr::new(loopback, rest), SocketAddr::new(loopback, rpc)),
        new.passphrase_file.clone(),
    );
    let passphrase_file = home.path().join(&new.passphrase_file);
    if !passphrase_file.exists() {
        write_file(&passphrase_file, random_text().as_bytes(), Secrecy::Private)?;
    }
    let passphrase = Passphrase::new(home.passphrase(&config)?.to_string());
    let keys = claim_keys(home, keys, &passphrase)?;
    write_file(&home.token_file(), random_text().as_bytes(), Secrecy::Private)?;
    let card = keys.card(
        new.name.clone(),
        new.cluster,
        new.host.consensus_endpoint(consensus),
        new.host.swarm_endpoint(swarm),
    )?;
    let text = serde_json::to_vec_pretty(&card).unwrap_or_default();
    write_file(&home.card_file(), &text, Secrecy::Public)?;
    add(home)?;
    home.write_config(&config)?;
    Ok(card)
}

/// Writes the key store. One that an earlier call left must open, and hold these keys, where there are any.
fn claim_keys(
    home: &Home,
    keys: Option<MemberKeys>,
    passphrase: &Passphrase,
) -> Result<MemberKeys, NodeError> {
    if !home.keys_file().exists() {
        let keys = keys.map_or_else(MemberKeys::generate, Ok)?;
        KeyStore::create(&home.keys_file(), &keys, passphrase)?;
        return Ok(keys);
    }
    let present = KeyStore::open(&home.keys_file(), passphrase)?;
    match keys {
        Some(keys) if keys.public()? != present.public()? => {
            Err(NodeError::HomeExists { path: home.path().to_owned() })
        }
        _ => Ok(present),
    }
}

fn multiaddr(host: IpAddr, port: u16) -> String {
    let kind = if host.is_ipv4() { "ip4" } else { "ip6" };
    format!("/{kind}/{host}/tcp/{port}")
}

/// 64 random hexadecimal digits and a newline.
fn random_text() -> Zeroizing<String> {
    let bytes = Zeroizing::new(rand::random::<[u8; 32]>());
    Zeroizing::new(format!("{}\n", alloy_primitives::hex::encode(bytes.as_slice())))
}

/// Where free ports are looked for: below those that the system gives to outgoing connections (Linux: from 32768), one of
/// which could otherwise take a node's port before the node listens.
const PORTS: std::ops::Range<u16> = 10_000..32_768;
/// Ports handed out by this process, whose nodes may not listen yet.
static HANDED_OUT: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// The ports wanted, with one that is free in the place of each 0.
fn free_ports<const N: usize>(wanted: [u16; N]) -> Result<[u16; N], NodeError> {
    let mut ports = wanted;
    for port in ports.iter_mut().filter(|port| **port == 0) {
        *port = free_port()?;
    }
    Ok(ports)
}

fn free_port() -> Result<u16, NodeError> {
    let mut handed_out = HANDED_OUT.lock().unwrap_or_else(PoisonError::into_inner);
    let mut last = None;
    for _ in 0..1_000 {
        let port = rand::random_range(PORTS);
        if handed_out.contains(&port) {
            continue;
        }
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => {
                handed_out.insert(port);
                return Ok(port);
            }
            Err(source) => last = Some(source),
        }
    }
    let source = last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into());
    Err(NodeError::Listen { setting: "the ports", address: "a free port of 127.0.0.1".into(), source })
}

/// Opens the home's key store, and finishes a change of passphrase that was interrupted.
///
/// # Errors
/// When the passphrase cannot be read or does not open it.
pub fn open_keys(home: &Home, config: &NodeConfig) -> Result<MemberKeys, NodeError> {
    let passphrase = Passphrase::new(home.passphrase(config)?.to_string());
    let (present, next) = (home.keys_file(), home.resealed_keys_file());
    match KeyStore::open(&present, &passphrase) {
        // The configuration names the new passphrase's file already.
        Err(EnvelopeError::WrongPassphrase(_))
            if next.exists() && KeyStore::public(&next)? == KeyStore::public(&present)? =>
        {
            let keys = KeyStore::open(&next, &passphrase)?;
            std::fs::rename(&next, &present).map_err(|source| NodeError::Write { path: present, source })?;
            Ok(keys)
        }
        opened => Ok(opened?),
    }
}

/// The account's secret key as plain hexadecimal digits and a newline.
///
/// # Errors
/// When the key store cannot be opened.
pub fn account_key(home: &Home) -> Result<Zeroizing<String>, NodeError> {
    let keys = open_keys(home, &home.config()?)?;
    Ok(Zeroizing::new(format!("0x{}\n", alloy_primitives::hex::encode(keys.account_secret()))))
}

/// Reads a member's card.
///
/// # Errors
/// When the file is missing or no card, names no organisation or no address, or is not signed by its own keys.
pub fn read_card(file: &Path) -> Result<SignedCard, NodeError> {
    let card: SignedCard = serde_json::from_str(&read_text(file)?).map_err(|e| NodeError::Config {
        path: file.to_owned(),
        problem: format!("not a member's card as `hansa keys new` writes it: {e}"),
    })?;
    card.card.check()?;
    check_card(&card)?;
    Ok(card)
}

/// Reads the home's genesis file.
///
/// # Errors
/// When it is missing or no genesis.
pub fn read_genesis(home: &Home) -> Result<Genesis, NodeError> {
    let file = home.genesis_file();
    if !file.exists() {
        return Err(NodeError::Config {
            path: file,
            problem: "there is no genesis file; take one over with `hansa node join INVITATION`, or found a \
                      consortium with `hansa node found`"
                .into(),
        });
    }
    Ok(Genesis::from_json(&read_text(&file)?)?)
}

/// A fresh swarm key.
///
/// # Errors
/// When the random generator fails.
pub fn new_swarm_key() -> Result<SwarmKey, NodeError> {
    Ok(hansa_envelope::new_swarm_key()?)
}

/// Reads the home's swarm key.
///
/// # Errors
/// When the file is missing or no swarm key.
pub fn read_swarm_key(home: &Home) -> Result<SwarmKey, NodeError> {
    let path = home.swarm_key_file();
    let text = Zeroizing::new(read_text(&path)?);
    text.parse().map_err(|problem: SwarmKeyError| NodeError::Config { path, problem: problem.to_string() })
}

/// Writes an invitation for an admitted member: the genesis, and the swarm key wrapped to its registered key.
///
/// # Errors
/// When it is not an active member.
pub fn invite(genesis: &Genesis, swarm_key: &SwarmKey, member: &Member) -> Result<Invitation, NodeError> {
    if member.status != MemberStatus::Active {
        return Err(NodeError::NotAMember(member.dc_id));
    }
    let wrapped = wrap_swarm_key(&member.card.encryption_key, swarm_key, genesis.chain_id, member.dc_id)?;
    Ok(Invitation { member: member.dc_id, genesis: genesis.clone(), sealed_swarm_key: Bytes::from(wrapped) })
}

/// Takes over what an invitation brings into the home folder.
///
/// # Errors
/// When it is for another member or another chain than the home's, or a file cannot be written.
pub fn accept_invitation(home: &Home, invitation: &Invitation) -> Result<(), NodeError> {
    invitation.genesis.check()?;
    if home.genesis_file().exists() && read_genesis(home)? != invitation.genesis {
        return Err(NodeError::OtherGenesis { path: home.genesis_file() });
    }
    let keys = open_keys(home, &home.config()?)?;
    let swarm_key =
        unwrap_swarm_key(&keys, &invitation.sealed_swarm_key, invitation.genesis.chain_id, invitation.member)
            .map_err(|_| NodeError::ForeignInvitation { home: home.path().to_owned() })?;
    write_file(&home.swarm_key_file(), swarm_key.to_text().as_bytes(), Secrecy::Private)?;
    write_file(&home.genesis_file(), invitation.genesis.to_json().as_bytes(), Secrecy::Public)
}

/// Unix time in seconds.
pub fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use hansa_contracts::draft_genesis;

    use super::*;

    #[test]
    fn a_home_is_made_once_and_its_keys_open_again() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("acme"));
        let card = create_home(&home, &NewHome::local("acme")).unwrap();
        assert_eq!(read_card(&home.card_file()).unwrap(), card);
        let keys = open_keys(&home, &home.config().unwrap()).unwrap();
        assert_eq!(keys.account(), card.card.account);
        assert!(matches!(create_home(&home, &NewHome::local("acme")), Err(NodeError::HomeExists { .. })));

        // A crash came before the last file: the same keys go on.
        std::fs::remove_file(home.config_file()).unwrap();
        let again = create_home(&home, &NewHome::local("acme")).unwrap();
        assert_eq!(again.card.account, card.card.account);
        // Another member's keys do not.
        std::fs::remove_file(home.config_file()).unwrap();
        let other =
            create_home_with(&home, &NewHome::local("acme"), Some(MemberKeys::generate().unwrap()), |_| {
                Ok(())
            });
        assert!(matches!(other, Err(NodeError::HomeExists { .. })));
    }

    #[test]
    fn a_home_is_not_made_for_a_name_or_a_host_that_lead_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |new: &NewHome| {
            let home = Home::new(folder.path().join("refused"));
            assert!(matches!(create_home(&home, new), Err(NodeError::BadCard(_))), "{new:?}");
            assert!(!home.path().exists());
        };
        refused(&NewHome::local(""));
        let everywhere = Host::Address(Ipv4Addr::UNSPECIFIED.into());
        refused(&NewHome { host: everywhere, ..NewHome::local("acme") });
    }

    #[test]
    fn an_invitation_does_not_replace_another_chains_genesis() {
        let folder = tempfile::tempdir().unwrap();
        let homes: Vec<Home> = (0..4).map(|i| Home::new(folder.path().join(i.to_string()))).collect();
        let cards = homes.iter().map(|home| create_home(home, &NewHome::local("m")).unwrap().card);
        let genesis = draft_genesis(7, 1, hansa_types::Limits::default(), cards.collect());
        let member = Member {
            dc_id: hansa_types::DcId::new(1).unwrap(),
            card: genesis.founders[0].clone(),
            role: hansa_types::Role::Validator,
            status: MemberStatus::Active,
            data_store: Default::default(),
            access_control: Default::default(),
        };
        let swarm_key = new_swarm_key().unwrap();
        let accept =
            |genesis: &Genesis| accept_invitation(&homes[0], &invite(genesis, &swarm_key, &member).unwrap());
        accept(&genesis).unwrap();
        accept(&genesis).unwrap();
        let other = Genesis { timestamp: 2, ..genesis.clone() };
        assert!(matches!(accept(&other), Err(NodeError::OtherGenesis { .. })));
        assert_eq!(read_genesis(&homes[0]).unwrap(), genesis);
    }
}
