//! The store of group key shares, dealings and dealers' seeds, encrypted at rest.
//!
//! A dealer with a share does not store its seed: the seed is derived from the share and the storage key. A node restored from an older
//! copy therefore deals as before, and does not appear Byzantine. A later leak of the storage key does not reveal the seed, because
//! shares of past epochs are erased.
//!
//! Each secret is a file, sealed with AES-256-GCM under the node's storage key. The file's name is authenticated, so that secrets cannot
//! be swapped. Every write is durable before it returns. Pruned secrets are overwritten and unlinked. A medium with copies of its own
//! (a flash translation layer, a snapshot) may keep the ciphertext.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac, rand,
};
use bytes::Bytes;
use commonware_codec::{DecodeExt, Encode};
use commonware_consensus::types::Epoch;
use commonware_cryptography::{
    bls12381::{dkg::feldman_desmedt::DealerPrivMsg, primitives::group::Share},
    transcript::Summary,
};
use commonware_glue::dkg::SecretStore;
use zeroize::Zeroizing;

use crate::error::ConsensusError;

/// A folder of sealed secrets. Clones share the folder.
#[derive(Clone)]
pub(crate) struct SealedSecrets {
    folder: PathBuf,
    key: Arc<LessSafeKey>,
    /// The key that derives dealers' seeds.
    seeds: hmac::Key,
}

impl SealedSecrets {
    /// Opens the folder, or creates it with access for this user only.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub(crate) fn open(folder: PathBuf, key: &[u8; 32]) -> Result<Self, ConsensusError> {
        fs::create_dir_all(&folder).map_err(|source| at(&folder, source))?;
        restrict(&folder).map_err(|source| at(&folder, source))?;
        let seeds = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), b"hansa/v1 dealers' seeds");
        let seeds = hmac::Key::new(hmac::HMAC_SHA256, seeds.as_ref());
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| ConsensusError::Setting {
            name: "storage_key",
            reason: "it is not a 256-bit key",
        })?;
        Ok(Self { folder, key: Arc::new(LessSafeKey::new(key)), seeds })
    }

    /// Stores a secret durably under a name; replaces an earlier one.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(crate) fn put(&self, name: &str, secret: &[u8]) -> Result<(), ConsensusError> {
        let path = self.folder.join(name);
        let sealed = self.seal(name, secret)?;
        let temporary = self.folder.join(format!("{name}.new"));
        write_durably(&temporary, &sealed)
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| File::open(&self.folder)?.sync_all())
            .map_err(|source| at(&path, source))
    }

    /// Reads a secret; `None` if it does not exist.
    ///
    /// # Errors
    /// If the file cannot be read, or was not sealed with this key under this name.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, ConsensusError> {
        let path = self.folder.join(name);
        let mut sealed = Vec::new();
        match File::open(&path).and_then(|mut file| file.read_to_end(&mut sealed)) {
            Ok(_) => self.unseal(name, sealed).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(at(&path, source)),
        }
    }

    /// Overwrites and removes every secret of the epochs before `epoch`.
    ///
    /// # Errors
    /// If the folder cannot be read or written.
    pub(crate) fn erase_before(&self, epoch: u64) -> Result<(), ConsensusError> {
        let entries = fs::read_dir(&self.folder).map_err(|source| at(&self.folder, source))?;
        for entry in entries {
            let path = entry.map_err(|source| at(&self.folder, source))?.path();
            if epoch_of(&path).is_some_and(|of| of < epoch) {
                erase(&path).map_err(|source| at(&path, source))?;
            }
        }
        Ok(())
    }

    fn seal(&self, name: &str, secret: &[u8]) -> Result<Vec<u8>, ConsensusError> {
        let sealing = || ConsensusError::SecretSealed(name.to_owned());
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| sealing())?;
        let mut text = secret.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(name.as_bytes()),
                &mut text,
            )
            .map_err(|_| sealing())?;
        let mut sealed = nonce.to_vec();
        sealed.append(&mut text);
        Ok(sealed)
    }

    fn unseal(&self, name: &str, sealed: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, ConsensusError> {
        let opening = || ConsensusError::SecretSealed(name.to_owned());
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or_else(opening)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| opening())?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self
            .key
            .open_in_place(nonce, Aad::from(name.as_bytes()), &mut text)
            .map_err(|_| opening())?
            .len();
        text.truncate(length);
        Ok(text)
    }
}

fn at(path: &Path, source: io::Error) -> ConsensusError {
    ConsensusError::Secrets { path: path.display().to_string(), source }
}

