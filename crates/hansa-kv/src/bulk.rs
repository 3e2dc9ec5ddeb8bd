//! Many changes of one space, to be written at once. Holds them in memory; checks nothing.

/// Changes of one space, gathered in any order and written in that of their keys. Of several changes of a key the last one
/// counts.
///
/// Keys and values lie in one stretch of memory, since there are many of them.
#[derive(Clone, Debug, Default)]
pub struct BulkChanges {
    bytes: Vec<u8>,
    changes: Vec<Place>,
}

/// Where a change is among the bytes: its value follows its key.
#[derive(Clone, Copy, Debug)]
struct Place {
    key: usize,
    value: usize,
    end: usize,
    is_removal: bool,
}

impl Place {
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.key..self.value]
    }

    fn value<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        (!self.is_removal).then(|| &bytes[self.value..self.end])
    }
}

impl BulkChanges {
    /// Sets the value of a key; both are appended to what they are given.
    pub fn put_with(&mut self, key: impl FnOnce(&mut Vec<u8>), value: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.bytes.len();
        key(&mut self.bytes);
        let key_end = self.bytes.len();
        value(&mut self.bytes);
        let end = self.bytes.len();
        self.changes.push(Place { key: begin, value: key_end, end, is_removal: false });
    }

    /// Sets the value of a key.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.put_with(|out| out.extend_from_slice(key.as_ref()), |out| out.extend_from_slice(value.as_ref()));
    }

    /// Removes a key; no error if it is not there.
    pub fn remove(&mut self, key: impl AsRef<[u8]>) {
        self.put(key, []);
        if let Some(change) = self.changes.last_mut() {
            change.is_removal = true;
        }
    }

    /// The changes by key, each key once; no value removes it.
    pub fn sorted(&mut self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let Self { bytes, changes } = self;
        let bytes = bytes.as_slice();
        // Stable, so that of equal keys the last one stays last.
        changes.sort_by(|a, b| a.key(bytes).cmp(b.key(bytes)));
        changes.dedup_by(|later, earlier| {
            let is_same = later.key(bytes) == earlier.key(bytes);
            if is_same {
                *earlier = *later;
            }
            is_same
        });
        changes.iter().map(move |change| (change.key(bytes), change.value(bytes)))
    }

    /// The keys, in no particular order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.changes.iter().map(|change| change.key(&self.bytes))
    }
}
