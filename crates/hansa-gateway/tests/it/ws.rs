//! A WebSocket caller.

use std::net::SocketAddr;

use serde_json::{Value, json};
use soketto::handshake::{Client, ServerResponse};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

type Stream = Compat<TcpStream>;

pub(crate) struct Ws {
    sender: soketto::Sender<Stream>,
    receiver: soketto::Receiver<Stream>,
    notifications: Vec<Value>,
}

impl Ws {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap().compat();
        let host = to.to_string();
        let mut client = Client::new(stream, &host, "/");
        assert!(matches!(client.handshake().await.unwrap(), ServerResponse::Accepted { .. }));
        let (sender, receiver) = client.into_builder().finish();
        Self { sender, receiver, notifications: Vec::new() }
    }

    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        self.sender.send_text(request.to_string()).await.unwrap();
        self.sender.flush().await.unwrap();
        loop {
            let message = self.receive().await;
            if message["id"] == 7 {
                return message;
            }
            self.notifications.push(message);
        }
    }

    pub(crate) async fn subscribe(&mut self, params: Value) -> String {
        let answer = self.call("eth_subscribe", params).await;
        answer["result"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// The next notification: its subscription and its result.
    pub(crate) async fn next(&mut self) -> (String, Value) {
        let message = match self.notifications.is_empty() {
            true => self.receive().await,
            false => self.notifications.remove(0),
        };
        assert_eq!(message["method"], "eth_subscription", "{message}");
        let params = &message["params"];
        (params["subscription"].as_str().unwrap().to_owned(), params["result"].clone())
    }

    /// The next message, whatever it is.
    pub(crate) async fn receive(&mut self) -> Value {
        let mut data = Vec::new();
        self.receiver.receive_data(&mut data).await.unwrap();
        serde_json::from_slice(&data).unwrap()
    }
}
