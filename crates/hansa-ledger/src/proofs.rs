//! Proofs of blocks for outsiders, assembled from what the ledger stores.
//!
//! Nothing is checked here: `hansa-proof` does that, where the proof arrives.

use hansa_proof::{BlockEvidence, BlockProof, Certificate, HEADERS_MAX, decode_certificate};

use crate::{BLOCKS, Ledger, LedgerError, records};

const fn damaged(what: &'static str) -> LedgerError {
    LedgerError::Damaged { what }
}

impl Ledger {
    /// The certificate of a height in its parts, if that height has one and its block is final here.
    ///
    /// # Errors
    /// When the store is at fault.
    pub fn finality_certificate(&self, number: u64) -> Result<Option<Certificate>, LedgerError> {
        if number > self.head().number() {
            return Ok(None);
        }
        let encoded = self.certificate(number)?;
        let decoded = encoded.map(|encoded| decode_certificate(&encoded)).transpose();
        decoded.map_err(|_| damaged("certificate"))
    }

    /// The proof of a final block above genesis, and of its writer. `None` where the ledger holds no certificate for the block or one of
    /// its 255 successors, or none for the last block of the epoch before.
    ///
    /// # Errors
    /// When the store is at fault.
    pub fn block_proof(&self, number: u64) -> Result<Option<BlockProof>, LedgerError> {
        let epoch_blocks = self.genesis().limits.epoch_blocks;
        let Some(block) = self.evidence(number)? else { return Ok(None) };
        let first = number.checked_rem(epoch_blocks).and_then(|place| number.checked_sub(place));
        let committee = match first.and_then(|first| first.checked_sub(1)) {
            None => None,
            Some(last) => match self.evidence(last)? {
                None => return Ok(None),
                evidence => evidence,
            },
        };
        let genesis = alloy_rlp::encode(self.genesis_block().header()).into();
        Ok(Some(BlockProof { genesis, block, committee }))
    }

    fn evidence(&self, number: u64) -> Result<Option<BlockEvidence>, LedgerError> {
        let Some(block) = self.block(number)?.filter(|block| block.number() > 0) else { return Ok(None) };
        let mut headers = vec![alloy_rlp::encode(block.header()).into()];
        for height in (number..).take(HEADERS_MAX) {
            if height > number {
                let Some(block) = self.shared().store.get(BLOCKS, &height.to_be_bytes())? else { break };
                let header = records::decode_header(&block).ok_or_else(|| damaged("block"))?;
                headers.push(alloy_rlp::encode(header).into());
            }
            if let Some(certificate) = self.finality_certificate(height)? {
                let consensus = alloy_rlp::encode(block.consensus()).into();
                return Ok(Some(BlockEvidence { headers, certificate, consensus }));
            }
        }
        Ok(None)
    }
}
