//! Execution under the chain's rules, on a state in memory.

use std::collections::HashMap;

use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxLegacy};
use alloy_eips::{
    eip2718::Encodable2718 as _,
    eip2930::{AccessList, AccessListItem},
};
use alloy_primitives::{
    Address, B256, Bytes, Log, Signature, TxKind, U256, address, bytes, keccak256, logs_bloom,
};
use proptest::prelude::*;

use hansa_types::{DcId, SignedTransaction, TRANSACTION_GAS_MAX, intrinsic_gas, member_gas_quota};

use crate::*;

const CHAIN_ID: u64 = 7_700;
fn dc(value: u32) -> DcId {
    DcId::new(value).unwrap()
}

const SENDER: Address = address!("00000000000000000000000000000000000000aa");
const OTHER: Address = address!("00000000000000000000000000000000000000bb");
const CONTRACT: Address = address!("0000000000000000000000000000000000000ccc");

/// Stores the second word of its calldata at the first, logs the first as topic, reverts if there is a third.
const STORE: Bytes = bytes!("6020355f35555f355f5fa160403611601357005b5f5ffd");

#[derive(Clone, Default)]
struct Memory {
    accounts: HashMap<Address, AccountState>,
    slots: HashMap<(Address, U256), U256>,
    code: HashMap<B256, Bytes>,
}

impl Memory {
    fn with(address: Address, code: Bytes) -> Self {
        let mut state = Self::default();
        let code_hash = keccak256(&code);
        state.accounts.insert(address, AccountState { nonce: 1, balance: U256::ZERO, code_hash });
        state.code.insert(code_hash, code);
        let history = history_storage_code();
        let code_hash = keccak256(&history);
        state
            .accounts
            .insert(HISTORY_STORAGE_ADDRESS, AccountState { nonce: 1, balance: U256::ZERO, code_hash });
        state.code.insert(code_hash, history);
        state
    }

    fn apply(&mut self, changes: &StateChanges) {
        for change in &changes.accounts {
            assert_eq!(self.accounts.get(&change.address).copied(), change.before, "{}", change.address);
            match change.after {
                Some(account) => self.accounts.insert(change.address, account),
                None => self.accounts.remove(&change.address),
            };
            for slot in &change.storage {
                let before = self.slots.insert((change.address, slot.slot), slot.after);
                assert_eq!(before.unwrap_or_default(), slot.before);
            }
        }
        self.code.extend(changes.code.iter().cloned());
    }
}

impl StateView for Memory {
    fn account(&self, address: Address) -> Result<Option<AccountState>, StateError> {
        Ok(self.accounts.get(&address).copied())
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        Ok(self.slots.get(&(address, slot)).copied().unwrap_or_default())
    }

    fn code(&self, code_hash: B256) -> Result<Bytes, StateError> {
        Ok(self.code.get(&code_hash).cloned().unwrap_or_default())
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        Ok(B256::with_last_byte(number as u8))
    }
}

fn environment() -> BlockEnvironment {
    BlockEnvironment {
        number: 5,
        timestamp: 1_000,
        parent_hash: B256::repeat_byte(4),
        prevrandao: B256::repeat_byte(7),
        beneficiary: OTHER,
        gas_limit: 60_000_000,
    }
}

fn signed<T: SignableTransaction<Signature>>(transaction: T) -> SignedTransaction
where
    SignedTransaction: From<alloy_consensus::Signed<T>>,
{
    transaction.into_signed(Signature::test_signature()).into()
}

fn call(nonce: u64, to: Address, input: Bytes) -> TxEip1559 {
    TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: 1_000_000,
        max_fee_per_gas: 1_000_000_000,
        max_priority_fee_per_gas: 1,
        to: TxKind::Call(to),
        input,
        ..Default::default()
    }
}

fn words(values: &[u64]) -> Bytes {
    values.iter().flat_map(|value| B256::left_padding_from(&value.to_be_bytes()).0).collect()
}

fn executor() -> Executor {
    Executor::new(CHAIN_ID, Signatures::new(hansa_ecdsa::Signers::default(), 16))
}

fn begin(state: &Memory) -> BlockExecutor<&Memory> {
    executor().begin(state, environment()).unwrap()
}

