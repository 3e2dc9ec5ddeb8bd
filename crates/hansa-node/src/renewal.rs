//! New keys for a member that keeps its home folder, and another passphrase.
//!
//! Files are replaced whole, so that a crash leaves the old state or the new one. The registry is not asked: new keys serve once a ballot has
//! given them to the member.

use std::{fs, path::Path};

use hansa_envelope::{KeyStore, MemberKeys, Passphrase};
use hansa_types::{Endpoints, SignedCard};

use crate::{
    FolderLock, Home, NodeError, Secrecy,
    config::{read_text, write_file},
    identity::{open_keys, read_card},
};

/// Makes new keys beside the present ones, and returns the card for the ballot. Once they exist, returns their card again.
///
/// # Errors
/// When the home cannot be read or a file cannot be written.
pub fn renew_keys(home: &Home) -> Result<SignedCard, NodeError> {
    let config = home.config()?;
    let passphrase = Passphrase::new(home.passphrase(&config)?.to_string());
    let present = open_keys(home, &config)?;
    let next = match home.next_keys_file().exists() {
        true => KeyStore::open(&home.next_keys_file(), &passphrase)?,
        false => {
            let next = present.renewed()?;
            KeyStore::create(&home.next_keys_file(), &next, &passphrase)?;
            next
        }
    };
    let card = card_of(home, &next)?;
    write_card(&home.next_card_file(), &card)?;
    Ok(card)
}

/// Puts the new keys in the place of the present ones, which are kept as `keys-retired.json`.
///
/// # Errors
/// [`NodeError::NoNextKeys`] where there are none; when the node runs, or a file cannot be written.
pub fn adopt_keys(home: &Home) -> Result<SignedCard, NodeError> {
    let _lock = FolderLock::take(&home.data())?;
    let config = home.config()?;
    if home.next_keys_file().exists() {
        let failed = |source| NodeError::Write { path: home.keys_file(), source };
        let retired = home.path().join("keys-retired.json");
        let old = read_text(&home.keys_file())?;
        write_file(&retired, old.as_bytes(), Secrecy::Private)?;
        fs::rename(home.next_keys_file(), home.keys_file()).map_err(failed)?;
    } else if !home.next_card_file().exists() {
        return Err(NodeError::NoNextKeys { path: home.path().to_owned() });
    }
    // Also after a crash between the two files.
    let card = card_of(home, &open_keys(home, &config)?)?;
    write_card(&home.card_file(), &card)?;
    fs::remove_file(home.next_card_file()).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(NodeError::Write { path: home.next_card_file(), source: error }),
    })?;
    Ok(card)
}

/// Has the passphrase in another file open the key store, and the configuration name that file. At each moment one of the key stores
/// opens with the passphrase that the configuration names.
///
/// # Errors
/// When the present passphrase does not open the key store, or a file cannot be written.
pub fn change_passphrase(home: &Home, new_file: &Path) -> Result<(), NodeError> {
    if home.next_keys_file().exists() {
        let problem = "these new keys are sealed with the present passphrase: run `hansa keys adopt` first, or delete the file if no ballot on them is open";
        return Err(NodeError::Config { path: home.next_keys_file(), problem: problem.into() });
    }
    let config = home.config()?;
    let new_file = std::path::absolute(new_file)
        .map_err(|source| NodeError::Read { path: new_file.to_owned(), source })?;
    let new = Passphrase::new(home.passphrase_in(&new_file)?.to_string());
    let keys = open_keys(home, &config)?;
    KeyStore::replace(&home.resealed_keys_file(), &keys, &new)?;
    home.name_passphrase_file(&new_file)?;
    let failed = |source| NodeError::Write { path: home.keys_file(), source };
    fs::rename(home.resealed_keys_file(), home.keys_file()).map_err(failed)
}

/// Signs the card anew with other endpoints.
///
/// # Errors
/// When keys or card cannot be read, or the card cannot be written.
pub fn move_card(home: &Home, endpoints: &Endpoints) -> Result<(), NodeError> {
    let present = read_card(&home.card_file())?.card;
    let keys = open_keys(home, &home.config()?)?;
    let Endpoints { consensus_endpoint, swarm_endpoint } = endpoints.clone();
    write_card(
        &home.card_file(),
        &keys.card(present.name, present.cluster, consensus_endpoint, swarm_endpoint)?,
    )
}

