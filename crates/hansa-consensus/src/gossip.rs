//! Carries users' transactions to the validators.
//!
//! Each node sends what its own users handed in to every validator; validators do not forward what they received, since
//! all members are connected to all of them. What is not in a block after a while is sent again, which heals losses. A
//! message is `rlp([transaction…])`, each transaction its EIP-2718 envelope.

use std::{collections::HashSet, sync::Arc, time::Duration};

use alloy_eips::eip2718::{Decodable2718 as _, Encodable2718 as _};
use alloy_primitives::{B256, Bytes};
use alloy_rlp::{Decodable as _, Encodable as _};
use commonware_macros::select;
use commonware_p2p::{AddressableManager, Blocker, CheckedSender as _, Receiver, Recipients, Sender};
use commonware_runtime::{Clock, IoBuf, Spawner};
use hansa_pool::{Origin, Pool, PooledTransaction};
use hansa_types::SignedTransaction;
use tokio::sync::broadcast::error::RecvError;

use crate::{
    application::offload, genesis::network_key, peers::MemberPeers, status::StatusBoard, types::PublicKey,
};

/// The longest message, in bytes; more than the longest transaction that a pool admits.
pub(crate) const MESSAGE_BYTES_MAX: usize = 512 * 1024;
/// A batch is sent when it reaches this size.
const BATCH_BYTES: usize = 128 * 1024;
/// At least this long between batches, so that single transactions do not use up the quota.
const PACE: Duration = Duration::from_millis(5);
/// What is still pending after this long is sent again.
const RESEND: Duration = Duration::from_secs(2);
/// Transactions sent again at a time.
const RESEND_MAX: usize = 4096;

/// Sends the pool's new transactions to the validators.
pub(crate) struct Outbound<S, M> {
    pub(crate) pool: Pool,
    pub(crate) peers: MemberPeers<M>,
    pub(crate) me: PublicKey,
    pub(crate) sender: S,
    pub(crate) board: StatusBoard,
}

impl<S, M> Outbound<S, M>
where
    S: Sender<PublicKey = PublicKey>,
    M: AddressableManager<PublicKey = PublicKey>,
{
    /// Runs until the pool closes.
    pub(crate) async fn run(mut self, clock: impl Clock) {
        let mut arrivals = self.pool.subscribe_new();
        let mut stale = HashSet::new();
        let mut tick = Box::pin(clock.sleep(RESEND));
        loop {
            let first = select! {
                () = &mut tick => {
                    tick = Box::pin(clock.sleep(RESEND));
                    stale = self.resend(stale, &clock).await;
                    self.note_connections();
                    continue;
                },
                arrival = arrivals.recv() => match arrival {
                    Ok(transaction) => transaction,
                    // What was missed is still in the pool and is sent again.
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

    /// Sends what was already pending at the last call, and returns what is pending at this one.
    async fn resend(&mut self, stale: HashSet<B256>, clock: &impl Clock) -> HashSet<B256> {
        let pending = self.pool.pending(RESEND_MAX);
        let own = pending.into_iter().filter(|transaction| transaction.origin == Origin::Local);
        let own: Vec<_> = own.collect();
        let late: Vec<_> = own.iter().filter(|tx| stale.contains(&tx.hash)).cloned().collect();
        if !late.is_empty() {
            self.send_all(&late);
            clock.sleep(PACE).await;
        }
        own.iter().map(|transaction| transaction.hash).collect()
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

    /// Notes to whom a connection stands.
    fn note_connections(&mut self) {
        if let Ok(checked) = self.sender.check(Recipients::All) {
            let mut connected: Vec<_> = checked.recipients().iter().map(network_key).collect();
            connected.sort();
            self.board.connected(connected);
        }
    }
}

/// Puts transactions received from members into the pool.
pub(crate) struct Inbound<R, X> {
    pub(crate) pool: Pool,
    pub(crate) receiver: R,
    pub(crate) blocker: X,
}

impl<R, X> Inbound<R, X>
where
    R: Receiver<PublicKey = PublicKey>,
    X: Blocker<PublicKey = PublicKey>,
{
    /// Runs until the network closes. Messages that arrive faster than the pool admits are dropped by the network.
    pub(crate) async fn run(mut self, context: impl Spawner) {
        while let Ok((peer, message)) = self.receiver.recv().await {
            let pool = self.pool.clone();
            let admitted = offload(&context, move || {
                decode(message.as_ref()).map(|transactions| drop(pool.add_many(transactions, Origin::Peer)))
            });
            match admitted.await {
                Some(Some(())) => {}
                Some(None) => {
                    commonware_p2p::block!(self.blocker, peer, "malformed transactions");
                }
                None => return,
            }
        }
    }
}

/// Decodes a message; `None` when any part of it is malformed.
fn decode(mut message: &[u8]) -> Option<Vec<SignedTransaction>> {
    if message.len() > MESSAGE_BYTES_MAX {
        return None;
    }
    let envelopes = Vec::<Bytes>::decode(&mut message).ok()?;
    if !message.is_empty() {
        return None;
    }
    envelopes.iter().map(|envelope| SignedTransaction::decode_2718_exact(envelope).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_messages_are_refused_whole() {
        assert_eq!(decode(&[0xc0]), Some(Vec::new()));
        for bad in [&[][..], &[0x80], &[0xc1], &[0xc0, 0x00], &[0xc1, 0x01], &[0xff; 64]] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
        assert_eq!(decode(&vec![0; MESSAGE_BYTES_MAX + 1]), None);
    }
}
