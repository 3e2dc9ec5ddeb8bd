//! Admission, order and limits of the pool, on a simulated registry and clock.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use alloy_consensus::{
    SignableTransaction, TxEip1559, TxEip4844, TxEip7702, TxLegacy, crypto::secp256k1::sign_message,
};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Signature, TxKind, U256};
use parking_lot::Mutex;
use proptest::prelude::*;

use hansa_ecdsa::Signers;
use hansa_types::{SignedTransaction, TRANSACTION_GAS_MAX};

use crate::*;

const CHAIN_ID: u64 = 7_700;
const RULES: PoolRules = PoolRules { chain_id: CHAIN_ID, block_gas: 30_000_000 };

#[derive(Clone, Default)]
struct World {
    members: Arc<Mutex<HashMap<Address, SenderState>>>,
    millis: Arc<AtomicU64>,
}

impl SenderPolicy for World {
    fn sender(&self, address: Address) -> Result<Option<SenderState>, ()> {
        Ok(self.members.lock().get(&address).copied())
    }
}

impl Clock for World {
    fn millis(&self) -> u64 {
        self.millis.load(Ordering::Relaxed)
    }
}

fn config() -> PoolConfig {
    PoolConfig {
        transactions_max: 12,
        sender_transactions_max: 6,
        nonce_window: 8,
        lifetime: std::time::Duration::from_secs(100),
        ..PoolConfig::default()
    }
}

/// A pool in which the keys 1 to 4 belong to members.
fn pool_with(config: PoolConfig) -> (Pool, World) {
    let world = World::default();
    world.millis.store(1_000_000, Ordering::Relaxed);
    for key in 1..=4 {
        world
            .members
            .lock()
            .insert(address(key), SenderState { nonce: 0, balance: U256::from(10), wait_seconds: 0 });
    }
    let world_of = || Arc::new(world.clone());
    let pool = Pool::with_clock(RULES, config, world_of(), Signers::default(), world_of());
    (pool, world)
}

fn pool() -> (Pool, World) {
    pool_with(config())
}

fn sign<T: SignableTransaction<Signature>>(key: u8, transaction: T) -> SignedTransaction
where
    SignedTransaction: From<alloy_consensus::Signed<T>>,
{
    let signature = sign_message(B256::with_last_byte(key), transaction.signature_hash()).unwrap();
    transaction.into_signed(signature).into()
}

fn address(key: u8) -> Address {
    use alloy_consensus::transaction::SignerRecoverable;
    transfer(key, 0).recover_signer().unwrap()
}

fn draft(nonce: u64) -> TxEip1559 {
    TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: 100_000,
        to: TxKind::Call(Address::ZERO),
        ..Default::default()
    }
}

fn transfer(key: u8, nonce: u64) -> SignedTransaction {
    sign(key, draft(nonce))
}

fn priced(key: u8, nonce: u64, cap: u128, tip: u128) -> SignedTransaction {
    sign(key, TxEip1559 { max_fee_per_gas: cap, max_priority_fee_per_gas: tip, ..draft(nonce) })
}

fn order(pool: &Pool, state: &BTreeMap<Address, u64>) -> Vec<(Address, u64)> {
    order_in(pool, 0, state)
}

fn order_in(pool: &Pool, turn: u64, state: &BTreeMap<Address, u64>) -> Vec<(Address, u64)> {
    pool.best(turn, |sender| state.get(&sender).copied()).map(|tx| (tx.sender, tx.nonce())).collect()
}

fn at_zero() -> BTreeMap<Address, u64> {
    (1..=4).map(|key| (address(key), 0)).collect()
}