fn reason(result: Result<ExecutedTransaction, ExecutionError>) -> InvalidReason {
    match result {
        Err(ExecutionError::Invalid(reason)) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn an_empty_block_changes_the_block_hash_history_and_nothing_else() {
    let state = Memory::with(CONTRACT, STORE);
    let changes = begin(&state).finish();
    // No withdrawal requests, consolidations or deposits (EIP-6110, 7002, 7251), no beacon root (EIP-4788).
    assert_eq!(changes.accounts.len(), 1);
    let change = &changes.accounts[0];
    assert_eq!(change.address, HISTORY_STORAGE_ADDRESS);
    assert_eq!(change.before, change.after);
    let slot = SlotChange { slot: U256::from(4), before: U256::ZERO, after: B256::repeat_byte(4).into() };
    assert_eq!(change.storage, [slot]);
}

#[test]
fn genesis_makes_no_system_call() {
    let state = Memory::default();
    let genesis = BlockEnvironment { number: 0, ..environment() };
    let block = executor().begin(&state, genesis).unwrap();
    assert_eq!(block.finish(), StateChanges::default());
}

#[test]
fn nobody_pays_although_a_tip_is_offered() {
    // Returns GASPRICE ‖ BASEFEE by logging them.
    let mut state = Memory::with(CONTRACT, bytes!("3a5f524860205260405fa000"));
    state.accounts.insert(OTHER, AccountState { balance: U256::from(3), ..Default::default() });
    let mut block = begin(&state);
    let executed = block.transact(&signed(call(0, CONTRACT, Bytes::new())), SENDER, NOBODY).unwrap();
    assert!(executed.receipt.is_success());
    assert_eq!(executed.receipt.logs()[0].data.data, Bytes::from(vec![0; 64]));
    let changes = block.finish();
    let touched: Vec<_> = changes.accounts.iter().map(|change| change.address).collect();
    assert_eq!(
        touched,
        [SENDER, HISTORY_STORAGE_ADDRESS],
        "neither sender nor beneficiary was charged or paid"
    );
    assert_eq!(changes.accounts[0].after, Some(AccountState { nonce: 1, ..Default::default() }));
}

#[test]
fn slots_are_set_cleared_and_left_alone_by_reverts() {
    let mut state = Memory::with(CONTRACT, STORE);
    let mut block = begin(&state);
    let mut transact =
        |nonce, input| block.transact(&signed(call(nonce, CONTRACT, input)), SENDER, NOBODY).unwrap();
    assert!(transact(0, words(&[1, 10])).receipt.is_success());
    assert!(transact(1, words(&[2, 20])).receipt.is_success());
    let reverted = transact(2, words(&[3, 30, 0]));
    assert!(!reverted.receipt.is_success());
    assert!(reverted.receipt.logs().is_empty());
    let cleared = transact(3, words(&[2, 0]));
    assert_eq!(cleared.receipt.logs()[0].data.topics(), [B256::with_last_byte(2)]);
    assert_eq!(cleared.receipt.cumulative_gas_used(), block.gas_used());
    let changes = block.finish();
    state.apply(&changes);
    let contract = changes.accounts.iter().find(|change| change.address == CONTRACT).unwrap();
    assert_eq!(contract.storage.len(), 1, "a slot set and cleared in one block has not changed");
    assert_eq!(state.storage(CONTRACT, U256::from(1)).unwrap(), U256::from(10));

    let mut block = begin(&state);
    block.transact(&signed(call(4, CONTRACT, words(&[1, 0]))), SENDER, NOBODY).unwrap();
    let changes = block.finish();
    state.apply(&changes);
    assert_eq!(state.storage(CONTRACT, U256::from(1)).unwrap(), U256::ZERO);
}

#[test]
fn a_contract_is_created_and_one_that_destroys_itself_leaves_nothing() {
    let mut state = Memory::with(CONTRACT, STORE);
    let create = |nonce, input| signed(TxEip1559 { to: TxKind::Create, ..call(nonce, CONTRACT, input) });
    let mut block = begin(&state);
    let init = [bytes!("6017600a5f3960175ff3"), STORE].concat();
    let created = block.transact(&create(0, init.into()), SENDER, NOBODY).unwrap();
    assert_eq!(created.contract_address, Some(SENDER.create(0)));
    let gone = block.transact(&create(1, bytes!("60015f555fff")), SENDER, NOBODY).unwrap();
    assert!(gone.receipt.is_success());
    // Used in the same block in which it was created.
    let called = call(2, SENDER.create(0), words(&[9, 8]));
    assert_eq!(
        block.transact(&signed(called), SENDER, NOBODY).unwrap().receipt.logs()[0].address,
        SENDER.create(0)
    );
    let changes = block.finish();
    assert_eq!(changes.code, [(keccak256(STORE), STORE)]);
    assert!(changes.accounts.iter().all(|change| change.address != SENDER.create(1)));
    state.apply(&changes);
    assert_eq!(state.storage(SENDER.create(0), U256::from(9)).unwrap(), U256::from(8));
}

#[test]
fn what_breaks_a_rule_is_refused_and_leaves_no_trace() {
    let state = Memory::with(CONTRACT, STORE);
    let base = || call(0, CONTRACT, Bytes::new());
    let blob =
        TxEip4844 { chain_id: CHAIN_ID, blob_versioned_hashes: vec![B256::ZERO], ..Default::default() };
    let delegation = TxEip7702 { chain_id: CHAIN_ID, gas_limit: 100_000, ..Default::default() };
    let unprotected = TxLegacy { gas_limit: 100_000, ..Default::default() };
    let check = |transaction: SignedTransaction, expected: InvalidReason| {
        let mut block = begin(&state);
        assert_eq!(reason(block.transact(&transaction, SENDER, NOBODY)), expected);
        assert_eq!(block.gas_used(), 0);
        assert_eq!(block.finish().accounts.len(), 1);
    };
    check(signed(blob), InvalidReason::Blob);
    check(signed(delegation), InvalidReason::Delegation);
    check(signed(unprotected), InvalidReason::Unprotected);
    check(signed(TxEip1559 { nonce: 3, ..base() }), InvalidReason::NonceTooHigh { transaction: 3, state: 0 });
    let value = U256::from(1);
    check(
        signed(TxEip1559 { value, ..base() }),
        InvalidReason::InsufficientBalance { value, balance: U256::ZERO },
    );
    for breaking in [
        TxEip1559 { chain_id: 1, ..base() },
        TxEip1559 { max_priority_fee_per_gas: 2_000_000_000, ..base() },
        TxEip1559 { gas_limit: TRANSACTION_GAS_MAX + 1, ..base() },
        TxEip1559 { gas_limit: 20_999, ..base() },
    ] {
        let mut block = begin(&state);
        let refused = reason(block.transact(&signed(breaking.clone()), SENDER, NOBODY));
        let is_rule = matches!(refused, InvalidReason::Rule(_) | InvalidReason::IntrinsicGas { .. });
        assert!(is_rule, "{breaking:?}: {refused}");
    }
}

#[test]
fn a_block_goes_on_after_a_refused_transaction() {
    let state = Memory::with(CONTRACT, STORE);
    let mut block = begin(&state);
    block.transact(&signed(call(0, CONTRACT, words(&[1, 1]))), SENDER, NOBODY).unwrap();
    reason(block.transact(&signed(call(0, CONTRACT, words(&[2, 2]))), SENDER, NOBODY));
    block.transact(&signed(call(1, CONTRACT, words(&[3, 3]))), SENDER, NOBODY).unwrap();
    assert_eq!(block.account(SENDER).unwrap().nonce, 2);
}

const NOBODY: Payer = Payer { member: None, left: Growth::UNLIMITED };

fn payer(member: u32) -> Payer {
    Payer { member: Some(dc(member)), ..NOBODY }
}

#[test]
fn what_all_nodes_store_is_counted_and_limited() {
    let state = Memory::with(CONTRACT, STORE);
    let mut block = begin(&state);
    let store = |nonce, words_: &[u64]| signed(call(nonce, CONTRACT, words(words_)));
    let growth = |block: &BlockExecutor<_>| block.growth().map(|(_, growth)| growth).last().unwrap();
    let (first, log) = (store(0, &[1, 7]), 20 + 32);
    block.transact(&first, SENDER, payer(1)).unwrap();
    let bytes = first.encode_2718_len() as u64 + log;
    // The slot, and the sender's account.
    assert_eq!(growth(&block), Growth { bytes, slots: 2 });
    for (nonce, words) in [(1, [1, 8]), (2, [1, 0])] {
        block.transact(&store(nonce, &words), SENDER, payer(1)).unwrap();
        assert_eq!(growth(&block).slots, 2, "a slot that is changed or emptied is not new");
    }
    let Growth { bytes, slots } = growth(&block);
    for left in [Growth { bytes, slots: 9 }, Growth { bytes: u64::MAX, slots }] {
        let refused = reason(block.transact(&store(3, &[2, 2]), SENDER, Payer { left, ..payer(1) }));
        assert_eq!(refused, InvalidReason::StorageQuota);
    }
    let more = Growth { bytes: bytes + 1, slots: slots + 1 };
    block.transact(&store(3, &[2, 2]), SENDER, Payer { left: more, ..payer(1) }).unwrap();
    block.transact(&store(0, &[3, 3]), OTHER, Payer { left: more, ..payer(2) }).unwrap();
    assert_eq!(block.growth().count(), 2, "each member has an account of its own");
}

#[test]
fn gas_is_limited_by_the_block_and_by_the_members_share_of_it() {
    // Burns all gas: JUMPDEST, jump back.
    let state = Memory::with(CONTRACT, bytes!("5b5f56"));
    let mut block = begin(&state);
    let burn = |nonce| signed(TxEip1559 { gas_limit: 10_000_000, ..call(nonce, CONTRACT, Bytes::new()) });
    assert_eq!(member_gas_quota(60_000_000), 30_000_000);
    for nonce in 0..3 {
        assert_eq!(block.transact(&burn(nonce), SENDER, payer(1)).unwrap().gas_used, 10_000_000);
    }
    // Another account of the same member shares its quota.
    let shared = reason(block.transact(&burn(0), OTHER, payer(1)));
    assert!(matches!(shared, InvalidReason::MemberQuota { left: 0, .. }), "{shared:?}");
    assert_eq!(block.quota_left(Some(dc(1))), 0);
    let refused = reason(block.transact(&burn(3), SENDER, payer(1)));
    assert_eq!(refused, InvalidReason::MemberQuota { gas_limit: 10_000_000, left: 0 });
    for nonce in 0..3 {
        block.transact(&burn(nonce), OTHER, payer(2)).unwrap();
    }
    let refused = reason(block.transact(&burn(0), CONTRACT, payer(3)));
    assert_eq!(refused, InvalidReason::BlockGas { gas_limit: 10_000_000, left: 0 });
    assert_eq!(member_gas_quota(1_000_000), TRANSACTION_GAS_MAX, "one largest transaction always fits");
}

#[test]
fn calls_return_data_reverts_and_halts() {
    // Returns PREVRANDAO; sent any calldata, reverts with it.
    let code = bytes!("3615600c57365f5f37365ffd5b445f5260205ff3");
    let state = Memory::with(CONTRACT, code);
    let executor = executor();
    let run = |request| executor.call(&state, environment(), &request).unwrap();
    let request = CallRequest { to: Some(CONTRACT), ..Default::default() };
    let CallOutcome::Success { output, .. } = run(request.clone()) else { panic!("no success") };
    assert_eq!(output, Bytes::from(vec![7; 32]));
    let CallOutcome::Revert { output, .. } = run(CallRequest { data: bytes!("c0ffee"), ..request.clone() })
    else {
        panic!("no revert")
    };
    assert_eq!(output, bytes!("c0ffee"));
    let starved = CallRequest { gas: Some(21_010), ..request.clone() };
    assert!(matches!(run(starved), CallOutcome::Halt { gas_used: 21_010, .. }));
    // On behalf of a contract, and of an account that cannot pay.
    assert!(matches!(run(CallRequest { from: CONTRACT, ..request.clone() }), CallOutcome::Success { .. }));
    let value = U256::from(1);
    let refused = executor.call(&state, environment(), &CallRequest { value, ..request }).unwrap_err();
    let expected = InvalidReason::InsufficientBalance { value, balance: U256::ZERO };
    assert!(matches!(refused, ExecutionError::Invalid(reason) if reason == expected));
}

#[test]
fn an_estimate_is_enough_and_not_much_more() {
    let state = Memory::with(CONTRACT, STORE);
    let executor = executor();
    let request =
        CallRequest { from: SENDER, to: Some(CONTRACT), data: words(&[1, 1]), ..Default::default() };
    let Estimate::Gas(gas) = executor.estimate(&state, environment(), &request).unwrap() else {
        panic!("fails")
    };
    let used = executor.call(&state, environment(), &request).unwrap().gas_used();
    assert!(gas >= used && gas <= used + used / 32 + 2_300, "{gas} for {used}");
    let enough = CallRequest { gas: Some(gas), ..request.clone() };
    assert!(matches!(executor.call(&state, environment(), &enough).unwrap(), CallOutcome::Success { .. }));
    let failing = CallRequest { data: words(&[1, 1, 1]), ..request };
    assert!(matches!(
        executor.estimate(&state, environment(), &failing).unwrap(),
        Estimate::Failed(CallOutcome::Revert { .. })
    ));
}

#[test]
fn ecrecover_knows_a_published_signature() {
    // Test vector of go-ethereum's core/vm/testdata/precompiles/ecRecover.json ("ValidKey").
    let input = bytes!(
        "18c547e4f7b0f325ad1e56f57e26c745b09a3e503d86e00e5255ff7f715d3d1c000000000000000000000000000000000000000000000000000000000000001c73b1693892219d736caba55bdb67216e485557ea6b6af75f37096c9aa6a5a75feeb940b1d03b21e36b0e47e79769f095fe2ab855bd91e3a38756b7d75a9c4549"
    );
    let state = Memory::default();
    let to = Some(Address::with_last_byte(1));
    let zeros = input.iter().filter(|byte| **byte == 0).count() as u64;
    let before = 21_000 + 4 * zeros + 16 * (input.len() as u64 - zeros);
    let request = CallRequest { to, data: input, ..Default::default() };
    let call = |gas| executor().call(&state, environment(), &CallRequest { gas, ..request.clone() }).unwrap();
    let CallOutcome::Success { output, gas_used, .. } = call(None) else { panic!("no success") };
    assert_eq!(gas_used, before + 3_000);
    assert!(matches!(call(Some(before + 2_999)), CallOutcome::Halt { .. }));
    assert_eq!(output, bytes!("000000000000000000000000a94f5374fce5edbc8e2a8697c15331677e6ebf0b"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    /// Any bytes as code, as creation code and as calldata end in a receipt, within the gas offered.
    #[test]
    fn any_bytecode_ends_in_a_receipt(
        code in prop::collection::vec(any::<u8>(), 0..200),
        input in prop::collection::vec(any::<u8>(), 0..100),
        gas_limit in 60_000_u64..400_000,
        create in any::<bool>(),
    ) {
        let state = Memory::with(CONTRACT, code.clone().into());
        let mut block = begin(&state);
        let (to, input) =
            if create { (TxKind::Create, code.into()) } else { (TxKind::Call(CONTRACT), input.into()) };
        let transaction = signed(TxEip1559 { gas_limit, to, ..call(0, CONTRACT, input) });
        let executed = block.transact(&transaction, SENDER, NOBODY).unwrap();
        prop_assert!(executed.gas_used <= gas_limit);
        prop_assert_eq!(executed.receipt.cumulative_gas_used(), executed.gas_used);
        let mut after = state.clone();
        after.apply(&block.finish());
        prop_assert_eq!(after.account(SENDER).unwrap().unwrap().nonce, 1);
    }

    /// A receipt's filter is alloy's.
    #[test]
    fn blooms_are_of_all_addresses_and_topics(
        logs in prop::collection::vec((any::<[u8; 20]>(), prop::collection::vec(any::<[u8; 32]>(), 0..=4)), 0..12),
    ) {
        let log = |(address, topics): (_, Vec<[u8; 32]>)| {
            let topics = topics.into_iter().map(B256::new).collect();
            Log::new_unchecked(Address::new(address), topics, Bytes::new())
        };
        let logs: Vec<Log> = logs.into_iter().map(log).collect();
        prop_assert_eq!(executor::bloom_of(&logs, &mut vec![B256::ZERO]), logs_bloom(&logs));
    }

    /// The pool's figure for the least gas is the machine's.
    #[test]
    fn intrinsic_gas_is_the_machines(
        input in prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..300),
        create in any::<bool>(),
        slots in prop::collection::vec(any::<[u8; 32]>(), 0..4),
    ) {
        let to = if create { TxKind::Create } else { TxKind::Call(OTHER) };
        let item = AccessListItem { address: OTHER, storage_keys: slots.into_iter().map(B256::from).collect() };
        let transaction = |gas_limit| {
            signed(TxEip2930 {
                chain_id: CHAIN_ID,
                gas_limit,
                to,
                input: input.clone().into(),
                access_list: AccessList(vec![item.clone()]),
                ..Default::default()
            })
        };
        let least = intrinsic_gas(&transaction(0));
        let state = Memory::with(CONTRACT, STORE);
        let refused = reason(begin(&state).transact(&transaction(least - 1), SENDER, NOBODY));
        let is_too_little = matches!(refused, InvalidReason::IntrinsicGas { .. });
        prop_assert!(is_too_little);
        prop_assert!(begin(&state).transact(&transaction(least), SENDER, NOBODY).is_ok());
    }
}
