//! Gathers from its parts how the node stands, and the figures that its health is judged by.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use alloy_primitives::Address;
use hansa_api::{ConsensusStatus, Head, Health, NodeStatus, PoolStatus, Rejoin, SwarmStatus};
use hansa_consensus::{Handshakes, Seat, Status};
use hansa_gateway::Network;
use hansa_index::Index;
use hansa_ledger::Ledger;
use hansa_sharing::Sharing;
use hansa_swarm::Swarm;
use hansa_types::{Block, DcId, Member, MemberStatus, NetworkKey, Role};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    NodeConfig,
    health::{Facts, HealthSettings, Peer},
    identity::unix_seconds,
    pulse::Pulse,
};

/// Reads the parts' own accounts.
#[derive(Clone)]
pub(crate) struct StatusReader {
    pub(crate) started: Instant,
    pub(crate) name: String,
    pub(crate) account: Address,
    pub(crate) network_key: NetworkKey,
    pub(crate) ledger: Ledger,
    pub(crate) consensus: watch::Receiver<Status>,
    pub(crate) swarm: Swarm,
}

impl StatusReader {
    pub(crate) fn read(&self) -> NodeStatus {
        let members = self.ledger.members();
        let own = members.iter().find(|member| member.card.network_key == self.network_key);
        let head = self.ledger.head();
        let header = head.header();
        let pool = self.ledger.pool().status();
        NodeStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: own.map_or_else(|| self.name.clone(), |member| member.card.name.clone()),
            dc_id: own.map(|member| member.dc_id),
            role: own.map(|member| member.role),
            account: self.account,
            chain_id: self.ledger.chain_id(),
            genesis: self.ledger.genesis_block().hash(),
            head: Head {
                number: head.number(),
                hash: head.hash(),
                state_root: header.state_root,
                timestamp: header.timestamp,
            },
            members: count(members.len()),
            consensus: consensus(&self.consensus.borrow()),
            swarm: self.swarm_status(),
            pool: PoolStatus {
                pending: pool.ready as u64,
                queued: pool.transactions.saturating_sub(pool.ready) as u64,
            },
            uptime_seconds: self.started.elapsed().as_secs(),
        }
    }

    /// The greatest height known to be final.
    pub(crate) fn final_height(&self) -> u64 {
        self.consensus.borrow().final_height
    }

    /// Seconds since each member last answered in the swarm, connected or not; none of a member that has not answered yet.
    pub(crate) fn heard_seconds_ago(&self) -> Vec<(DcId, f64)> {
        let members = self.ledger.members();
        let heard = self.swarm.watch_heard();
        let heard = heard.borrow();
        let of = |member: &Member| Some((member.dc_id, heard.get(&member.card.network_key)?.at));
        members.iter().filter_map(of).map(|(id, at)| (id, at.elapsed().as_secs_f64())).collect()
    }

    fn swarm_status(&self) -> SwarmStatus {
        SwarmStatus {
            peer_id: self.swarm.peer_id(),
            peers: count(self.swarm.peers().len()),
            refused: self.swarm.refused(),
        }
    }
}

fn consensus(status: &Status) -> ConsensusStatus {
    ConsensusStatus {
        epoch: status.epoch,
        view: status.view,
        validating: status.seat == Seat::Validator,
        rejoins: status.rejoins.map(|rejoins| Rejoin {
            epoch: rejoins.epoch,
            height: rejoins.height,
            seconds: status.rejoins_in().map(|time| time.as_secs()),
        }),
        validators: count(status.committee.len()),
        peers: count(status.connected.len()),
        finality_ms: status.finality.map(|time| time.as_secs_f64() * 1e3),
    }
}

/// Bytes that this account may still write in the file system of `folder`.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let figures = rustix::fs::statvfs(folder).ok()?;
    Some(figures.f_bavail.saturating_mul(figures.f_frsize))
}

