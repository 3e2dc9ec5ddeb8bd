//! Every reading method against alloy's shapes and the ledger's own words.

use alloy_consensus::{TxReceipt as _, proofs};
use alloy_primitives::{B256, Bytes, U256, keccak256};
use alloy_rlp::Encodable;
use alloy_rpc_types_eth::{
    Block, EIP1186AccountProofResponse, FeeHistory, Filter, Log, Transaction, TransactionReceipt,
};
use alloy_sol_types::{SolCall, SolEvent};
use alloy_trie::{Nibbles, TrieAccount, proof::verify_proof};
use hansa_contracts::{GOVERNANCE, REGISTRY, abi, registry_slot_of};
use serde_json::{Value, json};

use crate::chain::{CHAIN_ID, Fixture, account, ballot, certify, quantity, raw};

#[tokio::test]
async fn the_node_says_what_it_is() {
    let f = Fixture::new().await;
    assert!(f.ok("web3_clientVersion", json!([])).await.as_str().unwrap().starts_with("Hansa/v"));
    assert_eq!(f.ok("net_version", json!([])).await, CHAIN_ID.to_string());
    assert_eq!(f.ok("net_listening", json!([])).await, true);
    assert_eq!(f.ok("net_peerCount", json!([])).await, "0x0");
    assert_eq!(quantity(&f.ok("eth_chainId", json!([])).await), CHAIN_ID);
    assert_eq!(f.ok("eth_syncing", json!([])).await, false);
    assert_eq!(f.ok("eth_accounts", json!([])).await, json!([]));
    for free in ["eth_gasPrice", "eth_maxPriorityFeePerGas"] {
        assert_eq!(f.ok(free, json!([])).await, "0x0");
    }
    assert_eq!(f.ok("eth_blockNumber", json!([])).await, "0x0");
    f.block();
    assert_eq!(f.ok("eth_blockNumber", json!([])).await, "0x1");
    let hash = f.ok("web3_sha3", json!(["0x68656c6c6f"])).await;
    assert_eq!(hash, json!(keccak256("hello")));
}

#[tokio::test]
async fn blocks_are_found_by_number_tag_and_hash() {
    let f = Fixture::new().await;
    let transaction = ballot(1, 0, 5);
    f.send(&transaction).await;
    let block = f.block();
    for tag in ["latest", "safe", "finalized", "pending", "0x1"] {
        let shown: Block =
            serde_json::from_value(f.ok("eth_getBlockByNumber", json!([tag, false])).await).unwrap();
        assert_eq!(shown.header.hash, block.hash(), "{tag}");
        assert_eq!(shown.header.inner.hash_slow(), block.hash(), "the header hashes to its hash");
        assert_eq!(shown.header.size, Some(U256::from(block.encoded().len())));
        assert_eq!(shown.transactions.as_hashes(), Some(&[*transaction.tx_hash()][..]));
        assert_eq!(shown.withdrawals.map(|w| w.len()), Some(0));
    }
    let full: Block =
        serde_json::from_value(f.ok("eth_getBlockByHash", json!([block.hash(), true])).await).unwrap();
    let inside = full.transactions.as_transactions().unwrap();
    assert_eq!((inside.len(), inside[0].inner.signer()), (1, account(1)));
    let genesis: Block =
        serde_json::from_value(f.ok("eth_getBlockByNumber", json!(["earliest"])).await).unwrap();
    assert_eq!(genesis.header.hash, f.ledger.genesis_block().hash());
    for absent in [json!(["0x9", false]), json!(["0xffffffffffffffff", true])] {
        assert!(f.ok("eth_getBlockByNumber", absent).await.is_null());
    }
    assert!(f.ok("eth_getBlockByHash", json!([B256::ZERO, true])).await.is_null());
    assert_eq!(f.ok("eth_getBlockTransactionCountByNumber", json!(["0x1"])).await, "0x1");
    assert_eq!(f.ok("eth_getBlockTransactionCountByHash", json!([block.hash()])).await, "0x1");
    assert!(f.ok("eth_getBlockTransactionCountByNumber", json!(["0x7"])).await.is_null());
    assert_eq!(f.ok("eth_getUncleCountByBlockNumber", json!(["latest"])).await, "0x0");
    assert_eq!(f.ok("eth_getUncleCountByBlockHash", json!([block.hash()])).await, "0x0");
}

