//! What this node keeps of other members' objects: openings that have not been used up, and the data keys of versions
//! that it has opened.
//!
//! A kept key opens its version again after the owner has taken the grant back, and nothing else: it is the key of that one
//! version. While the grant stands, every reading is an opening on the chain all the same.

use hansa_envelope::DataKey;
use hansa_kv::Batch;
use hansa_types::{ObjectId, Version};
use serde::{Deserialize, Serialize};

use super::{Keyring, SPACE, place};
use crate::SharingError;

const OPENING: u8 = b'o';
const VERSION: u8 = b'v';

/// An opening on the chain that has not been used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// It is above this height.
    pub(crate) since: u64,
    /// Its key has arrived, and is kept.
    pub(crate) arrived: bool,
}

/// An entry on the disk.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Noted {
    Pending(Pending),
    /// The first version of this software kept the opening's number.
    Numbered(u64),
}

impl Keyring {
    /// The opening of a version that has not been used up.
    pub(crate) fn pending(
        &self,
        object: ObjectId,
        version: Version,
    ) -> Result<Option<Pending>, SharingError> {
        let noted = self.load(&place(OPENING, object, version.0))?;
        Ok(noted.map(|noted| match noted {
            Noted::Pending(pending) => pending,
            Noted::Numbered(_) => Pending { since: 0, arrived: false },
        }))
    }

    /// Notes that an opening is about to be sent, which will be above this height. Durable when it returns.
    pub(crate) fn begin_opening(
        &self,
        object: ObjectId,
        version: Version,
        since: u64,
    ) -> Result<(), SharingError> {
        self.store(place(OPENING, object, version.0), &Pending { since, arrived: false })
    }

    /// Keeps the key that came for an opening. A crash of the machine may undo that: then the key is asked for again.
    pub(crate) fn keep(
        &self,
        object: ObjectId,
        version: Version,
        since: u64,
        key: &DataKey,
    ) -> Result<(), SharingError> {
        let place_of_key = place(VERSION, object, version.0);
        let sealed = self.storage.seal(&place_of_key, key.expose())?;
        let mut batch = Batch::new();
        batch.put(SPACE, place_of_key, sealed);
        self.put(&mut batch, place(OPENING, object, version.0), &Pending { since, arrived: true })?;
        Ok(self.kv.write_buffered(batch)?)
    }

    /// Takes an opening for used up: its content was read to the end, or the chain refused it. Another one, made since, stays.
    pub(crate) fn spend(&self, object: ObjectId, version: Version, since: u64) -> Result<(), SharingError> {
        if self.pending(object, version)?.is_some_and(|pending| pending.since != since) {
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.remove(SPACE, place(OPENING, object, version.0));
        Ok(self.kv.write_buffered(batch)?)
    }

    /// The kept key of a version that was opened here.
    pub(crate) fn version_key(
        &self,
        object: ObjectId,
        version: Version,
    ) -> Result<Option<DataKey>, SharingError> {
        let place = place(VERSION, object, version.0);
        let Some(sealed) = self.kv.get(SPACE, &place)? else { return Ok(None) };
        Ok(Some(DataKey::from_slice(&self.storage.open(&place, &sealed)?)?))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hansa_envelope::MemberKeys;
    use hansa_kv::MemoryStore;

    use super::*;

    #[test]
    fn an_opening_is_pending_until_it_is_spent() {
        let (object, version): (ObjectId, _) = ("1/42".parse().unwrap(), Version(3));
        let ring = Keyring::new(Arc::new(MemoryStore::new()), &MemberKeys::generate().unwrap()).unwrap();
        assert_eq!(ring.pending(object, version).unwrap(), None);
        ring.begin_opening(object, version, 17).unwrap();
        assert_eq!(ring.pending(object, version).unwrap(), Some(Pending { since: 17, arrived: false }));
        assert_eq!(ring.version_key(object, version).unwrap(), None);
        let key = DataKey::generate().unwrap();
        ring.keep(object, version, 17, &key).unwrap();
        assert_eq!(ring.pending(object, version).unwrap(), Some(Pending { since: 17, arrived: true }));
        ring.spend(object, version, 9).unwrap();
        assert!(ring.pending(object, version).unwrap().is_some(), "another opening");
        ring.spend(object, version, 17).unwrap();
        assert_eq!(ring.pending(object, version).unwrap(), None);
        assert_eq!(ring.version_key(object, version).unwrap(), Some(key));
        assert_eq!(ring.version_key(object, Version(2)).unwrap(), None);
    }

    #[test]
    fn an_opening_noted_by_the_first_version_is_looked_for_everywhere() {
        let (object, version): (ObjectId, _) = ("1/42".parse().unwrap(), Version(1));
        let ring = Keyring::new(Arc::new(MemoryStore::new()), &MemberKeys::generate().unwrap()).unwrap();
        ring.store(place(OPENING, object, version.0), &7_u64).unwrap();
        assert_eq!(ring.pending(object, version).unwrap(), Some(Pending { since: 0, arrived: false }));
    }
}