/// The present card's facts with other keys.
fn card_of(home: &Home, keys: &MemberKeys) -> Result<SignedCard, NodeError> {
    let present = read_card(&home.card_file())?.card;
    Ok(keys.card(present.name, present.cluster, present.consensus_endpoint, present.swarm_endpoint)?)
}

fn write_card(path: &Path, card: &SignedCard) -> Result<(), NodeError> {
    let text = serde_json::to_vec_pretty(card).expect("invariant: a card is JSON");
    write_file(path, &text, Secrecy::Public)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NewHome, create_home};

    fn home() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("acme"));
        create_home(&home, &NewHome::local("acme")).unwrap();
        (folder, home)
    }

    fn keys(home: &Home) -> MemberKeys {
        open_keys(home, &home.config().unwrap()).unwrap()
    }

    #[test]
    fn new_keys_wait_beside_the_old_ones_until_they_are_adopted() {
        let (_folder, home) = home();
        let old = keys(&home);
        assert!(matches!(adopt_keys(&home), Err(NodeError::NoNextKeys { .. })));
        let card = renew_keys(&home).unwrap();
        assert_eq!(renew_keys(&home).unwrap(), card, "made once");
        assert_eq!(keys(&home).account(), old.account());
        assert_eq!(adopt_keys(&home).unwrap(), card);
        let new = keys(&home);
        assert_eq!(new.account(), card.card.account);
        assert_ne!(new.account(), old.account());
        assert_eq!(new.storage_secret(), old.storage_secret());
        assert_eq!(read_card(&home.card_file()).unwrap(), card);
        assert!(!home.next_keys_file().exists() && !home.next_card_file().exists());
        assert!(matches!(adopt_keys(&home), Err(NodeError::NoNextKeys { .. })));
    }

    /// The key store was replaced, then the power failed.
    #[test]
    fn an_interrupted_adoption_is_finished() {
        let (_folder, home) = home();
        let card = renew_keys(&home).unwrap();
        fs::rename(home.next_keys_file(), home.keys_file()).unwrap();
        assert_eq!(adopt_keys(&home).unwrap(), card);
        assert_eq!(read_card(&home.card_file()).unwrap(), card);
    }

    #[test]
    fn another_passphrase_opens_the_same_keys_also_after_a_crash_in_between() {
        let (folder, home) = home();
        let new = folder.path().join("new-passphrase");
        assert!(change_passphrase(&home, &new).is_err(), "there is no such file");
        write_file(&new, b"correct horse\n", Secrecy::Private).unwrap();
        renew_keys(&home).unwrap();
        let waiting = change_passphrase(&home, &new).unwrap_err().to_string();
        assert!(waiting.contains("hansa keys adopt"), "{waiting}");
        let account = adopt_keys(&home).unwrap().card.account;
        let (config, before) = (home.config().unwrap(), keys(&home));
        let old = home.passphrase(&config).unwrap();
        change_passphrase(&home, &new).unwrap();
        assert_eq!(home.config().unwrap().passphrase_file, new);
        assert_eq!(keys(&home).account(), account);
        assert!(open_keys(&home, &config).is_err(), "the former passphrase");

        // The power failed before the last step: the store under the former passphrase is still in its place.
        fs::rename(home.keys_file(), home.resealed_keys_file()).unwrap();
        KeyStore::create(&home.keys_file(), &before, &Passphrase::new(old.to_string())).unwrap();
        assert_eq!(keys(&home).account(), account);
        assert!(!home.resealed_keys_file().exists());

        // A store of other keys that was left there does not take the place of the present ones.
        KeyStore::create(
            &home.resealed_keys_file(),
            &before.renewed().unwrap(),
            &Passphrase::new("x".into()),
        )
        .unwrap();
        write_file(&new, b"x\n", Secrecy::Private).unwrap();
        assert!(open_keys(&home, &home.config().unwrap()).is_err());
    }
}
