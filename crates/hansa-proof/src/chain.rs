//! Headers that lead by parent hash from a block to a certified one.
//!
//! Not every block has a certificate of its own: it is final with a descendant that has one.

use alloy_consensus::Header;
use alloy_primitives::{B256, keccak256};
use alloy_rlp::Decodable as _;
use hansa_types::{BlockEvidence, ConsensusData};

use crate::{ProofError, certificate::Signer};

/// Most headers in a row, from the block to the certified one. A node that catches up may hold certificates for few heights; others
/// have one within a few blocks.
pub const HEADERS_MAX: usize = 256;

/// A block that is final.
pub(crate) struct FinalBlock {
    pub(crate) header: Header,
    pub(crate) hash: B256,
    pub(crate) consensus: ConsensusData,
}

/// Decodes a header that fills `bytes`.
pub(crate) fn header(bytes: &[u8]) -> Result<Header, ProofError> {
    let mut rest = bytes;
    let header = Header::decode(&mut rest).map_err(|_| ProofError::Malformed("not a block's header"))?;
    match rest {
        [] => Ok(header),
        _ => Err(ProofError::Malformed("bytes follow a header")),
    }
}

fn consensus(bytes: &[u8], header: &Header) -> Result<ConsensusData, ProofError> {
    if header.extra_data.as_ref() != keccak256(bytes).as_slice() {
        return Err(ProofError::Consensus("the header does not commit to it"));
    }
    let mut rest = bytes;
    let data = ConsensusData::decode(&mut rest).map_err(|_| ProofError::Malformed("not consensus data"))?;
    match rest {
        [] => Ok(data),
        _ => Err(ProofError::Malformed("bytes follow the consensus data")),
    }
}

/// Checks that the first header is final and that the consensus data is its own.
pub(crate) fn final_block(signer: &Signer<'_>, evidence: &BlockEvidence) -> Result<FinalBlock, ProofError> {
    let BlockEvidence { headers, certificate, consensus: data } = evidence;
    if headers.len() > HEADERS_MAX {
        return Err(ProofError::TooLong(headers.len()));
    }
    let (encoded, successors) = headers.split_first().ok_or(ProofError::Malformed("it has no header"))?;
    let (first, hash) = (header(encoded)?, keccak256(encoded));
    let (mut number, mut tip) = (first.number, hash);
    for encoded in successors {
        let next = header(encoded)?;
        if next.parent_hash != tip || Some(next.number) != number.checked_add(1) {
            return Err(ProofError::Chain("one is not the child of the one before it"));
        }
        (number, tip) = (next.number, keccak256(encoded));
    }
    if certificate.hash != tip {
        return Err(ProofError::Chain("the certificate is for another block than the last"));
    }
    signer.certificate(certificate)?;
    Ok(FinalBlock { consensus: consensus(data, &first)?, header: first, hash })
}
