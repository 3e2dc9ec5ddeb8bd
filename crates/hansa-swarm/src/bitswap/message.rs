//! Wire format of Bitswap: Protocol Buffers with a varint length prefix. The decoder bounds all lists.

use bytes::Bytes;
use cid::{Cid, Version};
use hansa_content::protobuf::{
    Fields, Malformed, Value, put_bytes, put_header, put_integer, put_varint, take_varint,
};
use hansa_content::{Block, MAX_BLOCK_BYTES};

/// Maximum length of a message in bytes without its prefix, as in other implementations.
pub(crate) const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Maximum number of wants in a message and in a peer's list.
pub(crate) const MAX_WANTS: usize = 1024;
/// Maximum number of presences and blocks in a message.
const MAX_ANSWERS: usize = 16 * 1024;

/// The kind of a want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Block,
    Have,
}

/// An entry of a want list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) cid: Cid,
    pub(crate) kind: Kind,
    pub(crate) cancel: bool,
    pub(crate) send_dont_have: bool,
}

impl Entry {
    pub(crate) const fn want(cid: Cid, kind: Kind) -> Self {
        Self { cid, kind, cancel: false, send_dont_have: true }
    }

    pub(crate) const fn cancel(cid: Cid) -> Self {
        Self { cid, kind: Kind::Block, cancel: true, send_dont_have: false }
    }
}

/// A block on the wire: its bytes and its CID without the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    version: u64,
    pub(crate) codec: u64,
    hash: u64,
    digest_length: u64,
    pub(crate) data: Bytes,
}

impl Payload {
    pub(crate) fn new(block: &Block) -> Self {
        let cid = block.cid();
        let version = if cid.version() == Version::V0 { 0 } else { 1 };
        Self {
            version,
            codec: cid.codec(),
            hash: cid.hash().code(),
            digest_length: u64::from(cid.hash().size()),
            data: block.bytes().clone(),
        }
    }

    /// Whether the claimed CID prefix is supported.
    pub(crate) const fn is_supported(&self) -> bool {
        self.version <= 1 && self.hash == 0x12 && self.digest_length == 32
    }
}

/// An answer to a want without the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Presence {
    pub(crate) cid: Cid,
    pub(crate) have: bool,
}

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) wants: Vec<Entry>,
    /// Whether the wants replace the list.
    pub(crate) full: bool,
    pub(crate) payloads: Vec<Payload>,
    pub(crate) presences: Vec<Presence>,
}

impl Message {
    fn is_empty(&self) -> bool {
        self.wants.is_empty() && !self.full && self.payloads.is_empty() && self.presences.is_empty()
    }

    /// The encoding with its length prefix, in pieces, so that blocks are not copied; empty for an empty message.
    pub(crate) fn encode(&self) -> Vec<Bytes> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut pieces = Vec::with_capacity(self.payloads.len().saturating_mul(2).saturating_add(2));
        let mut buffer = Vec::new();
        self.encode_wants(&mut buffer);
        for presence in &self.presences {
            let mut item = Vec::with_capacity(48);
            put_bytes(&mut item, 1, &presence.cid.to_bytes());
            put_integer(&mut item, 2, u64::from(!presence.have));
            put_bytes(&mut buffer, 4, &item);
        }
        for payload in &self.payloads {
            let mut head = Vec::with_capacity(24);
            let mut prefix = Vec::with_capacity(8);
            for part in [payload.version, payload.codec, payload.hash, payload.digest_length] {
                put_varint(&mut prefix, part);
            }
            put_bytes(&mut head, 1, &prefix);
            put_header(&mut head, 2, payload.data.len());
            put_header(&mut buffer, 3, head.len().saturating_add(payload.data.len()));
            buffer.extend_from_slice(&head);
            pieces.push(std::mem::take(&mut buffer).into());
            pieces.push(payload.data.clone());
        }
        pieces.push(buffer.into());
        let length =
            pieces.iter().fold(0u64, |sum: u64, piece: &Bytes| sum.saturating_add(piece.len() as u64));
        let mut prefix = Vec::with_capacity(10);
        put_varint(&mut prefix, length);
        pieces.insert(0, prefix.into());
        pieces
    }

    fn encode_wants(&self, buffer: &mut Vec<u8>) {
        if self.wants.is_empty() && !self.full {
            return;
        }
        let mut list = Vec::with_capacity(self.wants.len().saturating_mul(52));
        for want in &self.wants {
            let mut item = Vec::with_capacity(48);
            put_bytes(&mut item, 1, &want.cid.to_bytes());
            put_integer(&mut item, 2, 1);
            if want.cancel {
                put_integer(&mut item, 3, 1);
            }
            if want.kind == Kind::Have {
                put_integer(&mut item, 4, 1);
            }
            if want.send_dont_have {
                put_integer(&mut item, 5, 1);
            }
            put_bytes(&mut list, 1, &item);
        }
        if self.full {
            put_integer(&mut list, 2, 1);
        }
        put_bytes(buffer, 1, &list);
    }

    /// Decodes a message without its length prefix. Blocks share its memory. Unknown fields are skipped.
    pub(crate) fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(Malformed);
        }
        let mut message = Self::default();
        for field in Fields::new(bytes) {
            match field? {
                (1, Value::Bytes(list)) => message.decode_wants(list)?,
                (3, Value::Bytes(payload)) => message.payloads.push(decode_payload(payload)?),
                (4, Value::Bytes(presence)) => message.presences.push(decode_presence(presence)?),
                _ => {}
            }
            let answers = message.payloads.len().saturating_add(message.presences.len());
            if message.wants.len() > MAX_WANTS || answers > MAX_ANSWERS {
                return Err(Malformed);
            }
        }
        Ok(message)
    }

    fn decode_wants(&mut self, list: Bytes) -> Result<(), Malformed> {
        for field in Fields::new(list) {
            match field? {
                (1, Value::Bytes(entry)) => self.wants.push(decode_entry(entry)?),
                (2, Value::Varint(full)) => self.full = full != 0,
                _ => {}
            }
            if self.wants.len() > MAX_WANTS {
                return Err(Malformed);
            }
        }
        Ok(())
    }
}

