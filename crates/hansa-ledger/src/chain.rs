//! The finalised head, the tree of executed blocks above it, and a cache of recent final blocks.

use std::{collections::BTreeSet, num::NonZeroUsize, sync::Arc};

use alloy_primitives::{B256, map::B256Map};
use lru::LruCache;

use hansa_evm::StateChanges;
use hansa_trie::StateView;
use hansa_types::{Block, Member};

use crate::{FinalisedBlock, TransactionReceipt, history::History};

/// Final blocks cached with their receipts: clients mostly ask for recent ones.
pub(crate) const RECENT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

/// A block with the result of its execution.
pub(crate) struct ExecutedBlock {
    pub(crate) block: Block,
    pub(crate) state: StateView,
    pub(crate) changes: Arc<StateChanges>,
    pub(crate) receipts: Arc<Vec<TransactionReceipt>>,
}

pub(crate) struct Chain {
    pub(crate) head: Arc<ExecutedBlock>,
    /// Executed blocks that are not final. All descend from the head.
    pub(crate) tree: B256Map<Arc<ExecutedBlock>>,
    pub(crate) history: History,
    pub(crate) members: Arc<Vec<Member>>,
    pub(crate) recent: LruCache<u64, Arc<FinalisedBlock>>,
}

impl Chain {
    pub(crate) fn new(head: Arc<ExecutedBlock>, members: Arc<Vec<Member>>, past_states: usize) -> Self {
        Self {
            tree: B256Map::default(),
            history: History::new(head.block.number(), past_states),
            head,
            members,
            recent: LruCache::new(RECENT),
        }
    }

    /// A block on which another can be executed.
    pub(crate) fn executed(&self, hash: &B256) -> Option<Arc<ExecutedBlock>> {
        if self.head.block.hash() == *hash {
            return Some(Arc::clone(&self.head));
        }
        self.tree.get(hash).cloned()
    }

    /// Adds an executed block, unless its branch has been dropped meanwhile, and returns the execution that counts. Two
    /// threads may have executed the same block; the first one's state is kept, because children may stand on it already.
    pub(crate) fn insert(&mut self, executed: Arc<ExecutedBlock>) -> Arc<ExecutedBlock> {
        let hash = executed.block.hash();
        if let Some(first) = self.executed(&hash) {
            return first;
        }
        if self.executed(&executed.block.header().parent_hash).is_some() {
            self.tree.insert(hash, Arc::clone(&executed));
        }
        executed
    }

    /// Makes a child of the head the head, and drops every branch that does not descend from it.
    pub(crate) fn advance(&mut self, executed: Arc<ExecutedBlock>) {
        self.history.push(executed.block.number(), Arc::clone(&executed.changes));
        self.tree.remove(&executed.block.hash());
        self.head = executed;
        let mut blocks: Vec<_> = self.tree.drain().map(|(_, block)| block).collect();
        blocks.sort_unstable_by_key(|executed| executed.block.number());
        let mut alive = BTreeSet::from([self.head.block.hash()]);
        for executed in blocks {
            if alive.contains(&executed.block.header().parent_hash) {
                alive.insert(executed.block.hash());
                self.tree.insert(executed.block.hash(), executed);
            }
        }
    }
}