#[test]
fn what_can_never_be_executed_is_refused() {
    let (pool, _) = pool();
    let check = |transaction: SignedTransaction, expected: PoolError| {
        assert_eq!(pool.add(transaction), Err(expected));
        assert_eq!(pool.status(), PoolStatus::default());
    };
    let value = U256::from(11);
    let balance = U256::from(10);
    let limit = TRANSACTION_GAS_MAX;
    check(
        sign(1, TxEip1559 { chain_id: 1, ..draft(0) }),
        PoolError::WrongChain { transaction: 1, chain: CHAIN_ID },
    );
    check(sign(1, TxLegacy { gas_limit: 100_000, ..Default::default() }), PoolError::Unprotected);
    check(sign(1, TxEip4844 { chain_id: CHAIN_ID, ..Default::default() }), PoolError::BlobTransaction);
    check(sign(1, TxEip7702 { chain_id: CHAIN_ID, ..Default::default() }), PoolError::Delegation);
    check(sign(1, TxEip1559 { value, ..draft(0) }), PoolError::InsufficientBalance { balance, value });
    check(
        sign(1, TxEip1559 { gas_limit: limit + 1, ..draft(0) }),
        PoolError::GasLimitTooHigh { gas_limit: limit + 1, limit },
    );
    check(
        sign(1, TxEip1559 { gas_limit: 20_999, ..draft(0) }),
        PoolError::IntrinsicGas { gas_limit: 20_999, needed: 21_000 },
    );
    check(priced(1, 0, 1, 2), PoolError::FeeCap);
    check(transfer(9, 0), PoolError::UnregisteredSender(address(9)));
    check(transfer(1, 8), PoolError::NonceTooHigh { transaction: 8, next: 0 });
    let bytes = vec![1; 140_000];
    let long = sign(1, TxEip1559 { input: bytes.into(), gas_limit: limit, ..draft(0) });
    check(long.clone(), PoolError::TooLarge { bytes: long.encode_2718_len(), limit: 131_072 });
    let init = TxEip1559 { to: TxKind::Create, input: vec![0; 49_153].into(), gas_limit: limit, ..draft(0) };
    check(sign(1, init), PoolError::InitCode { bytes: 49_153, limit: 49_152 });
}

