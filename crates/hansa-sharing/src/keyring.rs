//! The owner's audience keys and what this node knows of objects, encrypted on its own disk.
//!
//! Audience keys are random and exist nowhere else: destroying an entry destroys the key. Values are sealed under the
//! member's storage key, each bound to its place. A grantee's node keeps no audience keys here, only the keys of single
//! versions that it has opened.

mod kept;
mod names;

use std::sync::Arc;

use hansa_envelope::{
    AudienceKey, EnvelopeError, Kind, MemberKeys, StorageKey, unwrap_owner_key, wrap_owner_key,
};
use hansa_kv::{Batch, KvStore, Space};
use hansa_types::{ObjectId, Version};
pub(crate) use kept::Pending;
pub use names::Description;
use serde::{Deserialize, Serialize};

use crate::SharingError;

/// Where everything of this crate is kept.
pub(crate) const SPACE: Space = Space::new("sharing");

/// The keyspaces that the store must be opened with.
pub fn spaces() -> [Space; 1] {
    [SPACE]
}

/// What this node knows of an object from a manifest that it could read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Of which version.
    pub(crate) version: Version,
    /// The object's name.
    pub(crate) name: String,
    /// File or folder.
    pub(crate) kind: Kind,
    /// Plaintext bytes.
    pub(crate) size: u64,
}

/// The keys of an own object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Epochs {
    /// The epoch of the newest version.
    pub(crate) current: u32,
    /// Somebody lost access: the next version must be under a new key.
    pub(crate) rotate: bool,
    /// The epoch is new: deposits of the key before are to be renewed once a version under this one is recorded.
    #[serde(default)]
    pub(crate) renew: bool,
    /// Since the current epoch began, this node has answered openings with the keys of single versions, and deposited no other with a limited
    /// grant.
    #[serde(default)]
    pub(crate) by_version: bool,
}

/// Keys and catalogue.
#[derive(Clone)]
pub(crate) struct Keyring {
    kv: Arc<dyn KvStore>,
    storage: StorageKey,
    listener: Arc<names::Listener>,
}

fn place(kind: u8, object: ObjectId, epoch: u32) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend(object.owner.value().to_be_bytes());
    key.extend(object.number.to_be_bytes());
    key.extend(epoch.to_be_bytes());
    key
}

const KEY: u8 = b'k';
const EPOCHS: u8 = b'e';
const KNOWN: u8 = b'n';

impl Keyring {
    pub(crate) fn new(kv: Arc<dyn KvStore>, keys: &MemberKeys) -> Result<Self, SharingError> {
        Ok(Self { kv, storage: keys.storage_key()?.derive("sharing")?, listener: Arc::default() })
    }

    fn load<T: for<'a> Deserialize<'a>>(&self, place: &[u8]) -> Result<Option<T>, SharingError> {
        let Some(sealed) = self.kv.get(SPACE, place)? else { return Ok(None) };
        let bytes = self.storage.open(place, &sealed)?;
        let value = serde_ipld_dagcbor::from_slice(&bytes)
            .map_err(|_| EnvelopeError::Tampered("an entry of the node's key store"))?;
        Ok(Some(value))
    }

    /// Adds a value, sealed for its place.
    fn put<T: Serialize>(&self, batch: &mut Batch, place: Vec<u8>, value: &T) -> Result<(), SharingError> {
        let bytes =
            serde_ipld_dagcbor::to_vec(value).map_err(|_| EnvelopeError::Crypto("encoding a value"))?;
        let sealed = self.storage.seal(&place, &bytes)?;
        batch.put(SPACE, place, sealed);
        Ok(())
    }

    fn store<T: Serialize>(&self, place: Vec<u8>, value: &T) -> Result<(), SharingError> {
        let mut batch = Batch::new();
        self.put(&mut batch, place, value)?;
        Ok(self.kv.write(batch)?)
    }

