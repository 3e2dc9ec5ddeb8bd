//! Byte budgets of inbound messages for each peer.
//!
//! The engine's quotas count messages, and it decodes a broadcast block before it checks the sender. Here messages are filtered by
//! sender and length before they are decoded. Dropped messages are not lost: nodes fetch missing blocks, and the admitting node
//! resends transactions.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    time::{Duration, SystemTime},
};

use commonware_p2p::{AddressableManager, Message, Receiver};
use commonware_runtime::Clock;

use crate::{peers::MemberPeers, types::PublicKey};

/// A token bucket for each peer, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    /// Sustained rate.
    pub(crate) bytes_per_second: u64,
    /// Size of the bucket.
    pub(crate) burst_bytes: u64,
}

impl Allowance {
    /// A sustained rate in MiB each second, and so many seconds of it at once.
    pub(crate) const fn of_mib(mib_per_second: u64, burst_seconds: u64) -> Self {
        let bytes_per_second = mib_per_second.saturating_mul(1024 * 1024);
        Self { bytes_per_second, burst_bytes: bytes_per_second.saturating_mul(burst_seconds) }
    }
}

/// Number of peers at which idle ones are removed.
const PEERS_CHECKED: usize = 512;

/// The remaining budget of each recently active peer.
#[derive(Debug)]
pub(crate) struct Budget {
    allowance: Allowance,
    left: HashMap<PublicKey, (u64, SystemTime)>,
}

impl Budget {
    pub(crate) fn new(allowance: Allowance) -> Self {
        Self { allowance, left: HashMap::new() }
    }

    fn earned(&self, time: Duration) -> u64 {
        let earned = time.as_millis().saturating_mul(self.allowance.bytes_per_second.into()) / 1_000;
        u64::try_from(earned).unwrap_or(u64::MAX)
    }

    /// Takes `bytes` from the peer's budget; returns `false` and takes nothing if it is exhausted.
    pub(crate) fn take(&mut self, peer: &PublicKey, bytes: usize, now: SystemTime) -> bool {
        if self.left.len() > PEERS_CHECKED {
            self.forget_idle(now);
        }
        let burst = self.allowance.burst_bytes;
        let (before, since) = self.left.get(peer).copied().unwrap_or((burst, now));
        let available =
            before.saturating_add(self.earned(now.duration_since(since).unwrap_or_default())).min(burst);
        let left = u64::try_from(bytes).ok().and_then(|bytes| available.checked_sub(bytes));
        self.left.insert(peer.clone(), (left.unwrap_or(available), now));
        left.is_some()
    }

    /// Removes the peers with a full budget.
    fn forget_idle(&mut self, now: SystemTime) {
        let whole = Duration::from_secs(
            self.allowance.burst_bytes.checked_div(self.allowance.bytes_per_second).unwrap_or_default(),
        );
        self.left.retain(|_, (_, since)| now.duration_since(*since).unwrap_or_default() <= whole);
    }
}

/// A receiver that passes on validators' messages within their budgets and drops all others undecoded.
pub(crate) struct FromValidators<E, R, M> {
    clock: E,
    inner: R,
    peers: MemberPeers<M>,
    budget: Budget,
}

impl<E, R, M> FromValidators<E, R, M> {
    pub(crate) fn new(clock: E, inner: R, peers: MemberPeers<M>, allowance: Allowance) -> Self {
        Self { clock, inner, peers, budget: Budget::new(allowance) }
    }
}

impl<E, R: core::fmt::Debug, M> core::fmt::Debug for FromValidators<E, R, M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FromValidators").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<E, R, M> Receiver for FromValidators<E, R, M>
where
    E: Clock,
    R: Receiver<PublicKey = PublicKey>,
    M: AddressableManager<PublicKey = PublicKey>,
{
    type Error = R::Error;
    type PublicKey = PublicKey;

    async fn recv(&mut self) -> Result<Message<PublicKey>, R::Error> {
        loop {
            let (peer, message) = self.inner.recv().await?;
            if !self.peers.is_validator(&peer) {
                tracing::debug!(?peer, "dropped a block from a node without a seat");
                continue;
            }
            let now = self.clock.current();
            if self.budget.take(&peer, message.len(), now) {
                return Ok((peer, message));
            }
            tracing::debug!(?peer, bytes = message.len(), "dropped a block beyond the sender's allowance");
        }
    }

    fn capacity(&self) -> NonZeroUsize {
        self.inner.capacity()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use commonware_cryptography::{Signer as _, ed25519::PrivateKey};

    use super::*;

    #[test]
    fn a_flooder_uses_up_its_own_allowance_alone() {
        let mut budget = Budget::new(Allowance { bytes_per_second: 1_000, burst_bytes: 4_000 });
        let peer = |seed| PrivateKey::from_seed(seed).public_key();
        let (flooder, honest) = (peer(1), peer(2));
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        let admitted = (0..10_000).filter(|millis| budget.take(&flooder, 100, at(*millis))).count();
        assert_eq!(admitted, 40 + 99, "the burst, and then a thousand bytes a second");
        assert!(budget.take(&honest, 4_000, at(10_000)));
        assert!(!budget.take(&honest, 1, at(10_000)));
        assert!(!budget.take(&flooder, 5_000, at(60_000)), "longer than the burst");
        budget.forget_idle(at(60_000));
        assert_eq!(budget.left.len(), 1, "the honest peer has been idle");
        assert!(budget.take(&honest, 4_000, at(60_000)));
    }
}
