//! Published roots, and pinned stored forms.

use std::sync::Arc;

use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256, address, b256, hex, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;
use hansa_kv::{KvStore, MemoryStore};

use crate::account::AccountLeaf;
use crate::arena::{BranchBuilder, Layer, Layers};
use crate::cache::Caches;
use crate::edit::{Change, Editor, Effects};
use crate::key::truncated;
use crate::node::{Child, Leaf, NodeId, NodeRef, TrieValue};
use crate::nodes::{Base, Nodes};
use crate::page;
use crate::update::record;
use crate::{Account, AccountUpdate, StateStore, StateUpdate, TrieConfig};

/// The state of Sepolia's genesis block.
#[test]
fn genesis_of_sepolia() {
    let million = U256::from(10).pow(U256::from(24));
    let ether = U256::from(10).pow(U256::from(18));
    let hundred_million = U256::from_be_slice(&hex!("52b7d2dcc80cd2e4000000"));
    let alloc = [
        (address!("a2A6d93439144FFE4D27c9E088dCD8b783946263"), million),
        (address!("Bc11295936Aa79d594139de1B2e12629414F3BDB"), million),
        (address!("7cF5b79bfe291A67AB02b393E456cCc4c266F753"), million),
        (address!("aaec86394441f915bce3e6ab399977e9906f3b69"), million),
        (address!("F47CaE1CF79ca6758Bfc787dbD21E6bdBe7112B8"), million),
        (address!("d7eDDB78ED295B3C9629240E8924fb8D8874ddD8"), million),
        (address!("8b7F0977Bb4f0fBE7076FA22bC24acA043583F5e"), million),
        (address!("e2e2659028143784d557bcec6ff3a0721048880a"), million),
        (address!("d9a5179f091d85051d3c982785efd1455cec8699"), million),
        (address!("beef32ca5b9a198d27B4e02F4c70439fE60356Cf"), million),
        (
            address!("0000006916a87b82333f4245046623b23794c65c"),
            U256::from_be_slice(&hex!("084595161401484A000000")),
        ),
        (address!("b21c33de1fab3fa15499c62b59fe0cc3250020d1"), hundred_million),
        (address!("10F5d45854e038071485AC9e402308cF80D2d2fE"), hundred_million),
        (address!("d7d76c58b3a519e9fA6Cc4D22dC017259BC49F1E"), hundred_million),
        (address!("799D329e5f583419167cD722962485926E338F4a"), ether),
    ];
    let account = |(address, balance): (Address, U256)| AccountUpdate {
        address,
        account: Some(Account { balance, ..Account::default() }),
        storage: Vec::new(),
    };
    let update = StateUpdate { accounts: alloc.map(account).to_vec(), code: Vec::new() };
    let state = StateStore::open(super::memory(), TrieConfig::default()).unwrap();
    let genesis = state.head().apply(&update).unwrap();
    assert_eq!(genesis.root(), b256!("5eb6e371a698b8d68f665192350ffcecbbbf322916f4b51bd79bb6887da3f494"));
}

/// `TrieTests/hex_encoded_securetrie_test.json` of ethereum/tests, in any order.
#[test]
fn secure_trie() {
    let code_hash = b256!("04bccc5d94f4d1f99aab44369a910179931772f2a5c001c3229f57831c102769");
    let storage_root = b256!("ba4b47865c55a341a4a78759bb913cd15c3ee8eaf30a62fa8d1c8863113d84e8");
    let mut accounts = [
        (
            address!("a94f5374fce5edbc8e2a8697c15331677e6ebf0b"),
            1,
            0x05f446a7,
            EMPTY_ROOT_HASH,
            KECCAK256_EMPTY,
        ),
        (address!("095e7baea6a6c7c4c2dfeb977efac326af552d87"), 1, 1, EMPTY_ROOT_HASH, code_hash),
        (address!("d2571607e241ecf590ed94b12d87c94babe36db6"), 1, 0, storage_root, KECCAK256_EMPTY),
        (address!("62c01474f089b07dae603491675dc5b5748f7049"), 0, 0, EMPTY_ROOT_HASH, KECCAK256_EMPTY),
        (address!("2adc25665018aa1fe0e6bc666dac8fc2697ff9ba"), 0, 0x019a59, EMPTY_ROOT_HASH, KECCAK256_EMPTY),
    ];
    for turn in 0..accounts.len() {
        accounts.rotate_left(1);
        let change =
            |&(address, nonce, balance, storage, code_hash): &(Address, u64, u64, B256, B256)| Change {
                key: keccak256(address),
                value: Some(AccountLeaf {
                    account: Account { nonce, balance: U256::from(balance), code_hash },
                    storage: Child::stored(storage),
                }),
            };
        let (first, second) = accounts.split_at(turn);
        let base =
            Base { snapshot: MemoryStore::new().snapshot(), version: 0, caches: Arc::new(Caches::new(0)) };
        let mut root = Child::Empty;
        let mut layers = Layers::none(0);
        for (version, part) in [(1, first), (2, second)] {
            let mut changes: Vec<_> = part.iter().map(change).collect();
            changes.sort_by_key(|change| change.key);
            let mut builder = BranchBuilder::new(version);
            let nodes = Nodes { base: &base, layers: &layers };
            root = Editor { nodes, owner: None, builder: &mut builder, effects: &mut Effects::default() }
                .edit(&root, &changes)
                .unwrap()
                .unwrap_or(root);
            layers.push(version, Layer { accounts: builder.into_arena(), ..Layer::default() });
        }
        assert_eq!(
            root.root_hash(),
            b256!("730a444e08ab4b8dee147c9b232fc52d34a223d600031c1e9d25bfc985cbd797")
        );
    }
}

