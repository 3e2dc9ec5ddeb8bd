//! The ledger as a whole: opening it, and its parts.

use std::sync::Arc;

use alloy_primitives::B256;
use lru::LruCache;
use parking_lot::{Mutex, RwLock};
use tokio::sync::broadcast;

use hansa_contracts::ChainIdentity;
use hansa_ecdsa::Signers;
use hansa_evm::{Executor, Signatures};
use hansa_kv::{Batch, KvStore};
use hansa_pool::{Pool, PoolRules};
use hansa_trie::{StateStore, StateStores};
use hansa_types::{Block, Genesis, Member};

use crate::{
    FinalisedBlock, LedgerConfig, LedgerError, META, TransactionReceipt,
    accounts::HeadAccounts,
    chain::{Chain, ExecutedBlock, RECENT},
    finalise, genesis, members, records,
    upgrade::Suites,
};

/// Finalised blocks that a slow subscriber may fall behind.
const SUBSCRIBER_LAG_MAX: usize = 1_024;

pub(crate) const HEAD_KEY: &[u8] = b"head";
const GENESIS_KEY: &[u8] = b"genesis";

/// The chain of one consortium on one node. Cloning shares it. All methods block: call them off async executors.
#[derive(Clone)]
pub struct Ledger(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn KvStore>,
    pub(crate) states: StateStore,
    pub(crate) executor: Executor,
    pub(crate) chain: Arc<RwLock<Chain>>,
    /// Signers of transactions, and of the messages in them.
    pub(crate) signers: Signers,
    /// Least-recently-used cache of receipts below the recent blocks: lists of objects and logs read the same blocks repeatedly.
    pub(crate) read: Mutex<LruCache<u64, Arc<Vec<TransactionReceipt>>>>,
    /// Serialises finalisation.
    pub(crate) finalising: Mutex<()>,
    pub(crate) finalised: broadcast::Sender<Arc<FinalisedBlock>>,
    pub(crate) suites: Suites,
    pool: Pool,
    genesis: Genesis,
    genesis_block: Block,
}

impl Ledger {
    /// Opens the ledger in its stores ([`crate::open_stores`]), or begins it there with the genesis block. Its pool is
    /// empty.
    ///
    /// # Errors
    /// [`LedgerError::WrongChain`] when the store was begun with another genesis; [`LedgerError::Genesis`] when the
    /// file does not lead to a genesis state; otherwise the store is at fault.
    pub fn open(stores: impl Into<StateStores>, genesis: &Genesis) -> Result<Self, LedgerError> {
        Self::open_with(stores, genesis, LedgerConfig::default())
    }

