//! Gossip of transactions to the validators.
//!
//! Each node sends its own users' transactions to every validator. Validators do not forward, because all members are connected to all
//! validators. Transactions that stay pending are resent. A message is `rlp([transaction…])` of EIP-2718 envelopes.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{B256, Bytes};
use alloy_rlp::{Decodable as _, Encodable as _};
use commonware_macros::select;
use commonware_p2p::{AddressableManager, Blocker, CheckedSender as _, Receiver, Recipients, Sender};
use commonware_runtime::{Clock, IoBuf, Spawner};
use hansa_pool::{Origin, Pool, PooledTransaction};
use hansa_types::{SignedTransaction, decode_transactions};
use tokio::sync::broadcast::error::RecvError;

use crate::{
    application::offload,
    budget::{Allowance, Budget},
    config::ConsensusSettings,
    genesis::network_key,
    peers::MemberPeers,
    presence::Presence,
    status::StatusBoard,
    types::PublicKey,
};

/// Maximum length of a message in bytes, above the longest transaction that a pool admits.
pub(crate) const MESSAGE_BYTES_MAX: usize = 512 * 1024;
/// Size at which a batch is sent.
const BATCH_BYTES: usize = 128 * 1024;
/// Minimum interval between batches, so that single transactions do not exhaust the quota.
const PACE: Duration = Duration::from_millis(5);
/// Budget of a member for a while: six seconds of its sustained rate. Each transaction counts more than its bytes, because its signature
/// is verified.
const BURST_SECONDS: u64 = 6;
/// Cost of verifying a signature, in bytes.
const SIGNATURE_BYTES: usize = 400;
/// Maximum number of transactions in one resend.
const RESEND_MAX: usize = 4096;

/// Sends the pool's new transactions to the validators.
pub(crate) struct Outbound<S, M> {
    pub(crate) pool: Pool,
    pub(crate) peers: MemberPeers<M>,
    pub(crate) me: PublicKey,
    pub(crate) sender: S,
    pub(crate) board: StatusBoard,
    pub(crate) presence: Presence,
    pub(crate) settings: ConsensusSettings,
}

impl<S, M> Outbound<S, M>
where
    S: Sender<PublicKey = PublicKey>,
    M: AddressableManager<PublicKey = PublicKey>,
{
    /// Runs until the pool closes.
    pub(crate) async fn run(mut self, clock: impl Clock) {
        let mut arrivals = self.pool.subscribe_new();
        let every = self.settings.resend_min;
        let mut overdue = Overdue::new(&self.settings);
        let mut company = Company::default();
        let mut tick = Box::pin(clock.sleep(every));
        loop {
            let first = select! {
                () = &mut tick => {
                    tick = Box::pin(clock.sleep(every));
                    self.resend(&mut overdue, &clock).await;
                    self.note_connections(&mut company, clock.current());
                    continue;
                },
                arrival = arrivals.recv() => match arrival {
                    Ok(transaction) => transaction,
                    // Missed transactions are still in the pool and are resent.
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return,
                },
            };
            let more = std::iter::from_fn(|| arrivals.try_recv().ok()).take(RESEND_MAX);
            let batch: Vec<_> = std::iter::once(first).chain(more).collect();
            self.send_all(&batch);
            clock.sleep(PACE).await;
        }
    }

    /// Resends overdue transactions.
    async fn resend(&mut self, overdue: &mut Overdue, clock: &impl Clock) {
        let pending = self.pool.pending(RESEND_MAX);
        let own = pending.into_iter().filter(|transaction| transaction.origin == Origin::Local).collect();
        let late = overdue.of(clock.current(), own);
        if !late.is_empty() {
            self.send_all(&late);
            clock.sleep(PACE).await;
        }
    }

    fn send_all(&mut self, transactions: &[Arc<PooledTransaction>]) {
        let validators: Vec<_> =
            self.peers.validators().into_iter().filter(|peer| *peer != self.me).collect();
        if validators.is_empty() {
            return;
        }
        let own = transactions.iter().filter(|transaction| transaction.origin == Origin::Local);
        let (mut batch, mut bytes) = (Vec::new(), 0_usize);
        for transaction in own {
            let envelope = Bytes::from(transaction.transaction.encoded_2718());
            if bytes.saturating_add(envelope.len()) > BATCH_BYTES && !batch.is_empty() {
                self.send(&validators, &std::mem::take(&mut batch));
                bytes = 0;
            }
            bytes = bytes.saturating_add(envelope.len());
            batch.push(envelope);
        }
        if !batch.is_empty() {
            self.send(&validators, &batch);
        }
    }

    fn send(&mut self, validators: &[PublicKey], batch: &Vec<Bytes>) {
        let mut message = Vec::with_capacity(batch.length());
        batch.encode(&mut message);
        if message.len() <= MESSAGE_BYTES_MAX {
            let _ = self.sender.send(Recipients::Some(validators.to_vec()), IoBuf::from(message), false);
        }
    }

    /// Records the connected members and the silent validators.
    fn note_connections(&mut self, company: &mut Company, now: SystemTime) {
        if let Ok(checked) = self.sender.check(Recipients::All) {
            let mut connected: Vec<_> = checked.recipients().iter().map(network_key).collect();
            connected.sort();
            let others = self.peers.validators().iter().filter(|peer| **peer != self.me).count();
            if others > 0 && company.is_lonely(connected.len(), now, self.settings.alone) {
                tracing::warn!(
                    validators = others,
                    "no other node accepts a connection; is the network up, and do the others run? If they do, ask another member whether this one has been removed"
                );
            }
            self.board.connected(connected);
        }
        self.board.silent(self.presence.silent(&self.board.committee(), &network_key(&self.me), now));
    }
}

