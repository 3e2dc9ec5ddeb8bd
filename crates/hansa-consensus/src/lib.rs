//! Binds the ledger to the Byzantine agreement engine.
