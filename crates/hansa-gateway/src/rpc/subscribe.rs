//! Subscriptions over WebSocket. A subscriber that cannot keep up loses its subscription; nothing is kept for it beyond
//! the session's bounded queue.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy_rpc_types_eth::{
    Filter,
    pubsub::{Params as Kind, SubscriptionKind},
};
use hansa_ledger::LogFilter;
use jsonrpsee::{
    PendingSubscriptionSink, RpcModule, SubscriptionMessage, SubscriptionSink,
    core::{server::SubscriptionCloseResponse, traits::IdProvider},
    types::{ErrorObjectOwned, Params, SubscriptionId},
};
use serde::Serialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{Chain, args::Args, convert, error::RpcError, filters};

/// Subscription ids as hexadecimal numbers, which all of Ethereum's libraries read.
#[derive(Debug, Default)]
pub(crate) struct Ids(AtomicU64);

impl IdProvider for Ids {
    fn next_id(&self) -> SubscriptionId<'static> {
        let id = self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        SubscriptionId::Str(format!("{id:#x}").into())
    }
}

pub(crate) fn register(module: &mut RpcModule<Arc<Chain>>) {
    let subscribe = |params: Params<'static>, pending: PendingSubscriptionSink, chain: Arc<Arc<Chain>>, _| async move {
        serve(params, pending, &chain).await
    };
    let registered = module
        .register_subscription("eth_subscribe", "eth_subscription", "eth_unsubscribe", subscribe)
        .is_ok();
    debug_assert!(registered, "eth_subscribe is registered twice");
}

/// What a subscriber wants.
enum Wanted {
    Heads,
    Logs(LogFilter),
    Pending { full: bool },
}

fn parse(chain: &Chain, params: &Params<'_>) -> Result<Wanted, RpcError> {
    let mut args = Args::new(params)?;
    let kind: SubscriptionKind = args.required()?;
    let options: Kind = args.optional()?.unwrap_or_default();
    match (kind, options) {
        (SubscriptionKind::NewHeads, Kind::None) => Ok(Wanted::Heads),
        (SubscriptionKind::Logs, Kind::None) => Ok(Wanted::Logs(live(chain, Filter::new())?)),
        (SubscriptionKind::Logs, Kind::Logs(filter)) => Ok(Wanted::Logs(live(chain, *filter)?)),
        (SubscriptionKind::NewPendingTransactions, Kind::None) => Ok(Wanted::Pending { full: false }),
        (SubscriptionKind::NewPendingTransactions, Kind::Bool(full)) => Ok(Wanted::Pending { full }),
        (
            SubscriptionKind::NewHeads | SubscriptionKind::Logs | SubscriptionKind::NewPendingTransactions,
            _,
        ) => Err(RpcError::params("invalid argument 1: not an option of this subscription")),
        _ => Err(RpcError::params("subscriptions are newHeads, logs and newPendingTransactions")),
    }
}

/// A filter for blocks to come; a block range in it has no meaning, as in geth.
fn live(chain: &Chain, filter: Filter) -> Result<LogFilter, RpcError> {
    Ok(convert::log_filter(&filters::check(chain, filter)?, 0, u64::MAX, usize::MAX))
}

async fn serve(
    params: Params<'static>,
    pending: PendingSubscriptionSink,
    chain: &Chain,
) -> SubscriptionCloseResponse {
    let wanted = match parse(chain, &params) {
        Ok(wanted) => wanted,
        Err(error) => {
            pending.reject(ErrorObjectOwned::from(error)).await;
            return SubscriptionCloseResponse::None;
        }
    };
    // Subscribed before the caller learns that it is, so that nothing final after its answer is missed.
    let (blocks, transactions) = (chain.ledger.subscribe(), chain.pool.subscribe_new());
    let Ok(sink) = pending.accept().await else { return SubscriptionCloseResponse::None };
    let pause = chain.limits.subscriber_pause;
    let ended = match wanted {
        Wanted::Heads => {
            forward(&sink, blocks, pause, |final_block| vec![convert::header(&final_block.block)]).await
        }
        Wanted::Logs(filter) => {
            let matching = |log: &hansa_ledger::LocatedLog| filter.matches(&log.log);
            forward(&sink, blocks, pause, |final_block| {
                final_block.logs().filter(matching).map(convert::log).collect()
            })
            .await
        }
        Wanted::Pending { full: false } => forward(&sink, transactions, pause, |tx| vec![tx.hash]).await,
        Wanted::Pending { full: true } => {
            forward(&sink, transactions, pause, |tx| vec![convert::pending(tx)]).await
        }
    };
    match ended {
        Ended::Gone => SubscriptionCloseResponse::None,
        Ended::TooSlow => {
            tracing::debug!("a subscriber was too slow and lost its subscription");
            SubscriptionCloseResponse::NotifErr(
                "the subscriber is too slow; events were lost, subscribe again".into(),
            )
        }
    }
}

enum Ended {
    /// The caller or the node went away.
    Gone,
    /// Events were lost.
    TooSlow,
}

/// Passes events on. A subscriber that takes longer than `pause` for one loses its subscription.
async fn forward<E, T, F>(
    sink: &SubscriptionSink,
    mut events: Receiver<Arc<E>>,
    pause: Duration,
    messages: F,
) -> Ended
where
    T: Serialize,
    F: Fn(&E) -> Vec<T>,
{
    loop {
        let event = tokio::select! {
            () = sink.closed() => return Ended::Gone,
            event = events.recv() => match event {
                Ok(event) => event,
                Err(RecvError::Closed) => return Ended::Gone,
                Err(RecvError::Lagged(_)) => return Ended::TooSlow,
            },
        };
        for message in messages(&event) {
            let Ok(message) = SubscriptionMessage::new(sink.method_name(), sink.subscription_id(), &message)
            else {
                return Ended::Gone;
            };
            if sink.send_timeout(message, pause).await.is_err() {
                return Ended::Gone;
            }
        }
    }
}
