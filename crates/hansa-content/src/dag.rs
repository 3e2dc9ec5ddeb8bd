//! Links of blocks: dag-pb nodes with UnixFS data, and dag-cbor. Directories and symbolic links of UnixFS are plain dag-pb here.

use bytes::Bytes;
use cid::Cid;
use ipld_core::codec::Links;
use serde_ipld_dagcbor::codec::DagCborCodec;

use crate::block::codec_of;
use crate::protobuf::{Fields, Value, put_bytes, put_header, put_integer};
use crate::{ContentError, DAG_CBOR, DAG_PB, RAW};

/// A link from one block to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The linked block.
    pub cid: Cid,
    /// Bytes of the linked block and its descendants, as the linking block claims; `None` in dag-cbor.
    pub size: Option<u64>,
}

/// The links of a block in order. Blocks of codecs without links have none.
///
/// # Errors
/// [`ContentError::Malformed`] if the bytes do not decode under the CID's codec.
pub fn links(cid: &Cid, bytes: &Bytes) -> Result<Vec<Link>, ContentError> {
    match codec_of(cid) {
        DAG_PB => Ok(Node::decode(cid, bytes)?.links),
        DAG_CBOR => DagCborCodec::links(bytes)
            .map(|links| links.map(|cid| Link { cid, size: None }).collect())
            .map_err(|_| ContentError::malformed(*cid, "not dag-cbor")),
        _ => Ok(Vec::new()),
    }
}

/// Whether blocks of this CID's codec can have links.
pub(crate) const fn may_link(cid: &Cid) -> bool {
    matches!(codec_of(cid), DAG_PB | DAG_CBOR)
}

/// A decoded dag-pb node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) links: Vec<Link>,
    pub(crate) data: Bytes,
}

impl Node {
    pub(crate) fn decode(cid: &Cid, bytes: &Bytes) -> Result<Self, ContentError> {
        let malformed = |_| ContentError::malformed(*cid, "not dag-pb");
        let mut node = Self::default();
        for field in Fields::new(bytes.clone()) {
            match field.map_err(malformed)? {
                (1, Value::Bytes(data)) => node.data = data,
                (2, Value::Bytes(link)) => node.links.push(decode_link(cid, link)?),
                _ => return Err(ContentError::malformed(*cid, "an unknown field in dag-pb")),
            }
        }
        Ok(node)
    }
}

fn decode_link(parent: &Cid, bytes: Bytes) -> Result<Link, ContentError> {
    let mut cid = None;
    let mut size = None;
    for field in Fields::new(bytes) {
        match field.map_err(|_| ContentError::malformed(*parent, "a link is not protobuf"))? {
            (1, Value::Bytes(bytes)) => cid = Cid::try_from(bytes.as_ref()).ok(),
            (3, Value::Varint(bytes)) => size = Some(bytes),
            _ => {}
        }
    }
    let cid = cid.ok_or(ContentError::malformed(*parent, "a link without CID"))?;
    Ok(Link { cid, size })
}

/// A part of a file: a leaf or the root of a subtree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) cid: Cid,
    /// Encoded bytes of the block and its descendants.
    pub(crate) dag_bytes: u64,
    /// File bytes in the subtree.
    pub(crate) file_bytes: u64,
}

const UNIXFS_FILE: u64 = 2;
const UNIXFS_RAW: u64 = 0;

/// Encodes an inner node of a file: links, then data, in the order of the dag-pb specification; link names are present and empty, as
/// in Kubo.
pub(crate) fn encode_file_node(parts: &[Part]) -> Vec<u8> {
    let file_bytes = parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.file_bytes));
    let mut data = Vec::with_capacity(parts.len().saturating_mul(4).saturating_add(16));
    put_integer(&mut data, 1, UNIXFS_FILE);
    put_integer(&mut data, 3, file_bytes);
    for part in parts {
        put_integer(&mut data, 4, part.file_bytes);
    }
    let mut node = Vec::with_capacity(parts.len().saturating_mul(52).saturating_add(data.len()));
    let mut link = Vec::with_capacity(64);
    for part in parts {
        link.clear();
        put_bytes(&mut link, 1, &part.cid.to_bytes());
        put_bytes(&mut link, 2, b"");
        put_integer(&mut link, 3, part.dag_bytes);
        put_bytes(&mut node, 2, &link);
    }
    put_header(&mut node, 1, data.len());
    node.extend_from_slice(&data);
    node
}