/// Later versions must read these forms, as documented in `page` and `update`.
#[test]
fn stored_forms() {
    let (owner, path) = (B256::repeat_byte(0x11), B256::repeat_byte(0xab));
    assert_eq!(page::key(None, &path, 0), hex!("00"));
    assert_eq!(page::key(None, &path, 3), hex!("00 0a0b0a"));
    assert_eq!(page::key(Some(&owner), &path, 4), [&[1][..], owner.as_slice(), &hex!("0a0b0a0b")].concat());

    let key = |byte| B256::right_padding_from(&[byte]);
    let leaf = |byte, value: u64| Child::Leaf(Leaf::unhashed(key(byte), U256::from(value)));
    let children = [(1, leaf(0xa1, 5)), (2, Child::Stored(NodeRef::hash(owner))), (15, leaf(0xaf, 0x0600))];
    let branch = BranchBuilder::single(&truncated(&key(0xa0), 1), (0, 1), &children);
    let rest = [0; 31];
    let stored = [
        &hex!("01 01 a0 0004 8002")[..],
        &rest,
        &hex!("01 05 20"),
        owner.as_slice(),
        &rest,
        &hex!("02 0600"),
    ];
    let mut page = Vec::new();
    page::put_branch(branch.get(), &mut page);
    assert_eq!(page, stored.concat());

    let account = Account { nonce: 3, balance: U256::from(0x0102), code_hash: owner };
    let value = AccountLeaf { account, storage: Child::stored(path) };
    let leaf = Leaf::unhashed(key(0xa1), value);
    let hashed = key(0xa1);
    let fields =
        [&hex!("02")[..], hashed.as_slice(), &hex!("03 0103 020102"), owner.as_slice(), path.as_slice()];
    let mut page = Vec::new();
    page::put_leaf(&leaf, &mut page);
    assert_eq!(page, fields.concat());

    let address = Address::repeat_byte(0x22);
    let update = StateUpdate {
        accounts: vec![
            AccountUpdate { address, account: Some(account), storage: vec![(U256::ZERO, U256::from(9))] },
            AccountUpdate { address, account: None, storage: Vec::new() },
        ],
        code: Vec::new(),
    };
    let there = [&hex!("01 0103 020102")[..], owner.as_slice(), &hex!("00000001 00 0109")].concat();
    let expected = [path.as_slice(), address.as_slice(), &there, address.as_slice(), &[0]].concat();
    assert_eq!(record(path, &update), expected);
}

/// Each variant of a storage root has the same size in a branch and round-trips.
#[test]
fn accounts_in_memory() {
    let (key, value) = (B256::repeat_byte(0x11), U256::from(0x0600));
    let (reference, id) = (NodeRef::of(b"short"), NodeId { version: u64::MAX, index: 7 });
    let masks = [
        Child::Empty,
        Child::Stored(reference),
        Child::Dirty(reference, id),
        Child::Leaf(Leaf { key, value, reference }),
    ];
    for storage in masks {
        let account = Account { nonce: 3, balance: U256::MAX, code_hash: key };
        let leaf = AccountLeaf { account, storage };
        let mut bytes = Vec::new();
        leaf.put(&mut bytes);
        assert_eq!(bytes.len(), AccountLeaf::SIZE);
        assert_eq!(format!("{:?}", AccountLeaf::read(&bytes)), format!("{leaf:?}"));
    }
}
