//! Calls as tools make them: overrides, access lists, simulations, and errors in geth's words.

use alloy_primitives::{Address, B256, Bytes, U256, address, bytes};
use alloy_sol_types::SolCall;
use hansa_contracts::{GOVERNANCE, REGISTRY, abi, registry_slot_of};
use hansa_gateway::RpcLimits;
use hansa_types::DEPLOYER_TRANSACTION;
use serde_json::{Value, json};

use crate::chain::{Fixture, account, ballot, create, quantity};

const POOR: Address = Address::repeat_byte(0xbb);
const PRETENDED: Address = Address::repeat_byte(0xaa);

/// Returns slot 1.
const READER: &str = "0x60015460005260206000f3";
/// Stores 7 at slot 1, then emits a log without topics.
const WRITER: &str = "0x600760015560006000a000";

fn dc_id_of(of: u8) -> Bytes {
    abi::ConsortiumRegistry::dcIdOfCall { account: account(of) }.abi_encode().into()
}

fn word(value: u64) -> Value {
    json!(B256::from(U256::from(value)))
}

/// Creation code that emits `count` logs without topics.
fn logs(count: u16) -> Bytes {
    let [high, low] = count.to_be_bytes();
    // push2 count; loop: log0; count - 1; loop unless 0; stop
    [&[0x61, high, low, 0x5b, 0x5f, 0x5f, 0xa0, 0x60, 0x01, 0x90, 0x03, 0x80, 0x60, 0x03, 0x57, 0x00][..]]
        .concat()
        .into()
}

#[tokio::test]
async fn missing_funds_and_gas_are_said_in_words_that_libraries_know() {
    let f = Fixture::new().await;
    let poor = json!([{ "from": POOR, "to": GOVERNANCE, "value": "0x1" }, "latest"]);
    for method in ["eth_call", "eth_estimateGas", "eth_createAccessList"] {
        let (code, message) = f.error(method, poor.clone()).await;
        assert_eq!(code, -32000, "{method}");
        assert!(message.contains("insufficient funds for gas * price + value"), "{method}: {message}");
    }
    let starved = json!([{ "to": GOVERNANCE, "gas": "0x10" }, "latest"]);
    assert!(f.error("eth_call", starved).await.1.contains("intrinsic gas too low"));
}

#[tokio::test]
async fn overrides_change_what_a_call_finds_and_nothing_else() {
    let f = Fixture::new().await;
    let read = json!({ "to": PRETENDED });
    let cases = [
        (json!({ "code": READER }), 0),
        (json!({ "code": READER, "stateDiff": { B256::with_last_byte(1).to_string(): word(9) } }), 9),
        (json!({ "code": READER, "state": { B256::with_last_byte(2).to_string(): word(9) } }), 0),
    ];
    for (account, expected) in cases {
        let answer = f.ok("eth_call", json!([read, "latest", { PRETENDED.to_string(): account }])).await;
        assert_eq!(answer, word(expected), "{account}");
    }
    assert_eq!(f.ok("eth_call", json!([read, "latest"])).await, "0x", "nothing is left of it");
    let member = json!([{ "to": REGISTRY, "data": dc_id_of(9) }, "latest",
        { REGISTRY.to_string(): { "stateDiff": { B256::from(registry_slot_of(account(9))).to_string(): word(3) } } }]);
    assert_eq!(f.ok("eth_call", member).await, word(3), "other slots of the account stay");
    let rich = json!([{ "from": POOR, "to": PRETENDED, "value": "0x1" }, "latest", { POOR.to_string(): { "balance": "0x10" } }]);
    assert!(quantity(&f.ok("eth_estimateGas", rich).await) >= 21_000);
    // NUMBER and TIMESTAMP.
    for (code, field, value) in [("0x4360005260206000f3", "number", 77), ("0x4260005260206000f3", "time", 78)]
    {
        let params = json!([read, "latest", { PRETENDED.to_string(): { "code": code } }, { field: format!("{value:#x}") }]);
        assert_eq!(f.ok("eth_call", params).await, word(value), "{field}");
    }
}

#[tokio::test]
async fn overrides_that_are_not_understood_are_refused() {
    let f = Fixture::new().await;
    let of = |account: Value| json!([{ "to": PRETENDED }, "latest", { PRETENDED.to_string(): account }]);
    let slot = json!({ B256::ZERO.to_string(): word(1) });
    let block = |over: Value| json!([{ "to": PRETENDED }, "latest", {}, over]);
    for params in [
        of(json!({ "colour": 1 })),
        of(json!({ "state": slot, "stateDiff": slot })),
        of(json!({ "movePrecompileToAddress": POOR })),
        block(json!({ "baseFeePerGas": "0x1" })),
        block(json!({ "number": "0x10000000000000000" })),
    ] {
        assert_eq!(f.error("eth_call", params.clone()).await.0, -32602, "{params}");
    }
}

