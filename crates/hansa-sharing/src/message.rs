//! What members' nodes ask one another, besides blocks: dag-cbor, at most 64 KiB, one request and one answer.
//!
//! The swarm has authenticated the asking node by its network key before a request arrives here. Nothing in a request is
//! believed: keys are released by what the chain says.

use bytes::Bytes;
use cid::Cid;
use hansa_types::{ObjectId, Version};
use serde::{Deserialize, Serialize};

/// Longest message in bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Most CIDs in a report, so that it fits a message.
pub(crate) const REPORTED_CIDS_MAX: usize = 500;

/// Most roots in a question about holdings, so that it fits a message.
pub(crate) const ROOTS_MAX: usize = 500;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Request {
    /// Release the audience key of a version's epoch.
    Key {
        /// The object; its owner is who is asked.
        object: ObjectId,
        /// The version.
        version: Version,
        /// The opening on the chain, `None` when there is none.
        opening: Option<u64>,
        /// The finalised height at which the asking node saw it.
        height: u64,
    },
    /// Do you hold all of what is below each of these roots?
    Holds {
        /// At most 500 root blocks.
        roots: Vec<Cid>,
    },
    /// Read all of what is below this root from your disk and compare it with its digests.
    Check {
        /// The root block.
        root: Cid,
    },
    /// Keep a replica of my version, although the allocation does not ask you to.
    Keep {
        /// The object; its owner asks.
        object: ObjectId,
        /// The version.
        version: Version,
        /// How many members besides the owner are to keep it.
        others: u32,
    },
    /// I keep everything below these roots of yours.
    Kept {
        /// At most 500 root blocks.
        roots: Vec<Cid>,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Answer {
    /// The data key of the opened version, wrapped to the asking member's registered key.
    Released {
        /// [`hansa_envelope::wrap_granted_dek`].
        wrapped: Bytes,
    },
    /// No key.
    Refused {
        /// A [`hansa_contracts::RefusalReason`].
        reason: u8,
    },
    /// Whether everything below each root is held.
    Holds {
        /// In the order of the question.
        whole: Vec<bool>,
    },
    /// What a check found.
    Checked {
        /// Blocks read.
        blocks: u64,
        /// Bytes read.
        bytes: u64,
        /// At most 500 damaged blocks.
        damaged: Vec<Cid>,
        /// At most 500 missing blocks.
        missing: Vec<Cid>,
    },
    /// What was told has been heard.
    Noted,
    /// The node could not answer; ask again later.
    Failed {
        /// Why.
        why: String,
    },
}

/// Encodes a message; an answer that cannot be encoded is empty and refused by [`decode`].
pub(crate) fn encode<T: Serialize>(message: &T) -> Bytes {
    serde_ipld_dagcbor::to_vec(message).unwrap_or_default().into()
}

/// Decodes a message; `None` when it is too long or malformed.
pub(crate) fn decode<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Option<T> {
    (bytes.len() <= MESSAGE_BYTES_MAX).then(|| serde_ipld_dagcbor::from_slice(bytes).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use hansa_envelope::root_cid;
    use proptest::prelude::*;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        alloy_primitives::hex::encode(bytes)
    }

    #[test]
    fn encodings_are_pinned() {
        let request = Request::Key {
            object: "1/42".parse().unwrap(),
            version: Version(3),
            opening: Some(7),
            height: 1000,
        };
        assert_eq!(
            hex(&encode(&request)),
            "a1636b6579a4666865696768741903e8666f626a65637464312f3432676f70656e696e67076776657273696f6e03"
        );
        assert_eq!(decode::<Request>(&encode(&request)), Some(request));
        let released = Answer::Released { wrapped: Bytes::from_static(&[0xaa, 0xbb]) };
        assert_eq!(hex(&encode(&released)), "a16872656c6561736564a1677772617070656442aabb");
        let answer = Answer::Refused { reason: 4 };
        assert_eq!(hex(&encode(&answer)), "a16772656675736564a166726561736f6e04");
        let check = Request::Check { root: root_cid(alloy_primitives::B256::ZERO) };
        assert_eq!(decode::<Request>(&encode(&check)), Some(check));
        let keep = Request::Keep { object: "1/42".parse().unwrap(), version: Version(3), others: 2 };
        assert_eq!(
            hex(&encode(&keep)),
            "a1646b656570a3666f626a65637464312f3432666f7468657273026776657273696f6e03"
        );
        let kept = Request::Kept { roots: vec![root_cid(alloy_primitives::B256::ZERO)] };
        assert_eq!(decode::<Request>(&encode(&kept)), Some(kept));
        assert_eq!(hex(&encode(&Answer::Noted)), "656e6f746564");
    }

    #[test]
    fn the_longest_messages_fit() {
        let roots = vec![root_cid(alloy_primitives::B256::ZERO); ROOTS_MAX];
        assert!(encode(&Request::Holds { roots: roots.clone() }).len() <= MESSAGE_BYTES_MAX);
        assert!(encode(&Request::Kept { roots }).len() <= MESSAGE_BYTES_MAX);
        let cids = vec![root_cid(alloy_primitives::B256::ZERO); REPORTED_CIDS_MAX];
        let report =
            Answer::Checked { blocks: u64::MAX, bytes: u64::MAX, damaged: cids.clone(), missing: cids };
        assert!(encode(&report).len() <= MESSAGE_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode::<Request>(&bytes);
            let _ = decode::<Answer>(&bytes);
        }
    }
}
