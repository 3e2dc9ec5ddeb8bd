//! Names that this node learns, for a consumer that searches them.

use std::sync::OnceLock;

use hansa_api::ObjectKind;
use hansa_envelope::Kind;
use hansa_kv::{KeyRange, Order};
use hansa_types::{DcId, ObjectId};
use parking_lot::Mutex;

use super::{KNOWN, Keyring, SPACE};
use crate::{Sharing, SharingError};

/// Entries that one step of a scan reads.
const STEP: usize = 1_024;

/// Takes an object's name.
type Learned = Box<dyn Fn(ObjectId, &str) + Send + Sync>;

/// The consumer of names. Names reach it in the order in which they were learned.
#[derive(Default)]
pub(crate) struct Listener {
    learned: OnceLock<Learned>,
    order: Mutex<()>,
}

/// What this node knows of an object from a manifest that it could read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// File or directory.
    pub kind: ObjectKind,
    /// Plaintext bytes.
    pub size: u64,
}

impl Keyring {
    /// Tells the stored name of an object.
    pub(super) fn tell(&self, object: ObjectId) -> Result<(), SharingError> {
        let Some(learned) = self.listener.learned.get() else { return Ok(()) };
        let _order = self.listener.order.lock();
        if let Some(known) = self.known(object)? {
            learned(object, &known.name);
        }
        Ok(())
    }

    fn tell_all(&self) -> Result<(), SharingError> {
        let mut range = KeyRange::prefix(&[KNOWN]);
        loop {
            let step = self.kv.scan(SPACE, range.clone(), Order::Ascending, STEP)?;
            for (key, _) in &step {
                object(key).map_or(Ok(()), |object| self.tell(object))?;
            }
            match step.last() {
                Some((last, _)) if step.len() == STEP => range = range.after(last),
                _ => return Ok(()),
            }
        }
    }
}

/// The object of an entry's place.
fn object(key: &[u8]) -> Option<ObjectId> {
    let (_, rest) = key.split_first()?;
    let (owner, rest) = rest.split_first_chunk()?;
    let number = rest.first_chunk()?;
    let owner = DcId::new(u32::from_be_bytes(*owner))?;
    Some(ObjectId { owner, number: u64::from_be_bytes(*number) })
}

impl Sharing {
    /// Tells all names that this node knows, and from then on each that it learns. Blocks for as long as it takes to decrypt them. Only
    /// the first call has a listener.
    ///
    /// # Errors
    /// When the key table cannot be read.
    pub fn follow_names(
        &self,
        learned: impl Fn(ObjectId, &str) + Send + Sync + 'static,
    ) -> Result<(), SharingError> {
        let keyring = &self.0.keyring;
        drop(keyring.listener.learned.set(Box::new(learned)));
        keyring.tell_all()
    }

    /// What this node knows of an object; `None` where it has read no manifest of it.
    ///
    /// # Errors
    /// When the key table cannot be read.
    pub fn description(&self, object: ObjectId) -> Result<Option<Description>, SharingError> {
        let known = self.0.keyring.known(object)?;
        Ok(known.map(|known| Description {
            name: known.name,
            kind: match known.kind {
                Kind::File => ObjectKind::File,
                Kind::Directory => ObjectKind::Directory,
            },
            size: known.size,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hansa_envelope::MemberKeys;
    use hansa_kv::MemoryStore;
    use hansa_types::Version;

    use super::*;
    use crate::keyring::Known;

    #[test]
    fn names_are_told_from_the_disk_and_as_they_are_learned() {
        let ring = Keyring::new(Arc::new(MemoryStore::new()), &MemberKeys::generate().unwrap()).unwrap();
        let learn = |number, version, name: &str| {
            let object = ObjectId { owner: DcId::new(2).unwrap(), number };
            let known = Known { version: Version(version), name: name.to_owned(), kind: Kind::File, size: 1 };
            ring.remember(object, &known).unwrap();
        };
        for number in 1..=STEP as u64 + 1 {
            learn(number, 1, "old");
        }
        let told = Arc::new(Mutex::new(Vec::new()));
        let copy = Arc::clone(&told);
        let listener: Learned =
            Box::new(move |object, name| copy.lock().push((object.number, name.to_owned())));
        assert!(ring.listener.learned.set(listener).is_ok());
        ring.tell_all().unwrap();
        let numbers: Vec<u64> = told.lock().drain(..).map(|(number, _)| number).collect();
        assert_eq!(numbers, (1..=STEP as u64 + 1).collect::<Vec<_>>());
        learn(u64::MAX, 2, "new");
        learn(u64::MAX, 1, "older");
        assert_eq!(*told.lock(), [(u64::MAX, "new".to_owned())]);
    }
}
