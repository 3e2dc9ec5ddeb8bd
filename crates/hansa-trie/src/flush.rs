//! Writes out what has changed since the trie was last written: each changed branch once, however often it changed.

use std::sync::Arc;

use alloy_primitives::B256;
use hansa_kv::BulkChanges;

use crate::arena::{Layers, OwnedBranch};
use crate::cache::{Caches, Place};
use crate::node::{Child, Leaf, NodeId, TrieValue};
use crate::nodes::Loaded;
use crate::page;

/// A walk over the nodes made since some version.
pub(crate) struct Flush<'a> {
    /// The version that is in the store: what was made up to then is there.
    pub(crate) stored: u64,
    /// Where what was made since is.
    pub(crate) layers: &'a Layers,
    pub(crate) caches: &'a Caches,
    /// The pages by their keys. Those to be removed unless they are written are there from the start.
    pub(crate) pages: BulkChanges,
}

impl Flush<'_> {
    /// Writes a trie.
    pub(crate) fn tree<V: TrieValue>(&mut self, owner: Option<&B256>, root: &Child<V>) {
        match root {
            Child::Empty | Child::Stored(_) => {}
            Child::Made(_, id) => self.branch::<V>(owner, *id),
            Child::Leaf(leaf) => {
                leaf.value.write_below(&leaf.key, self);
                self.pages.put_with(
                    |out| page::put_key(owner, &B256::ZERO, 0, out),
                    |out| page::put_leaf(leaf, out),
                );
                let leaf = Leaf { value: leaf.value.stored(), ..*leaf };
                V::cache(self.caches).keep(Place::new(owner, &B256::ZERO, 0), Loaded::Leaf(Box::new(leaf)));
            }
        }
    }

    fn branch<V: TrieValue>(&mut self, owner: Option<&B256>, id: NodeId) {
        if id.version <= self.stored {
            return;
        }
        let branch = self.layers.branch::<V>(id);
        let head = branch.head;
        let key = |out: &mut Vec<u8>| page::put_key(owner, &head.path, head.start(), out);
        self.pages.put_with(key, |out| page::put_branch(branch, out));
        let place = Place::new(owner, &head.path, head.start());
        V::cache(self.caches).keep(place, Loaded::Branch(Arc::new(OwnedBranch::stored(branch))));
        for &id in branch.ids {
            self.branch::<V>(owner, id);
        }
        for leaf in branch.entries {
            leaf.value.write_below(&leaf.key, self);
        }
    }
}
