//! The application of the agreement engine: proposes and verifies blocks.
//!
//! The ledger executes blocks. This file decides when to propose, and binds each block to its round, leader, seed and payload.
//! Verification answers `false` only for blocks that can never be valid; it stays pending while this node lacks data.

use std::time::{Duration, SystemTime};

use alloy_primitives::B256;
use commonware_consensus::{marshal::ancestry::Ancestry, types::View};
use commonware_cryptography::{Digested, Digestible as _};
use commonware_glue::dkg::reshare;
use commonware_macros::select;
use commonware_runtime::{Clock, Spawner};
use futures::StreamExt as _;
use hansa_ledger::{Ledger, LedgerError, Proposal};
use hansa_types::{Block, ConsensusData};

use crate::{
    block::{ChainBlock, consensus_data},
    committee::Committees,
    config::Timing,
    pacing::Pacing,
    seeds::{SeedBook, drawing_round, prevrandao, seeded_round},
    types::{Context, Directory, PrivateKey, Scheme, Variant},
};

/// The resharing's input to a proposal.
pub(crate) type Input = reshare::Input<(), Variant, PrivateKey, Directory>;

/// The consortium's application of the agreement engine.
#[derive(Clone)]
pub(crate) struct Application {
    pub(crate) ledger: Ledger,
    pub(crate) seeds: SeedBook,
    pub(crate) committees: Committees,
    pub(crate) pacing: Pacing,
    pub(crate) timing: Timing,
}

/// Runs blocking work off the executor; `None` if the runtime stops. Dropping the future abandons the result, not the work, so the
/// ledger's methods are idempotent.
pub(crate) async fn offload<E: Spawner, T: Send + 'static>(
    context: &E,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    context.child("ledger").shared(true).spawn(move |_| async move { work() }).await.ok()
}

