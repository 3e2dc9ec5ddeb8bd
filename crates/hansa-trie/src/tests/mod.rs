//! Compares the trie with alloy-trie, which rebuilds it from all leaves each time.

mod crash;
mod raw;
mod state;
mod vectors;

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use alloy_trie::proof::verify_proof;
use alloy_trie::{HashBuilder, Nibbles};
use hansa_kv::{KvStore, MemoryStore};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::{Account, AccountProof, AccountUpdate, StateUpdate};

fn memory() -> Arc<dyn KvStore> {
    Arc::new(MemoryStore::new())
}

/// The root of the trie with these keys and RLP values.
fn rebuilt_root(leaves: impl IntoIterator<Item = (B256, Vec<u8>)>) -> B256 {
    let mut builder = HashBuilder::default();
    for (key, value) in leaves {
        builder.add_leaf(Nibbles::unpack(key), &value);
    }
    builder.root()
}

/// An account as Ethereum encodes it (yellow paper, section 4.1).
#[derive(alloy_rlp::RlpEncodable)]
struct AccountRlp {
    nonce: u64,
    balance: U256,
    storage_root: B256,
    code_hash: B256,
}

/// The state as plain maps.
#[derive(Clone, Default)]
struct Model {
    accounts: BTreeMap<Address, (Account, BTreeMap<U256, U256>)>,
}

impl Model {
    fn apply(&mut self, update: &StateUpdate) {
        for change in &update.accounts {
            let Some(account) = change.account else {
                self.accounts.remove(&change.address);
                continue;
            };
            let (kept, storage) = self.accounts.entry(change.address).or_default();
            *kept = account;
            for &(slot, value) in &change.storage {
                if value.is_zero() {
                    storage.remove(&slot)
                } else {
                    storage.insert(slot, value)
                };
            }
        }
    }

    fn storage_root(&self, address: Address) -> B256 {
        let slots = self.accounts.get(&address).map(|(_, storage)| storage.clone()).unwrap_or_default();
        let hashed =
            slots.iter().map(|(slot, value)| (keccak256(slot.to_be_bytes::<32>()), alloy_rlp::encode(value)));
        rebuilt_root(hashed.collect::<BTreeMap<_, _>>())
    }

    fn leaf(&self, address: Address) -> Option<Vec<u8>> {
        let (Account { nonce, balance, code_hash }, _) = self.accounts.get(&address)?;
        let storage_root = self.storage_root(address);
        let (nonce, balance, code_hash) = (*nonce, *balance, *code_hash);
        Some(alloy_rlp::encode(AccountRlp { nonce, balance, storage_root, code_hash }))
    }

    fn root(&self) -> B256 {
        let leaf = |&address: &Address| (keccak256(address), self.leaf(address).unwrap());
        rebuilt_root(self.accounts.keys().map(leaf).collect::<BTreeMap<_, _>>())
    }

    fn account(&self, address: Address) -> Option<Account> {
        self.accounts.get(&address).map(|(account, _)| *account)
    }

    fn slot(&self, address: Address, slot: U256) -> U256 {
        self.accounts.get(&address).and_then(|(_, slots)| slots.get(&slot)).copied().unwrap_or_default()
    }

    /// Verifies the proofs of an account and its slots against the state root.
    fn check_proof(&self, root: B256, proof: &AccountProof) {
        assert_eq!(proof.account, self.account(proof.address));
        assert_eq!(proof.storage_root, self.storage_root(proof.address));
        let key = Nibbles::unpack(keccak256(proof.address));
        verify_proof(root, key, self.leaf(proof.address), &proof.proof).unwrap();
        for slot in &proof.slots {
            assert_eq!(slot.value, self.slot(proof.address, slot.slot));
            let key = Nibbles::unpack(keccak256(slot.slot.to_be_bytes::<32>()));
            let expected = Some(slot.value).filter(|value| !value.is_zero()).map(alloy_rlp::encode);
            verify_proof(proof.storage_root, key, expected, &slot.proof).unwrap();
        }
    }
}

fn an_address(random: &mut StdRng) -> Address {
    Address::from_word(keccak256([random.random_range(0..40u8)]))
}

fn a_slot(random: &mut StdRng) -> U256 {
    U256::from(random.random_range(0..60u8))
}

/// The changes of a block, most of them of keys that exist.
fn an_update(random: &mut StdRng) -> StateUpdate {
    let mut update = StateUpdate::default();
    let mut addresses: Vec<_> = (0..random.random_range(0..6)).map(|_| an_address(random)).collect();
    addresses.sort();
    addresses.dedup();
    for address in addresses {
        let code = Bytes::from(vec![random.random_range(0..5u8); 3]);
        let has_code = random.random_bool(0.3);
        let account = Account {
            nonce: random.random_range(0..3),
            balance: U256::from(random.random_range(0..3u64)) << random.random_range(0..250),
            code_hash: if has_code { keccak256(&code) } else { KECCAK256_EMPTY },
        };
        if has_code {
            update.code.push((keccak256(&code), code));
        }
        let slots = *[0, 1, 3, 30].choose(random).unwrap();
        let clearing = *[0.1, 0.5, 1.0].choose(random).unwrap();
        let mut storage = BTreeMap::new();
        for _ in 0..slots {
            let value = if random.random_bool(clearing) { 0 } else { random.random_range(1..300u64) };
            storage.insert(a_slot(random), U256::from(value));
        }
        let account = random.random_bool(0.8).then_some(account);
        let storage = if account.is_some() { storage.into_iter().collect() } else { Vec::new() };
        update.accounts.push(AccountUpdate { address, account, storage });
    }
    update
}

fn seeded(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}
