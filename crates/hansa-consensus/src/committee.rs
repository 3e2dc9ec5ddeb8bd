//! Committees from the registry, at heights whose state is final.
//!
//! A set of participants has two lives: in epoch E−1 it receives shares of the group key, in epoch E it is the committee. The receivers
//! of epoch E−1 are announced in the last block of E−3. They are the registry's validators at the last block of E−4, which is final for
//! every node that proposes or verifies the announcement. The founders are the committee of the first four epochs.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::Address as Account;
use commonware_consensus::types::Epoch;
use commonware_glue::dkg::ParticipantsProvider;
use commonware_p2p::Address;
use commonware_utils::ordered::{Map, Set};
use hansa_ledger::{Ledger, LedgerError};
use hansa_types::{Member, MemberStatus, NetworkKey, Role};
use parking_lot::Mutex;

use crate::{
    genesis::{founders, network_key, public_key},
    pacing::Pacing,
    peers::address,
    types::{Directory, PARTICIPANTS_MAX, PublicKey},
};

/// Epochs between a registry and the one in which its validators receive their shares.
const DELAY: u64 = 3;

/// The consensus data of a final registry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seats {
    validators: Vec<PublicKey>,
    known: BTreeMap<PublicKey, (Account, Address)>,
}

impl Seats {
    fn of_members(members: &[Member]) -> Self {
        let sits = |member: &Member| member.role == Role::Validator && member.status == MemberStatus::Active;
        let validators = members.iter().filter(|member| sits(member));
        Self {
            validators: validators
                .filter_map(|member| public_key(member.card.network_key))
                .take(PARTICIPANTS_MAX.get() as usize)
                .collect(),
            known: members
                .iter()
                .filter_map(|member| {
                    let place = (member.card.account, address(&member.card.consensus_endpoint));
                    Some((public_key(member.card.network_key)?, place))
                })
                .collect(),
        }
    }
}

/// The committees of all epochs that are determined.
#[derive(Clone)]
pub(crate) struct Committees {
    ledger: Ledger,
    pacing: Pacing,
    /// The registries at the ends of recent epochs.
    seats: Arc<Mutex<BTreeMap<u64, Arc<Seats>>>>,
    founding: Arc<Seats>,
}

impl Committees {
    pub(crate) fn new(ledger: Ledger, pacing: Pacing) -> Self {
        let genesis = ledger.genesis();
        let known = genesis.founders.iter().filter_map(|card| {
            Some((public_key(card.network_key)?, (card.account, address(&card.consensus_endpoint))))
        });
        let founding = Arc::new(Seats {
            known: known.collect(),
            validators: founders(genesis).map(|keys| keys.into_iter().collect()).unwrap_or_default(),
        });
        Self { ledger, pacing, seats: Arc::default(), founding }
    }

    /// The beneficiary of a block proposed by `leader` in `epoch`.
    pub(crate) async fn beneficiary(&self, epoch: Epoch, leader: &PublicKey) -> Account {
        match self.located(epoch.get(), leader).await {
            Some((account, _)) => account,
            None => Account::ZERO,
        }
    }

    /// The registry of the committee of `epoch`; waits until it is final.
    async fn frozen(&self, epoch: u64) -> Arc<Seats> {
        let Some(end) = epoch.checked_sub(DELAY) else { return self.founding.clone() };
        let mut progress = self.pacing.progress();
        loop {
            progress.borrow_and_update();
            match self.at_end_of(end) {
                Ok(seats) => return seats,
                Err(LedgerError::EpochNotFinal(_)) => {}
                Err(error) => panic!("the registry at the end of epoch {end} cannot be read: {error}"),
            }
            if progress.changed().await.is_err() {
                return core::future::pending().await;
            }
        }
    }

    fn at_end_of(&self, epoch: u64) -> Result<Arc<Seats>, LedgerError> {
        if let Some(seats) = self.seats.lock().get(&epoch) {
            return Ok(seats.clone());
        }
        let seats = Arc::new(Seats::of_members(&self.ledger.members_at_epoch(epoch)?));
        let mut kept = self.seats.lock();
        kept.insert(epoch, seats.clone());
        while kept.len() > 8 {
            kept.pop_first();
        }
        Ok(seats)
    }

    /// The entry of `key` in the newest registry that has it, up to that of `epoch`'s committee. A replaced key is found for the epochs in
    /// which it holds a seat.
    async fn located(&self, epoch: u64, key: &PublicKey) -> Option<(Account, Address)> {
        for back in 0..=DELAY.saturating_add(1) {
            let Some(epoch) = epoch.checked_sub(back) else { break };
            if let Some(place) = self.frozen(epoch).await.known.get(key) {
                return Some(place.clone());
            }
        }
        self.founding.known.get(key).cloned()
    }
}

impl ParticipantsProvider for Committees {
    type PublicKey = PublicKey;
    type Directory = Directory;

    async fn participants(&mut self, epoch: Epoch) -> Set<PublicKey> {
        let seats = self.frozen(epoch.get()).await;
        match seats.validators.is_empty() {
            // A registry without a validator would end the chain: fall back to the founders.
            true => Set::from_iter_dedup(self.founding.validators.iter().cloned()),
            false => Set::from_iter_dedup(seats.validators.iter().cloned()),
        }
    }

    async fn directory(&mut self, epoch: Epoch, peers: Set<PublicKey>) -> Directory {
        let mut places = Vec::with_capacity(peers.len());
        for peer in &peers {
            // The next players are from the registry of one epoch later.
            let place = self.located(epoch.get().saturating_add(1), peer).await;
            let place = place.map_or_else(|| address(""), |(_, place)| place);
            places.push((peer.clone(), place));
        }
        Map::from_iter_dedup(places).into()
    }
}

/// The registered key of a leader, for display.
pub(crate) fn leader_name(leader: &PublicKey) -> NetworkKey {
    network_key(leader)
}
