//! A node's configuration: `hansa.toml` in its home folder, overridden by `HANSA_…` variables.
//!
//! Holds no secret: keys, the passphrase and the REST token are files of their own beside it.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use hansa_consensus::ConsensusSettings;
use hansa_gateway::{RestLimits, RpcLimits};
use hansa_index::IndexSettings;
use hansa_ledger::LedgerSettings;
use hansa_pool::PoolConfig;
use hansa_sharing::{CollectionSettings, ReplicationSettings, ScrubSettings, SharingSettings};
use hansa_types::NetworkKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{NodeError, health::HealthSettings};

/// The layout of the databases and blocks, as their folder's file `version` names it.
pub(crate) const DATA_LAYOUT: &str = "6";

/// The settings of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The organisation's name, for people; the registry's is authoritative.
    pub name: String,
    /// Address of the consensus network's listener, `host:port`.
    #[schemars(with = "String")]
    pub consensus_listen: SocketAddr,
    /// Multiaddr of the swarm's listener.
    pub swarm_listen: String,
    /// Address of the REST interface; loopback unless a proxy with TLS stands before it.
    #[schemars(with = "String")]
    pub rest_listen: SocketAddr,
    /// Address of the JSON-RPC interface, HTTP and WebSocket.
    #[schemars(with = "String")]
    pub rpc_listen: SocketAddr,
    /// File with the key store's passphrase, relative to the home folder.
    #[schemars(with = "String")]
    pub passphrase_file: PathBuf,
    /// Consensus.
    #[serde(default)]
    pub consensus: ConsensusSettings,
    /// The chain's state and history.
    #[serde(default)]
    pub ledger: LedgerSettings,
    /// Pending transactions.
    #[serde(default)]
    pub pool: PoolConfig,
    /// The JSON-RPC interface.
    #[serde(default)]
    pub rpc: RpcLimits,
    /// The REST interface.
    #[serde(default)]
    pub rest: RestLimits,
    /// Private IPFS.
    #[serde(default)]
    pub swarm: hansa_swarm::Limits,
    /// Replicas.
    #[serde(default)]
    pub replication: ReplicationSettings,
    /// The check of the block store.
    #[serde(default)]
    pub scrub: ScrubSettings,
    /// Removal of blocks that no version needs.
    #[serde(default)]
    pub collection: CollectionSettings,
    /// The index of the chain's events, which lists are answered from.
    #[serde(default)]
    pub index: IndexSettings,
    /// What health is judged by.
    #[serde(default)]
    pub health: HealthSettings,
}

impl NodeConfig {
    /// A node with these addresses, and all else by default.
    pub fn new(
        name: String,
        (consensus_listen, swarm_listen): (SocketAddr, String),
        (rest_listen, rpc_listen): (SocketAddr, SocketAddr),
        passphrase_file: PathBuf,
    ) -> Self {
        Self {
            name,
            consensus_listen,
            swarm_listen,
            rest_listen,
            rpc_listen,
            passphrase_file,
            consensus: ConsensusSettings::default(),
            ledger: LedgerSettings::default(),
            pool: PoolConfig::default(),
            rpc: RpcLimits::default(),
            rest: RestLimits::default(),
            swarm: hansa_swarm::Limits::default(),
            replication: ReplicationSettings::default(),
            scrub: ScrubSettings::default(),
            collection: CollectionSettings::default(),
            index: IndexSettings::default(),
            health: HealthSettings::default(),
        }
    }

    /// Settings of the sharing service.
    pub(crate) fn sharing(&self) -> SharingSettings {
        SharingSettings {
            replication: self.replication.clone(),
            scrub: self.scrub,
            collection: self.collection,
        }
    }

    /// What is wrong with settings that depend on one another.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut ordered = |low: (&str, u128), high: (&str, u128)| {
            if low.1 > high.1 {
                problems.push(format!(
                    "`{}` is {}, and must not be above `{}`, {}",
                    low.0, low.1, high.0, high.1
                ));
            }
        };
        let of = |number: usize| number as u128;
        let replication = &self.replication;
        ordered(
            ("replication.retry_ms_min", replication.retry_min.as_millis()),
            ("1000 * replication.retry_seconds_max", replication.retry_max.as_millis()),
        );
        ordered(
            ("replication.fetches_per_owner", of(replication.fetches_per_owner)),
            ("replication.fetches", of(replication.fetches)),
        );
        ordered(
            ("replication.keeper_poll_ms_min", replication.keeper_poll_min.as_millis()),
            ("replication.keeper_poll_ms_max", replication.keeper_poll_max.as_millis()),
        );
        ordered(
            ("swarm.redial_ms_min", self.swarm.redial_min.as_millis()),
            ("1000 * swarm.redial_seconds_max", self.swarm.redial_max.as_millis()),
        );
        ordered(
            ("swarm.unsent_mib_per_peer", of(self.swarm.unsent_mib_per_peer)),
            ("swarm.unsent_mib", of(self.swarm.unsent_mib)),
        );
        ordered(
            ("pool.sender_transactions_max", of(self.pool.sender_transactions_max)),
            ("pool.transactions_max", of(self.pool.transactions_max)),
        );
        ordered(
            ("pool.sender_mib_max", of(self.pool.sender_mib_max)),
            ("pool.mib_max", of(self.pool.mib_max)),
        );
        ordered(
            ("consensus.resend_ms_min", self.consensus.resend_min.as_millis()),
            ("1000 * consensus.resend_seconds_max", self.consensus.resend_max.as_millis()),
        );
        problems.extend(self.index.problem().map(str::to_owned));
        problems
    }
}

