//! Builds blocks from pending transactions, on any executed parent.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use alloy_consensus::Transaction;
use alloy_primitives::{Address, B256, map::AddressMap};

use hansa_contracts::Quota;
use hansa_evm::{BlockExecutor, ExecutedTransaction, ExecutionError, Growth, InvalidReason, Payer};
use hansa_pool::{Best, PooledTransaction, ordinary_cost};
use hansa_types::{BODY_BYTES_MAX, Block, ConsensusData, DcId, SignedTransaction};

use crate::{
    Ledger, LedgerError,
    accounts::{self, Sender},
    chain::ExecutedBlock,
    execute, header, quota,
    state::ParentState,
    upgrade,
};

/// The least gas a transaction can ask for.
const TRANSACTION_GAS_MIN: u64 = 21_000;

/// Consensus's part of a block to be proposed.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Hash of the parent: the finalised head, or any block proposed or verified here.
    pub parent: B256,
    /// Unix seconds; where it is before the parent's, the parent's is taken.
    pub timestamp: u64,
    /// Randomness for the block's transactions.
    pub prevrandao: B256,
    /// The proposer's account, named in the header.
    pub beneficiary: Address,
    /// Carried in the block, committed to by `extraData`.
    pub consensus: ConsensusData,
    /// Time limit for adding transactions, because the other validators wait; `None` fills the block up to its gas and
    /// bytes. Simulations use `None`, so that they do not depend on the machine's speed.
    pub filling_time: Option<Duration>,
}

#[derive(Default)]
struct Filling {
    transactions: Vec<SignedTransaction>,
    senders: Vec<Address>,
    executed: Vec<ExecutedTransaction>,
    bytes: usize,
    /// Execution time beyond that expected from the gas, by sender, in microseconds.
    excess: AddressMap<u64>,
}

impl Filling {
    /// Adds a transaction that took `time`, where that counts, and returns its cost in microseconds.
    fn add(
        &mut self,
        candidate: &PooledTransaction,
        executed: ExecutedTransaction,
        bytes: usize,
        time: Option<Duration>,
    ) -> u64 {
        let ordinary = ordinary_cost(executed.gas_used);
        let taken = time.map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        let excess = taken.saturating_sub(ordinary);
        if excess > 0 {
            let total = self.excess.entry(candidate.sender).or_default();
            *total = total.saturating_add(excess);
        }
        self.bytes = bytes;
        self.transactions.push(candidate.transaction.clone());
        self.senders.push(candidate.sender);
        self.executed.push(executed);
        ordinary.saturating_add(excess)
    }
}

impl Ledger {
    /// Executes what is pending on the parent and seals it into a block, which counts as verified here. It stops
    /// adding transactions at the block's gas, at [`BODY_BYTES_MAX`], and after
    /// [`Proposal::filling_time`]. Those that can never be executed are dropped from the pool.
    ///
    /// # Errors
    /// [`LedgerError::UnknownParent`]; otherwise this node's storage is at fault.
    pub fn propose(&self, proposal: Proposal) -> Result<Block, LedgerError> {
        let parent = self.executed(&proposal.parent).ok_or(LedgerError::UnknownParent(proposal.parent))?;
        let timestamp = proposal.timestamp.max(parent.block.header().timestamp);
        let mut header = header::child(
            parent.block.header(),
            proposal.parent,
            timestamp,
            proposal.prevrandao,
            proposal.beneficiary,
        );
        let mut executor = upgrade::begin(self.shared(), &parent, &header)?;
        let filling = self.fill(&parent, &mut executor, proposal.filling_time)?;
        quota::charge(&mut executor, &parent_state(&parent))?;
        let results = execute::conclude(executor, &parent.state, &filling.executed)?;
        header.state_root = results.state.root();
        header.receipts_root = results.receipts_root;
        header.gas_used = results.gas_used;
        header.logs_bloom = results.logs_bloom;
        let block = Block::new(header, filling.transactions, proposal.consensus);
        let executed = execute::assemble(block.clone(), results, &filling.senders, filling.executed);
        self.shared().chain.write().insert(executed);
        Ok(block)
    }

    /// Whether a proposal on this parent would find a transaction to try.
    pub fn has_pending(&self, parent: B256) -> bool {
        self.executed(&parent).is_some_and(|parent| self.pending_on(&parent).next().is_some())
    }

    fn pending_on(&self, parent: &ExecutedBlock) -> Best {
        let state = parent_state(parent);
        self.pool().best(parent.block.number(), |sender| {
            accounts::sender_state(&state, sender).ok().flatten().map(|s| s.nonce)
        })
    }

