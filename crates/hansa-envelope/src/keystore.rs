//! The file that holds a member's keys, encrypted under a passphrase.
//!
//! JSON, format `hansa-keystore` version 2: the public keys in clear, argon2id parameters, the storage secret sealed under the passphrase
//! (AES-256-GCM), the three 32-byte key secrets sealed under the storage secret, and a SHA-256 checksum of everything else. So another
//! passphrase changes one field, and other keys leave the storage secret as it is. The checksum tells a damaged file from a wrong
//! passphrase; it is no protection against a forger, for whom the authentication tag (bound to all other fields) stands.
//! Whoever has file and passphrase has the keys.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
};

use alloy_primitives::{Address, B256, Bytes};
use argon2::{Algorithm, Argon2, Params};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
};
use hansa_types::NetworkKey;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{EnvelopeError, MemberKeys, StorageKey, secret::random};

const FORMAT: &str = "hansa-keystore";
const VERSION: u32 = 2;
/// Label of the keys that are sealed under the storage secret.
const KEYS_LABEL: &str = "keystore";
const FILE_BYTES_MAX: u64 = 64 * 1024;
const KDF: &str = "argon2id";
const CIPHER: &str = "aes-256-gcm";
/// RFC 9106, section 4, second recommended option: 64 MiB, 3 passes (lanes 1 instead of 4: unlocking is not parallel).
const COST: Cost = Cost { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
const COST_MAX: Cost = Cost { memory_kib: 1024 * 1024, passes: 16, lanes: 16 };

/// A passphrase, zeroised on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Passphrase(String);

impl Passphrase {
    /// Takes over the text.
    pub fn new(text: String) -> Self {
        Self(text)
    }
}

/// The public halves of a member's keys, readable without the passphrase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublicKeys {
    /// ed25519.
    pub network_key: NetworkKey,
    /// Address of the secp256k1 account.
    pub account: Address,
    /// X-Wing, 1,216 bytes.
    pub encryption_key: Bytes,
}

