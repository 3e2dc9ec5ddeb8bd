//! Wallets, libraries and web pages: which of them JSON-RPC serves.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::chain::Fixture;

fn post(f: &Fixture, origin: &str) -> reqwest::RequestBuilder {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": [] });
    let request = reqwest::Client::new().post(format!("http://{}", f.server.address()));
    request.header("content-type", "application/json").header("origin", origin).body(body.to_string())
}

#[tokio::test]
async fn extensions_the_nodes_own_address_and_listed_pages_are_served() {
    let f = Fixture::new().await;
    let own = format!("http://{}", f.server.address());
    for origin in ["chrome-extension://nkbihfbeogaeaoehlefnkodbefgpgknn", &own, "https://app.example"] {
        let answer = post(&f, origin).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{origin}");
        assert_eq!(answer.headers()["access-control-allow-origin"], origin);
    }
    for origin in ["https://example.com", "http://127.0.0.1:1", "null", ""] {
        let answer = post(&f, origin).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{origin}");
        assert!(
            answer.text().await.unwrap().contains("`origins` under [rpc]"),
            "the refusal names the setting"
        );
    }
}

#[tokio::test]
async fn a_browser_may_ask_beforehand_for_listed_pages_alone() {
    let f = Fixture::new().await;
    let ask = |origin: &str| {
        let url = format!("http://{}", f.server.address());
        reqwest::Client::new().request(reqwest::Method::OPTIONS, url).header("origin", origin).send()
    };
    let answer = ask("https://app.example").await.unwrap();
    assert_eq!(answer.status(), 204);
    assert_eq!(answer.headers()["access-control-allow-headers"], "content-type");
    assert_eq!(ask("https://example.com").await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_library_that_sends_the_nodes_address_as_origin_gets_its_web_socket() {
    let f = Fixture::new().await;
    for (origin, status) in
        [(format!("http://{}", f.server.address()), "101"), ("https://x.example".into(), "403")]
    {
        let mut socket = TcpStream::connect(f.server.address()).await.unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: SGVsbG8sIHdvcmxkISE9PQ==\r\n\r\n",
            f.server.address()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        socket.read_exact(&mut head).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&head), format!("HTTP/1.1 {status}"), "{origin}");
    }
}
