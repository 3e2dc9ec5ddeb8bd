//! Subscriptions over WebSocket.

use alloy_rpc_types_eth::{Header, Log, Transaction};
use alloy_sol_types::SolEvent;
use hansa_contracts::{GOVERNANCE, SHARING, abi};
use hansa_gateway::RpcLimits;
use serde_json::json;

use crate::{
    chain::{Fixture, ballot},
    ws::Ws,
};

#[tokio::test]
async fn heads_logs_and_pending_transactions_arrive() {
    let f = Fixture::new().await;
    let mut ws = Ws::connect(f.server.address()).await;
    let heads = ws.subscribe(json!(["newHeads"])).await;
    let signature = abi::Governance::BallotOpened::SIGNATURE_HASH;
    let logs = ws.subscribe(json!(["logs", { "address": GOVERNANCE, "topics": [signature] }])).await;
    let hashes = ws.subscribe(json!(["newPendingTransactions"])).await;
    let whole = ws.subscribe(json!(["newPendingTransactions", true])).await;
    assert!(heads.starts_with("0x"), "{heads}");
    let transaction = ballot(1, 0, 5);
    f.send(&transaction).await;
    for _ in 0..2 {
        let (subscription, result) = ws.next().await;
        if subscription == hashes {
            assert_eq!(result, json!(transaction.tx_hash()));
        } else {
            assert_eq!(subscription, whole);
            let shown: Transaction = serde_json::from_value(result).unwrap();
            assert_eq!(shown.inner.tx_hash(), transaction.tx_hash());
        }
    }
    let block = f.block();
    for _ in 0..2 {
        let (subscription, result) = ws.next().await;
        if subscription == heads {
            let header: Header = serde_json::from_value(result).unwrap();
            assert_eq!(header.hash, block.hash());
        } else {
            assert_eq!(subscription, logs);
            let log: Log = serde_json::from_value(result).unwrap();
            assert_eq!((log.block_hash, log.inner.address), (Some(block.hash()), GOVERNANCE));
        }
    }
    for subscription in [&logs, &hashes, &whole] {
        assert_eq!(ws.call("eth_unsubscribe", json!([subscription])).await["result"], true);
    }
    assert_eq!(ws.call("eth_unsubscribe", json!([logs])).await["result"], false);
    f.send(&ballot(2, 0, 6)).await;
    let block = f.block();
    let (subscription, result) = ws.next().await;
    assert_eq!((subscription, &result["hash"]), (heads, &json!(block.hash())));
}

#[tokio::test]
async fn calls_work_over_the_same_session() {
    let f = Fixture::new().await;
    let mut ws = Ws::connect(f.server.address()).await;
    assert_eq!(ws.call("eth_blockNumber", json!([])).await["result"], "0x0");
    f.block();
    assert_eq!(ws.call("eth_blockNumber", json!([])).await["result"], "0x1");
    assert_eq!(ws.call("eth_getBalance", json!(["0x1"])).await["error"]["code"], -32602);
}

#[tokio::test]
async fn unknown_and_too_many_subscriptions_are_refused() {
    let f = Fixture::with(RpcLimits { subscriptions: 2, ..RpcLimits::default() }).await;
    let mut ws = Ws::connect(f.server.address()).await;
    for wrong in
        [json!(["syncing"]), json!(["news"]), json!([]), json!(["newHeads", true]), json!(["logs", 5])]
    {
        assert_eq!(ws.call("eth_subscribe", wrong.clone()).await["error"]["code"], -32602, "{wrong}");
    }
    let first = ws.subscribe(json!(["newHeads"])).await;
    ws.subscribe(json!(["logs"])).await;
    assert_eq!(ws.call("eth_subscribe", json!(["newHeads"])).await["error"]["code"], -32006);
    ws.call("eth_unsubscribe", json!([first])).await;
    // The place is free as soon as the subscription has ended, which the node learns a moment later.
    while ws.call("eth_subscribe", json!(["newHeads"])).await.get("error").is_some() {}
}

#[tokio::test]
async fn a_subscriber_that_falls_behind_is_told_and_loses_its_subscription() {
    let f = Fixture::new().await;
    let mut ws = Ws::connect(f.server.address()).await;
    let subscription = ws.subscribe(json!(["newHeads"])).await;
    // On this test's one thread the server does not run meanwhile, and more becomes final than is kept for anybody.
    for _ in 0..1_100 {
        f.block();
    }
    let message = ws.receive().await;
    assert!(message["params"]["error"].as_str().unwrap().contains("too slow"), "{message}");
    assert_eq!(ws.call("eth_unsubscribe", json!([subscription])).await["result"], false);
    ws.subscribe(json!(["newHeads"])).await;
    let block = f.block();
    assert_eq!(ws.next().await.1["hash"], json!(block.hash()));
}

#[tokio::test]
async fn stopping_ends_the_sessions() {
    let f = Fixture::new().await;
    let mut ws = Ws::connect(f.server.address()).await;
    ws.subscribe(json!(["newHeads"])).await;
    let address = f.server.address();
    f.server.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

/// A caller that asks for much and reads nothing: what is not taken is not worked out. Read late, all answers are there.
#[tokio::test]
async fn a_session_whose_answers_are_not_taken_is_not_served_on() {
    const TIMES: usize = 2_000;
    let f = Fixture::new().await;
    let mut ws = Ws::connect_narrow(f.server.address()).await;
    let request =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_getCode", "params": [SHARING, "latest"] });
    ws.send_many(&request, TIMES).await;
    let answered = || {
        let counted = f.server.calls().counted();
        counted.iter().find(|of| of.method == "eth_getCode").map_or(0, |of| of.answered)
    };
    // Others are served meanwhile, which gives the server time.
    for _ in 0..1_000 {
        f.ok("eth_blockNumber", json!([])).await;
    }
    assert!(answered() < 1_000, "{}", answered());
    for _ in 0..TIMES {
        assert!(ws.receive().await["result"].as_str().unwrap().len() > 30_000);
    }
}
