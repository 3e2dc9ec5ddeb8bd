//! The set of visited nodes of a DAG walk. It bounds the walk's memory by the number of blocks.

use std::collections::HashMap;

use cid::Cid;

use crate::block::{Key, codec_of, key_of};
use crate::{ContentError, DAG_CBOR, DAG_PB};

/// A visit of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// The digest is new to the walk.
    First,
    /// The digest was visited under another codec. The links under this codec are new.
    Alias,
    /// The node was visited before.
    Again,
}

/// A set of nodes. The identity of a node is its digest *and* its codec: the same bytes can be a leaf under one CID and have children
/// under another, and neither may hide the other. All codecs without links count as one.
#[derive(Debug, Default)]
pub struct Visited(HashMap<Key, u8>);

impl Visited {
    /// Adds a node; returns whether it was visited before.
    ///
    /// # Errors
    /// [`ContentError::UnsupportedHash`].
    pub fn visit(&mut self, cid: &Cid) -> Result<Visit, ContentError> {
        let codec = match codec_of(cid) {
            DAG_PB => 1,
            DAG_CBOR => 2,
            _ => 4,
        };
        let known = self.0.entry(key_of(cid)?).or_default();
        let visit = match *known {
            0 => Visit::First,
            codecs if codecs & codec == 0 => Visit::Alias,
            _ => Visit::Again,
        };
        *known |= codec;
        Ok(visit)
    }

    /// Number of distinct digests visited.
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Whether nothing was visited.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a block was visited under any codec.
    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RAW;
    use crate::block::{cid_of, sha256};

    #[test]
    fn a_digest_is_visited_once_under_each_codec_with_links_and_once_without() {
        let key = sha256(b"node");
        let mut visited = Visited::default();
        let mut visit = |codec| visited.visit(&cid_of(codec, key)).unwrap();
        assert_eq!(visit(RAW), Visit::First);
        assert_eq!([visit(DAG_CBOR), visit(DAG_PB)], [Visit::Alias; 2]);
        assert_eq!([visit(RAW), visit(0x0129), visit(DAG_PB), visit(DAG_CBOR)], [Visit::Again; 4]);
    }
}
