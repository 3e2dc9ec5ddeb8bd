//! Gathers how the node stands from its parts.

use std::time::Instant;

use alloy_primitives::Address;
use hansa_consensus::{Seat, Status};
use hansa_gateway::Network;
use hansa_ledger::Ledger;
use hansa_swarm::Swarm;
use hansa_types::{
    NetworkKey,
    api::{ConsensusStatus, Head, NodeStatus, PoolStatus, SwarmStatus},
};
use tokio::sync::watch;

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
        let validators = members.iter().filter(|m| m.role == hansa_types::Role::Validator).count();
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
            consensus: consensus(&self.consensus.borrow(), count(validators)),
            swarm: self.swarm_status(),
            pool: PoolStatus { pending: pool.transactions as u64, ..PoolStatus::default() },
            uptime_seconds: self.started.elapsed().as_secs(),
        }
    }

    fn swarm_status(&self) -> SwarmStatus {
        SwarmStatus {
            peer_id: self.swarm.peer_id(),
            peers: count(self.swarm.peers().len()),
            refused: self.swarm.refused(),
        }
    }
}

fn consensus(status: &Status, validators: u32) -> ConsensusStatus {
    ConsensusStatus {
        epoch: status.epoch,
        view: status.view,
        validating: status.seat == Seat::Validator,
        validators,
        peers: count(status.connected.len()),
        finality_ms: status.finality.map(|time| time.as_secs_f64() * 1e3),
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