#[test]
fn a_malleable_or_meaningless_signature_is_refused() {
    let (pool, _) = pool();
    let SignedTransaction::Eip1559(signed) = transfer(1, 0) else { panic!("another type") };
    let order = U256::from_str_radix("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16);
    let signature = signed.signature();
    let high = Signature::new(signature.r(), order.unwrap() - signature.s(), !signature.v());
    for forged in [high, Signature::new(U256::ZERO, U256::ZERO, false)] {
        let transaction = signed.tx().clone().into_signed(forged);
        assert_eq!(pool.add(transaction.into()), Err(PoolError::Signature));
    }
}

#[test]
fn any_bytes_are_refused_without_a_panic() {
    let (pool, _) = pool();
    let encoded = transfer(1, 0).encoded_2718();
    for end in 0..encoded.len() {
        assert_eq!(pool.add_encoded(&encoded[..end], Origin::Local), Err(PoolError::Malformed), "{end}");
    }
    let longer = [encoded.as_slice(), &[0]].concat();
    assert_eq!(pool.add_encoded(&longer, Origin::Local), Err(PoolError::Malformed));
    assert!(pool.add_encoded(&encoded, Origin::Local).is_ok());
}

/// A ledger whose state cannot be read.
struct Unreadable;

impl SenderPolicy for Unreadable {
    fn sender(&self, _: Address) -> Result<Option<SenderState>, ()> {
        Err(())
    }
}

#[test]
fn nothing_is_admitted_while_nobody_can_tell_who_may_send() {
    let pool = Pool::new(RULES, config(), Arc::new(Unreadable), Signers::default());
    assert_eq!(pool.add(transfer(1, 0)), Err(PoolError::NotReady));
}

#[test]
fn members_take_turns_and_gaps_wait() {
    let (pool, world) = pool();
    for transaction in [transfer(1, 0), transfer(1, 1), transfer(1, 2), transfer(2, 0), transfer(3, 1)] {
        pool.add(transaction).unwrap();
    }
    let (one, two) = (address(1), address(2));
    let found = order(&pool, &at_zero());
    assert_eq!(found.len(), 4, "the third member's nonce 0 is missing");
    assert!(found[..2].contains(&(one, 0)) && found[..2].contains(&(two, 0)));
    assert_eq!(found[2..], [(one, 1), (one, 2)]);
    assert_eq!(pool.next_nonce(one), Some(3));
    assert_eq!(pool.next_nonce(address(3)), Some(0));
    assert_eq!(pool.next_nonce(address(4)), None);
    // On a parent that holds the first two of member 1, and in whose state member 2 is none.
    assert_eq!(order(&pool, &BTreeMap::from([(one, 2)])), [(one, 2)]);
    // Who begins changes.
    let firsts: Vec<_> = (0..3).map(|turn| order_in(&pool, turn, &at_zero())[0].0).collect();
    assert!(firsts.contains(&one) && firsts.contains(&two));

    world.members.lock().insert(one, SenderState { nonce: 2, balance: U256::ZERO, wait_seconds: 0 });
    pool.on_finalised([(one, Some(2)), (two, None)]);
    assert_eq!(pool.status().transactions, 2);
    assert_eq!(pool.add(transfer(1, 1)), Err(PoolError::NonceTooLow { transaction: 1, next: 2 }));
}

/// A registry whose answer about an account is out of date as soon as it is given: a block becomes final.
struct BlockMeanwhile {
    world: World,
    pool: OnceLock<Pool>,
    block: Mutex<Option<(Address, u64)>>,
}

impl SenderPolicy for BlockMeanwhile {
    fn sender(&self, address: Address) -> Result<Option<SenderState>, ()> {
        let answer = self.world.sender(address);
        if let Some((sender, nonce)) = self.block.lock().take() {
            self.world.members.lock().get_mut(&sender).unwrap().nonce = nonce;
            self.pool.get().unwrap().on_finalised([(sender, Some(nonce))]);
        }
        answer
    }
}

#[test]
fn a_block_that_becomes_final_meanwhile_leaves_the_next_nonce_free() {
    let (_, world) = pool();
    let meanwhile =
        Arc::new(BlockMeanwhile { world: world.clone(), pool: OnceLock::new(), block: Mutex::default() });
    let policy = Arc::clone(&meanwhile);
    let pool = Pool::with_clock(RULES, config(), policy, Signers::default(), Arc::new(world));
    let _ = meanwhile.pool.set(pool.clone());
    for nonce in 0..4 {
        pool.add(transfer(1, nonce)).unwrap();
    }
    *meanwhile.block.lock() = Some((address(1), 2));
    assert_eq!(pool.next_nonce(address(1)), Some(4));
}

#[test]
fn a_sender_can_be_left_out_of_the_rest() {
    let (pool, _) = pool();
    for nonce in 0..4 {
        pool.add(transfer(1, nonce)).unwrap();
        pool.add(transfer(2, nonce)).unwrap();
    }
    let mut best = pool.best(0, |_| Some(0));
    let first = best.next().unwrap();
    best.skip_sender(first.sender);
    let rest: Vec<_> = best.collect();
    assert_eq!(rest.len(), 4);
    assert!(rest.iter().all(|transaction| transaction.sender != first.sender));
}

#[test]
fn a_replacement_must_raise_cap_and_tip() {
    let (pool, _) = pool();
    pool.add(priced(1, 0, 10, 5)).unwrap();
    assert_eq!(pool.add(priced(1, 0, 10, 5)), Err(PoolError::AlreadyKnown));
    for (cap, tip) in [(10, 6), (11, 5), (9, 9)] {
        assert_eq!(pool.add(priced(1, 0, cap, tip)), Err(PoolError::Underpriced));
    }
    let hash = pool.add(priced(1, 0, 11, 6)).unwrap();
    assert_eq!(pool.status().transactions, 1);
    assert_eq!(pool.best(0, |_| Some(0)).next().unwrap().hash, hash);
}

#[test]
fn one_sender_cannot_crowd_out_the_others() {
    let (pool, _) = pool();
    for key in [1, 2] {
        for nonce in 0..6 {
            pool.add(transfer(key, nonce)).unwrap();
        }
        assert_eq!(pool.add(transfer(key, 6)), Err(PoolError::SenderFull));
    }
    assert_eq!(pool.status().transactions, 12);
    for nonce in 0..4 {
        pool.add(transfer(3, nonce)).unwrap();
    }
    // Four each: nobody has more than the newcomer would.
    assert_eq!(pool.add(transfer(3, 4)), Err(PoolError::PoolFull));
    assert_eq!(pool.status().transactions, 12);
    assert_eq!(order(&pool, &at_zero()).len(), 12, "the highest nonces gave way, so no gap arose");
}

#[test]
fn transactions_expire() {
    let (pool, world) = pool();
    pool.add(transfer(1, 0)).unwrap();
    world.millis.store(1_060_000, Ordering::Relaxed);
    pool.add(transfer(2, 0)).unwrap();
    world.millis.store(1_101_000, Ordering::Relaxed);
    pool.on_finalised([]);
    assert_eq!(pool.pending(10).iter().map(|tx| tx.sender).collect::<Vec<_>>(), [address(2)]);
    // Admitted again, it lives again.
    pool.add(transfer(1, 0)).unwrap();
    world.millis.store(1_161_000, Ordering::Relaxed);
    pool.on_finalised([]);
    assert_eq!(pool.pending(10).iter().map(|tx| tx.sender).collect::<Vec<_>>(), [address(1)]);
}

#[test]
fn admission_wakes_and_is_told_once() {
    let (pool, _) = pool();
    let mut watch = pool.watch();
    let mut new = pool.subscribe_new();
    let batch = vec![transfer(1, 0), transfer(9, 0), transfer(1, 1), transfer(1, 0)];
    let results = pool.add_many(batch, Origin::Peer);
    assert!(results[0].is_ok() && results[2].is_ok());
    assert_eq!(results[1], Err(PoolError::UnregisteredSender(address(9))));
    assert_eq!(results[3], Err(PoolError::AlreadyKnown));
    assert!(watch.has_changed().unwrap());
    watch.mark_unchanged();
    assert_eq!(new.try_recv().unwrap().origin, Origin::Peer);
    assert_eq!(new.try_recv().unwrap().nonce(), 1);
    assert!(new.try_recv().is_err());
    assert!(pool.add(transfer(1, 0)).is_err());
    assert!(!watch.has_changed().unwrap());
}

#[test]
fn the_signers_of_a_block_are_found_whether_pending_or_not() {
    let (pool, _) = pool_with(PoolConfig::default());
    let pending: Vec<_> = (0..20).map(|nonce| transfer(1, nonce)).collect();
    assert!(pool.add_many(pending.clone(), Origin::Peer).iter().all(Result::is_ok));
    let mut block = pending;
    block.extend((0..20).map(|nonce| transfer(2, nonce)));
    let expected = [vec![address(1); 20], vec![address(2); 20]].concat();
    for _ in 0..2 {
        assert_eq!(pool.signers(&block), Ok(expected.clone()));
    }
    let transaction = block[30].as_eip1559().unwrap().tx().clone();
    let meaningless = Signature::new(U256::ZERO, U256::ZERO, false);
    block[30] = transaction.into_signed(meaningless).into();
    assert_eq!(pool.signers(&block), Err(30));
}

/// 50,000 pending transactions are admitted, walked and released in time linear in what is touched: a slip into
/// quadratic time would take minutes.
#[test]
fn a_burst_is_carried() {
    let (pool, _) = pool_with(PoolConfig::default());
    let burst: Vec<_> = (0..12_500).flat_map(|nonce| (1..=4).map(move |key| transfer(key, nonce))).collect();
    assert!(pool.add_many(burst, Origin::Peer).iter().all(Result::is_ok));
    for from in (0..12_500).step_by(500) {
        assert_eq!(pool.best(0, |_| Some(from)).take(2_000).count(), 2_000);
        pool.on_finalised((1..=4).map(|key| (address(key), Some(from + 500))));
    }
    assert_eq!(pool.status(), PoolStatus::default());
}

#[derive(Clone, Debug)]
enum Step {
    Add { key: u8, nonce: u64, price: u128 },
    Finalise { key: u8, count: u64 },
    Remove { key: u8 },
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1_u8..=5, 0_u64..14, 0_u128..3).prop_map(|(key, nonce, price)| Step::Add { key, nonce, price }),
        1 => (1_u8..=4, 1_u64..3).prop_map(|(key, count)| Step::Finalise { key, count }),
        1 => (1_u8..=4).prop_map(|key| Step::Remove { key }),
        1 => (0_u64..60).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn limits_and_order_hold_whatever_happens(steps in steps()) {
        let (pool, world) = pool();
        let config = config();
        for step in steps {
            match step {
                Step::Add { key, nonce, price } => drop(pool.add(priced(key, nonce, price, price))),
                Step::Finalise { key, count } => {
                    let next = {
                        let mut members = world.members.lock();
                        let state = members.get_mut(&address(key)).unwrap();
                        state.nonce += count;
                        state.nonce
                    };
                    pool.on_finalised([(address(key), Some(next))]);
                }
                Step::Remove { key } => {
                    let found = pool.best(0, |_| Some(0)).find(|tx| tx.sender == address(key));
                    found.iter().for_each(|tx| pool.remove(&tx.hash));
                }
                Step::Wait(seconds) => {
                    world.millis.fetch_add(seconds * 1_000, Ordering::Relaxed);
                }
            }
            let held = pool.pending(usize::MAX);
            let status = pool.status();
            prop_assert_eq!(status.transactions, held.len());
            prop_assert_eq!(status.bytes, held.iter().map(|tx| tx.bytes).sum::<usize>());
            prop_assert!(held.len() <= config.transactions_max);
            let mut by_sender: BTreeMap<Address, Vec<u64>> = BTreeMap::new();
            for tx in &held {
                prop_assert!(pool.contains(&tx.hash));
                by_sender.entry(tx.sender).or_default().push(tx.nonce());
            }
            prop_assert_eq!(by_sender.len(), status.senders);
            let ready = pool.best(0, |address| Some(world.members.lock().get(&address)?.nonce)).count();
            prop_assert_eq!(status.ready, ready);
            for (sender, mut nonces) in by_sender {
                let next = world.members.lock()[&sender].nonce;
                nonces.sort_unstable();
                prop_assert!(nonces.windows(2).all(|pair| pair[0] < pair[1]), "one transaction a nonce");
                prop_assert!(nonces.iter().all(|nonce| *nonce >= next && *nonce < next + config.nonce_window));
                prop_assert!(nonces.len() <= config.sender_transactions_max);
                let executable: Vec<_> = pool
                    .best(0, |address| (address == sender).then_some(next))
                    .map(|tx| tx.nonce())
                    .collect();
                prop_assert!(executable.iter().copied().eq((next..).take(executable.len())));
                prop_assert_eq!(pool.next_nonce(sender), Some(next + executable.len() as u64));
            }
        }
    }
}

