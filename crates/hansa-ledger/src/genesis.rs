//! Builds the genesis block: places the contracts of the genesis file and executes its calls.

use std::sync::Arc;

use alloy_consensus::{EMPTY_ROOT_HASH, Header};
use alloy_primitives::B256;

use hansa_evm::{
    BlockEnvironment, ExecutionError, Executor, HISTORY_STORAGE_ADDRESS, StateError, history_storage_code,
};
use hansa_kv::MemoryStore;
use hansa_trie::{StateStore, StateUpdate, TrieConfig};
use hansa_types::{Block, Genesis};

use crate::{LedgerError, header, state};

/// The genesis block and the state it commits to.
pub(crate) struct Built {
    pub(crate) block: Block,
    pub(crate) update: StateUpdate,
}

/// Computes the genesis block, a pure function of the file.
pub(crate) fn build(executor: &Executor, genesis: &Genesis) -> Result<Built, LedgerError> {
    let empty = StateStore::open(Arc::new(MemoryStore::new()), TrieConfig::default())?.head();
    let header = Header {
        number: 0,
        timestamp: genesis.timestamp,
        gas_limit: genesis.limits.block_gas,
        transactions_root: EMPTY_ROOT_HASH,
        receipts_root: EMPTY_ROOT_HASH,
        extra_data: genesis.digest().into(),
        ..header::blank()
    };
    let update = initial_state(executor, genesis, &empty, header::environment(&header))
        .map_err(LedgerError::Genesis)?;
    let state_root = empty.apply(&update)?.root();
    Ok(Built { block: Block::genesis(Header { state_root, ..header }), update })
}

fn initial_state(
    executor: &Executor,
    genesis: &Genesis,
    empty: &hansa_trie::StateView,
    environment: BlockEnvironment,
) -> Result<StateUpdate, ExecutionError> {
    let view =
        state::ParentState { state: empty, parent_number: 0, parent_hash: B256::ZERO, parent_timestamp: 0 };
    let mut block = executor.begin(view, environment)?;
    let history = (HISTORY_STORAGE_ADDRESS, history_storage_code());
    let code = genesis.suite.code.iter().map(|(address, code)| (*address, code.clone()));
    for (address, code) in code.chain([history]) {
        block.place(address, code).map_err(|error: StateError| ExecutionError::State(error))?;
    }
    for call in &genesis.suite.calls {
        block.system_call(call.to, call.data.clone())?;
    }
    Ok(state::update(&block.finish()))
}