/// The files of one node's home folder.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// The folder at this path, existing or not.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Makes the folder, readable by this account alone, where it does not exist yet.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(&self) -> Result<(), NodeError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let failed = |source| NodeError::Write { path: self.0.clone(), source };
        match self.0.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => {
                std::fs::create_dir_all(parent).map_err(failed)?;
            }
            _ => {}
        }
        match std::fs::DirBuilder::new().mode(0o700).create(&self.0) {
            Err(source) if source.kind() != ErrorKind::AlreadyExists => Err(failed(source)),
            _ => Ok(()),
        }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `hansa.toml`.
    pub fn config_file(&self) -> PathBuf {
        self.0.join("hansa.toml")
    }

    /// The encrypted key store.
    pub fn keys_file(&self) -> PathBuf {
        self.0.join("keys.json")
    }

    /// The public part, for the registry.
    pub fn card_file(&self) -> PathBuf {
        self.0.join("card.json")
    }

    /// The consortium's genesis.
    pub fn genesis_file(&self) -> PathBuf {
        self.0.join("genesis.json")
    }

    /// The swarm's pre-shared key, in the format of `/key/swarm/psk/1.0.0/`.
    pub fn swarm_key_file(&self) -> PathBuf {
        self.0.join("swarm.key")
    }

    /// The bearer token of the REST interface.
    pub fn token_file(&self) -> PathBuf {
        self.0.join("rest.token")
    }

    /// The folder of consensus for this network key. Shares and votes of another key, which a ballot has replaced, are deleted: the other
    /// validators block a node that signs with a share of a seat that its key does not have.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn claim_consensus(&self, key: NetworkKey) -> Result<PathBuf, NodeError> {
        let folder = self.data().join("consensus");
        let note = self.data().join("consensus-key");
        let failed = |source| NodeError::Write { path: folder.clone(), source };
        match std::fs::read_to_string(&note) {
            Ok(text) if text.trim() == key.to_string() => return Ok(folder),
            Ok(_) => match std::fs::remove_dir_all(&folder) {
                Err(source) if source.kind() != ErrorKind::NotFound => return Err(failed(source)),
                _ => tracing::info!(
                    "this node has another network key than before: it begins its part in consensus anew"
                ),
            },
            Err(source) if source.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(NodeError::Read { path: note, source }),
        }
        write_file(&note, format!("{key}\n").as_bytes(), Secrecy::Public)?;
        Ok(folder)
    }

    /// The key store under another passphrase, until it takes the present one's place.
    #[must_use]
    pub fn resealed_keys_file(&self) -> PathBuf {
        self.0.join("keys-resealed.json")
    }

    /// Keys that wait for a ballot to give them to the member.
    #[must_use]
    pub fn next_keys_file(&self) -> PathBuf {
        self.0.join("keys-next.json")
    }

    /// Their card.
    #[must_use]
    pub fn next_card_file(&self) -> PathBuf {
        self.0.join("card-next.json")
    }

    /// Where suites of system contracts are that did not come with the program.
    #[must_use]
    pub fn suites(&self) -> PathBuf {
        self.0.join("suites")
    }

    /// The databases and blocks.
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Makes sure that the data are in this version's layout; says so in a folder that no node has used.
    ///
    /// # Errors
    /// [`NodeError::DataLayout`] where they are not; when the folder cannot be read or written.
    pub fn claim_data(&self) -> Result<(), NodeError> {
        let data = self.data();
        let file = data.join("version");
        let layout = match std::fs::read_to_string(&file) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound && !is_used(&data) => {
                return write_file(&file, format!("{DATA_LAYOUT}\n").as_bytes(), Secrecy::Public);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => "unnamed".to_owned(),
            Err(source) => return Err(NodeError::Read { path: file, source }),
        };
        if layout == DATA_LAYOUT {
            Ok(())
        } else {
            Err(NodeError::DataLayout { path: data, layout, known: DATA_LAYOUT })
        }
    }

    /// Reads the key store's passphrase.
    ///
    /// # Errors
    /// When the file cannot be read or is empty.
    pub fn passphrase(&self, config: &NodeConfig) -> Result<zeroize::Zeroizing<String>, NodeError> {
        self.passphrase_in(&config.passphrase_file)
    }

    /// As [`Home::passphrase`], from a file of another name.
    pub(crate) fn passphrase_in(&self, file: &Path) -> Result<zeroize::Zeroizing<String>, NodeError> {
        let path = self.0.join(file);
        let text = zeroize::Zeroizing::new(read_text(&path)?);
        let line = text.lines().next().unwrap_or_default().to_owned();
        if line.is_empty() {
            return Err(NodeError::Config { path, problem: "the passphrase file is empty".into() });
        }
        Ok(line.into())
    }

    /// Reads the REST token.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn token(&self) -> Result<zeroize::Zeroizing<String>, NodeError> {
        let text = zeroize::Zeroizing::new(read_text(&self.token_file())?);
        Ok(text.trim().to_owned().into())
    }
}

