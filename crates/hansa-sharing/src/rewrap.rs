//! Wraps deposited keys anew for members that got new keys (A3).
//!
//! A deposit that is older than its grantee's last reset is wrapped to a key that the grantee has lost, or that somebody else has. This task
//! finds those of its own member's grants on the chain alone, so a crash loses nothing: after a restart it looks again. It decides nothing: a
//! grant that no longer stands is left as it is.

use std::{collections::BTreeMap, time::Duration};

use alloy_sol_types::SolEvent as _;
use hansa_contracts::{ContractEvent, REGISTRY, SHARING, abi};
use hansa_ports::EventFilter;
use hansa_types::{DcId, ObjectId};

use crate::{Sharing, SharingError, history::topic, sharing::Inner};

/// Pause after the chain could not be followed.
const INTERRUPTION: Duration = Duration::from_secs(2);

/// Follows the chain for ever; errors are logged and tried again from the beginning.
pub(crate) async fn run(sharing: Sharing) {
    loop {
        match follow(&sharing.0).await {
            Err(SharingError::NotMember) => tracing::debug!("not a member yet: nothing to wrap anew"),
            Err(error) => tracing::warn!(%error, "wrapping keys anew was interrupted"),
            Ok(()) => {}
        }
        tokio::time::sleep(INTERRUPTION).await;
    }
}

async fn follow(inner: &Inner) -> Result<(), SharingError> {
    let me = inner.contracts.me().await?.dc_id;
    let mut next = 0;
    loop {
        let head = inner.contracts.chain.reached(next).await?.number;
        for (member, block) in resets(inner, next, head).await? {
            for object in deposits_before(inner, me, member, block).await? {
                match inner.rewrap_deposit(object, member).await {
                    // The member asks this node then, in vain: that the key is gone is told by the check for keys.
                    Err(SharingError::KeyMissing { .. }) => {}
                    rewrapped => {
                        rewrapped?;
                        tracing::info!(%object, %member, "a deposited key is wrapped to the member's new key");
                    }
                }
            }
        }
        next = head.saturating_add(1);
    }
}

/// The members whose keys were replaced in these blocks, each with the block of its last reset.
async fn resets(inner: &Inner, from: u64, to: u64) -> Result<BTreeMap<DcId, u64>, SharingError> {
    let filter = EventFilter {
        from,
        to,
        addresses: vec![REGISTRY],
        topics: [vec![abi::ConsortiumRegistry::MemberKeysReset::SIGNATURE_HASH], vec![], vec![], vec![]],
    };
    let mut found = BTreeMap::new();
    for event in inner.contracts.chain.events(filter).await? {
        if let Some(ContractEvent::MemberKeysReset(reset)) = ContractEvent::decode(&event.log)
            && let Some(member) = DcId::new(reset.dcId)
        {
            found.insert(member, event.block);
        }
    }
    Ok(found)
}

/// The objects whose last grant to a member came with a deposit before this block.
async fn deposits_before(
    inner: &Inner,
    owner: DcId,
    grantee: DcId,
    block: u64,
) -> Result<Vec<ObjectId>, SharingError> {
    let filter = EventFilter {
        to: u64::MAX,
        addresses: vec![SHARING],
        topics: [
            vec![abi::Sharing::Shared::SIGNATURE_HASH],
            vec![topic(owner.value())],
            vec![],
            vec![topic(grantee.value())],
        ],
        ..EventFilter::default()
    };
    let mut last = BTreeMap::new();
    for event in inner.contracts.chain.events(filter).await? {
        if let Some(ContractEvent::Shared(shared)) = ContractEvent::decode(&event.log) {
            last.insert(shared.number, (event.block, shared.deposited));
        }
    }
    let stale = last.into_iter().filter(|(_, (at, deposited))| *deposited && *at <= block);
    Ok(stale.map(|(number, _)| ObjectId { owner, number }).collect())
}
