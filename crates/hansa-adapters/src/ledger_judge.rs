//! Judges, for a validator, whether a deposited key is released (D3, D5): by this node's final state and nothing else.

use alloy_sol_types::SolCall;
use hansa_contracts::{GRANTED, SHARING, abi, data_store_of};
use hansa_ledger::{BlockRef, CallOutcome, CallRequest, Ledger, LedgerError};
use hansa_types::{
    DcId, MemberStatus, NetworkKey, ReleaseId, ReleaseJudge, ReleaseRefusal, ReleaseVerdict, ReleasedKey,
};

/// A judge over this node's ledger. It reads one final state for each question; whether that is recent enough is the caller's
/// business.
pub struct LedgerJudge(Ledger);

/// One final state.
struct State<'a> {
    ledger: &'a Ledger,
    height: u64,
}

impl State<'_> {
    /// What a contract answers; `None` where it reverts.
    fn read<C: SolCall>(
        &self,
        to: alloy_primitives::Address,
        call: &C,
    ) -> Result<Option<C::Return>, LedgerError> {
        let request = CallRequest { to: Some(to), data: call.abi_encode().into(), ..CallRequest::default() };
        let outcome = self.ledger.call(BlockRef::Number(self.height), request)?;
        let CallOutcome::Success { output, .. } = outcome else { return Ok(None) };
        Ok(C::abi_decode_returns(&output).ok())
    }
}

impl LedgerJudge {
    /// A judge over `ledger`.
    pub const fn new(ledger: Ledger) -> Self {
        Self(ledger)
    }

    fn decide(
        &self,
        asking: NetworkKey,
        opening: u64,
        id: &ReleaseId,
    ) -> Result<ReleaseVerdict, LedgerError> {
        let refused = |refusal| Ok(ReleaseVerdict::Refused(refusal));
        if id.chain != self.0.genesis_block().hash() {
            return refused(ReleaseRefusal::OtherChain);
        }
        let state = State { ledger: &self.0, height: self.0.head().number() };
        let Some(asking) = self.member(asking) else { return refused(ReleaseRefusal::Inactive) };
        let call = abi::Sharing::openingRecordCall { openingId: opening };
        let Some(record) = state.read(SHARING, &call)? else { return Ok(ReleaseVerdict::NotYet) };
        if record.dcId != asking.value() || id.grantee.is_some_and(|grantee| grantee != asking) {
            return refused(ReleaseRefusal::OtherMember);
        }
        if !is_of_key(&state, &record, id)? {
            return refused(ReleaseRefusal::OtherKey);
        }
        match covers(&state, &record, id)? {
            true => Ok(ReleaseVerdict::Release),
            false => refused(ReleaseRefusal::Withdrawn),
        }
    }

    fn member(&self, node: NetworkKey) -> Option<DcId> {
        let members = self.0.members();
        let mut active = members.iter().filter(|member| member.status == MemberStatus::Active);
        active.find(|member| member.card.network_key == node).map(|member| member.dc_id)
    }
}

impl ReleaseJudge for LedgerJudge {
    fn judge(&self, asking: NetworkKey, opening: u64, id: &ReleaseId) -> ReleaseVerdict {
        self.decide(asking, opening, id).unwrap_or_else(|error| {
            tracing::warn!(%error, opening, "a release cannot be judged");
            ReleaseVerdict::NotYet
        })
    }
}

/// Whether an opened version is sealed under the deposited key.
fn is_of_key(state: &State<'_>, opening: &abi::OpeningRecord, id: &ReleaseId) -> Result<bool, LedgerError> {
    if (opening.owner, opening.number) != (id.object.owner.value(), id.object.number) {
        return Ok(false);
    }
    let epoch = match id.key {
        ReleasedKey::Version(version) => return Ok(version.0 == opening.version),
        ReleasedKey::Epoch(epoch) => epoch,
    };
    let call = abi::DataStore::recordCall { number: opening.number, version: opening.version };
    let record = state.read(data_store_of(id.object.owner), &call)?;
    Ok(record.is_some_and(|record| record.keyEpoch == epoch))
}

/// Whether what stands covers the opening: the grant that the deposit came with is the one under which it was opened and has not been
/// taken back or replaced. Whether it had expired or was used up was judged by the contract at the opening. A deposit for every member
/// is covered as long as the opened version is visible to every member.
fn covers(state: &State<'_>, opening: &abi::OpeningRecord, id: &ReleaseId) -> Result<bool, LedgerError> {
    let (owner, number) = (opening.owner, opening.number);
    if id.grantee.is_none() {
        let call = abi::Sharing::visibilityCall { owner, number, version: opening.version };
        let visibility = state.read(SHARING, &call)?;
        return Ok(id.grant_nonce == 0 && visibility.is_some_and(|visibility| visibility <= 0));
    }
    let call = abi::Sharing::grantCall { owner, number, grantee: opening.dcId };
    let cell = state.read(SHARING, &call)?;
    Ok(cell.is_some_and(|cell| {
        cell.state == GRANTED && cell.shareNonce == id.grant_nonce && opening.grantNonce == id.grant_nonce
    }))
}