fn unix_seconds(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Whether the round is the first of an epoch that follows another.
fn is_first(context: &Context) -> bool {
    !context.round.epoch().is_zero() && context.round.view() == View::zero().next()
}

/// The reason for an unknown ancestor.
enum Missing {
    /// The branch is invalid, or a rival is final.
    Forever,
    /// This node failed; a restart may help.
    Here,
}

impl Application {
    /// Verifies the unknown blocks of `ancestry`, so that the ledger can build on the newest one. They are unknown after a restart, or
    /// if they were certified without this node's vote.
    async fn adopt<E: Spawner>(
        &self,
        runtime: &E,
        mut ancestry: impl Ancestry<ChainBlock>,
    ) -> Result<Block, Missing> {
        let mut unknown = Vec::new();
        let mut newest = None;
        while let Some(block) = ancestry.next().await {
            let block = block.inner().block().clone();
            newest.get_or_insert_with(|| block.clone());
            if self.ledger.known_block(block.hash()).is_some() {
                break;
            }
            if block.number() <= self.ledger.head().number() {
                return Err(Missing::Forever);
            }
            unknown.push(block);
        }
        while let Some(block) = unknown.pop() {
            let ledger = self.ledger.clone();
            match offload(runtime, move || ledger.verify(&block)).await {
                Some(Ok(())) => {}
                Some(Err(error)) if error.is_invalid_block() => return Err(Missing::Forever),
                Some(Err(error)) => {
                    tracing::error!(%error, "an ancestor cannot be executed");
                    return Err(Missing::Here);
                }
                None => return Err(Missing::Here),
            }
        }
        newest.ok_or(Missing::Here)
    }

    /// Waits for the minimum block interval, or for the others to enter a new epoch.
    async fn keep_interval(&self, clock: &impl Clock, context: &Context, parent: &Block) {
        if is_first(context) {
            clock.sleep(self.timing.epoch_grace).await;
        }
        let (now, least) = (clock.current(), self.timing.interval_after(parent.transactions().len()));
        let earliest = self.pacing.proposal_seen(parent).and_then(|seen| seen.checked_add(least));
        let wait = earliest.and_then(|earliest| earliest.duration_since(now).ok()).unwrap_or_default();
        clock.sleep(wait.min(least)).await;
    }

    /// The filling time of the next block. On busy machines, as when a pool fills up, each block takes longer, so blocks become
    /// smaller.
    fn filling_time(&self, clock: &impl Clock, parent: &Block) -> Option<Duration> {
        /// Minimum part of the usual filling time.
        const LEAST: f64 = 0.25;
        let interval = self.pacing.interval(parent, clock.current()).unwrap_or_default();
        let excess = interval.as_secs_f64() / self.timing.interval_aim.as_secs_f64();
        self.timing.filling.map(|filling| filling.mul_f64(excess.max(1.0).powi(-2).max(LEAST)))
    }

    /// Proposes a block on `parent` once there is a transaction for it, or an empty one at the heartbeat. A pending transaction that
    /// cannot be executed does not cause an empty block.
    async fn fill<E: Spawner + Clock>(
        &self,
        runtime: &E,
        parent: &Block,
        proposal: impl Fn() -> Proposal,
    ) -> Option<Result<Block, LedgerError>> {
        let mut arrivals = self.ledger.pool().watch();
        let mut idle = Box::pin(runtime.sleep(self.timing.heartbeat));
        let mut due = false;
        loop {
            arrivals.borrow_and_update();
            if due || self.ledger.has_pending(parent.hash()) {
                let (ledger, proposal) = (self.ledger.clone(), proposal());
                let built = offload(runtime, move || ledger.propose(proposal)).await?;
                if due || built.as_ref().map_or(true, |block| !block.transactions().is_empty()) {
                    return Some(built);
                }
            }
            select! {
                () = &mut idle => due = true,
                arrived = arrivals.changed() => if arrived.is_err() {
                    return None;
                },
            }
        }
    }

    async fn build<E: Spawner + Clock>(
        &self,
        runtime: &E,
        context: &Context,
        ancestry: impl Ancestry<ChainBlock>,
        input: Input,
    ) -> Option<ChainBlock> {
        let seed = self.seeds.of(seeded_round(context)).await;
        let draw = self.seeds.of(drawing_round(context)).await;
        let parent = match self.adopt(runtime, ancestry).await {
            Ok(parent) => parent,
            Err(Missing::Forever) => return None,
            Err(Missing::Here) => return core::future::pending().await,
        };
        let beneficiary = self.committees.beneficiary(context.round.epoch(), &context.leader).await;
        // Taken before the wait, which says nothing about the load.
        let filling_time = self.filling_time(runtime, &parent);
        self.keep_interval(runtime, context, &parent).await;
        let proposal = || Proposal {
            filling_time,
            parent: parent.hash(),
            timestamp: unix_seconds(runtime.current()).max(parent.header().timestamp),
            prevrandao: prevrandao(&seed, &parent),
            beneficiary,
            consensus: consensus_data(context, seed.clone(), draw.clone(), input.payload.as_ref()),
        };
        match self.fill(runtime, &parent, proposal).await? {
            Ok(block) => {
                self.pacing.saw_proposal(block.number(), block.hash(), runtime.current());
                ChainBlock::new(block).ok()
            }
            Err(error) => {
                tracing::warn!(%error, height = parent.number().saturating_add(1), "no block could be built");
                None
            }
        }
    }

    /// Checks the rules of consensus except the timestamp.
    async fn is_bound(&self, block: &ChainBlock, context: &Context, parent: &Block) -> bool {
        let header = block.block().header();
        let ConsensusData { seed, draw, .. } = block.block().consensus();
        let beneficiary = self.committees.beneficiary(context.round.epoch(), &context.leader).await;
        let complaint = if block.proposed_in() != context {
            "it was made for another round"
        } else if header.beneficiary != beneficiary {
            "its beneficiary is not its leader"
        } else if !self.seeds.matches(seeded_round(context), seed) {
            "its seed is not the parent's"
        } else if !self.seeds.matches(drawing_round(context), draw) {
            "its draw is not by the round before it"
        } else if header.mix_hash != prevrandao(seed, parent) {
            "its prevrandao does not follow from its seed"
        } else {
            return true;
        };
        tracing::warn!(height = header.number, hash = %block.block().hash(), complaint, "block refused");
        false
    }

    /// Waits until the clock reaches the block's timestamp minus the tolerance.
    async fn wait_for_time(&self, clock: &impl Clock, block: &Block) {
        let tolerated = self.timing.clock_skew.as_secs();
        loop {
            let ahead = block.header().timestamp.saturating_sub(unix_seconds(clock.current()));
            match ahead.checked_sub(tolerated) {
                None | Some(0) => return,
                Some(seconds) => clock.sleep(Duration::from_secs(seconds)).await,
            }
        }
    }

    async fn judge<E: Spawner + Clock>(
        &self,
        runtime: &E,
        context: &Context,
        mut ancestry: impl Ancestry<ChainBlock>,
    ) -> bool {
        let Some(tip) = ancestry.next().await else { return core::future::pending().await };
        let block = tip.inner().clone();
        self.pacing.saw_proposal(block.block().number(), block.block().hash(), runtime.current());
        let parent = match self.adopt(runtime, ancestry).await {
            Ok(parent) => parent,
            Err(Missing::Forever) => return false,
            Err(Missing::Here) => return core::future::pending().await,
        };
        if !self.is_bound(&block, context, &parent).await {
            return false;
        }
        self.wait_for_time(runtime, block.block()).await;
        let (ledger, executed) = (self.ledger.clone(), block.block().clone());
        match offload(runtime, move || ledger.verify(&executed)).await {
            Some(Ok(())) => true,
            Some(Err(error)) => self.verdict(block.block().hash(), &error).await,
            None => core::future::pending().await,
        }
    }

    async fn verdict(&self, hash: B256, error: &LedgerError) -> bool {
        if error.is_invalid_block() {
            tracing::warn!(%hash, %error, "block refused");
            return false;
        }
        tracing::error!(%hash, %error, "a block cannot be verified here");
        core::future::pending().await
    }
}

impl<E: Spawner + Clock> commonware_consensus::Application<E> for Application {
    type SigningScheme = Scheme;
    type Context = Context;
    type Block = ChainBlock;
    type Input = Input;

    async fn propose(
        &mut self,
        (runtime, context): (E, Context),
        ancestry: impl Ancestry<ChainBlock>,
        input: Input,
    ) -> Option<Digested<ChainBlock>> {
        let block = self.build(&runtime, &context, ancestry, input).await?;
        let digest = block.digest();
        Some(Digested::precomputed(block, digest))
    }

    async fn verify(
        &mut self,
        (runtime, context): (E, Context),
        ancestry: impl Ancestry<ChainBlock>,
    ) -> bool {
        self.judge(&runtime, &context, ancestry).await
    }
}