/// The epoch in a secret's file name.
fn epoch_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.split('-').next()?.parse().ok()
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    restrict(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn erase(path: &Path) -> io::Result<()> {
    let length = fs::metadata(path)?.len();
    let mut file = OpenOptions::new().write(true).open(path)?;
    io::copy(&mut io::repeat(0).take(length), &mut file)?;
    file.sync_all()?;
    fs::remove_file(path)
}

#[cfg(unix)]
fn restrict(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = if path.is_dir() { 0o700 } else { 0o600 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn restrict(_: &Path) -> io::Result<()> {
    Ok(())
}

fn share_name(epoch: Epoch) -> String {
    format!("{}-share", epoch.get())
}

fn seed_name(epoch: Epoch) -> String {
    format!("{}-seed", epoch.get())
}

fn dealing_name(epoch: Epoch, dealer: &impl Encode) -> String {
    format!("{}-dealing-{}", epoch.get(), alloy_primitives::hex::encode(dealer.encode()))
}

/// The engine's interface has no errors, so a failure panics: a node that cannot store its share must stop, because it could sign or
/// deal twice after a restart.
impl SealedSecrets {
    fn must<T>(outcome: Result<T, ConsensusError>) -> T {
        match outcome {
            Ok(value) => value,
            Err(error) => panic!("the node stops, its secrets are not safe: {error}"),
        }
    }

    fn keep(&self, name: &str, secret: &impl Encode) {
        let secret = Zeroizing::new(secret.encode().to_vec());
        Self::must(self.put(name, &secret));
    }

    /// The dealer's seed derived from the epoch's share.
    fn derived_seed(&self, epoch: Epoch) -> Option<Summary> {
        let name = share_name(epoch);
        let share = Self::must(self.read(&name))?;
        let mut input = hmac::Context::with_key(&self.seeds);
        input.update(&epoch.get().to_be_bytes());
        input.update(&share);
        let seed = Summary::decode(Bytes::copy_from_slice(input.sign().as_ref()));
        Some(Self::must(seed.map_err(|_| ConsensusError::SecretSealed(name))))
    }

    fn fetch<T: DecodeExt<()>>(&self, name: &str) -> Option<T> {
        let secret = Self::must(self.read(name))?;
        let decoded = T::decode(Bytes::copy_from_slice(&secret));
        Some(Self::must(decoded.map_err(|_| ConsensusError::SecretSealed(name.to_owned()))))
    }
}

impl SecretStore for SealedSecrets {
    async fn put_share(&mut self, epoch: Epoch, share: Share) {
        self.keep(&share_name(epoch), &share);
    }

    async fn get_share(&mut self, epoch: Epoch) -> Option<Share> {
        self.fetch(&share_name(epoch))
    }

    async fn put_seed(&mut self, epoch: Epoch, seed: Summary) {
        // The engine draws the seed before it stores the epoch's share, and reads it again afterwards.
        if self.derived_seed(epoch).is_none() {
            self.keep(&seed_name(epoch), &seed);
        }
    }

    async fn get_seed(&mut self, epoch: Epoch) -> Option<Summary> {
        // A stored seed is from an earlier version, and dealings may have been sent with it.
        self.fetch(&seed_name(epoch)).or_else(|| self.derived_seed(epoch))
    }

    async fn put_dealing<P: commonware_cryptography::PublicKey>(
        &mut self,
        epoch: Epoch,
        dealer: P,
        private: DealerPrivMsg,
    ) {
        self.keep(&dealing_name(epoch, &dealer), &private);
    }

    async fn get_dealing<P: commonware_cryptography::PublicKey>(
        &mut self,
        epoch: Epoch,
        dealer: &P,
    ) -> Option<DealerPrivMsg> {
        self.fetch(&dealing_name(epoch, dealer))
    }

    async fn prune(&mut self, min: Epoch) {
        Self::must(self.erase_before(min.get()));
    }
}

#[cfg(test)]
mod tests {
    use commonware_consensus::types::Participant;
    use commonware_cryptography::bls12381::primitives::group::Private;
    use commonware_math::algebra::Random as _;
    use commonware_utils::TestRng;

    use super::*;

    #[test]
    fn secrets_survive_reopening_and_only_under_their_name_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let open = |key: u8| SealedSecrets::open(folder.path().to_owned(), &[key; 32]).unwrap();
        open(1).put("3-share", b"secret").unwrap();
        assert_eq!(open(1).read("3-share").unwrap().unwrap().as_slice(), b"secret");
        assert!(open(1).read("4-share").unwrap().is_none());
        assert!(matches!(open(2).read("3-share"), Err(ConsensusError::SecretSealed(_))));
        fs::copy(folder.path().join("3-share"), folder.path().join("4-share")).unwrap();
        assert!(matches!(open(1).read("4-share"), Err(ConsensusError::SecretSealed(_))));
        let sealed = fs::read(folder.path().join("3-share")).unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
    }

    /// A node restored from an older copy, or wiped and given its share again, deals as before.
    #[test]
    fn a_dealers_seed_follows_from_share_and_key() {
        use commonware_runtime::Runner as _;
        let share = |seed| Share::new(Participant::new(0), Private::random(TestRng::new(seed)));
        let seed_of = |key: u8, share: Share| {
            let folder = tempfile::tempdir().unwrap();
            let mut secrets = SealedSecrets::open(folder.path().to_owned(), &[key; 32]).unwrap();
            commonware_runtime::deterministic::Runner::default().start(|_| async move {
                let epoch = Epoch::new(5);
                assert_eq!(secrets.get_seed(epoch).await, None);
                secrets.put_share(epoch, share).await;
                secrets.put_seed(epoch, Summary::random(TestRng::new(99))).await;
                let _keep = folder;
                secrets.get_seed(epoch).await.unwrap()
            })
        };
        assert_eq!(seed_of(1, share(1)), seed_of(1, share(1)));
        assert_ne!(seed_of(1, share(1)), seed_of(1, share(2)));
        assert_ne!(seed_of(1, share(1)), seed_of(2, share(1)));
    }

    #[test]
    fn erasing_spares_the_epochs_still_needed() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = SealedSecrets::open(folder.path().to_owned(), &[1; 32]).unwrap();
        for name in ["1-share", "1-dealing-aa", "2-seed", "10-share"] {
            secrets.put(name, b"x").unwrap();
        }
        secrets.erase_before(2).unwrap();
        assert!(secrets.read("1-share").unwrap().is_none());
        assert!(secrets.read("1-dealing-aa").unwrap().is_none());
        assert!(secrets.read("2-seed").unwrap().is_some());
        assert!(secrets.read("10-share").unwrap().is_some());
    }
}
