//! Accounts: the public form, and the leaf of the state trie.

use alloy_primitives::{B256, KECCAK256_EMPTY, U256};

use crate::arena::{Arena, Layer};
use crate::bytes::{array, put_uint, take_array, take_uint};
use crate::cache::{Caches, NodeCache};
use crate::node::{Child, Leaf, NodeId, NodeRef, TrieValue};
use crate::rlp;

/// An account without its storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Number of transactions sent; for a contract, of contracts created.
    pub nonce: u64,
    /// Balance in wei.
    pub balance: U256,
    /// keccak-256 of the code; of the empty string for an account without code.
    pub code_hash: B256,
}

impl Default for Account {
    fn default() -> Self {
        Self { nonce: 0, balance: U256::ZERO, code_hash: KECCAK256_EMPTY }
    }
}

/// An account with the root of its storage trie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AccountLeaf {
    pub(crate) account: Account,
    pub(crate) storage: Child<U256>,
}

impl PartialEq for AccountLeaf {
    fn eq(&self, other: &Self) -> bool {
        self.account == other.account && self.storage.root_hash() == other.storage.root_hash()
    }
}

const HAS_CODE: u8 = 1;
const HAS_STORAGE: u8 = 2;

/// Size of a storage root in memory: a tag and the longest variant, a leaf.
const STORAGE_SIZE: usize = 1 + NodeRef::SIZE + 32 + U256::SIZE;
const EMPTY: u8 = 0;
const STORED: u8 = 1;
const DIRTY: u8 = 2;
const LEAF: u8 = 3;

impl TrieValue for AccountLeaf {
    const SIZE: usize = 8 + 32 + 32 + STORAGE_SIZE;

    fn put(&self, out: &mut Vec<u8>) {
        let end = out.len() + Self::SIZE;
        let Account { nonce, balance, code_hash } = &self.account;
        out.extend_from_slice(&nonce.to_le_bytes());
        balance.put(out);
        out.extend_from_slice(code_hash.as_slice());
        match &self.storage {
            Child::Empty => out.push(EMPTY),
            Child::Stored(reference) => {
                out.push(STORED);
                reference.put(out);
            }
            Child::Dirty(reference, id) => {
                out.push(DIRTY);
                reference.put(out);
                id.put(out);
            }
            Child::Leaf(Leaf { key, value, reference }) => {
                out.push(LEAF);
                reference.put(out);
                out.extend_from_slice(key.as_slice());
                value.put(out);
            }
        }
        out.resize(end, 0);
    }

    fn read(bytes: &[u8]) -> Self {
        let nonce = u64::from_le_bytes(array(bytes, 0));
        let account =
            Account { nonce, balance: U256::read(&bytes[8..]), code_hash: B256::new(array(bytes, 40)) };
        let (kind, bytes) = (bytes[72], &bytes[73..]);
        let reference = || NodeRef::read(bytes);
        let storage = match kind {
            STORED => Child::Stored(reference()),
            DIRTY => Child::Dirty(reference(), NodeId::read(&bytes[33..])),
            LEAF => Child::Leaf(Leaf {
                reference: reference(),
                key: B256::new(array(bytes, 33)),
                value: U256::read(&bytes[65..]),
            }),
            _ => Child::Empty,
        };
        Self { account, storage }
    }

    fn put_rlp(&self, out: &mut Vec<u8>) {
        let balance = self.account.balance.to_be_bytes::<32>();
        let nonce = self.account.nonce.to_be_bytes();
        let payload = rlp::uint_length(&nonce) + rlp::uint_length(&balance) + 66;
        rlp::put_list_header(payload, out);
        rlp::put_uint(&nonce, out);
        rlp::put_uint(&balance, out);
        rlp::put_hash(&self.storage.root_hash(), out);
        rlp::put_hash(&self.account.code_hash, out);
    }

    fn put_page(&self, out: &mut Vec<u8>) {
        let has_code = self.account.code_hash != KECCAK256_EMPTY;
        let has_storage = !self.storage.is_empty();
        out.push(if has_code { HAS_CODE } else { 0 } | if has_storage { HAS_STORAGE } else { 0 });
        put_uint(&self.account.nonce.to_be_bytes(), out);
        put_uint(&self.account.balance.to_be_bytes::<32>(), out);
        if has_code {
            out.extend_from_slice(self.account.code_hash.as_slice());
        }
        if has_storage {
            out.extend_from_slice(self.storage.root_hash().as_slice());
        }
    }

    fn take_page(page: &mut &[u8]) -> Option<Self> {
        let [flags] = take_array(page)?;
        let nonce = u64::from_be_bytes(take_uint(page)?);
        let balance = U256::from_be_bytes::<32>(take_uint(page)?);
        let code_hash = if flags & HAS_CODE == 0 { KECCAK256_EMPTY } else { B256::from(take_array(page)?) };
        let storage = if flags & HAS_STORAGE == 0 {
            Child::Empty
        } else {
            Child::stored(B256::from(take_array(page)?))
        };
        Some(Self { account: Account { nonce, balance, code_hash }, storage })
    }

    fn stored(self) -> Self {
        Self { storage: Child::stored(self.storage.root_hash()), ..self }
    }

    fn cache(caches: &Caches) -> &NodeCache<Self> {
        &caches.accounts
    }

    fn arena(layer: &Layer) -> &Arena {
        &layer.accounts
    }
}

impl TrieValue for U256 {
    const SIZE: usize = 32;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes::<32>());
    }

    fn read(bytes: &[u8]) -> Self {
        Self::from_le_bytes::<32>(array(bytes, 0))
    }

    fn put_rlp(&self, out: &mut Vec<u8>) {
        rlp::put_uint(&self.to_be_bytes::<32>(), out);
    }

    fn put_page(&self, out: &mut Vec<u8>) {
        put_uint(&self.to_be_bytes::<32>(), out);
    }

    fn take_page(page: &mut &[u8]) -> Option<Self> {
        Some(Self::from_be_bytes::<32>(take_uint(page)?))
    }

    fn cache(caches: &Caches) -> &NodeCache<Self> {
        &caches.storage
    }

    fn arena(layer: &Layer) -> &Arena {
        &layer.storage
    }
}
