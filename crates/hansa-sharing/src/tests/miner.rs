//! Finalises blocks on the one ledger of a test's consortium.

use std::sync::Arc;

use alloy_primitives::B256;
use hansa_ledger::{Ledger, Proposal};
use hansa_types::ConsensusData;
use parking_lot::Mutex;

/// Finalises whatever is pending, a block at a time.
pub(super) async fn mine(ledger: Ledger, clock: Arc<Mutex<u64>>) {
    let mut admitted = ledger.pool().watch();
    loop {
        let (chain, clock) = (ledger.clone(), Arc::clone(&clock));
        tokio::task::spawn_blocking(move || {
            while chain.has_pending(chain.head().hash()) {
                mine_block(&chain, &clock);
            }
        })
        .await
        .unwrap();
        if admitted.changed().await.is_err() {
            return;
        }
    }
}

/// Finalises a block. The clock stands meanwhile: what is sent after the time was set is in a block of that time.
pub(super) fn mine_block(chain: &Ledger, clock: &Mutex<u64>) {
    let timestamp = clock.lock();
    let proposal = Proposal {
        filling_time: None,
        parent: chain.head().hash(),
        timestamp: *timestamp,
        prevrandao: B256::ZERO,
        beneficiary: alloy_primitives::Address::ZERO,
        consensus: ConsensusData::default(),
    };
    let block = chain.propose(proposal).unwrap();
    chain.finalise(&block).unwrap();
}