/// Detector of isolation.
#[derive(Default)]
struct Company {
    alone_since: Option<SystemTime>,
    said: bool,
}

impl Company {
    /// Whether isolation is to be logged, once for each period.
    fn is_lonely(&mut self, connected: usize, now: SystemTime, most: Duration) -> bool {
        if connected > 0 {
            *self = Self::default();
            return false;
        }
        let since = *self.alone_since.get_or_insert(now);
        let long = now.duration_since(since).unwrap_or_default() >= most;
        long && !std::mem::replace(&mut self.said, true)
    }
}

/// The resend schedule of the oldest own transactions: next time and interval. The interval doubles each time, because behind a long
/// queue a transaction is pending because of the queue and not because of a loss.
struct Overdue {
    pauses: (Duration, Duration),
    due: HashMap<B256, (SystemTime, Duration)>,
}

impl Overdue {
    fn new(settings: &ConsensusSettings) -> Self {
        Self { pauses: (settings.resend_min, settings.resend_max), due: HashMap::new() }
    }

    /// The pending transactions that are due. Removes those that are no longer pending.
    fn of(&mut self, now: SystemTime, pending: Vec<Arc<PooledTransaction>>) -> Vec<Arc<PooledTransaction>> {
        let (least, most) = self.pauses;
        let former = std::mem::take(&mut self.due);
        let after = |pause| now.checked_add(pause).unwrap_or(now);
        let is_due = |transaction: &Arc<PooledTransaction>| {
            let (due, pause) = former.get(&transaction.hash).copied().unwrap_or((after(least), least));
            let is_due = due <= now;
            let pause = if is_due { pause.saturating_mul(2).min(most) } else { pause };
            let due = if is_due { after(pause) } else { due };
            self.due.insert(transaction.hash, (due, pause));
            is_due
        };
        pending.into_iter().filter(is_due).collect()
    }
}

/// Adds members' transactions to the pool.
pub(crate) struct Inbound<R, X> {
    pub(crate) pool: Pool,
    pub(crate) receiver: R,
    pub(crate) settings: ConsensusSettings,
    pub(crate) blocker: X,
}