/// Whether a node has kept data in this folder. What else is in it, as `lost+found` on a disk of its own, does not count.
fn is_used(data: &Path) -> bool {
    ["blocks", "consensus", "ledger", "objects"].iter().any(|part| data.join(part).exists())
}

/// Whether others on the machine may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// Anyone.
    Public,
    /// Only the account that runs the node (mode 0600).
    Private,
}

/// Writes a whole file by way of a temporary one beside it, so that a crash leaves the old or the new text. The file has
/// the mode asked for, and a link at `path` is replaced rather than followed.
///
/// # Errors
/// When the folder cannot be made or the file cannot be written.
pub fn write_file(path: &Path, bytes: &[u8], secrecy: Secrecy) -> Result<(), NodeError> {
    use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let failed = |source| NodeError::Write { path: path.to_owned(), source };
    fs::create_dir_all(folder_of(path)).map_err(failed)?;
    let temporary = path.with_file_name(format!(".{}.new", path.file_name().unwrap_or_default().display()));
    let mode = if secrecy == Secrecy::Private { 0o600 } else { 0o644 };
    // What a crash left there, or somebody put there: a file with another mode, or a link to another place.
    match fs::remove_file(&temporary) {
        Err(source) if source.kind() != ErrorKind::NotFound => return Err(failed(source)),
        _ => {}
    }
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary).map_err(failed)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| fs::File::open(folder_of(path))?.sync_all())
        .map_err(failed)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads a small text file.
///
/// # Errors
/// When it cannot be read.
pub fn read_text(path: &Path) -> Result<String, NodeError> {
    std::fs::read_to_string(path).map_err(|source| NodeError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_files_have_their_mode_and_follow_no_links() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("a/home"));
        home.create().unwrap();
        let mode = |path: &Path| path.symlink_metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(home.path()), 0o700);
        let (elsewhere, file) = (dir.path().join("elsewhere"), home.path().join("secret"));
        std::fs::write(&elsewhere, "kept").unwrap();
        symlink(&elsewhere, &file).unwrap();
        symlink(&elsewhere, home.path().join(".secret.new")).unwrap();
        for text in ["one", "two"] {
            write_file(&file, text.as_bytes(), Secrecy::Private).unwrap();
            assert_eq!((read_text(&file).unwrap().as_str(), mode(&file)), (text, 0o600));
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        }
        assert_eq!(read_text(&elsewhere).unwrap(), "kept");
    }

    #[test]
    fn data_of_another_layout_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let write =
            |name: &str, text: &str| write_file(&home.data().join(name), text.as_bytes(), Secrecy::Public);
        let layout = || match home.claim_data() {
            Err(NodeError::DataLayout { layout, .. }) => Some(layout),
            result => result.map(|()| None).unwrap(),
        };
        // A disk of its own, and a first start that did not get far.
        write("lost+found/1", "").unwrap();
        write("version.new", "").unwrap();
        assert_eq!((layout(), layout()), (None, None));
        write("ledger/blocks/0", "blocks").unwrap();
        assert_eq!(layout(), None);
        write("version", "1\n").unwrap();
        assert_eq!(layout().as_deref(), Some("1"));
        std::fs::remove_file(home.data().join("version")).unwrap();
        assert_eq!(layout().as_deref(), Some("unnamed"));
        assert!(!home.data().join("version").exists());
    }

    /// A reset: the share of the group key belongs to the key that a ballot has replaced.
    #[test]
    fn the_consensus_folder_belongs_to_one_network_key() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        let [old, new] = [1, 2].map(|byte| NetworkKey(alloy_primitives::B256::repeat_byte(byte)));
        let share = home.claim_consensus(old).unwrap().join("secrets/share");
        std::fs::create_dir_all(share.parent().unwrap()).unwrap();
        std::fs::write(&share, "sealed").unwrap();
        home.claim_consensus(old).unwrap();
        assert!(share.exists());
        home.claim_consensus(new).unwrap();
        assert!(!share.exists());
        home.claim_consensus(new).unwrap();
    }
}
