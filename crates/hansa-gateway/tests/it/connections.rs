//! Callers that hold connections without using them, over real sockets. Both interfaces accept in the same way.

use std::{net::SocketAddr, time::Duration};

use hansa_api::{Code, ObjectsRequest};
use hansa_client::OpenOptions;
use hansa_gateway::{ConnectionLimits, RestLimits, RpcLimits};
use hansa_types::ObjectId;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    chain::Fixture,
    rest::Rest,
    vault::{LARGE, LARGE_MIB, dc},
};

/// Short enough to wait for.
const SOON: Duration = Duration::from_millis(50);
/// Never reached by a test that passes.
const NEVER: Duration = Duration::from_secs(3_600);

async fn rest(connections: ConnectionLimits) -> Rest {
    Rest::with(RestLimits { sockets: connections, ..RestLimits::default() }).await
}

async fn rpc(sockets: ConnectionLimits) -> Fixture {
    Fixture::with(RpcLimits { sockets, ..RpcLimits::default() }).await
}

async fn connect(to: SocketAddr, bytes: &str) -> TcpStream {
    let mut socket = TcpStream::connect(to).await.unwrap();
    socket.write_all(bytes.as_bytes()).await.unwrap();
    socket
}

/// What the server sends until it closes; a reset counts as the end.
async fn until_closed(mut socket: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = socket.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_ends_the_connection() {
    let limits = ConnectionLimits { head_time: SOON, ..ConnectionLimits::default() };
    let (rest, f) = (rest(limits).await, rpc(limits).await);
    for address in [rest.server.address(), f.server.address()] {
        for bytes in ["", "GET /v1/health HT", "GET /v1/health HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
            let answer = until_closed(connect(address, bytes).await).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{bytes:?}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_ends_the_connection() {
    let limits = ConnectionLimits { head_time: NEVER, ..ConnectionLimits::default() };
    let (rest, f) = (rest(limits).await, rpc(limits).await);
    for address in [rest.server.address(), f.server.address()] {
        let head = format!("GET /v1/health HTTP/1.1\r\nHost: x\r\nX-Long: {}", "x".repeat(1 << 20));
        let mut socket = TcpStream::connect(address).await.unwrap();
        // The server closes before it has read all of it.
        let _ = socket.write_all(head.as_bytes()).await;
        let answer = until_closed(socket).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}

/// A body that cannot be read to its end is the caller's error, not the node's.
#[tokio::test]
async fn bodies_that_break_off_are_told_apart_from_failures_of_the_node() {
    let (rest, f) = (rest(ConnectionLimits::default()).await, rpc(ConnectionLimits::default()).await);
    let token = rest.token.reveal();
    let rest_head =
        format!("POST /v1/ballots/1/votes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n");
    for (address, head) in
        [(rest.server.address(), rest_head.as_str()), (f.server.address(), "POST / HTTP/1.1\r\nHost: x\r\n")]
    {
        for body in ["Content-Length: 100\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"] {
            let request = format!("{head}Content-Type: application/json\r\nConnection: close\r\n{body}");
            let mut socket = connect(address, &request).await;
            socket.shutdown().await.unwrap();
            let answer = until_closed(socket).await;
            assert!(answer.starts_with("HTTP/1.1 400"), "{request}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_idle_after_an_answer_is_closed() {
    let limits = ConnectionLimits { head_time: SOON, ..ConnectionLimits::default() };
    let rest = rest(limits).await;
    let request = "GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = until_closed(connect(rest.server.address(), request).await).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_body_that_pauses_too_long_is_an_error_and_nothing_is_recorded() {
    let limits = ConnectionLimits { body_pause: SOON, ..ConnectionLimits::default() };
    let (rest, f) = (rest(limits).await, rpc(limits).await);
    let token = rest.token.reveal();
    let meta = "%7B%22name%22%3A%22x%22%2C%22kind%22%3A%22file%22%7D";
    let upload = format!(
        "POST /v1/objects HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 100\r\n\
         Content-Type: application/octet-stream\r\nHansa-Meta: {meta}\r\n\r\n"
    );
    let answer = until_closed(connect(rest.server.address(), &upload).await).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("\"code\":1007"), "{answer}");
    assert!(rest.client.objects(&ObjectsRequest::default()).await.unwrap().objects.is_empty());
    let vote = format!(
        "POST /v1/ballots/1/votes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 100\r\n\
         Content-Type: application/json\r\n\r\n{{\"support\":"
    );
    let answer = until_closed(connect(rest.server.address(), &vote).await).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let call = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    let answer = until_closed(connect(f.server.address(), call).await).await;
    assert!(!answer.contains("200 OK"), "{answer}");
}

/// A caller that asks for large content and reads no more of it than the first line.
#[tokio::test]
async fn a_download_that_nobody_takes_is_cut_and_gives_its_place_back() {
    let connections = ConnectionLimits { body_pause: SOON, ..ConnectionLimits::default() };
    let rest = Rest::with(RestLimits { operations: 1, sockets: connections, ..RestLimits::default() }).await;
    let request = format!(
        "GET /v1/objects/1/{LARGE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        rest.token.reveal()
    );
    let mut unread = connect(rest.server.address(), &request).await;
    let mut head = [0; 12];
    unread.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let large = ObjectId { owner: dc(1), number: LARGE };
    loop {
        match rest.client.open(large, OpenOptions::default()).await {
            Ok(_) => break,
            Err(error) => assert_eq!(error.code(), Some(Code::Busy), "{error}"),
        }
    }
    assert!(until_closed(unread).await.len() < LARGE_MIB << 20);
}

#[tokio::test]
async fn idle_connections_shut_nobody_out() {
    let limits = ConnectionLimits { connections: 16, head_time: NEVER, ..ConnectionLimits::default() };
    let (rest, f) = (rest(limits).await, rpc(limits).await);
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(connect(rest.server.address(), "GET /v1/health HTTP/1.1\r\n").await);
        idle.push(connect(f.server.address(), "").await);
    }
    assert_eq!(rest.client.members().await.unwrap().len(), 4);
    assert_eq!(f.ok("eth_blockNumber", json!([])).await, "0x0");
    // The oldest gave way.
    assert_eq!(until_closed(idle.remove(0)).await, "");
}

#[tokio::test]
async fn a_connection_with_a_request_in_progress_gives_way_to_nobody() {
    let limits = ConnectionLimits { connections: 1, head_time: NEVER, body_pause: NEVER };
    let rest = rest(limits).await;
    let request = format!(
        "POST /v1/ballots/1/votes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 16\r\n\
         Expect: 100-continue\r\nContent-Type: application/json\r\n\r\n",
        rest.token.reveal()
    );
    let mut busy = connect(rest.server.address(), &request).await;
    let mut head = [0; 25];
    busy.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 100 Continue\r\n\r\n");
    // Turned away, because the only connection is busy.
    assert_eq!(until_closed(connect(rest.server.address(), "").await).await, "");
    busy.write_all(b"{\"support\":true}").await.unwrap();
    let mut answer = [0; 12];
    busy.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn a_batch_ends_when_its_time_is_over_and_every_request_has_an_answer() {
    let f = Fixture::with(RpcLimits { batch_time: Duration::ZERO, ..RpcLimits::default() }).await;
    let request = |id: u64| json!({ "jsonrpc": "2.0", "id": id, "method": "eth_blockNumber", "params": [] });
    let answers = f.exchange(json!((0..50).map(request).collect::<Vec<_>>())).await;
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 50);
    assert_eq!(answers[49]["error"]["code"], -32005, "{}", answers[49]);
    assert_eq!(f.ok("eth_blockNumber", json!([])).await, "0x0", "single requests have no such budget");
}

#[tokio::test]
async fn stopping_ends_idle_connections_at_once() {
    let limits = ConnectionLimits { head_time: NEVER, ..ConnectionLimits::default() };
    let (rest, f) = (rest(limits).await, rpc(limits).await);
    let idle = [
        connect(rest.server.address(), "GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n").await,
        connect(f.server.address(), "").await,
    ];
    assert_eq!(rest.client.members().await.unwrap().len(), 4);
    assert_eq!(f.ok("eth_blockNumber", json!([])).await, "0x0");
    rest.server.stop().await;
    f.server.stop().await;
    for socket in idle {
        until_closed(socket).await;
    }
}
