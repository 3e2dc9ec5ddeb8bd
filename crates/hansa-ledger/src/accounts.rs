//! Sender authorisation, read from the registry's storage without executing its code.

use std::sync::Arc;

use alloy_consensus::Transaction;
use alloy_primitives::Address;

use hansa_contracts::{
    ChainIdentity, REGISTRY, REGISTRY_SLOT_OF_ACTIVE, authority, registry_slot_of, signed_by_call,
};
use hansa_evm::{Signatures, StateError, StateView, question};
use hansa_pool::{SenderPolicy, SenderState};
use hansa_types::{DEPLOYER_ACCOUNT, DcId, SignedTransaction};
use rayon::prelude::*;

use parking_lot::RwLock;

use crate::{chain::Chain, propose::parent_state, quota, state::ParentState};

/// Calls per thread below which decoding is not split further.
const DECODINGS_PER_THREAD_MIN: usize = 16;

/// An authorised sender.
#[derive(Clone, Copy)]
pub(crate) struct Sender {
    /// The member that it acts for; `None` for [`DEPLOYER_ACCOUNT`], whose only transaction creates the deployment proxy.
    pub(crate) member: Option<DcId>,
}

/// The sender's authority in a child of this block; `None` if the account may not send.
pub(crate) fn sender(state: &ParentState<'_>, account: Address) -> Result<Option<Sender>, StateError> {
    if account == DEPLOYER_ACCOUNT {
        return Ok(Some(Sender { member: None }));
    }
    let stored = state.storage(REGISTRY, registry_slot_of(account))?;
    if stored.is_zero() {
        return Ok(None);
    }
    let active = state.storage(REGISTRY, REGISTRY_SLOT_OF_ACTIVE)?;
    let member = authority(stored, active, state.parent_timestamp);
    Ok(member.map(|member| Sender { member: Some(member) }))
}

/// Nonce and balance of an account; `None` if it may not send.
pub(crate) fn sender_state(
    state: &ParentState<'_>,
    account: Address,
) -> Result<Option<SenderState>, StateError> {
    let Some(Sender { member }) = sender(state, account)? else { return Ok(None) };
    let wait_seconds = member.map_or(Ok(0), |member| quota::wait_seconds(state, member))?;
    let account = state.account(account)?.unwrap_or_default();
    Ok(Some(SenderState { nonce: account.nonce, balance: account.balance, wait_seconds }))
}

/// The pool's view of the finalised head, and of the signatures that its transactions carry.
pub(crate) struct HeadAccounts {
    pub(crate) chain: Arc<RwLock<Chain>>,
    pub(crate) identity: ChainIdentity,
    pub(crate) signatures: Signatures,
}

impl SenderPolicy for HeadAccounts {
    fn sender(&self, address: Address) -> Result<Option<SenderState>, ()> {
        let head = Arc::clone(&self.chain.read().head);
        sender_state(&parent_state(&head), address).map_err(|_| ())
    }

    /// Recovers the EIP-712 signatures of relayed calls ahead of execution: their contracts ask for them.
    fn prepare(&self, signed: &[(&SignedTransaction, Address)]) {
        let questions =
            signed.par_iter().with_min_len(DECODINGS_PER_THREAD_MIN).filter_map(|&(transaction, sender)| {
                let (digest, signature) =
                    signed_by_call(transaction.to()?, transaction.input(), self.identity)?;
                Some((question(digest, &signature)?, Some(sender)))
            });
        self.signatures.recover_ahead(&questions.collect::<Vec<_>>());
    }
}
