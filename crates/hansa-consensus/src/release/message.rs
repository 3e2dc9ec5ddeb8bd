//! The messages between nodes about releases.
//!
//! `layout 1 (01) ‖ kind 1 ‖ number 8 ‖ …`, integers big-endian. The number is the asking node's own and comes back with the answer.
//! Points are not decoded here: an answer to nothing costs nothing.

use hansa_types::{RELEASE_ID_BYTES, ReleaseId, ReleaseRefusal};

use super::group::SIGNATURE_BYTES;

const LAYOUT: u8 = 1;
const ASK: u8 = 1;
const SIGNED: u8 = 2;
const NOT_YET: u8 = 3;
const REFUSED: u8 = 4;

/// A question and the answers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// `… ‖ height 8 ‖ opening 8 ‖ identity 58`.
    Ask {
        number: u64,
        /// The height that the asking node has executed.
        height: u64,
        opening: u64,
        id: ReleaseId,
    },
    /// `… ‖ epoch 8 ‖ signature 48`.
    Signed { number: u64, epoch: u64, signature: [u8; SIGNATURE_BYTES] },
    /// Ask again later.
    NotYet { number: u64 },
    /// `… ‖ reason 1`.
    Refused { number: u64, reason: ReleaseRefusal },
}

impl Message {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let with = |kind: u8, number: &u64, rest: &[&[u8]]| {
            let head = [LAYOUT, kind];
            [&[&head, number.to_be_bytes().as_slice()], rest].concat().concat()
        };
        match self {
            Self::Ask { number, height, opening, id } => {
                with(ASK, number, &[&height.to_be_bytes(), &opening.to_be_bytes(), &id.encode()])
            }
            Self::Signed { number, epoch, signature } => {
                with(SIGNED, number, &[&epoch.to_be_bytes(), signature])
            }
            Self::NotYet { number } => with(NOT_YET, number, &[]),
            Self::Refused { number, reason } => with(REFUSED, number, &[&[reason.code()]]),
        }
    }

    /// Reads a message; `None` when it is malformed.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[layout, kind], rest) = bytes.split_first_chunk()?;
        let (number, rest) = integer(rest)?;
        if layout != LAYOUT {
            return None;
        }
        match kind {
            ASK => {
                let (height, rest) = integer(rest)?;
                let (opening, rest) = integer(rest)?;
                let id = ReleaseId::decode(<&[u8; RELEASE_ID_BYTES]>::try_from(rest).ok()?)?;
                Some(Self::Ask { number, height, opening, id })
            }
            SIGNED => {
                let (epoch, rest) = integer(rest)?;
                Some(Self::Signed { number, epoch, signature: rest.try_into().ok()? })
            }
            NOT_YET => rest.is_empty().then_some(Self::NotYet { number }),
            REFUSED => {
                let &[code] = rest else { return None };
                Some(Self::Refused { number, reason: ReleaseRefusal::from_code(code)? })
            }
            _ => None,
        }
    }
}

fn integer(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (integer, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*integer), rest))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{B256, hex};
    use hansa_types::{DcId, ReleasedKey};

    use super::*;

    fn all() -> [(Message, String); 4] {
        let id = ReleaseId {
            chain: B256::repeat_byte(0xaa),
            object: "1/42".parse().unwrap(),
            key: ReleasedKey::Epoch(3),
            grantee: DcId::new(5),
            grant_nonce: 7,
        };
        let number = 0x0102;
        let (head, id_hex) = ("0000000000000102", hex::encode(id.encode()));
        [
            (
                Message::Ask { number, height: 9, opening: 4, id },
                format!("0101{head}00000000000000090000000000000004{id_hex}"),
            ),
            (
                Message::Signed { number, epoch: 2, signature: [0xbb; 48] },
                format!("0102{head}0000000000000002{}", "bb".repeat(48)),
            ),
            (Message::NotYet { number }, format!("0103{head}")),
            (Message::Refused { number, reason: ReleaseRefusal::Withdrawn }, format!("0104{head}05")),
        ]
    }

    #[test]
    fn messages_are_pinned_and_every_other_length_is_malformed() {
        for (message, pinned) in all() {
            let bytes = message.encode();
            assert_eq!(hex::encode(&bytes), pinned);
            assert_eq!(Message::decode(&bytes), Some(message));
            for length in 0..bytes.len() {
                assert_eq!(Message::decode(&bytes[..length]), None);
            }
            assert_eq!(Message::decode(&[&bytes[..], &[0]].concat()), None);
        }
        for bad in ["0001", "0000", "0105", "0100"] {
            assert_eq!(Message::decode(&hex::decode(format!("{bad}0000000000000102")).unwrap()), None);
        }
        assert_eq!(Message::decode(&hex::decode("0104000000000000010200").unwrap()), None, "no reason 0");
    }
}