fn decode_cid(bytes: &Bytes) -> Result<Cid, Malformed> {
    Cid::try_from(bytes.as_ref()).map_err(|_| Malformed)
}

fn decode_entry(bytes: Bytes) -> Result<Entry, Malformed> {
    let (mut cid, mut kind, mut cancel, mut send_dont_have) = (None, Kind::Block, false, false);
    for field in Fields::new(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => cid = Some(decode_cid(&bytes)?),
            (3, Value::Varint(value)) => cancel = value != 0,
            (4, Value::Varint(value)) => kind = if value == 0 { Kind::Block } else { Kind::Have },
            (5, Value::Varint(value)) => send_dont_have = value != 0,
            _ => {}
        }
    }
    Ok(Entry { cid: cid.ok_or(Malformed)?, kind, cancel, send_dont_have })
}

fn decode_payload(bytes: Bytes) -> Result<Payload, Malformed> {
    let (mut prefix, mut data) = (Bytes::new(), Bytes::new());
    for field in Fields::new(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => prefix = bytes,
            (2, Value::Bytes(bytes)) => data = bytes,
            _ => {}
        }
    }
    if data.len() > MAX_BLOCK_BYTES {
        return Err(Malformed);
    }
    let mut part = || take_varint(&mut prefix);
    Ok(Payload { version: part()?, codec: part()?, hash: part()?, digest_length: part()?, data })
}

fn decode_presence(bytes: Bytes) -> Result<Presence, Malformed> {
    let (mut cid, mut have) = (None, true);
    for field in Fields::new(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => cid = Some(decode_cid(&bytes)?),
            (2, Value::Varint(kind)) => have = kind == 0,
            _ => {}
        }
    }
    Ok(Presence { cid: cid.ok_or(Malformed)?, have })
}

#[cfg(test)]
mod tests {
    use hansa_content::{DAG_PB, RAW};
    use proptest::prelude::*;

    use super::*;

    fn block(bytes: Vec<u8>) -> Block {
        Block::new(if bytes.len().is_multiple_of(2) { RAW } else { DAG_PB }, bytes.into()).unwrap()
    }

    fn join(pieces: Vec<Bytes>) -> Bytes {
        pieces.concat().into()
    }

    fn message() -> impl Strategy<Value = Message> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..64);
        let entry = (bytes(), any::<[bool; 3]>()).prop_map(|(bytes, [have, cancel, send_dont_have])| Entry {
            cid: *block(bytes).cid(),
            kind: if have { Kind::Have } else { Kind::Block },
            cancel,
            send_dont_have,
        });
        let presence = (bytes(), any::<bool>()).prop_map(|(b, have)| Presence { cid: *block(b).cid(), have });
        let payload = bytes().prop_map(|b| Payload::new(&block(b)));
        (
            proptest::collection::vec(entry, 0..5),
            any::<bool>(),
            proptest::collection::vec(payload, 0..5),
            proptest::collection::vec(presence, 0..5),
        )
            .prop_map(|(wants, full, payloads, presences)| Message {
                wants,
                full,
                payloads,
                presences,
            })
    }

    proptest! {
        #[test]
        fn messages_round_trip(message in message()) {
            let mut encoded = join(message.encode());
            prop_assume!(!encoded.is_empty());
            prop_assert_eq!(take_varint(&mut encoded).unwrap(), encoded.len() as u64);
            prop_assert_eq!(Message::decode(encoded).unwrap(), message);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Message::decode(bytes.into());
        }

        #[test]
        fn damaged_messages_never_panic(message in message(), at: prop::sample::Index, to: u8, end: prop::sample::Index) {
            let mut bytes = join(message.encode()).to_vec();
            prop_assume!(!bytes.is_empty());
            let index = at.index(bytes.len());
            bytes[index] = to;
            let _ = Message::decode(bytes.clone().into());
            bytes.truncate(end.index(bytes.len()));
            let _ = Message::decode(bytes.into());
        }
    }

    /// The pinned encoding of Kubo's want for the block "hello world".
    #[test]
    fn a_want_has_its_known_encoding() {
        let cid = *Block::new(RAW, Bytes::from_static(b"hello world")).unwrap().cid();
        let message = Message { wants: vec![Entry::want(cid, Kind::Have)], ..Default::default() };
        let expected = format!("300a2e0a2c0a24{}100120012801", hex::encode(cid.to_bytes()));
        assert_eq!(hex::encode(join(message.encode())), expected);
    }

    #[test]
    fn too_many_wants_are_refused() {
        let cid = *Block::new(RAW, Bytes::new()).unwrap().cid();
        let wants = vec![Entry::want(cid, Kind::Block); MAX_WANTS + 1];
        let mut encoded = join(Message { wants, ..Default::default() }.encode());
        take_varint(&mut encoded).unwrap();
        assert_eq!(Message::decode(encoded), Err(Malformed));
    }
}
