//! Merkle proofs in the form of EIP-1186. Verification is the receiver's.

use alloy_primitives::{Address, B256, Bytes, U256};

use crate::account::Account;
use crate::branch::Branch;
use crate::error::TrieError;
use crate::key::{nibble, shared_nibbles};
use crate::node::{Child, NodeRef, TrieValue};
use crate::nodes::{Node, Nodes};
use crate::rlp;

/// An account and some of its slots, with proofs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountProof {
    /// The account's address.
    pub address: Address,
    /// The account; `None` if it does not exist, and `proof` proves its absence.
    pub account: Option<Account>,
    /// The root of its storage trie.
    pub storage_root: B256,
    /// RLP nodes from the state root down.
    pub proof: Vec<Bytes>,
    /// The slots in the order of the request.
    pub slots: Vec<SlotProof>,
}

/// A storage slot with its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotProof {
    /// The slot's index, unhashed.
    pub slot: U256,
    /// The slot's value; zero if it is not set, and `proof` proves its absence.
    pub value: U256,
    /// RLP nodes from the storage root down.
    pub proof: Vec<Bytes>,
}

/// The nodes on the path of a key, and its value.
pub(crate) fn prove<V: TrieValue>(
    nodes: Nodes<'_>,
    owner: Option<&B256>,
    root: &Child<V>,
    key: &B256,
) -> Result<(Vec<Bytes>, Option<V>), TrieError> {
    let mut proof = Proof::default();
    let mut child = *root;
    let mut start = 0;
    loop {
        let node = nodes.open(owner, key, start, &child)?;
        let branch = match &node {
            Node::Empty => return Ok((proof.nodes, None)),
            Node::Leaf(leaf) => {
                rlp::leaf(&leaf.key, start, &leaf.value, &mut proof.rlp, &mut Vec::new());
                proof.push();
                return Ok((proof.nodes, (leaf.key == *key).then_some(leaf.value)));
            }
            Node::Dirty(branch) => *branch,
            Node::Loaded(branch) => branch.get(),
        };
        if !proof.branch(branch, key) {
            return Ok((proof.nodes, None));
        }
        let depth = branch.depth();
        child = branch.child(nibble(key, depth));
        start = depth + 1;
    }
}

#[derive(Default)]
struct Proof {
    nodes: Vec<Bytes>,
    rlp: Vec<u8>,
}

impl Proof {
    /// Adds the encoded node, unless it is embedded in its parent.
    fn push(&mut self) {
        if self.nodes.is_empty() || self.rlp.len() >= 32 {
            self.nodes.push(Bytes::copy_from_slice(&self.rlp));
        }
        self.rlp.clear();
    }

    /// Adds a branch and its extension; `false` if the key diverges from the extension.
    fn branch<V: TrieValue>(&mut self, branch: Branch<'_, V>, key: &B256) -> bool {
        rlp::branch(branch.masks().present, branch.references(), &mut self.rlp);
        let (path, start, depth) = (branch.path(), branch.start(), branch.depth());
        if start < depth {
            let inner = std::mem::take(&mut self.rlp);
            rlp::extension(&path, start, depth, &NodeRef::of(&inner), &mut self.rlp);
            self.push();
            if shared_nibbles(&path, key) < depth {
                return false;
            }
            self.rlp = inner;
        }
        self.push();
        true
    }
}