/// A chain that takes `capacity` transactions in each quarter of a second, in one block, and is offered so many of them
/// in the same time by each of the keys, evenly. A transaction that was turned away is offered again the next time.
struct Market {
    pool: Pool,
    world: World,
    /// The next transaction of each key that was not admitted yet.
    next: BTreeMap<u8, u64>,
    /// When each was admitted.
    since: HashMap<(u8, u64), u64>,
    waits: Vec<u64>,
    executed: BTreeMap<u8, u64>,
    refused: usize,
}

impl Market {
    fn new() -> Self {
        let (pool, world) = pool_with(PoolConfig::default());
        let (next, since, waits, executed) = Default::default();
        Self { pool, world, next, since, waits, executed, refused: 0 }
    }

    fn offer(&mut self, key: u8) {
        let next = self.next.entry(key).or_default();
        match self.pool.add(transfer(key, *next)) {
            Ok(_) => {
                self.since.insert((key, *next), self.world.millis());
                *next += 1;
            }
            Err(PoolError::Busy { retry_ms, .. }) => {
                assert!(retry_ms <= 5_000);
                self.refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn quarter(&mut self, offers: &[(u8, usize)], capacity: usize) {
        let most = offers.iter().map(|(_, offered)| *offered).max().unwrap();
        let begin = self.world.millis();
        for step in 0..most {
            self.world.millis.store(begin + (250 * step / most) as u64, Ordering::Relaxed);
            let due = |(_, offered): &&(u8, usize)| step * offered / most < (step + 1) * offered / most;
            offers.iter().filter(due).for_each(|(key, _)| self.offer(*key));
        }
        self.world.millis.store(begin + 250, Ordering::Relaxed);
        let now = self.world.millis();
        let nonces: BTreeMap<_, _> =
            self.world.members.lock().iter().map(|(account, state)| (*account, state.nonce)).collect();
        let block: Vec<_> = self.pool.best(0, |sender| nonces.get(&sender).copied()).take(capacity).collect();
        let keys: BTreeMap<_, _> = (1..=4).map(|key| (address(key), key)).collect();
        let mut next = BTreeMap::new();
        for transaction in &block {
            let key = keys[&transaction.sender];
            self.waits.push(now - self.since.remove(&(key, transaction.nonce())).unwrap());
            *self.executed.entry(key).or_default() += 1;
            next.insert(transaction.sender, Some(transaction.nonce() + 1));
        }
        for (sender, nonce) in &next {
            self.world.members.lock().get_mut(sender).unwrap().nonce = nonce.unwrap();
        }
        self.pool.charge(block.iter().map(|transaction| (transaction.sender, 210)));
        self.pool.on_finalised(next);
    }

    /// Forgets what was measured so far.
    fn measure(&mut self) {
        self.waits.clear();
        self.executed.clear();
        self.refused = 0;
    }
}

#[test]
fn at_twice_the_capacity_throughput_stays_and_waits_are_short() {
    let mut market = Market::new();
    let offers: Vec<_> = (1..=4).map(|key| (key, 50)).collect();
    // The pool learns in a few seconds that this chain takes 400 a second.
    (0..50).for_each(|_| market.quarter(&offers, 100));
    market.measure();
    (0..40).for_each(|_| market.quarter(&offers, 100));
    let executed: u64 = market.executed.values().sum();
    assert!(executed >= 3_800, "{executed} of 4,000");
    assert!(market.refused >= 3_000, "half is turned away at once, not later: {}", market.refused);
    market.waits.sort_unstable();
    let (median, longest) = (market.waits[market.waits.len() / 2], *market.waits.last().unwrap());
    assert!(median <= 3_000 && longest <= 4_000, "median {median} ms, longest {longest} ms");
    assert!(market.executed.values().all(|of_one| *of_one >= 900), "{:?}", market.executed);
}

#[test]
fn a_crowd_does_not_keep_out_who_has_little_pending() {
    let mut market = Market::new();
    let greedy = [(1, 200)];
    (0..50).for_each(|_| market.quarter(&greedy, 50));
    market.measure();
    // The second member hands in five a quarter: far less than its share.
    (0..30).for_each(|_| market.quarter(&[(1, 200), (2, 5)], 50));
    assert!(market.executed[&2] >= 60, "half of what it offers, or more: {:?}", market.executed);
}

/// Transactions of the first member take 60 ms each, those of the second 1 ms. Blocks are filled for 100 ms.
#[test]
fn turns_are_by_what_transactions_cost() {
    let (pool, world) = pool_with(PoolConfig::default());
    for nonce in 0..60 {
        pool.add(transfer(1, nonce)).unwrap();
    }
    for nonce in 0..2_000 {
        pool.add(transfer(2, nonce)).unwrap();
    }
    let (slow, quick) = (address(1), address(2));
    let mut spent = BTreeMap::from([(slow, 0), (quick, 0)]);
    for block in 0..20 {
        let nonces = |sender| world.members.lock().get(&sender).map(|state| state.nonce);
        let mut best = pool.best(block, nonces);
        let (mut filled, mut costs) = (0, Vec::new());
        while filled < 100_000
            && let Some(transaction) = best.next()
        {
            let cost = if transaction.sender == slow { 60_000 } else { 1_000 };
            best.charge(cost);
            filled += cost;
            costs.push((transaction.sender, cost));
            world.members.lock().get_mut(&transaction.sender).unwrap().nonce += 1;
        }
        costs.iter().for_each(|(sender, cost)| *spent.get_mut(sender).unwrap() += cost);
        pool.charge(costs);
        pool.on_finalised([slow, quick].map(|sender| (sender, nonces(sender))));
    }
    let (of_slow, of_quick) = (spent[&slow], spent[&quick]);
    assert!(of_quick * 10 >= of_slow * 8, "the slow ones took {of_slow} µs, the quick ones {of_quick} µs");
}

#[test]
fn a_member_without_quota_is_told_how_long_to_wait() {
    let (pool, world) = pool();
    world
        .members
        .lock()
        .insert(address(1), SenderState { nonce: 0, balance: U256::from(10), wait_seconds: 9 });
    let refused = pool.add(transfer(1, 0)).unwrap_err();
    assert_eq!((&refused, refused.retry_ms()), (&PoolError::QuotaUsedUp { wait_seconds: 9 }, Some(9_000)));
    assert!(pool.add(transfer(2, 0)).is_ok(), "others are not held up");
}