#[tokio::test]
async fn an_access_list_names_what_a_call_reaches_and_helps_it() {
    let f = Fixture::new().await;
    let call = json!({ "from": account(1), "to": REGISTRY, "data": dc_id_of(3) });
    let answer = f.ok("eth_createAccessList", json!([call, "latest"])).await;
    let items = answer["accessList"].as_array().unwrap();
    let registry =
        items.iter().find(|item| item["address"] == json!(REGISTRY)).unwrap_or_else(|| panic!("{answer}"));
    let slot = json!(B256::from(registry_slot_of(account(3))));
    assert!(registry["storageKeys"].as_array().unwrap().contains(&slot), "{answer}");
    assert!(items.iter().all(|item| item["address"] != json!(account(1))), "the sender is warm anyway");
    assert!(quantity(&answer["gasUsed"]) > 21_000 && answer.get("error").is_none());
    let mut with_list = call.clone();
    with_list["accessList"] = answer["accessList"].clone();
    let again = f.ok("eth_createAccessList", json!([with_list])).await;
    assert_eq!(again, answer, "the list is complete");
    let admit = abi::ConsortiumRegistry::admitCall {
        signed: hansa_contracts::signed_card_from_types(&crate::chain::signed_card(6)),
    };
    let failing = json!([{ "to": REGISTRY, "data": Bytes::from(admit.abi_encode()) }]);
    let error = f.ok("eth_createAccessList", failing).await["error"].clone();
    assert!(error.as_str().unwrap().starts_with("execution reverted"), "{error}");
}

#[tokio::test]
async fn simulated_blocks_build_on_one_another() {
    let f = Fixture::new().await;
    f.block();
    let write = json!({ "to": PRETENDED });
    let payload = json!({
        "blockStateCalls": [
            { "stateOverrides": { PRETENDED.to_string(): { "code": WRITER } }, "calls": [write, write] },
            { "stateOverrides": { PRETENDED.to_string(): { "code": READER } }, "blockOverrides": { "number": "0x9" }, "calls": [write] },
            { "calls": [{ "from": account(1), "to": REGISTRY, "data": "0x11111111" }] },
        ],
        "returnFullTransactions": true,
    });
    let answer = f.ok("eth_simulateV1", json!([payload, "latest"])).await;
    let numbers: Vec<u64> =
        answer.as_array().unwrap().iter().map(|block| quantity(&block["number"])).collect();
    assert_eq!(numbers, [2, 9, 10]);
    let (first, second, third) = (&answer[0], &answer[1], &answer[2]);
    assert_eq!(second["parentHash"], first["hash"]);
    assert_eq!(first["transactions"][0]["to"], json!(PRETENDED));
    let log = &first["calls"][1]["logs"][0];
    assert_eq!((&log["logIndex"], &log["blockHash"]), (&json!("0x1"), &first["hash"]));
    assert_eq!(second["calls"][0]["returnData"], word(7));
    assert_eq!(
        (&third["calls"][0]["status"], &third["calls"][0]["error"]["code"]),
        (&json!("0x0"), &json!(3))
    );
    assert_eq!(f.ok("eth_getCode", json!([PRETENDED, "latest"])).await, "0x", "nothing is left of it");
}

#[tokio::test]
async fn simulations_are_bounded_and_checked() {
    let f = Fixture::new().await;
    let simulate = |payload: Value| f.error("eth_simulateV1", json!([payload, "latest"]));
    let spend = json!({ "from": POOR, "to": PRETENDED, "value": "0x1" });
    let spin = json!({ "to": PRETENDED, "gas": "0x2000000" });
    let spinning = json!({ PRETENDED.to_string(): { "code": "0x5b600056" } });
    let cases = [
        (json!({ "blockStateCalls": [] }), -32602),
        (json!({ "blockStateCalls": vec![json!({}); 257] }), -32602),
        (json!({ "blockStateCalls": [{ "calls": vec![json!({}); 1_025] }] }), -32602),
        (json!({ "blockStateCalls": [{}], "traceTransfers": true }), -32602),
        (json!({ "blockStateCalls": [{ "calls": [spend] }] }), -38014),
        (json!({ "blockStateCalls": [{ "calls": [{ "nonce": "0x5" }] }], "validation": true }), -38011),
        (json!({ "blockStateCalls": [{ "blockOverrides": { "number": "0x0" } }] }), -38020),
        (json!({ "blockStateCalls": [{ "blockOverrides": { "time": "0x1" } }] }), -38021),
        // All calls together have the gas of one.
        (json!({ "blockStateCalls": [{ "stateOverrides": spinning, "calls": [spin, spin, spin] }] }), -38013),
    ];
    for (payload, code) in cases {
        let (found, message) = simulate(payload.clone()).await;
        assert_eq!(found, code, "{message}");
    }
}