    /// The audience key of an own object's epoch.
    pub(crate) fn key(&self, object: ObjectId, epoch: u32) -> Result<Option<AudienceKey>, SharingError> {
        let place = place(KEY, object, epoch);
        let Some(sealed) = self.kv.get(SPACE, &place)? else { return Ok(None) };
        Ok(Some(AudienceKey::from_slice(&self.storage.open(&place, &sealed)?)?))
    }

    /// The audience key for the next version: the current epoch's, or a new epoch's when there is none or it must not be
    /// used any more. Adds a new key to `batch`, which must be durable before a version under it is recorded.
    pub(crate) fn key_for_next(
        &self,
        object: ObjectId,
        batch: &mut Batch,
    ) -> Result<(u32, AudienceKey), SharingError> {
        let epochs = self.epochs(object)?;
        if let (false, Some(key)) = (epochs.rotate, self.key(object, epochs.current)?) {
            return Ok((epochs.current, key));
        }
        let (epoch, key) = (epochs.current.saturating_add(1), AudienceKey::generate()?);
        let place = place(KEY, object, epoch);
        let sealed = self.storage.seal(&place, key.expose())?;
        batch.put(SPACE, place, sealed);
        let epochs = Epochs { current: epoch, rotate: false, renew: epochs.current > 0, by_version: true };
        self.put(batch, self::place(EPOCHS, object, 0), &epochs)?;
        Ok((epoch, key))
    }

    /// An audience key as it travels with its own object.
    pub(crate) fn wrapped_for_owner(
        &self,
        chain_id: u64,
        object: ObjectId,
        epoch: u32,
        kek: &AudienceKey,
    ) -> Result<Vec<u8>, SharingError> {
        Ok(wrap_owner_key(&self.storage, kek, chain_id, object, epoch)?)
    }

