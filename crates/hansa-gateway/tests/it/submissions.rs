//! Handing in transactions: one at a time, in batches, and those that are refused.

use alloy_consensus::TxEip1559;
use alloy_primitives::{Address, TxKind, U256};
use serde_json::{Value, json};

use crate::chain::{CHAIN_ID, Fixture, account, ballot, call, raw, sign};

fn transfer() -> TxEip1559 {
    TxEip1559 { chain_id: CHAIN_ID, gas_limit: 21_000, to: TxKind::Call(Address::ZERO), ..Default::default() }
}

#[tokio::test]
async fn refusals_say_why() {
    let f = Fixture::new().await;
    f.send(&ballot(1, 0, 5)).await;
    f.block();
    let cases = [
        (sign(77, transfer()), "not registered"),
        (sign(1, transfer()), "nonce too low"),
        (sign(1, TxEip1559 { chain_id: 1, ..transfer() }), "invalid chain id"),
        (sign(2, TxEip1559 { value: U256::from(1), ..transfer() }), "insufficient funds"),
        (sign(2, TxEip1559 { gas_limit: 20_000, ..transfer() }), "intrinsic gas too low"),
        (sign(2, TxEip1559 { gas_limit: 17_000_000, ..transfer() }), "gas limit"),
        (sign(2, TxEip1559 { max_priority_fee_per_gas: 1, ..transfer() }), "max priority fee"),
        (sign(2, TxEip1559 { nonce: 1_000_000, ..transfer() }), "nonce too high"),
    ];
    for (transaction, words) in cases {
        let (code, message) = f.error("eth_sendRawTransaction", json!([raw(&transaction)])).await;
        assert_eq!(code, -32000, "{message}");
        assert!(message.contains(words), "{message:?} should contain {words:?}");
    }
    let known = sign(3, transfer());
    f.send(&known).await;
    assert_eq!(f.error("eth_sendRawTransaction", json!([raw(&known)])).await.1, "already known");
    let same_nonce = sign(3, TxEip1559 { input: vec![1].into(), gas_limit: 30_000, ..transfer() });
    assert!(f.error("eth_sendRawTransaction", json!([raw(&same_nonce)])).await.1.contains("underpriced"));
    for garbage in [json!(["0x"]), json!(["0x02c0"]), json!(["zz"]), json!([7]), json!([]), json!([null])] {
        assert_eq!(f.error("eth_sendRawTransaction", garbage.clone()).await.0, -32602, "{garbage}");
    }
    let mut longer = raw(&sign(4, transfer()));
    longer.push_str("00");
    assert_eq!(f.error("eth_sendRawTransaction", json!([longer])).await.0, -32602);
}

#[tokio::test]
async fn a_batch_is_answered_in_order_whatever_it_mixes() {
    let f = Fixture::new().await;
    let request = |id: u64, method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    let send = |id, nonce| {
        request(id, "eth_sendRawTransaction", json!([raw(&call(1, nonce, account(9), vec![].into()))]))
    };
    let batch = json!([
        send(1, 0),
        send(2, 1),
        send(3, 1),
        request(4, "eth_sendRawTransaction", json!(["0xzz"])),
        request(5, "eth_getTransactionCount", json!([account(1), "pending"])),
        { "jsonrpc": "2.0", "method": "eth_blockNumber" },
        7,
        send(6, 2),
        request(8, "eth_noSuchMethod", json!([])),
    ]);
    let answers = f.exchange(batch).await;
    let answers = answers.as_array().unwrap();
    let find =
        |id: u64| answers.iter().find(|a| a["id"] == id).unwrap_or_else(|| panic!("{id}: {answers:?}"));
    assert_eq!(answers.len(), 8);
    for sent in [1, 2, 6] {
        assert!(find(sent)["result"].is_string(), "{}", find(sent));
    }
    assert_eq!(find(3)["error"]["message"], "already known");
    assert_eq!(find(4)["error"]["code"], -32602);
    assert_eq!(find(5)["result"], "0x2", "what came before in the batch counts");
    assert_eq!(find(8)["error"]["code"], -32601);
    assert_eq!(answers.iter().filter(|a| a["error"]["code"] == -32600).count(), 1);
    assert_eq!(f.block().transactions().len(), 3);
}

#[tokio::test]
async fn many_single_submissions_at_once_all_get_their_own_answer() {
    let f = Fixture::new().await;
    let transactions: Vec<_> = (0..50).map(|nonce| call(2, nonce, account(9), vec![].into())).collect();
    let sent = futures::future::join_all(transactions.iter().map(|tx| f.send(tx))).await;
    for (transaction, answer) in transactions.iter().zip(sent) {
        assert_eq!(answer, json!(transaction.tx_hash()));
    }
    assert_eq!(f.block().transactions().len(), 50);
}

#[tokio::test]
async fn a_batch_of_a_thousand_is_admitted_whole() {
    let f = Fixture::new().await;
    let batch: Vec<Value> = (0..1_000)
        .map(|nonce| {
            let params = json!([raw(&call(1, nonce, account(9), vec![].into()))]);
            json!({ "jsonrpc": "2.0", "id": nonce, "method": "eth_sendRawTransaction", "params": params })
        })
        .collect();
    let answers = f.exchange(json!(batch)).await;
    assert!(answers.as_array().unwrap().iter().all(|answer| answer["result"].is_string()));
    assert_eq!(f.ok("txpool_status", json!([])).await["pending"], "0x3e8");
}