    fn fill(
        &self,
        parent: &ExecutedBlock,
        executor: &mut BlockExecutor<ParentState<'_>>,
        time_max: Option<Duration>,
    ) -> Result<Filling, LedgerError> {
        let begun = Instant::now();
        let gas_limit = parent.block.header().gas_limit;
        let mut candidates = self.pending_on(parent);
        let mut filling = Filling::default();
        let state = parent_state(parent);
        let mut members = Registered::new(&state);
        while let Some(candidate) = candidates.next() {
            let gas_left = gas_limit.saturating_sub(executor.gas_used());
            if gas_left < TRANSACTION_GAS_MIN {
                break;
            }
            // Each transaction is an RLP string of its own: at most 4 bytes of prefix.
            let bytes = filling.bytes.saturating_add(candidate.bytes).saturating_add(4);
            if bytes > BODY_BYTES_MAX || candidate.transaction.gas_limit() > gas_left {
                candidates.skip_sender(candidate.sender);
                continue;
            }
            let started = Instant::now();
            let payer = members.payer(candidate.sender)?;
            match executor.transact(&candidate.transaction, candidate.sender, payer) {
                Ok(executed) => {
                    // Simulations must not depend on the machine's speed: there only gas counts.
                    let time = time_max.map(|_| started.elapsed());
                    candidates.charge(filling.add(&candidate, executed, bytes, time));
                }
                Err(ExecutionError::Invalid(reason)) => self.set_aside(&candidate, &reason, &mut candidates),
                Err(error) => return Err(LedgerError::Execution(error)),
            }
            // Only now: one transaction is tried however slow the machine is, or the chain would stand still.
            if time_max.is_some_and(|most| begun.elapsed() > most) {
                break;
            }
        }
        self.pool().charge(std::mem::take(&mut filling.excess));
        Ok(filling)
    }

    /// A transaction that cannot be executed now holds up its sender's later ones; one that never can is dropped.
    fn set_aside(&self, candidate: &PooledTransaction, reason: &InvalidReason, candidates: &mut Best) {
        let may_come_later = matches!(
            reason,
            InvalidReason::NonceTooHigh { .. }
                | InvalidReason::NonceTooLow { .. }
                | InvalidReason::BlockGas { .. }
                | InvalidReason::MemberQuota { .. }
                | InvalidReason::StorageQuota
        );
        if !may_come_later {
            tracing::debug!(hash = %candidate.hash, %reason, "dropping a pending transaction");
            self.pool().remove(&candidate.hash);
        }
        candidates.skip_sender(candidate.sender);
    }
}

/// The state that a child of this block starts from.
pub(crate) fn parent_state(parent: &ExecutedBlock) -> ParentState<'_> {
    ParentState {
        state: &parent.state,
        parent_number: parent.block.number(),
        parent_hash: parent.block.hash(),
        parent_timestamp: parent.block.header().timestamp,
    }
}

/// The senders of one block's transactions, each looked up once in the parent's state.
pub(crate) struct Registered<'a> {
    state: &'a ParentState<'a>,
    known: AddressMap<Option<Sender>>,
    quota: Option<Quota>,
    left: BTreeMap<DcId, Growth>,
}

impl<'a> Registered<'a> {
    pub(crate) fn new(state: &'a ParentState<'a>) -> Self {
        Self { state, known: AddressMap::default(), quota: None, left: BTreeMap::new() }
    }

    /// `None` for an account that may not send.
    pub(crate) fn sender(&mut self, account: Address) -> Result<Option<Sender>, LedgerError> {
        if let Some(known) = self.known.get(&account) {
            return Ok(*known);
        }
        let sender = accounts::sender(self.state, account)?;
        self.known.insert(account, sender);
        Ok(sender)
    }

    /// The payer of a sender's transactions.
    pub(crate) fn payer(&mut self, account: Address) -> Result<Payer, LedgerError> {
        let Some(member) = self.sender(account)?.and_then(|sender| sender.member) else {
            return Ok(Payer { member: None, left: Growth::UNLIMITED });
        };
        if let Some(left) = self.left.get(&member) {
            return Ok(Payer { member: Some(member), left: *left });
        }
        let quota = match self.quota {
            Some(quota) => quota,
            None => *self.quota.insert(quota::in_force(self.state)?),
        };
        let left = quota::left(self.state, quota, member)?;
        self.left.insert(member, left);
        Ok(Payer { member: Some(member), left })
    }
}