impl<R, X> Inbound<R, X>
where
    R: Receiver<PublicKey = PublicKey>,
    X: Blocker<PublicKey = PublicKey>,
{
    /// Runs until the network closes. The network drops messages that arrive faster than the pool admits.
    pub(crate) async fn run(mut self, context: impl Spawner + Clock) {
        let mut budget = Budget::new(Allowance::of_mib(self.settings.gossip_mib_per_second, BURST_SECONDS));
        while let Ok((peer, message)) = self.receiver.recv().await {
            let now = context.current();
            if !budget.take(&peer, message.len(), now) {
                tracing::debug!(?peer, "dropped transactions beyond the sender's allowance");
                continue;
            }
            let Some(transactions) = decode(message.as_ref()) else {
                commonware_p2p::block!(self.blocker, peer, "malformed transactions");
                continue;
            };
            if !budget.take(&peer, transactions.len().saturating_mul(SIGNATURE_BYTES), now) {
                continue;
            }
            let pool = self.pool.clone();
            if offload(&context, move || drop(pool.add_many(transactions, Origin::Peer))).await.is_none() {
                return;
            }
        }
    }
}

/// Decodes a message; `None` if any part of it is malformed.
pub(crate) fn decode(mut message: &[u8]) -> Option<Vec<SignedTransaction>> {
    if message.len() > MESSAGE_BYTES_MAX {
        return None;
    }
    let envelopes = Vec::<Bytes>::decode(&mut message).ok()?;
    if !message.is_empty() {
        return None;
    }
    decode_transactions(&envelopes).ok()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use alloy_consensus::{SignableTransaction as _, TxEip1559};
    use alloy_primitives::{Address, Signature, U256};

    use super::*;

    fn pooled(nonce: u64) -> Arc<PooledTransaction> {
        let signature = Signature::new(U256::from(1), U256::from(1), false);
        let transaction: SignedTransaction =
            TxEip1559 { nonce, ..TxEip1559::default() }.into_signed(signature).into();
        Arc::new(PooledTransaction {
            hash: *transaction.tx_hash(),
            sender: Address::ZERO,
            transaction,
            bytes: 100,
            origin: Origin::Local,
            admitted_at: 0,
        })
    }

    #[test]
    fn what_stays_pending_is_sent_again_ever_less_often() {
        let mut overdue = Overdue::new(&ConsensusSettings::default());
        let (old, new) = (pooled(0), pooled(1));
        let sent: Vec<u64> = (0..32)
            .step_by(2)
            .filter(|second| {
                let now = UNIX_EPOCH + Duration::from_secs(*second);
                !overdue.of(now, vec![old.clone()]).is_empty()
            })
            .collect();
        assert_eq!(sent, [2, 6, 14, 22, 30]);
        let now = UNIX_EPOCH + Duration::from_secs(40);
        assert!(overdue.of(now, vec![new.clone()]).is_empty());
        assert_eq!(overdue.due.len(), 1, "what is pending no more is forgotten");
        assert_eq!(overdue.of(now + ConsensusSettings::default().resend_min, vec![old, new]).len(), 1);
    }

    #[test]
    fn a_node_alone_says_so_once_each_time() {
        let mut company = Company::default();
        let (start, most) = (UNIX_EPOCH, Duration::from_secs(30));
        let mut said =
            |seconds, connected| company.is_lonely(connected, start + Duration::from_secs(seconds), most);
        assert!(!said(0, 0) && !said(28, 0));
        assert!(said(30, 0) && !said(32, 0) && !said(900, 0));
        assert!(!said(902, 1) && !said(904, 0) && said(934, 0));
    }

    #[test]
    fn malformed_messages_are_refused_whole() {
        assert_eq!(decode(&[0xc0]), Some(Vec::new()));
        for bad in [&[][..], &[0x80], &[0xc1], &[0xc0, 0x00], &[0xc1, 0x01], &[0xff; 64]] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
        assert_eq!(decode(&vec![0; MESSAGE_BYTES_MAX + 1]), None);
    }
}
