//! Reading the state of finalised blocks: accounts, slots, proofs, calls.

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, U256};

use hansa_evm::{
    Accessed, AccountState, CallOutcome, CallRequest, Estimate, ExecutionError, Simulation, StateView,
};

use crate::{
    BlockRef, Ledger, LedgerError, error::BlockName, header, history::PastState, state::account_state,
};

/// An account and some of its slots with Merkle proofs against a block's state root (EIP-1186).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountProof {
    /// Address of the account.
    pub address: Address,
    /// The account, empty when it does not exist.
    pub account: AccountState,
    /// Root of its storage trie.
    pub storage_root: B256,
    /// RLP nodes from the state root down.
    pub account_proof: Vec<Bytes>,
    /// The slots, in the order of the request.
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
        match state.account(address)? {
            Some(account) => Ok(state.code(account.code_hash)?),
            None => Ok(Bytes::new()),
        }
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

    /// Executes a call on the state after a block and discards its changes.
    ///
    /// # Errors
    /// See [`Ledger::account`]; [`LedgerError::InvalidCall`] when the request breaks a rule of transactions.
    pub fn call(&self, at: BlockRef, request: CallRequest) -> Result<CallOutcome, LedgerError> {
        let (header, state) = self.state_at(at)?;
        Ok(self.shared().executor.call(&state, header::environment(&header), &request)?)
    }

    /// Finds a gas limit with which a call succeeds on the state after a block.
    ///
    /// # Errors
    /// See [`Ledger::call`].
    pub fn estimate(&self, at: BlockRef, request: CallRequest) -> Result<Estimate, LedgerError> {
        let (header, state) = self.state_at(at)?;
        Ok(self.shared().executor.estimate(&state, header::environment(&header), &request)?)
    }

    /// The accounts and slots that a call reaches on the state after a block (EIP-2930).
    ///
    /// # Errors
    /// See [`Ledger::call`].
    pub fn access_list(&self, at: BlockRef, request: CallRequest) -> Result<Accessed, LedgerError> {
        let (header, state) = self.state_at(at)?;
        Ok(self.shared().executor.access_list(&state, header::environment(&header), &request)?)
    }

    /// Begins a simulation on the state after a block. The environment is the block's header until the simulation sets another.
    /// With `checks_nonces`, the nonce of each call must be the sender's next.
    ///
    /// # Errors
    /// See [`Ledger::account`].
    pub fn simulate(
        &self,
        at: BlockRef,
        checks_nonces: bool,
    ) -> Result<(Header, Simulation<impl StateView + use<>>), LedgerError> {
        let (header, state) = self.state_at(at)?;
        let simulation = self.shared().executor.simulate(state, header::environment(&header), checks_nonces);
        Ok((header, simulation))
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
        let requested = wanted.unwrap_or(head.number());
        if requested > head.number() {
            return Err(LedgerError::UnknownBlock(BlockName::Number(requested)));
        }
        let oldest = chain.history.oldest();
        if requested < oldest {
            return Err(LedgerError::StateNotKept { requested, oldest });
        }
        let state = chain.history.state(chain.head.state.clone(), requested);
        drop(chain);
        let block = if requested == head.number() {
            head
        } else {
            self.block(requested)?.ok_or(LedgerError::UnknownBlock(BlockName::Number(requested)))?
        };
        Ok((block.header().clone(), state.of(block.hash())))
    }
}

impl From<ExecutionError> for LedgerError {
    fn from(error: ExecutionError) -> Self {
        match error {
            ExecutionError::Invalid(reason) => Self::InvalidCall(reason),
            ExecutionError::State(error) => error.into(),
            error @ (ExecutionError::Machine(_) | ExecutionError::SystemCall { .. }) => {
                Self::Execution(error)
            }
        }
    }
}
