//! Analysed contract code, shared by all executions of a node.
//!
//! Analysis (finding the jump destinations) takes longer than a short call; code is named by its hash, so an entry
//! never goes stale.

use std::{num::NonZeroUsize, sync::Arc};

use alloy_primitives::B256;
use lru::LruCache;
use parking_lot::Mutex;
use revm::bytecode::Bytecode;

/// Contracts kept; at 24 KiB each at most some 13 MB.
const ENTRIES_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(511);

#[derive(Clone)]
pub(crate) struct CodeCache(Arc<Mutex<LruCache<B256, Bytecode>>>);

impl CodeCache {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(ENTRIES_MAX))))
    }

    pub(crate) fn find(&self, hash: &B256) -> Option<Bytecode> {
        self.0.lock().get(hash).cloned()
    }

    pub(crate) fn keep(&self, hash: B256, code: Bytecode) {
        self.0.lock().put(hash, code);
    }
}
