//! A member's backup and its way back onto an empty disk (C7).
//!
//! The backup holds the secrets and public files of the home folder, sealed to a recovery key that is on paper only. The keys of the
//! member's objects are not in it: each object's root carries its audience key, wrapped under the storage secret.

use hansa_envelope::{Backup, RecoveryKey};
use hansa_types::{Genesis, Host, SignedCard};

use crate::{
    Home, NewHome, NodeError, Secrecy,
    config::{read_text, write_file},
    identity::{create_home_with, open_keys, read_genesis, read_swarm_key},
};

/// Makes a recovery key and the backup that only it opens.
///
/// # Errors
/// When the home is not complete, or its files cannot be read.
pub fn make_backup(home: &Home) -> Result<(RecoveryKey, Vec<u8>), NodeError> {
    let keys = open_keys(home, &home.config()?)?;
    let card = read_text(&home.card_file())?;
    let genesis = read_genesis(home)?.to_json();
    let backup = Backup::new(&keys, &read_swarm_key(home)?, card, genesis);
    let key = RecoveryKey::generate()?;
    let sealed = key.seal(&backup)?;
    Ok((key, sealed))
}

/// Makes the home folder of the member whose backup this is. `options` gives the ports of REST and JSON-RPC and the passphrase's file;
/// everything else follows from the backup's card.
///
/// # Errors
/// [`NodeError::Envelope`] when the key does not open the backup; when there is a home already, or a file cannot be written.
pub fn recover_home(
    home: &Home,
    sealed: &[u8],
    key: &RecoveryKey,
    options: NewHome,
) -> Result<SignedCard, NodeError> {
    let backup = key.open(sealed)?;
    let foreign = || NodeError::Envelope(hansa_envelope::EnvelopeError::ForeignBackup);
    let card: SignedCard = serde_json::from_str(&backup.card).map_err(|_| foreign())?;
    let genesis = Genesis::from_json(&backup.genesis)?;
    let (host, consensus_port) = card.card.consensus_endpoint.rsplit_once(':').ok_or_else(foreign)?;
    let swarm_port = card.card.swarm_endpoint.rsplit('/').next().ok_or_else(foreign)?;
    let host: Host = host.trim_matches(['[', ']']).parse()?;
    let new = NewHome {
        name: card.card.name.clone(),
        cluster: card.card.cluster,
        host,
        consensus_port: consensus_port.parse().map_err(|_| foreign())?,
        swarm_port: swarm_port.parse().map_err(|_| foreign())?,
        ..options
    };
    let swarm_key = backup.swarm_key().to_text();
    create_home_with(home, &new, Some(backup.keys()?), |home| {
        write_file(&home.card_file(), backup.card.as_bytes(), Secrecy::Public)?;
        write_file(&home.swarm_key_file(), swarm_key.as_bytes(), Secrecy::Private)?;
        write_file(&home.genesis_file(), genesis.to_json().as_bytes(), Secrecy::Public)
    })?;
    Ok(card)
}

#[cfg(test)]
mod tests {
    use hansa_contracts::draft_genesis;
    use hansa_types::Limits;

    use super::*;
    use crate::{create_home, identity::read_card};

    #[test]
    fn a_home_comes_back_from_its_backup() {
        let folder = tempfile::tempdir().unwrap();
        let homes = ["a", "b", "c", "d"].map(|name| Home::new(folder.path().join(name)));
        let cards = homes.iter().map(|home| create_home(home, &NewHome::local("m")).unwrap().card);
        let genesis = draft_genesis(7, 1, Limits::default(), cards.collect());
        let [lost, ..] = &homes;
        write_file(&lost.genesis_file(), genesis.to_json().as_bytes(), Secrecy::Public).unwrap();
        let swarm_key = crate::new_swarm_key().unwrap().to_text();
        write_file(&lost.swarm_key_file(), swarm_key.as_bytes(), Secrecy::Private).unwrap();
        let (key, sealed) = make_backup(lost).unwrap();
        let before = open_keys(lost, &lost.config().unwrap()).unwrap();

        let home = Home::new(folder.path().join("again"));
        let other = RecoveryKey::generate().unwrap();
        assert!(recover_home(&home, &sealed, &other, NewHome::local("x")).is_err());
        assert!(!home.keys_file().exists(), "nothing is written for a wrong key");
        recover_home(&home, &sealed, &key, NewHome::local("x")).unwrap();
        let after = open_keys(&home, &home.config().unwrap()).unwrap();
        assert_eq!(after.public().unwrap(), before.public().unwrap());
        assert_eq!(after.storage_secret(), before.storage_secret());
        assert_eq!(read_card(&home.card_file()).unwrap(), read_card(&lost.card_file()).unwrap());
        assert_eq!(read_genesis(&home).unwrap(), genesis);
        assert_eq!(read_text(&home.swarm_key_file()).unwrap(), *swarm_key);
        assert_eq!(home.config().unwrap().consensus_listen, lost.config().unwrap().consensus_listen);
        assert!(
            recover_home(&home, &sealed, &key, NewHome::local("x")).is_err(),
            "a home is not overwritten"
        );
    }
}