impl MemberKeys {
    /// The public halves.
    ///
    /// # Errors
    /// Never for keys made by this type.
    pub fn public(&self) -> Result<PublicKeys, EnvelopeError> {
        Ok(PublicKeys {
            network_key: self.network_key(),
            account: self.account(),
            encryption_key: self.encryption_key()?,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    format: String,
    version: u32,
    public: PublicKeys,
    kdf: String,
    cost: Cost,
    salt: Bytes,
    cipher: String,
    nonce: Bytes,
    /// Storage secret ‖ tag, under the passphrase.
    storage: Bytes,
    /// Network seed ‖ account scalar ‖ X-Wing seed, as [`StorageKey::seal`] seals.
    sealed: Bytes,
    /// SHA-256 of this structure's compact JSON with an all-zero checksum.
    checksum: B256,
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, EnvelopeError> {
    serde_json::to_vec(value).map_err(|_| EnvelopeError::Crypto("encoding the key store"))
}

impl File {
    fn sum(&self) -> Result<B256, EnvelopeError> {
        let blank = Self { checksum: B256::ZERO, ..self.clone() };
        Ok(B256::from_slice(digest(&SHA256, &json(&blank)?).as_ref()))
    }

    /// The fields that the tag of the storage secret binds: all that lead to its key.
    fn header(&self) -> Result<Vec<u8>, EnvelopeError> {
        let parts = (&self.format, self.version, &self.kdf, self.cost, &self.salt, &self.cipher, &self.nonce);
        json(&parts)
    }

    /// The label that binds the sealed keys to their public halves.
    fn label(&self) -> Result<Vec<u8>, EnvelopeError> {
        json(&(KEYS_LABEL, &self.public))
    }

    fn cipher(&self, passphrase: &Passphrase) -> Result<LessSafeKey, EnvelopeError> {
        let failed = |_| EnvelopeError::Crypto("argon2id");
        let Cost { memory_kib, passes, lanes } = self.cost;
        let params = Params::new(memory_kib, passes, lanes, Some(32)).map_err(failed)?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params)
            .hash_password_into(passphrase.0.as_bytes(), &self.salt, key.as_mut_slice())
            .map_err(failed)?;
        UnboundKey::new(&AES_256_GCM, key.as_slice())
            .map(LessSafeKey::new)
            .map_err(|_| EnvelopeError::Crypto("AES-256-GCM"))
    }

    fn nonce(&self) -> Result<Nonce, EnvelopeError> {
        Nonce::try_assume_unique_for_key(&self.nonce).map_err(|_| EnvelopeError::Crypto("AES-256-GCM"))
    }

    fn seal(keys: &MemberKeys, passphrase: &Passphrase, cost: Cost) -> Result<Self, EnvelopeError> {
        let mut file = Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            public: keys.public()?,
            kdf: KDF.to_owned(),
            cost,
            salt: Bytes::from(random::<16>()?),
            cipher: CIPHER.to_owned(),
            nonce: Bytes::from(random::<NONCE_LEN>()?),
            storage: Bytes::new(),
            sealed: Bytes::new(),
            checksum: B256::ZERO,
        };
        let mut storage = Zeroizing::new(keys.storage_secret().to_vec());
        let tag = file
            .cipher(passphrase)?
            .seal_in_place_separate_tag(file.nonce()?, Aad::from(file.header()?), storage.as_mut_slice())
            .map_err(|_| EnvelopeError::Crypto("sealing the key store"))?;
        file.storage = [storage.as_slice(), tag.as_ref()].concat().into();
        let secrets = [keys.network_secret(), keys.account_secret(), keys.encryption_seed()];
        let secrets = Zeroizing::new(secrets.map(<[u8; 32]>::as_slice).concat());
        file.sealed = keys.storage_key()?.seal(&file.label()?, &secrets)?.into();
        file.checksum = file.sum()?;
        Ok(file)
    }

    /// The secrets, or `None` when the passphrase is wrong.
    fn open(&self, passphrase: &Passphrase) -> Result<Option<MemberKeys>, EnvelopeError> {
        let mut storage = Zeroizing::new(self.storage.to_vec());
        let aad = Aad::from(self.header()?);
        let Ok(storage) = self.cipher(passphrase)?.open_in_place(self.nonce()?, aad, &mut storage) else {
            return Ok(None);
        };
        let content = || EnvelopeError::Key("the key store's content");
        let storage: &[u8; 32] = (&*storage).try_into().map_err(|_| content())?;
        let secrets = StorageKey::of_secret(storage)?.open(&self.label()?, &self.sealed)?;
        let (secrets, _) = secrets.as_chunks::<32>();
        match secrets {
            [network, account, encryption] => {
                MemberKeys::from_secrets(*network, *account, *encryption, *storage).map(Some)
            }
            _ => Err(content()),
        }
    }
}

/// Reads and writes key store files.
pub struct KeyStore;

impl KeyStore {
    /// Writes a new key store: mode 0600, atomically, never over an existing file. Takes about 0.1 s of one core.
    ///
    /// # Errors
    /// [`EnvelopeError::KeyStoreExists`], [`EnvelopeError::KeyStoreIo`].
    pub fn create(path: &Path, keys: &MemberKeys, passphrase: &Passphrase) -> Result<(), EnvelopeError> {
        write(path, &File::seal(keys, passphrase, COST)?, Existing::Kept)
    }

    /// Writes a key store in the place of one that is there, atomically: after a crash it is the old one or the new one.
    ///
    /// # Errors
    /// [`EnvelopeError::KeyStoreIo`].
    pub fn replace(path: &Path, keys: &MemberKeys, passphrase: &Passphrase) -> Result<(), EnvelopeError> {
        write(path, &File::seal(keys, passphrase, COST)?, Existing::Replaced)
    }

    /// Opens a key store.
    ///
    /// # Errors
    /// [`EnvelopeError::KeyStoreIo`], [`EnvelopeError::KeyStoreForeign`], [`EnvelopeError::KeyStoreDamaged`],
    /// [`EnvelopeError::WrongPassphrase`].
    pub fn open(path: &Path, passphrase: &Passphrase) -> Result<MemberKeys, EnvelopeError> {
        let file = read(path)?;
        let opened = file
            .open(passphrase)
            .map_err(|_| damaged(path, "its keys do not open under its storage secret"))?;
        let keys = opened.ok_or_else(|| EnvelopeError::WrongPassphrase(path.to_owned()))?;
        if keys.public()? == file.public {
            Ok(keys)
        } else {
            Err(damaged(path, "its public keys do not belong to its secret keys"))
        }
    }

    /// The public keys, without the passphrase.
    ///
    /// # Errors
    /// As [`KeyStore::open`], the passphrase aside.
    pub fn public(path: &Path) -> Result<PublicKeys, EnvelopeError> {
        read(path).map(|file| file.public)
    }
}

fn damaged(path: &Path, why: impl std::fmt::Display) -> EnvelopeError {
    EnvelopeError::KeyStoreDamaged { path: path.to_owned(), why: why.to_string() }
}

/// A file that is already where a key store is to be written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Kept,
    Replaced,
}

fn write(path: &Path, file: &File, existing: Existing) -> Result<(), EnvelopeError> {
    let failed = |source| EnvelopeError::KeyStoreIo { path: path.to_owned(), action: "written", source };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut json = serde_json::to_string_pretty(file).map_err(|e| failed(e.into()))?;
    json.push('\n');
    fs::create_dir_all(folder).map_err(failed)?;
    // Mode 0600 from the moment it exists; a crash leaves at most a temporary file.
    let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    temporary.write_all(json.as_bytes()).map_err(failed)?;
    temporary.as_file().sync_all().map_err(failed)?;
    let persisted = match existing {
        Existing::Kept => temporary.persist_noclobber(path),
        Existing::Replaced => temporary.persist(path),
    };
    persisted.map_err(|e| match e.error.kind() {
        std::io::ErrorKind::AlreadyExists => EnvelopeError::KeyStoreExists(path.to_owned()),
        _ => failed(e.error),
    })?;
    fs::File::open(folder).and_then(|f| f.sync_all()).map_err(failed)
}

fn read(path: &Path) -> Result<File, EnvelopeError> {
    let failed = |source| EnvelopeError::KeyStoreIo { path: path.to_owned(), action: "read", source };
    let foreign = |why: String| EnvelopeError::KeyStoreForeign { path: path.to_owned(), why };
    let mut json = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut json).map_err(failed)?;
    let value: serde_json::Value = match serde_json::from_slice(&json) {
        Ok(value) => value,
        Err(e) if String::from_utf8_lossy(&json).contains(FORMAT) => return Err(damaged(path, e)),
        Err(e) => return Err(foreign(format!("it is not JSON ({e})"))),
    };
    if value.get("format").and_then(|f| f.as_str()) != Some(FORMAT) {
        return Err(foreign("its format is not \"hansa-keystore\"".to_owned()));
    }
    if value.get("version").and_then(serde_json::Value::as_u64) != Some(u64::from(VERSION)) {
        return Err(foreign("only version 2 can be read; another version of Hansa wrote it".to_owned()));
    }
    let file: File = serde_json::from_value(value).map_err(|e| damaged(path, e))?;
    if file.checksum != file.sum()? {
        return Err(damaged(path, "its checksum does not fit"));
    }
    check(&file).map_err(|why| damaged(path, why))?;
    Ok(file)
}