/// Reads the node's health. Clones share what they have seen of the chain.
#[derive(Clone)]
pub(crate) struct HealthReader {
    pub(crate) status: StatusReader,
    pub(crate) handshakes: Handshakes,
    pub(crate) pulse: Arc<Mutex<Pulse>>,
    pub(crate) heartbeat: Duration,
    pub(crate) limits: HealthSettings,
    pub(crate) data: PathBuf,
    /// Own objects whose key is not here.
    pub(crate) keyless: Arc<AtomicU64>,
    pub(crate) sharing: Sharing,
    pub(crate) index: Index,
    pub(crate) index_lag_max: u64,
}

impl HealthReader {
    /// A reader that has not heard of a block yet.
    pub(crate) fn new(
        status: StatusReader,
        handshakes: Handshakes,
        config: &NodeConfig,
        data: PathBuf,
        sharing: Sharing,
        index: Index,
    ) -> Self {
        Self {
            pulse: Arc::new(Mutex::new(Pulse::new(status.started))),
            status,
            handshakes,
            heartbeat: config.consensus.timing().heartbeat,
            limits: config.health,
            data,
            keyless: Arc::default(),
            sharing,
            index,
            index_lag_max: config.index.lag_blocks_max,
        }
    }

    pub(crate) fn read(&self) -> Health {
        self.facts().health()
    }

    /// Takes note of a final block; `None` where some were missed.
    pub(crate) fn beat(&self, block: Option<&Block>) {
        let mut pulse = self.pulse.lock();
        pulse.beat(Instant::now());
        // The time on an old block says nothing, and neither does this node's own.
        let others = block.filter(|block| {
            let live = block.number() >= self.status.consensus.borrow().final_height;
            live && block.header().beneficiary != self.status.account
        });
        if let Some(block) = others {
            pulse.compare(unix_seconds(), block.header().timestamp);
        }
    }

    fn facts(&self) -> Facts {
        let members = self.status.ledger.members();
        let consensus = self.status.consensus.borrow().clone();
        let own = members.iter().find(|member| member.card.network_key == self.status.network_key);
        let pulse = self.pulse.lock().clone();
        Facts {
            limits: self.limits,
            final_ago: pulse.age(Instant::now()),
            heartbeat: self.heartbeat,
            height: consensus.height,
            final_height: consensus.final_height,
            peers: self.peers(&members, &consensus),
            validator: consensus.committee.contains(&self.status.network_key),
            rejoins: consensus.rejoins.map(|rejoins| rejoins.height),
            member: own.map(|member| member.status),
            genesis: self.status.ledger.genesis_block().hash().to_string(),
            data: self.data.display().to_string(),
            free_bytes: free_bytes(&self.data),
            replication_paused: self.sharing.replication().paused_by_disk,
            keyless: self.keyless.load(Ordering::Relaxed),
            blocks_ahead: pulse.seconds_ahead(),
            index: self.index.state(),
            index_lag_max: self.index_lag_max,
        }
    }

    /// The other members that may connect.
    fn peers(&self, members: &[Member], consensus: &Status) -> Vec<Peer> {
        let connected: BTreeSet<_> = consensus.connected.iter().collect();
        let swarm: BTreeSet<_> = self.status.swarm.peers().into_iter().collect();
        self.handshakes.settle(&consensus.connected);
        let troubles = self.handshakes.subscribe().borrow().clone();
        let others = members.iter().filter(|member| {
            member.card.network_key != self.status.network_key && member.status != MemberStatus::Removed
        });
        others
            .map(|member| {
                let key = member.card.network_key;
                Peer {
                    name: member.card.name.clone(),
                    validator: match consensus.committee.is_empty() {
                        // The engine has not entered an epoch yet.
                        true => member.role == Role::Validator,
                        false => consensus.committee.contains(&key),
                    },
                    connected: connected.contains(&key),
                    silent: consensus.silent.contains(&key),
                    in_swarm: swarm.contains(&key),
                    trouble: troubles.get(&key).copied(),
                }
            })
            .collect()
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Network for StatusReader {
    fn peers(&self) -> u32 {
        count(self.consensus.borrow().connected.len())
    }

    fn catching_up_to(&self) -> Option<u64> {
        let status = self.consensus.borrow();
        (status.final_height > status.height).then_some(status.final_height)
    }
}
