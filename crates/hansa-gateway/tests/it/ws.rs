//! A WebSocket caller.

use std::net::SocketAddr;

use serde_json::{Value, json};
use soketto::handshake::{Client, ServerResponse};
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

type Stream = Compat<TcpStream>;

pub(crate) struct Ws {
    sender: soketto::Sender<Stream>,
    receiver: soketto::Receiver<Stream>,
    notifications: Vec<Value>,
}

impl Ws {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect(to).await.unwrap(), to).await
    }

    /// A session of a caller whose system takes little that it does not read.
    pub(crate) async fn connect_narrow(to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        Self::over(socket.connect(to).await.unwrap(), to).await
    }

    async fn over(stream: TcpStream, to: SocketAddr) -> Self {
        let stream = stream.compat();
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

    /// Sends the same request many times, and reads nothing.
    pub(crate) async fn send_many(&mut self, request: &Value, times: usize) {
        for _ in 0..times {
            self.sender.send_text(request.to_string()).await.unwrap();
        }
        self.sender.flush().await.unwrap();
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
