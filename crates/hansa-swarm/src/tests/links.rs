//! Connections that break, move or are never established.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::*;

/// A proxy that can be cut like a cable: bytes are lost without an error.
struct Cable {
    endpoint: String,
    cut: Arc<Semaphore>,
}

impl Cable {
    async fn to(endpoint: &str) -> Self {
        let port: u16 = endpoint.rsplit('/').next().unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
        let cut = Arc::new(Semaphore::new(0));
        let cutter = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let cut = Arc::clone(&cutter);
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.acquire() => std::future::pending().await,
                    }
                });
            }
        });
        Self { endpoint, cut }
    }

    fn cut(&self) {
        self.cut.add_permits(Semaphore::MAX_PERMITS);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_connection_is_noticed_and_a_new_address_used_at_once() {
    let limits = Limits { silence: Duration::from_secs(3), ..idle(PATIENT) };
    let a = &Member::start_with(1, swarm_key(), limits.clone()).await;
    let b = &Member::start_with(2, swarm_key(), limits).await;
    let cable = Cable::to(&b.endpoint).await;
    let unreachable = SwarmMember { key: a.key(), endpoint: "/ip4/127.0.0.1/tcp/1".into() };
    let behind = SwarmMember { key: b.key(), endpoint: cable.endpoint.clone() };
    b.swarm.set_members(vec![unreachable, b.card()]).await.unwrap();
    a.swarm.set_members(vec![a.card(), behind]).await.unwrap();
    a.sees(&[b]).await;
    b.sees(&[a]).await;
    let cid = b.block(b"on both ends");
    a.swarm.fetch(cid).await.unwrap();
    a.swarm.watch_heard().wait_for(|heard| heard.contains_key(&b.key())).await.unwrap();

    cable.cut();
    a.sees(&[]).await;
    b.sees(&[]).await;
    assert!(a.swarm.watch_heard().borrow().contains_key(&b.key()), "its last word is known");
    a.swarm.set_members(vec![a.card(), b.card()]).await.unwrap();
    a.sees(&[b]).await;
    a.swarm.fetch(b.block(b"after the move")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_found_by_its_host_name() {
    let a = &Member::start(1, swarm_key(), PATIENT).await;
    let b = &Member::start(2, swarm_key(), PATIENT).await;
    let name = b.endpoint.replace("/ip4/127.0.0.1/", "/dns4/localhost/");
    let bad = SwarmMember { key: a.key(), endpoint: "/ip4/0.0.0.0/tcp/4001".into() };
    b.swarm.set_members(vec![bad, b.card()]).await.unwrap();
    a.swarm.set_members(vec![a.card(), SwarmMember { key: b.key(), endpoint: name }]).await.unwrap();
    a.sees(&[b]).await;
    let answer = a.swarm.request_key(b.key(), Bytes::from_static(b"key")).await.unwrap();
    assert_eq!(answer, [a.key().0.as_slice(), b"key"].concat());
}

/// Opens a silent connection from an address of this machine.
async fn idle_from(source: [u8; 4], port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    socket.connect(([127, 0, 0, 1], port).into()).await.unwrap()
}

fn port(member: &Member) -> u16 {
    member.endpoint.rsplit('/').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_of_strangers_keep_no_member_out() {
    let a = &Member::start(1, swarm_key(), PATIENT).await;
    let b = &Member::start(2, swarm_key(), PATIENT).await;
    let mut idle = Vec::new();
    for member in [a, b] {
        for _ in 0..600 {
            idle.push(idle_from([127, 0, 0, 1], port(member)).await);
        }
    }
    introduce(&[a, b]).await;
    a.swarm.fetch(b.block(b"served all the same")).await.unwrap();
    assert_eq!(idle.len(), 1200);
}

/// A stranger that takes every slot for new connections from one address.
#[tokio::test(flavor = "multi_thread")]
async fn a_flooder_at_one_address_keeps_no_member_at_another_out() {
    let a = &Member::start(1, swarm_key(), PATIENT).await;
    let b = &Member::start(2, swarm_key(), PATIENT).await;
    let mut flood = JoinSet::new();
    for port in [port(a), port(b)] {
        for _ in 0..150 {
            let first = idle_from([127, 0, 0, 2], port).await;
            flood.spawn(async move {
                let mut held = first;
                loop {
                    while held.read(&mut [0; 64]).await.is_ok_and(|bytes| bytes > 0) {}
                    held = idle_from([127, 0, 0, 2], port).await;
                }
            });
        }
    }
    introduce(&[a, b]).await;
    a.swarm.fetch(b.block(b"served all the same")).await.unwrap();
    assert_eq!(flood.len(), 300);
}
