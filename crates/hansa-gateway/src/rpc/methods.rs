//! The table of methods.

use std::sync::Arc;

use alloy_primitives::{B256, Bytes, U64, keccak256};
use jsonrpsee::{RpcModule, types::Params};
use serde::Serialize;

use super::{
    Chain, args::Args, blocks, calls, error::RpcError, fees, filters, simulate, state, submit, subscribe,
};

/// The whole interface.
pub(crate) fn module(chain: Arc<Chain>) -> RpcModule<Arc<Chain>> {
    let mut table = Table(RpcModule::new(chain));
    node(&mut table);
    ledger(&mut table);
    table.blocking("eth_newFilter", filters::new_log_filter);
    table.blocking("eth_newBlockFilter", filters::new_block_filter);
    table.blocking("eth_newPendingTransactionFilter", filters::new_pending_filter);
    table.blocking("eth_getFilterChanges", filters::changes);
    table.blocking("eth_getFilterLogs", filters::logs_of);
    table.blocking("eth_uninstallFilter", filters::uninstall);
    submit::register(&mut table.0);
    subscribe::register(&mut table.0);
    table.0
}

/// Methods that need neither disk nor execution.
fn node(table: &mut Table) {
    table.immediate("web3_clientVersion", |_, _| Ok(concat!("Hansa/v", env!("CARGO_PKG_VERSION"))));
    table.immediate("web3_sha3", |_, args| Ok(keccak256(args.required::<Bytes>()?)));
    table.immediate("net_version", |chain, _| Ok(chain.ledger.chain_id().to_string()));
    table.immediate("net_listening", |_, _| Ok(true));
    table.immediate("net_peerCount", |chain, _| Ok(U64::from(chain.network.peers())));
    table.immediate("eth_chainId", |chain, _| Ok(U64::from(chain.ledger.chain_id())));
    table.immediate("eth_syncing", state::syncing);
    table.immediate("eth_blockNumber", |chain, _| Ok(U64::from(chain.ledger.head().number())));
    table.immediate("eth_accounts", |_, _| Ok(Vec::<B256>::new()));
    table.immediate("eth_gasPrice", |_, _| Ok(U64::ZERO));
    table.immediate("eth_maxPriorityFeePerGas", |_, _| Ok(U64::ZERO));
    table.immediate("eth_blobBaseFee", |_, _| Ok(U64::from(1)));
    table.immediate("txpool_status", submit::status);
}

/// Methods that read the ledger or execute on its state.
fn ledger(table: &mut Table) {
    table.blocking("eth_getBlockByNumber", blocks::by_number);
    table.blocking("eth_getBlockByHash", blocks::by_hash);
    table.blocking("eth_getBlockTransactionCountByNumber", blocks::count_by_number);
    table.blocking("eth_getBlockTransactionCountByHash", blocks::count_by_hash);
    table.blocking("eth_getUncleCountByBlockNumber", blocks::uncles_by_number);
    table.blocking("eth_getUncleCountByBlockHash", blocks::uncles_by_hash);
    table.blocking("eth_getTransactionByHash", blocks::transaction);
    table.blocking("eth_getRawTransactionByHash", blocks::raw_transaction);
    table.blocking("eth_getTransactionByBlockNumberAndIndex", blocks::transaction_by_number);
    table.blocking("eth_getTransactionByBlockHashAndIndex", blocks::transaction_by_block_hash);
    table.blocking("eth_getTransactionReceipt", blocks::receipt);
    table.blocking("eth_getBlockReceipts", blocks::receipts);
    table.blocking("eth_getLogs", filters::logs);
    table.blocking("eth_feeHistory", fees::history);
    table.blocking("eth_call", calls::call);
    table.blocking("eth_estimateGas", calls::estimate);
    table.blocking("eth_createAccessList", calls::access_list);
    table.blocking("eth_simulateV1", simulate::simulate);
    table.blocking("eth_getBalance", state::balance);
    table.blocking("eth_getTransactionCount", state::nonce);
    table.blocking("eth_getCode", state::code);
    table.blocking("eth_getStorageAt", state::storage);
    table.blocking("eth_getProof", state::proof);
    table.blocking("hansa_getCertificate", blocks::certificate);
    table.blocking("hansa_getBlockProof", blocks::proof);
}

struct Table(RpcModule<Arc<Chain>>);

impl Table {
    /// A method that never blocks.
    fn immediate<T, F>(&mut self, name: &'static str, handler: F)
    where
        T: Serialize + Clone + Send + 'static,
        F: Fn(&Chain, &mut Args<'_>) -> Result<T, RpcError> + Clone + Send + Sync + 'static,
    {
        let method =
            move |params: Params<'_>, chain: &Arc<Chain>, _: &_| handler(chain, &mut Args::new(&params)?);
        // Fails on a name that is taken, which the tests of this table exclude.
        let registered = self.0.register_method(name, method).is_ok();
        debug_assert!(registered, "{name} is registered twice");
    }

    /// A method that runs on the blocking threads.
    fn blocking<T>(&mut self, name: &'static str, handler: fn(&Chain, &mut Args<'_>) -> Result<T, RpcError>)
    where
        T: Serialize + Clone + Send + 'static,
    {
        let method = move |params: Params<'static>, chain: Arc<Arc<Chain>>, _| async move {
            let blocking = chain.blocking.clone();
            blocking.run(move || handler(&chain, &mut Args::new(&params)?)).await
        };
        let registered = self.0.register_async_method(name, method).is_ok();
        debug_assert!(registered, "{name} is registered twice");
    }
}