#[tokio::test]
async fn the_logs_of_a_single_block_are_answered_whatever_their_number() {
    let f = Fixture::with(RpcLimits { logs: 10, ..RpcLimits::default() }).await;
    let filter = f.ok("eth_newFilter", json!([{}])).await;
    for (nonce, count) in [(0, 4), (1, 25), (2, 4)] {
        f.send(&create(1, nonce, logs(count))).await;
        f.block();
    }
    let count = async |from: u64, to: u64| {
        let range = json!([{ "fromBlock": format!("{from:#x}"), "toBlock": format!("{to:#x}") }]);
        f.ok("eth_getLogs", range).await.as_array().unwrap().len()
    };
    assert_eq!((count(1, 1).await, count(2, 2).await, count(3, 3).await), (4, 25, 4));
    let by_hash = json!([{ "blockHash": f.ledger.block(2).unwrap().unwrap().hash() }]);
    assert_eq!(f.ok("eth_getLogs", by_hash).await.as_array().unwrap().len(), 25);
    let (code, message) = f.error("eth_getLogs", json!([{ "fromBlock": "0x1", "toBlock": "0x3" }])).await;
    assert_eq!(code, -32005);
    assert!(message.contains("for example to 1 to 1"), "{message}");
    // A filter that is polled goes on block by block and never stands still.
    let mut polled = Vec::new();
    for _ in 0..4 {
        polled.push(f.ok("eth_getFilterChanges", json!([filter])).await.as_array().unwrap().len());
    }
    assert_eq!(polled, [4, 25, 4, 0]);
}

#[tokio::test]
async fn the_deterministic_deployment_proxy_can_be_put_in_place_once_by_anybody() {
    let f = Fixture::new().await;
    let proxy = address!("4e59b44847b379578588920ca78fbf26c0b4956c");
    let raw = "0xf8a58085174876e800830186a08080b853604580600e600039806000f350fe7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf31ba02222222222222222222222222222222222222222222222222222222222222222a02222222222222222222222222222222222222222222222222222222222222222";
    assert_eq!(f.ok("eth_sendRawTransaction", json!([raw])).await, json!(DEPLOYER_TRANSACTION));
    f.send(&ballot(1, 0, 5)).await;
    assert_eq!(f.block().transactions().len(), 2);
    let code = f.ok("eth_getCode", json!([proxy, "latest"])).await;
    assert!(code.as_str().unwrap().starts_with("0x7fffffffff"), "{code}");
    let receipt = f.ok("eth_getTransactionReceipt", json!([DEPLOYER_TRANSACTION])).await;
    assert_eq!((&receipt["status"], &receipt["contractAddress"]), (&json!("0x1"), &json!(proxy)));
    assert!(f.error("eth_sendRawTransaction", json!([raw])).await.1.contains("nonce too low"));
    // Through it, the same code and salt give the same address on every chain.
    let salt_and_code = [&[7; 32][..], &bytes!("60016000526001601ff3")].concat();
    let created =
        f.ok("eth_call", json!([{ "to": proxy, "data": Bytes::from(salt_and_code.clone()) }])).await;
    let expected = proxy.create2_from_code(B256::repeat_byte(7), &salt_and_code[32..]);
    assert_eq!(created, json!(expected));
}

#[tokio::test]
async fn a_block_stays_readable_long_after_it_was_the_head() {
    let f = Fixture::new().await;
    f.send(&ballot(1, 0, 5)).await;
    for _ in 0..400 {
        f.block();
    }
    let at = |number: &str| json!([account(1), number]);
    assert_eq!(f.ok("eth_getTransactionCount", at("0x0")).await, "0x0");
    assert_eq!(f.ok("eth_getTransactionCount", at("0x1")).await, "0x1");
    let call = json!([{ "to": REGISTRY, "data": dc_id_of(3) }, "0x1"]);
    assert_eq!(f.ok("eth_call", call).await, word(3));
}
