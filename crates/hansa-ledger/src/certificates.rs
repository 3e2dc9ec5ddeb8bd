//! Certificates of finality by height, in the agreement engine's encoding.
//!
//! The engine itself holds only recent ones. The ledger keeps all of them, for nodes that catch up and for proofs to outsiders.
//! It neither decodes nor checks them. Not every height has a certificate: a block may be final through a descendant.

use hansa_kv::Batch;

use crate::{CERTIFICATES, Ledger, LedgerError};

impl Ledger {
    /// Keeps the certificate of a height. Durable with the next block that becomes final, or after [`Ledger::flush`].
    ///
    /// # Errors
    /// When the store is at fault. The node must stop.
    pub fn keep_certificate(&self, number: u64, encoded: Vec<u8>) -> Result<(), LedgerError> {
        let mut batch = Batch::new();
        batch.put(CERTIFICATES, number.to_be_bytes(), encoded);
        Ok(self.shared().store.write_buffered(batch)?)
    }

    /// The certificate of a height, if that height has one.
    ///
    /// # Errors
    /// When the store is at fault.
    pub fn certificate(&self, number: u64) -> Result<Option<Vec<u8>>, LedgerError> {
        Ok(self.shared().store.get(CERTIFICATES, &number.to_be_bytes())?)
    }

    /// Makes durable what has been kept so far.
    ///
    /// # Errors
    /// When the store is at fault. The node must stop.
    pub fn flush(&self) -> Result<(), LedgerError> {
        Ok(self.shared().store.sync()?)
    }
}