/// A decoded block of a UnixFS file.
pub(crate) enum FileNode {
    /// File bytes.
    Leaf(Bytes),
    /// Children with the number of file bytes in each.
    Inner(Vec<(Cid, u64)>),
}

impl FileNode {
    pub(crate) fn decode(cid: &Cid, bytes: Bytes) -> Result<Self, ContentError> {
        match codec_of(cid) {
            RAW => Ok(Self::Leaf(bytes)),
            DAG_PB => Self::decode_node(cid, &bytes),
            _ => Err(ContentError::malformed(*cid, "not part of a UnixFS file")),
        }
    }

    fn decode_node(cid: &Cid, bytes: &Bytes) -> Result<Self, ContentError> {
        let node = Node::decode(cid, bytes)?;
        let (mut kind, mut size, mut sizes, mut content) = (None, None, Vec::new(), Bytes::new());
        for field in Fields::new(node.data) {
            match field.map_err(|_| ContentError::malformed(*cid, "not UnixFS"))? {
                (1, Value::Varint(value)) => kind = Some(value),
                (2, Value::Bytes(bytes)) => content = bytes,
                (3, Value::Varint(value)) => size = Some(value),
                (4, Value::Varint(value)) => sizes.push(value),
                _ => {}
            }
        }
        if !matches!(kind, Some(UNIXFS_FILE | UNIXFS_RAW)) {
            return Err(ContentError::malformed(*cid, "not a UnixFS file"));
        }
        let inner = sizes.iter().try_fold(0u64, |sum, &size| sum.checked_add(size));
        let total = inner.and_then(|sum| sum.checked_add(content.len() as u64));
        if sizes.len() != node.links.len() || size.is_some_and(|size| Some(size) != total) || total.is_none()
        {
            return Err(ContentError::malformed(*cid, "sizes that do not add up"));
        }
        if node.links.is_empty() {
            return Ok(Self::Leaf(content));
        }
        if !content.is_empty() {
            return Err(ContentError::malformed(*cid, "a node with both links and content"));
        }
        Ok(Self::Inner(node.links.into_iter().map(|link| link.cid).zip(sizes).collect()))
    }

    /// Number of file bytes in the subtree. Decoding has checked that the sum does not overflow.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Leaf(bytes) => bytes.len() as u64,
            Self::Inner(children) => children.iter().fold(0, |sum, (_, size)| sum.saturating_add(*size)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Block;

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            for codec in [RAW, DAG_PB, DAG_CBOR] {
                let block = Block::new(codec, bytes.clone().into()).unwrap();
                let _ = links(block.cid(), block.bytes());
                let _ = FileNode::decode(block.cid(), block.bytes().clone());
            }
        }
    }

    #[test]
    fn deeply_nested_cbor_is_an_error_not_a_crash() {
        let nested = Block::new(DAG_CBOR, vec![0x81; 1 << 20].into()).unwrap();
        assert!(links(nested.cid(), nested.bytes()).is_err());
    }

    #[test]
    fn links_of_dag_cbor_are_found_wherever_they_stand() {
        let a = *Block::new(RAW, Bytes::from_static(b"a")).unwrap().cid();
        let b = *Block::new(DAG_PB, Bytes::from_static(b"")).unwrap().cid();
        let value = std::collections::BTreeMap::from([("x", vec![a]), ("y", vec![b, a])]);
        let bytes = Bytes::from(serde_ipld_dagcbor::to_vec(&value).unwrap());
        let block = Block::new(DAG_CBOR, bytes).unwrap();
        let found: Vec<Cid> = links(block.cid(), block.bytes()).unwrap().into_iter().map(|l| l.cid).collect();
        assert_eq!(found, vec![a, b, a]);
    }
}
