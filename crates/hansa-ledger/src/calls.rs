//! Reading the state of finalised blocks: accounts, slots, proofs, calls.

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, U256};

use hansa_evm::{
    AccountState, BlockEnvironment, CallOutcome, CallRequest, Estimate, ExecutionError, StateView,
};

use crate::{
    BlockRef, Ledger, LedgerError, error::BlockName, header, history::PastState, state::account_state,
};

/// An account and some of its slots with Merkle proofs against a block's state root (EIP-1186).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountProof {
    /// Whose it is.
    pub address: Address,
    /// The account, empty when it does not exist.
    pub account: AccountState,
    /// Root of its storage trie.
    pub storage_root: B256,
    /// RLP nodes from the state root down.
    pub account_proof: Vec<Bytes>,
    /// The slots, in the order in which they were asked for.
    pub storage_proofs: Vec<StorageProof>,
}

/// A storage slot with its Merkle proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageProof {
    /// Its index, unhashed.
    pub slot: B256,
    /// Its value.
    pub value: U256,
    /// RLP nodes from the storage root down.
    pub proof: Vec<Bytes>,
}

impl Ledger {
    /// An account; the empty one when it does not exist.
    ///
    /// # Errors
    /// [`LedgerError::UnknownBlock`], [`LedgerError::StateNotKept`], as for every method here.
    pub fn account(&self, at: BlockRef, address: Address) -> Result<AccountState, LedgerError> {
        Ok(self.state_at(at)?.1.account(address)?.unwrap_or_default())
    }

    /// An account's code, empty when it has none.
    ///
    /// # Errors
    /// See [`Ledger::account`].
    pub fn code(&self, at: BlockRef, address: Address) -> Result<Bytes, LedgerError> {
        let (_, state) = self.state_at(at)?;
        Ok(match state.account(address)? {
            Some(account) => state.code(account.code_hash)?,
            None => Bytes::new(),
        })
    }

    /// A storage slot, zero when never written.
    ///
    /// # Errors
    /// See [`Ledger::account`].
    pub fn storage(&self, at: BlockRef, address: Address, slot: B256) -> Result<B256, LedgerError> {
        Ok(self.state_at(at)?.1.storage(address, slot.into())?.into())
    }

    /// Merkle proofs of an account and some of its slots.
    ///
    /// # Errors
    /// See [`Ledger::account`].
    pub fn proof(&self, at: BlockRef, address: Address, slots: &[B256]) -> Result<AccountProof, LedgerError> {
        let (header, state) = self.state_at(at)?;
        let view = state.rebuild()?;
        if view.root() != header.state_root {
            return Err(LedgerError::Damaged { what: "history of states" });
        }
        let slots: Vec<U256> = slots.iter().map(|slot| (*slot).into()).collect();
        let proof = view.proof(address, &slots)?;
        Ok(AccountProof {
            address,
            account: proof.account.map(account_state).unwrap_or_default(),
            storage_root: proof.storage_root,
            account_proof: proof.proof,
            storage_proofs: proof
                .slots
                .into_iter()
                .map(|slot| StorageProof { slot: slot.slot.into(), value: slot.value, proof: slot.proof })
                .collect(),
        })
    }

    /// Runs a call on the state after a block and forgets its changes.
    ///
    /// # Errors
    /// See [`Ledger::account`]; [`LedgerError::InvalidCall`] when the request breaks a rule of transactions.
    pub fn call(&self, at: BlockRef, request: CallRequest) -> Result<CallOutcome, LedgerError> {
        let (header, state) = self.state_at(at)?;
        self.shared().executor.call(&state, environment_of(&header), &request).map_err(call_error)
    }

    /// Finds a gas limit with which a call succeeds on the state after a block.
    ///
    /// # Errors
    /// See [`Ledger::call`].
    pub fn estimate(&self, at: BlockRef, request: CallRequest) -> Result<Estimate, LedgerError> {
        let (header, state) = self.state_at(at)?;
        self.shared().executor.estimate(&state, environment_of(&header), &request).map_err(call_error)
    }

    fn state_at(&self, at: BlockRef) -> Result<(Header, PastState), LedgerError> {
        // By hash first, so that the lock is not held while the store is read.
        let wanted = match at {
            BlockRef::Head => None,
            BlockRef::Number(number) => Some(number),
            BlockRef::Hash(hash) => {
                let number = self.number_of(hash)?;
                Some(number.ok_or(LedgerError::UnknownBlock(BlockName::Hash(hash)))?)
            }
        };
        let chain = self.shared().chain.read();
        let head = chain.head.block.clone();
        let (state, kept) = (chain.head.state.clone(), chain.history.depth());
        let requested = wanted.unwrap_or(head.number());
        let depth = head
            .number()
            .checked_sub(requested)
            .ok_or(LedgerError::UnknownBlock(BlockName::Number(requested)))?;
        if depth > kept {
            return Err(LedgerError::StateNotKept { requested, oldest: head.number().saturating_sub(kept) });
        }
        let later = chain.history.last(depth);
        drop(chain);
        let block = if depth == 0 {
            head
        } else {
            self.block(requested)?.ok_or(LedgerError::UnknownBlock(BlockName::Number(requested)))?
        };
        Ok((block.header().clone(), PastState::new(state, later, requested, block.hash())))
    }
}

fn environment_of(header: &Header) -> BlockEnvironment {
    header::environment(header)
}

fn call_error(error: ExecutionError) -> LedgerError {
    match error {
        ExecutionError::Invalid(reason) => LedgerError::InvalidCall(reason),
        error => LedgerError::Execution(error),
    }
}
