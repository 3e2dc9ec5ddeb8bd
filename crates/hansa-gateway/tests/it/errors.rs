//! Malformed, oversized and unknown requests: an error that says so, and a server that goes on.

use hansa_gateway::RpcLimits;
use serde_json::{Value, json};

use crate::chain::Fixture;

#[tokio::test]
async fn malformed_requests_are_errors_by_the_specification() {
    let f = Fixture::new().await;
    let cases = [
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":", -32700),
        ("not json", -32700),
        ("[]", -32600),
        ("{\"id\":1}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1}", -32600),
        ("[1,2", -32700),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_noSuchMethod\",\"params\":[]}", -32601),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_getBalance\",\"params\":{\"address\":\"0x0\"}}",
            -32602,
        ),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_subscribe\",\"params\":[\"newHeads\"]}", -32603),
    ];
    for (body, code) in cases {
        let (_, text) = f.post(body).await;
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{body} → {text}"));
        assert_eq!(answer["error"]["code"], code, "{body} → {text}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let (_, text) = f.post(deep).await;
    assert!(text.contains("error"), "{text}");
    assert_eq!(f.ok("eth_blockNumber", json!([])).await, "0x0", "the server goes on");
}

#[tokio::test]
async fn bad_parameters_are_named() {
    let f = Fixture::new().await;
    let short = "0x1234";
    let cases = [
        ("eth_getBalance", json!([])),
        ("eth_getBalance", json!([short])),
        ("eth_getBalance", json!(["0x0000000000000000000000000000000000001001", "soon"])),
        ("eth_getBlockByNumber", json!(["0xzz", true])),
        ("eth_getBlockByNumber", json!(["0x10000000000000000", true])),
        ("eth_getBlockByNumber", json!(["latest", "yes"])),
        ("eth_getBlockByHash", json!([short, true])),
        ("eth_getTransactionReceipt", json!([short])),
        ("eth_getTransactionByHash", json!([{ "a": 1 }])),
        ("eth_call", json!(["0x"])),
        ("eth_call", json!([{ "to": short }])),
        ("eth_call", json!([{ "data": "0x0" }])),
        ("eth_getStorageAt", json!(["0x0000000000000000000000000000000000001001", "7"])),
        ("eth_getProof", json!(["0x0000000000000000000000000000000000001001", ["0x"], "latest"])),
        ("eth_getProof", json!(["0x0000000000000000000000000000000000001001", vec!["0x1"; 1_025], "latest"])),
        ("eth_getLogs", json!([{ "address": short }])),
        ("eth_getLogs", json!([{ "topics": ["0x1", "0x2", "0x3", "0x4", "0x5"] }])),
        ("eth_getFilterChanges", json!(["filter"])),
        ("eth_feeHistory", json!(["0x1", "latest", [101.0]])),
        ("eth_getTransactionByBlockNumberAndIndex", json!(["latest", -1])),
    ];
    for (method, params) in cases {
        let (code, message) = f.error(method, params.clone()).await;
        assert_eq!(code, -32602, "{method} {params}: {message}");
        assert!(message.len() > 10, "{method} {params}: {message:?}");
    }
    let many: Vec<String> = (0..2_000).map(|i| format!("0x{i:040x}")).collect();
    assert_eq!(f.error("eth_getLogs", json!([{ "address": many }])).await.0, -32602);
}

#[tokio::test]
async fn what_is_too_much_is_refused() {
    let limits = RpcLimits { request_bytes: 10_000, batch: 3, logs: 1, filters: 2, ..RpcLimits::default() };
    let f = Fixture::with(limits).await;
    assert_eq!(f.post(vec![b' '; 20_000]).await.0, 413);
    let one = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": [] });
    assert_eq!(f.exchange(json!([one, one, one])).await.as_array().map(Vec::len), Some(3));
    assert_eq!(f.exchange(json!([one, one, one, one])).await["error"]["code"], -32010);
    for (nonce, candidate) in [(0, 5), (1, 6)] {
        f.send(&crate::chain::ballot(1, nonce, candidate)).await;
        f.block();
    }
    let (code, message) = f.error("eth_getLogs", json!([{ "fromBlock": "0x0" }])).await;
    assert_eq!(code, -32005);
    assert!(message.contains("more than 1 results"), "{message}");
    let first = f.ok("eth_newBlockFilter", json!([])).await;
    for _ in 0..2 {
        f.ok("eth_newBlockFilter", json!([])).await;
    }
    assert_eq!(f.error("eth_getFilterChanges", json!([first])).await.1, "filter not found");
}

#[tokio::test]
async fn the_settings_bound_what_one_call_asks_for() {
    let limits = RpcLimits {
        log_values: 2,
        proof_slots: 1,
        call_overrides: 1,
        fee_percentiles: 1,
        fee_blocks: 1,
        simulation_blocks: 1,
        simulation_calls: 1,
        ..RpcLimits::default()
    };
    let f = Fixture::with(limits).await;
    f.block();
    let [one, two, three] = [1, 2, 3].map(|i| format!("0x{i:040x}"));
    let call = json!({ "to": one });
    let block = json!({ "calls": [call] });
    for (method, params) in [
        ("eth_getLogs", json!([{ "address": [one, two, three] }])),
        ("eth_getProof", json!([one, ["0x0", "0x1"], "latest"])),
        ("eth_call", json!([call, "latest", { (one.clone()): {}, (two.clone()): {} }])),
        ("eth_feeHistory", json!(["0x1", "latest", [1, 2]])),
        ("eth_simulateV1", json!([{ "blockStateCalls": [block, block] }])),
        ("eth_simulateV1", json!([{ "blockStateCalls": [{ "calls": [call, call] }] }])),
    ] {
        let (code, message) = f.error(method, params).await;
        assert_eq!(code, -32602, "{method}: {message}");
    }
    f.ok("eth_getLogs", json!([{ "address": [one, two] }])).await;
    f.ok("eth_getProof", json!([one, ["0x0"], "latest"])).await;
    let history = f.ok("eth_feeHistory", json!(["0x2", "latest", [1]])).await;
    assert_eq!(history["gasUsedRatio"].as_array().map(Vec::len), Some(1), "it is shortened");
}

#[tokio::test]
async fn requests_are_counted_by_method_and_labels_are_not_the_callers() {
    let f = Fixture::new().await;
    for method in ["eth_chainId", "eth_chainId", "eth_getBalance", "eth_any", "any_thing"] {
        f.call(method, json!([])).await;
    }
    let request =
        |id: u64, method: &str| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": [] });
    let batch = ["eth_chainId", "eth_sendRawTransaction", "eth_sendRawTransaction", "none"];
    f.exchange(batch.iter().zip(1..).map(|(method, id)| request(id, method)).collect()).await;
    let counted = f.server.calls().counted();
    let counts: Vec<_> = counted.iter().map(|of| (of.method, of.answered, of.failed)).collect();
    let expected =
        [("eth_chainId", 3, 0), ("eth_getBalance", 0, 1), ("eth_sendRawTransaction", 0, 2), ("other", 0, 3)];
    assert_eq!(counts, expected);
    assert!(counted.iter().all(|of| of.time.as_secs() < 60) && counted.iter().any(|of| !of.time.is_zero()));
}

#[tokio::test]
async fn other_methods_and_content_types_are_refused() {
    let f = Fixture::new().await;
    let url = format!("http://{}", f.server.address());
    let http = reqwest::Client::new();
    assert_eq!(http.get(&url).send().await.unwrap().status(), 405);
    let text = http.post(&url).header("content-type", "text/plain").body("{}").send().await.unwrap();
    assert_eq!(text.status(), 415);
    let page =
        http.post(&url).header("content-type", "application/json").header("origin", "https://example.com");
    assert_eq!(page.body("{}").send().await.unwrap().status(), 403, "web pages are kept out");
}