    /// As [`Ledger::open`], with other sizes and times.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn open_with(
        stores: impl Into<StateStores>,
        genesis: &Genesis,
        config: LedgerConfig,
    ) -> Result<Self, LedgerError> {
        let signers = Signers::new(config.expected_signers_max);
        let signatures = Signatures::new(signers.clone(), config.pool.transactions_max);
        let executor = Executor::new(genesis.chain_id, signatures.clone());
        let stores = stores.into();
        let store = Arc::clone(&stores.blocks);
        let states = StateStore::open(stores, config.state)?;
        let built = genesis::build(&executor, genesis)?;
        let genesis_block = built.block.clone();
        check_chain(store.as_ref(), &genesis_block)?;
        let (head, members) = match stored_head(store.as_ref())? {
            Some(head) => resume(store.as_ref(), &states, head)?,
            None => begin(store.as_ref(), &states, &executor, genesis, built)?,
        };
        let chain = Chain::new(Arc::new(head), Arc::new(members), config.past_states_bytes_max);
        let chain = Arc::new(RwLock::new(chain));
        let identity = ChainIdentity { chain_id: genesis.chain_id, genesis_hash: genesis_block.hash() };
        let accounts = HeadAccounts { chain: Arc::clone(&chain), identity, signatures };
        let rules = PoolRules { chain_id: genesis.chain_id, block_gas: genesis.limits.block_gas };
        let pool = Pool::new(rules, config.pool, Arc::new(accounts), signers.clone());
        let shared = Arc::new(Shared {
            store,
            states,
            executor,
            chain,
            signers,
            read: Mutex::new(LruCache::new(RECENT)),
            finalising: Mutex::new(()),
            finalised: broadcast::Sender::new(SUBSCRIBER_LAG_MAX),
            suites: config.suites.into_iter().map(|suite| (suite.digest(), Arc::new(suite))).collect(),
            pool,
            genesis: genesis.clone(),
            genesis_block,
        });
        Ok(Self(shared))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }

    /// The pool of pending transactions.
    pub fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// The genesis file.
    pub fn genesis(&self) -> &Genesis {
        &self.0.genesis
    }

    /// EIP-155 chain id.
    pub fn chain_id(&self) -> u64 {
        self.0.genesis.chain_id
    }

    /// Block 0.
    pub fn genesis_block(&self) -> Block {
        self.0.genesis_block.clone()
    }

    /// The last finalised block.
    pub fn head(&self) -> Block {
        self.0.chain.read().head.block.clone()
    }

    /// A block on which another can be proposed: the finalised head, or executed here and not yet final.
    pub fn known_block(&self, hash: B256) -> Option<Block> {
        self.executed(&hash).map(|executed| executed.block.clone())
    }

    /// Every block that becomes final from now on, in order. A subscriber that falls 1,024 behind loses the oldest.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<FinalisedBlock>> {
        self.0.finalised.subscribe()
    }

    pub(crate) fn executed(&self, hash: &B256) -> Option<Arc<ExecutedBlock>> {
        self.0.chain.read().executed(hash)
    }
}

fn check_chain(store: &dyn KvStore, genesis: &Block) -> Result<(), LedgerError> {
    let Some(stored) = store.get(META, GENESIS_KEY)? else { return Ok(()) };
    let stored =
        B256::try_from(stored.as_slice()).map_err(|_| LedgerError::Damaged { what: "genesis hash" })?;
    if stored == genesis.hash() {
        Ok(())
    } else {
        Err(LedgerError::WrongChain { stored, given: genesis.hash() })
    }
}

fn stored_head(store: &dyn KvStore) -> Result<Option<u64>, LedgerError> {
    let Some(bytes) = store.get(META, HEAD_KEY)? else { return Ok(None) };
    records::number(&bytes).map(Some).ok_or(LedgerError::Damaged { what: "head" })
}

/// Reads the head and the members from the store.
fn resume(
    store: &dyn KvStore,
    states: &StateStore,
    head: u64,
) -> Result<(ExecutedBlock, Vec<Member>), LedgerError> {
    let block = records::load_block(store, head)?.ok_or(LedgerError::Damaged { what: "head block" })?;
    let state = states.head();
    if state.root() != block.header().state_root {
        return Err(LedgerError::Damaged { what: "state" });
    }
    let members = members::stored(store)?;
    let head = ExecutedBlock { block, state, changes: Arc::default(), receipts: Arc::default() };
    Ok((head, members))
}

/// Writes the genesis block and state into an empty store.
fn begin(
    store: &dyn KvStore,
    states: &StateStore,
    executor: &Executor,
    genesis: &Genesis,
    built: genesis::Built,
) -> Result<(ExecutedBlock, Vec<Member>), LedgerError> {
    let state = states.head().apply(&built.update)?;
    if state.root() != built.block.header().state_root {
        return Err(LedgerError::Damaged { what: "state, which is there without a head" });
    }
    let executed =
        ExecutedBlock { block: built.block, state, changes: Arc::default(), receipts: Arc::default() };
    let members = members::read(executor, &executed)?;
    let mut batch = Batch::new();
    batch.put(META, GENESIS_KEY, executed.block.hash().as_slice());
    finalise::record(&mut batch, &executed, &members, true)?;
    members::freeze(store, &mut batch, &executed.block, &members, genesis.limits.epoch_blocks)?;
    let staged = states.stage(&executed.state, &mut batch)?;
    store.write(batch)?;
    states.adopt(staged);
    Ok((executed, members))
}
