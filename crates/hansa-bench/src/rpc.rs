//! The Ethereum JSON-RPC client of the load generator: batches over HTTP, heads over WebSocket.

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

use crate::BenchError;

/// One node's HTTP endpoint.
#[derive(Clone)]
pub(crate) struct Rpc {
    url: String,
    http: reqwest::Client,
}

impl Rpc {
    pub(crate) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), http: reqwest::Client::new() }
    }

    /// Calls one method.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Result<Value, BenchError> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer: Value = self.http.post(&self.url).json(&request).send().await?.json().await?;
        match answer.get("result") {
            Some(result) => Ok(result.clone()),
            None => Err(BenchError::Rpc { method: method.to_owned(), answer: answer.to_string() }),
        }
    }

    /// Submits a prepared batch of `eth_sendRawTransaction`; returns for each why it was refused, in their order.
    pub(crate) async fn submit(&self, body: String) -> Result<Vec<Option<String>>, BenchError> {
        let request = self.http.post(&self.url).header("content-type", "application/json").body(body);
        let mut answers: Vec<Value> = request.send().await?.json().await?;
        answers.sort_by_key(|answer| answer["id"].as_u64());
        Ok(answers.iter().map(|answer| answer.get("error").map(ToString::to_string)).collect())
    }
}

/// The batch request for these raw transactions.
pub(crate) fn batch<'a>(raw: impl Iterator<Item = &'a [u8]>) -> String {
    let mut body = String::from("[");
    for (id, raw) in raw.enumerate() {
        if id > 0 {
            body.push(',');
        }
        let raw = alloy_primitives::hex::encode_prefixed(raw);
        let request =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_sendRawTransaction","params":["{raw}"]}}"#);
        body.push_str(&request);
    }
    body.push(']');
    body
}

/// A subscription to a node's new heads.
pub(crate) struct Heads(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Heads {
    pub(crate) async fn subscribe(url: &str) -> Result<Self, BenchError> {
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.map_err(BenchError::socket)?;
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]});
        socket.send(Message::text(request.to_string())).await.map_err(BenchError::socket)?;
        Ok(Self(socket))
    }

    /// The hash of the next head.
    pub(crate) async fn next(&mut self) -> Result<String, BenchError> {
        while let Some(message) = self.0.next().await {
            let Message::Text(text) = message.map_err(BenchError::socket)? else { continue };
            let value: Value = serde_json::from_str(&text).unwrap_or_default();
            if let Some(hash) = value["params"]["result"]["hash"].as_str() {
                return Ok(hash.to_owned());
            }
        }
        Err(BenchError::Socket("the node closed the subscription".into()))
    }
}
