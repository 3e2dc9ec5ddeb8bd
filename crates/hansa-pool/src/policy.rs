//! What the pool asks of its surroundings: who may send, and what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::{Address, U256};

use hansa_types::SignedTransaction;

/// A registered account at the finalised head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderState {
    /// The next nonce.
    pub nonce: u64,
    /// Wei.
    pub balance: U256,
    /// Seconds until the account's member may send again; 0 while its quota is not used up.
    pub wait_seconds: u64,
}

/// Knows who may send transactions.
pub trait SenderPolicy: Send + Sync + 'static {
    /// The account at the finalised head; `Ok(None)` when it is not registered, an error when nobody can tell.
    #[expect(clippy::result_unit_err, reason = "the pool's answer is the same whatever the cause")]
    fn sender(&self, address: Address) -> Result<Option<SenderState>, ()>;

    /// Told of transactions with their senders once they are admitted, or before they are executed without having been, on any
    /// thread: what their execution will need can be done now, for all of them together.
    fn prepare(&self, signed: &[(&SignedTransaction, Address)]) {
        let _ = signed;
    }
}

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since any fixed moment.
    fn millis(&self) -> u64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn millis(&self) -> u64 {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}