    /// Takes an own object's audience key back from the object, where this disk has lost it. Durable when it returns. The next version is
    /// sealed under a new key: a loss of access that was only noted on the lost disk must not be forgotten.
    pub(crate) fn regain(
        &self,
        chain_id: u64,
        object: ObjectId,
        epoch: u32,
        wrapped: &[u8],
    ) -> Result<(), SharingError> {
        if self.key(object, epoch)?.is_some() {
            return Ok(());
        }
        let key = match unwrap_owner_key(&self.storage, wrapped, chain_id, object, epoch) {
            Ok(key) => key,
            // The member has begun anew with another storage secret; the check for keys tells which objects are closed.
            Err(EnvelopeError::Tampered(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let place = place(KEY, object, epoch);
        let sealed = self.storage.seal(&place, key.expose())?;
        let mut batch = Batch::new();
        batch.put(SPACE, place, sealed);
        let epochs = self.epochs(object)?;
        let current = epochs.current.max(epoch);
        self.put(&mut batch, self::place(EPOCHS, object, 0), &Epochs { current, rotate: true, ..epochs })?;
        Ok(self.kv.write(batch)?)
    }

    /// Notes that every deposit is of the current epoch's key. Losing this to a crash only means looking again.
    pub(crate) fn renewed(&self, object: ObjectId) -> Result<(), SharingError> {
        let epochs = Epochs { renew: false, ..self.epochs(object)? };
        let mut batch = Batch::new();
        self.put(&mut batch, place(EPOCHS, object, 0), &epochs)?;
        Ok(self.kv.write_buffered(batch)?)
    }

    pub(crate) fn epochs(&self, object: ObjectId) -> Result<Epochs, SharingError> {
        Ok(self.load(&place(EPOCHS, object, 0))?.unwrap_or_default())
    }

    /// Has the next version encrypted under a new key. Durable when it returns.
    pub(crate) fn rotate(&self, object: ObjectId) -> Result<(), SharingError> {
        let epochs = self.epochs(object)?;
        self.store(place(EPOCHS, object, 0), &Epochs { rotate: true, ..epochs })
    }

    /// What is known of an object.
    pub(crate) fn known(&self, object: ObjectId) -> Result<Option<Known>, SharingError> {
        self.load(&place(KNOWN, object, 0))
    }

    /// Notes what a manifest said. Not flushed: whoever has the key can read the manifest again.
    pub(crate) fn remember(&self, object: ObjectId, known: &Known) -> Result<(), SharingError> {
        match self.known(object)? {
            Some(newer) if newer.version > known.version => return Ok(()),
            Some(same) if same == *known => return Ok(()),
            _ => {}
        }
        let mut batch = Batch::new();
        self.put(&mut batch, place(KNOWN, object, 0), known)?;
        self.kv.write_buffered(batch)?;
        self.tell(object)
    }
}

#[cfg(test)]
mod tests {
    use hansa_kv::MemoryStore;

    use super::*;

    fn object() -> ObjectId {
        "1/42".parse().unwrap()
    }

    #[test]
    fn epochs_move_only_after_somebody_lost_access() {
        let kv: Arc<dyn KvStore> = Arc::new(MemoryStore::new());
        let keys = MemberKeys::generate().unwrap();
        let ring = Keyring::new(Arc::clone(&kv), &keys).unwrap();
        let next = || {
            let mut batch = Batch::new();
            let next = ring.key_for_next(object(), &mut batch).unwrap();
            kv.write(batch).unwrap();
            next
        };
        let (first, key) = next();
        assert_eq!((first, next()), (1, (1, key.clone())));
        ring.rotate(object()).unwrap();
        let (second, other) = next();
        assert_eq!((second, ring.epochs(object()).unwrap().rotate), (2, false));
        assert!(other != key);
        let reopened = Keyring::new(Arc::clone(&kv), &keys).unwrap();
        assert_eq!(reopened.key(object(), 1).unwrap(), Some(key));
        assert_eq!(reopened.key(object(), 2).unwrap(), Some(other));
        assert_eq!(reopened.key(object(), 3).unwrap(), None);
        let stranger = Keyring::new(kv, &MemberKeys::generate().unwrap()).unwrap();
        assert!(stranger.key(object(), 1).is_err());
    }

    #[test]
    fn a_lost_key_comes_back_from_its_object_and_the_next_version_gets_another() {
        let keys = MemberKeys::generate().unwrap();
        let ring = Keyring::new(Arc::new(MemoryStore::new()), &keys).unwrap();
        let mut batch = Batch::new();
        let (epoch, key) = ring.key_for_next(object(), &mut batch).unwrap();
        let wrapped = ring.wrapped_for_owner(7, object(), epoch, &key).unwrap();

        let empty = Keyring::new(Arc::new(MemoryStore::new()), &keys).unwrap();
        empty.regain(7, object(), epoch, &wrapped).unwrap();
        assert_eq!(empty.key(object(), epoch).unwrap(), Some(key.clone()));
        let (next, other) = empty.key_for_next(object(), &mut Batch::new()).unwrap();
        assert!((next, other != key) == (epoch + 1, true));
        let stranger = Keyring::new(Arc::new(MemoryStore::new()), &MemberKeys::generate().unwrap()).unwrap();
        stranger.regain(7, object(), epoch, &wrapped).unwrap();
        assert_eq!(stranger.key(object(), epoch).unwrap(), None);
    }

    #[test]
    fn the_newest_description_stays() {
        let ring = Keyring::new(Arc::new(MemoryStore::new()), &MemberKeys::generate().unwrap()).unwrap();
        let known = |version, name: &str| Known {
            version: Version(version),
            name: name.to_owned(),
            kind: Kind::File,
            size: 1,
        };
        ring.remember(object(), &known(2, "new")).unwrap();
        ring.remember(object(), &known(1, "old")).unwrap();
        assert_eq!(ring.known(object()).unwrap().unwrap().name, "new");
    }
}