#[tokio::test]
async fn transactions_and_receipts_are_found_wherever_they_are_asked_for() {
    let f = Fixture::new().await;
    let transaction = ballot(1, 0, 5);
    let hash = *transaction.tx_hash();
    assert_eq!(f.send(&transaction).await, json!(hash));
    let pending: Transaction =
        serde_json::from_value(f.ok("eth_getTransactionByHash", json!([hash])).await).unwrap();
    assert_eq!((pending.block_number, pending.inner.signer()), (None, account(1)));
    assert!(f.ok("eth_getTransactionReceipt", json!([hash])).await.is_null());
    let block = f.block();
    let places = [
        ("eth_getTransactionByHash", json!([hash])),
        ("eth_getTransactionByBlockNumberAndIndex", json!(["latest", "0x0"])),
        ("eth_getTransactionByBlockHashAndIndex", json!([block.hash(), "0x0"])),
    ];
    for (method, params) in places {
        let shown = f.ok(method, params).await;
        assert_eq!(shown["gasPrice"], "0x0");
        let shown: Transaction = serde_json::from_value(shown).unwrap();
        assert_eq!((shown.block_hash, shown.transaction_index), (Some(block.hash()), Some(0)), "{method}");
        assert_eq!(shown.inner.tx_hash(), &hash);
    }
    assert!(f.ok("eth_getTransactionByBlockNumberAndIndex", json!(["latest", "0x1"])).await.is_null());
    assert_eq!(f.ok("eth_getRawTransactionByHash", json!([hash])).await, raw(&transaction));
    let shown = f.ok("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!((&shown["status"], &shown["effectiveGasPrice"]), (&json!("0x1"), &json!("0x0")));
    let receipt: TransactionReceipt = serde_json::from_value(shown.clone()).unwrap();
    assert_eq!((receipt.from, receipt.to, receipt.block_number), (account(1), Some(GOVERNANCE), Some(1)));
    assert_eq!(receipt.inner.logs()[0].log_index, Some(0));
    for id in [json!("latest"), json!("0x1"), json!(block.hash()), json!({ "blockHash": block.hash() })] {
        assert_eq!(f.ok("eth_getBlockReceipts", json!([id])).await, json!([shown]));
    }
    let envelope = receipt.inner.into_primitives_receipt();
    assert_eq!(proofs::calculate_receipt_root(&[envelope]), block.header().receipts_root);
}

#[tokio::test]
async fn calls_and_estimates_execute_on_final_state() {
    let f = Fixture::new().await;
    let data = Bytes::from(abi::ConsortiumRegistry::dcIdOfCall { account: account(3) }.abi_encode());
    let expected = json!(Bytes::from(U256::from(3).to_be_bytes::<32>()));
    for field in ["input", "data"] {
        let request = json!({ "to": REGISTRY, field: data });
        assert_eq!(f.ok("eth_call", json!([request])).await, expected, "{field}");
        assert_eq!(f.ok("eth_call", json!([request, "latest"])).await, expected);
        assert_eq!(
            f.ok("eth_call", json!([request, { "blockHash": f.ledger.head().hash() }, {}])).await,
            expected
        );
    }
    let both = json!({ "to": REGISTRY, "input": data, "data": "0x00" });
    assert_eq!(f.error("eth_call", json!([both])).await.0, -32602);
    let gas = quantity(&f.ok("eth_estimateGas", json!([{ "to": REGISTRY, "data": data }])).await);
    assert!((21_000..200_000).contains(&gas), "{gas}");
    // Not governance: the registry refuses, with data and words.
    let admit = abi::ConsortiumRegistry::admitCall {
        signed: hansa_contracts::signed_card_from_types(&crate::chain::signed_card(6)),
    };
    let refused = json!([{ "from": account(1), "to": REGISTRY, "data": Bytes::from(admit.abi_encode()) }]);
    for method in ["eth_call", "eth_estimateGas"] {
        let answer = f.call(method, refused.clone()).await;
        assert_eq!(answer["error"]["code"], 3, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().starts_with("execution reverted: "), "{answer}");
        assert!(answer["error"]["data"].as_str().unwrap().len() >= 10, "{answer}");
    }
    assert_eq!(f.error("eth_call", json!([{ "to": REGISTRY }, "0x5"])).await.1, "header not found");
}

#[tokio::test]
async fn accounts_are_read_at_blocks_and_nonces_count_what_is_pending() {
    let f = Fixture::new().await;
    f.send(&ballot(1, 0, 5)).await;
    f.send(&ballot(1, 1, 6)).await;
    assert_eq!(f.ok("eth_getTransactionCount", json!([account(1), "pending"])).await, "0x2");
    assert_eq!(f.ok("eth_getTransactionCount", json!([account(1), "latest"])).await, "0x0");
    f.block();
    for tag in ["pending", "latest"] {
        assert_eq!(f.ok("eth_getTransactionCount", json!([account(1), tag])).await, "0x2");
    }
    assert_eq!(f.ok("eth_getTransactionCount", json!([account(1), "0x0"])).await, "0x0");
    assert_eq!(f.ok("eth_getBalance", json!([account(1)])).await, "0x0");
    assert_eq!(f.ok("eth_getCode", json!([account(1), "latest"])).await, "0x");
    let code = f.ok("eth_getCode", json!([REGISTRY, "latest"])).await;
    assert_eq!(code, json!(hansa_contracts::runtime_bytecode(REGISTRY).unwrap()));
    let slot = B256::from(registry_slot_of(account(2)));
    assert_eq!(
        f.ok("eth_getStorageAt", json!([REGISTRY, slot, "latest"])).await,
        json!(B256::from(owner_of(2)))
    );
    assert_eq!(f.ok("txpool_status", json!([])).await["pending"], "0x0");
}

/// The registry's slot of an account that acts for a member as its owner (role 1).
fn owner_of(member: u64) -> U256 {
    U256::from(member | 1 << 32)
}

#[tokio::test]
async fn proofs_verify_against_the_state_root() {
    let f = Fixture::new().await;
    f.block();
    let slot = registry_slot_of(account(2));
    let params = json!([REGISTRY, [B256::from(slot), "0x1"], "latest"]);
    let proof: EIP1186AccountProofResponse =
        serde_json::from_value(f.ok("eth_getProof", params).await).unwrap();
    let leaf = TrieAccount {
        nonce: proof.nonce,
        balance: proof.balance,
        storage_root: proof.storage_hash,
        code_hash: proof.code_hash,
    };
    let mut encoded = Vec::new();
    leaf.encode(&mut encoded);
    let root = f.ledger.head().header().state_root;
    verify_proof(root, Nibbles::unpack(keccak256(REGISTRY)), Some(encoded), &proof.account_proof).unwrap();
    let entry = &proof.storage_proof[0];
    assert_eq!(entry.value, owner_of(2));
    let path = Nibbles::unpack(keccak256(B256::from(slot)));
    verify_proof(proof.storage_hash, path, Some(alloy_rlp::encode(owner_of(2))), &entry.proof).unwrap();
}

#[tokio::test]
async fn fee_history_has_the_shape_wallets_expect() {
    let f = Fixture::new().await;
    for _ in 0..3 {
        f.block();
    }
    let answer = f.ok("eth_feeHistory", json!(["0x2", "latest", [25.0, 75.0]])).await;
    let history: FeeHistory = serde_json::from_value(answer).unwrap();
    assert_eq!((history.oldest_block, history.base_fee_per_gas), (2, vec![0; 3]));
    assert_eq!(history.reward, Some(vec![vec![0, 0]; 2]));
    let all: FeeHistory =
        serde_json::from_value(f.ok("eth_feeHistory", json!(["0xffff", "latest", null])).await).unwrap();
    assert_eq!((all.oldest_block, all.gas_used_ratio.len(), all.reward), (0, 4, None));
    assert_eq!(f.error("eth_feeHistory", json!(["0x1", "latest", [75.0, 25.0]])).await.0, -32602);
    assert_eq!(f.error("eth_feeHistory", json!(["0x1", "0x63"])).await.1, "header not found");
}

#[tokio::test]
async fn logs_are_filtered_by_block_address_and_topic() {
    let f = Fixture::new().await;
    f.send(&ballot(1, 0, 5)).await;
    let first = f.block();
    f.send(&ballot(2, 0, 6)).await;
    f.block();
    let signature = abi::Governance::BallotOpened::SIGNATURE_HASH;
    let by = |dc: u64| B256::from(U256::from(dc));
    let all = Filter::new().from_block(0).address(GOVERNANCE).event_signature(signature);
    let cases = [
        (all.clone(), 2),
        (all.clone().topic2(by(2)), 1),
        (all.clone().topic2(vec![by(1), by(2)]), 2),
        (all.clone().topic2(by(3)), 0),
        (all.clone().from_block(2), 1),
        (all.clone().from_block(9).to_block(10), 0),
        (Filter::new().at_block_hash(first.hash()).event_signature(signature), 1),
        (Filter::new().from_block(0).address(REGISTRY), 0),
    ];
    for (filter, count) in cases {
        let logs: Vec<Log> = serde_json::from_value(f.ok("eth_getLogs", json!([filter])).await).unwrap();
        assert_eq!(logs.len(), count, "{filter:?}");
    }
    let latest: Vec<Log> = serde_json::from_value(f.ok("eth_getLogs", json!([{}])).await).unwrap();
    assert!(latest.iter().all(|log| log.block_number == Some(2)), "without a range the last block is meant");
    let backwards = json!([{ "fromBlock": "0x2", "toBlock": "0x1" }]);
    assert_eq!(f.error("eth_getLogs", backwards).await.0, -32602);
    assert_eq!(f.error("eth_getLogs", json!([{ "blockHash": B256::ZERO }])).await.1, "header not found");
}

#[tokio::test]
async fn filters_tell_what_is_new_since_the_last_poll() {
    let f = Fixture::new().await;
    let logs = f.ok("eth_newFilter", json!([{ "address": GOVERNANCE }])).await;
    let blocks = f.ok("eth_newBlockFilter", json!([])).await;
    let pending = f.ok("eth_newPendingTransactionFilter", json!([])).await;
    let transaction = ballot(1, 0, 5);
    f.send(&transaction).await;
    assert_eq!(f.ok("eth_getFilterChanges", json!([pending])).await, json!([transaction.tx_hash()]));
    assert_eq!(f.ok("eth_getFilterChanges", json!([logs])).await, json!([]));
    let block = f.block();
    assert_eq!(f.ok("eth_getFilterChanges", json!([blocks])).await, json!([block.hash()]));
    let new: Vec<Log> = serde_json::from_value(f.ok("eth_getFilterChanges", json!([logs])).await).unwrap();
    assert!(!new.is_empty());
    for filter in [&logs, &blocks, &pending] {
        assert_eq!(f.ok("eth_getFilterChanges", json!([filter])).await, json!([]));
    }
    assert_eq!(f.ok("eth_uninstallFilter", json!([logs])).await, true);
    assert_eq!(f.ok("eth_uninstallFilter", json!([logs])).await, false);
    assert_eq!(f.error("eth_getFilterChanges", json!([logs])).await.1, "filter not found");
    assert_eq!(f.error("eth_getFilterLogs", json!([blocks])).await.1, "not a log filter");
}

#[tokio::test]
async fn receipts_agree_with_the_header_about_their_bloom() {
    let f = Fixture::new().await;
    f.send(&ballot(1, 0, 5)).await;
    let block = f.block();
    let receipts = f.ledger.receipts(1).unwrap().unwrap();
    let bloom = receipts.iter().fold(alloy_primitives::Bloom::ZERO, |all, r| all | r.receipt.bloom());
    assert_eq!(bloom, block.header().logs_bloom);
}

#[tokio::test]
async fn certificates_and_proofs_are_served_by_number_tag_and_hash() {
    let f = Fixture::new().await;
    let (first, second) = (f.block(), f.block());
    assert_eq!(f.ok("hansa_getBlockProof", json!(["0x1"])).await, Value::Null);
    certify(&f.ledger, &second);
    let by_tag = f.ok("hansa_getCertificate", json!(["latest"])).await;
    assert_eq!(by_tag["hash"], json!(second.hash()));
    assert_eq!(f.ok("hansa_getCertificate", json!([second.hash()])).await, by_tag);
    let proof = f.ok("hansa_getBlockProof", json!([first.hash()])).await;
    assert_eq!(
        (proof["block"]["headers"].as_array().unwrap().len(), &proof["block"]["certificate"]),
        (2, &by_tag)
    );
    for absent in [json!(["0x0"]), json!(["0x1"]), json!(["0x3"]), json!([B256::ZERO])] {
        assert_eq!(f.ok("hansa_getCertificate", absent).await, Value::Null);
    }
}