/// Bounds all fields of a possibly forged file, so that opening it can neither panic nor exhaust memory.
fn check(file: &File) -> Result<(), &'static str> {
    let Cost { memory_kib, passes, lanes } = file.cost;
    if file.kdf != KDF || file.cipher != CIPHER {
        return Err("it names another key derivation or cipher");
    }
    let cheap = memory_kib < 8 || passes == 0 || lanes == 0;
    if cheap || memory_kib > COST_MAX.memory_kib || passes > COST_MAX.passes || lanes > COST_MAX.lanes {
        return Err("its key derivation's cost is out of bounds");
    }
    let lengths = [file.salt.len(), file.nonce.len(), file.storage.len(), file.sealed.len()];
    if lengths != [16, NONCE_LEN, 32 + 16, NONCE_LEN + 3 * 32 + 16] {
        return Err("a field has the wrong length");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.to_owned())
    }

    fn stored() -> (tempfile::TempDir, std::path::PathBuf, MemberKeys) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/member.json");
        let keys = MemberKeys::generate().unwrap();
        write(&path, &File::seal(&keys, &passphrase("right"), CHEAP).unwrap(), Existing::Kept).unwrap();
        (folder, path, keys)
    }

    #[test]
    fn round_trips_with_the_production_cost_and_is_private_to_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("member.json");
        let keys = MemberKeys::generate().unwrap();
        KeyStore::create(&path, &keys, &passphrase("right")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let back = KeyStore::open(&path, &passphrase("right")).unwrap();
        assert_eq!(back.public().unwrap(), keys.public().unwrap());
        assert_eq!(KeyStore::public(&path).unwrap(), keys.public().unwrap());
        let again = KeyStore::create(&path, &keys, &passphrase("right"));
        assert!(matches!(again, Err(EnvelopeError::KeyStoreExists(_))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays behind");
    }

    #[test]
    fn another_passphrase_and_other_keys_replace_the_file_at_once() {
        let (_folder, path, keys) = stored();
        KeyStore::replace(&path, &keys, &passphrase("new")).unwrap();
        assert!(matches!(
            KeyStore::open(&path, &passphrase("right")),
            Err(EnvelopeError::WrongPassphrase(_))
        ));
        let renewed = KeyStore::open(&path, &passphrase("new")).unwrap().renewed().unwrap();
        KeyStore::replace(&path, &renewed, &passphrase("new")).unwrap();
        let back = KeyStore::open(&path, &passphrase("new")).unwrap();
        assert_eq!(back.public().unwrap(), renewed.public().unwrap());
        assert_eq!(back.storage_secret(), keys.storage_secret());
    }

    #[test]
    fn wrong_passphrase_damage_and_foreign_files_are_told_apart() {
        let (_folder, path, _) = stored();
        let right = passphrase("right");
        assert!(matches!(
            KeyStore::open(&path, &passphrase("wrong")),
            Err(EnvelopeError::WrongPassphrase(_))
        ));
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            // Changing a letter's case inside a hexadecimal number or white space leaves the meaning intact.
            match KeyStore::open(&path, &right) {
                Err(EnvelopeError::KeyStoreDamaged { .. } | EnvelopeError::KeyStoreForeign { .. }) => {}
                other => panic!("byte {at}: {other:?}"),
            }
        }
        for end in 0..good.len() - 2 {
            fs::write(&path, &good[..end]).unwrap();
            assert!(KeyStore::open(&path, &right).is_err(), "{end}");
        }
        for foreign in
            ["", "hello", "{}", "[]", r#"{"format":"geth"}"#, r#"{"format":"hansa-keystore","version":1}"#]
        {
            fs::write(&path, foreign).unwrap();
            let refused = KeyStore::open(&path, &right);
            assert!(matches!(refused, Err(EnvelopeError::KeyStoreForeign { .. })), "{foreign}");
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(KeyStore::open(&path, &right), Err(EnvelopeError::KeyStoreIo { .. })));
    }

    #[test]
    fn a_forger_who_mends_the_checksum_still_fails() {
        let (_folder, path, _) = stored();
        let original = read(&path).unwrap();
        let forge = |change: &dyn Fn(&mut File)| {
            let mut file = original.clone();
            change(&mut file);
            file.checksum = file.sum().unwrap();
            fs::remove_file(&path).unwrap();
            write(&path, &file, Existing::Kept).unwrap();
            KeyStore::open(&path, &passphrase("right"))
        };
        let other = MemberKeys::generate().unwrap().public().unwrap();
        let swapped = forge(&|f| f.public = other.clone());
        assert!(matches!(swapped, Err(EnvelopeError::KeyStoreDamaged { .. })));
        assert!(matches!(forge(&|f| f.cost.passes = 2), Err(EnvelopeError::WrongPassphrase(_))));
        let bounds: [&dyn Fn(&mut File); 4] =
            [&|f| f.cost.memory_kib = u32::MAX, &|f| f.cost.passes = 0, &|f| f.salt = Bytes::new(), &|f| {
                f.kdf = "none".to_owned()
            }];
        for change in bounds {
            assert!(matches!(forge(change), Err(EnvelopeError::KeyStoreDamaged { .. })));
        }
    }
}
