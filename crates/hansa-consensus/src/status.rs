//! What consensus tells the rest of the node about itself.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use alloy_primitives::B256;
use commonware_consensus::types::{Epoch, Round};
use hansa_types::{Block, NetworkKey};
use parking_lot::Mutex;
use tokio::sync::watch;

/// What this node does in the current epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seat {
    /// Follows the chain.
    #[default]
    Follower,
    /// Votes and proposes.
    Validator,
    /// Sits in the committee but has no share of the key; it takes part again from the next epoch on.
    ValidatorWithoutShare,
}

/// A snapshot of consensus as this node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// What this node does in the current epoch.
    pub seat: Seat,
    /// The current epoch.
    pub epoch: u64,
    /// The latest view for which a certificate or proposal was seen.
    pub view: u64,
    /// The height up to which this node has executed the final chain, durably.
    pub height: u64,
    /// The hash at that height.
    pub head: B256,
    /// The greatest height known to be final; above `height` while the node catches up.
    pub final_height: u64,
    /// Who proposed, or is to propose, in the latest view known.
    pub leader: Option<NetworkKey>,
    /// Members to which a connection stands.
    pub connected: Vec<NetworkKey>,
    /// From the first sight of the latest final block's proposal to its durable execution here, where this node saw
    /// the proposal.
    pub finality: Option<Duration>,
}

/// Proposals whose finality is still being timed.
const TIMED_MAX: usize = 256;

/// Where the engine's parts note what they see.
#[derive(Clone, Default)]
pub(crate) struct StatusBoard {
    status: watch::Sender<Status>,
    /// First sight of each proposal.
    seen: Arc<Mutex<BTreeMap<u64, (B256, SystemTime)>>>,
}

impl StatusBoard {
    pub(crate) fn subscribe(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// An epoch's scheme has been installed.
    pub(crate) fn entered(&self, epoch: Epoch, seat: Seat) {
        self.status.send_modify(|status| {
            if epoch.get() > status.epoch {
                status.view = 0;
            }
            status.epoch = epoch.get();
            status.seat = seat;
        });
    }

    /// A certificate, proposal or request for a round was seen.
    pub(crate) fn saw_round(&self, round: Round, leader: Option<NetworkKey>) {
        self.status.send_if_modified(|status| {
            let seen = (round.epoch().get(), round.view().get());
            if seen < (status.epoch, status.view) || seen.0 > status.epoch {
                return false;
            }
            status.view = seen.1;
            status.leader = leader.or(status.leader);
            true
        });
    }

    /// A proposal was built or received at this time.
    pub(crate) fn saw_proposal(&self, number: u64, hash: B256, now: SystemTime) {
        let mut seen = self.seen.lock();
        seen.insert(number, (hash, now));
        while seen.len() > TIMED_MAX {
            seen.pop_first();
        }
    }

    /// When the proposal of `block` was first seen here.
    pub(crate) fn proposal_seen(&self, block: &Block) -> Option<SystemTime> {
        self.seen_at(block.number(), block.hash())
    }

    fn seen_at(&self, number: u64, hash: B256) -> Option<SystemTime> {
        let seen = self.seen.lock();
        seen.get(&number).filter(|(seen, _)| *seen == hash).map(|(_, at)| *at)
    }

    /// How far apart blocks come: the time between the last two proposals, `parent`'s being the second, or the time since
    /// then if that is longer.
    pub(crate) fn interval(&self, parent: &Block, now: SystemTime) -> Option<Duration> {
        let last = self.proposal_seen(parent)?;
        let before = self.seen_at(parent.number().checked_sub(1)?, parent.header().parent_hash);
        let between = before.and_then(|before| last.duration_since(before).ok()).unwrap_or_default();
        Some(between.max(now.duration_since(last).unwrap_or_default()))
    }

    /// A height is known to be final, though not yet executed here.
    pub(crate) fn saw_tip(&self, height: u64) {
        self.status.send_if_modified(|status| {
            let higher = height > status.final_height;
            status.final_height = status.final_height.max(height);
            higher
        });
    }

    /// A final block has been executed durably.
    pub(crate) fn finalised(&self, height: u64, head: B256, now: SystemTime) {
        let timed = {
            let mut seen = self.seen.lock();
            *seen = seen.split_off(&height);
            seen.get(&height).copied().filter(|(hash, _)| *hash == head)
        };
        let finality = timed.and_then(|(_, since)| now.duration_since(since).ok());
        self.status.send_modify(|status| {
            status.height = height;
            status.head = head;
            status.final_height = status.final_height.max(height);
            status.finality = finality.or(status.finality);
        });
    }

    /// The connections that stand.
    pub(crate) fn connected(&self, peers: Vec<NetworkKey>) {
        self.status.send_if_modified(|status| {
            let changed = status.connected != peers;
            status.connected = peers;
            changed
        });
    }
}
