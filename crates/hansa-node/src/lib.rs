//! Composes one node from its parts and runs it.
//!
//! Each part knows its own business; what is here is only their wiring, their order of starting and stopping, and the
//! home folder that a member's node lives in.

mod adapters;
mod ballots;
mod catalogue;
mod clock;
mod config;
mod error;
mod founding;
mod health;
mod identity;
mod lock;
mod logging;
mod metrics;
mod node;
mod pulse;
mod recovery;
mod renewal;
mod service;
mod settings;
mod status;
mod storage;
mod upgrades;
mod watchdog;

pub use config::{Home, NodeConfig, Secrecy, read_text, write_file};
pub use error::NodeError;
pub use hansa_contracts::draft_genesis;
pub use hansa_envelope::RecoveryKey;
pub use identity::{
    NewHome, accept_invitation, account_key, create_home, invite, new_swarm_key, open_keys, read_card,
    read_genesis, read_swarm_key, unix_seconds,
};
pub use lock::{FolderLock, Holder};
pub use node::run;
pub use recovery::{make_backup, recover_home};
pub use renewal::{adopt_keys, change_passphrase, move_card, renew_keys};
pub use settings::{Effective, Setting, SettingKind, Source, reference, schema, settings};
pub use upgrades::read_suite;
