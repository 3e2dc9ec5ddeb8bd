//! Who may send: the registry's storage, read without running its code.

use std::sync::{Arc, Weak};

use alloy_consensus::Transaction;
use alloy_primitives::Address;

use hansa_contracts::{REGISTRY, registry_slot_of, signed_by_call};
use hansa_evm::{StateError, StateView, question, recover_ahead};
use hansa_pool::{SenderPolicy, SenderState};
use hansa_types::{DEPLOYER_ACCOUNT, SignedTransaction};
use rayon::prelude::*;

use crate::{ledger::Shared, propose::parent_state};

/// Decoding fewer calls than this is not worth another thread.
const DECODINGS_PER_THREAD_MIN: usize = 16;

/// Whether an account may send: it belongs to an active member, or can send the deployment proxy's transaction alone.
pub(crate) fn is_registered(state: &impl StateView, account: Address) -> Result<bool, StateError> {
    Ok(account == DEPLOYER_ACCOUNT || !state.storage(REGISTRY, registry_slot_of(account))?.is_zero())
}

/// The account's nonce and balance, `None` when it may not send.
pub(crate) fn sender_state(
    state: &impl StateView,
    account: Address,
) -> Result<Option<SenderState>, StateError> {
    if !is_registered(state, account)? {
        return Ok(None);
    }
    let account = state.account(account)?.unwrap_or_default();
    Ok(Some(SenderState { nonce: account.nonce, balance: account.balance }))
}

/// The pool's view of the finalised head. Holds the ledger weakly, because the ledger holds the pool.
pub(crate) struct HeadAccounts(pub(crate) Weak<Shared>);

impl SenderPolicy for HeadAccounts {
    fn sender(&self, address: Address) -> Result<Option<SenderState>, ()> {
        let shared = self.0.upgrade().ok_or(())?;
        let head = Arc::clone(&shared.chain.read().head);
        sender_state(&parent_state(&head), address).map_err(|_| ())
    }

    /// Records are signed, as a rule, by the account that sends them.
    fn prepare(&self, signed: &[(&SignedTransaction, Address)]) {
        let questions =
            signed.par_iter().with_min_len(DECODINGS_PER_THREAD_MIN).filter_map(|&(transaction, sender)| {
                let (to, chain_id) = transaction.to().zip(transaction.chain_id())?;
                let (digest, signature) = signed_by_call(to, transaction.input(), chain_id)?;
                Some((question(digest, &signature)?, Some(sender)))
            });
        recover_ahead(&questions.collect::<Vec<_>>());
    }
}
